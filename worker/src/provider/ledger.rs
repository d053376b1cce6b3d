//! What the provider remembers, and the rules of rotation. No HTTP and no clock: `now` comes from
//! the caller.
//!
//! All tokens that descend from one code form a *family*. A refresh token is presented once; what
//! it was rotated into stays on its record. A presentation after that is either a replay inside
//! the grace, answered with tokens of the same family, or reuse: one of the two presenters is not
//! the client, nobody can tell which, and so the family dies.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};

use super::{Counts, Settings, token::Refusal};

/// What a user agreed to, bound to the request that asked for it.
#[derive(Debug, Clone)]
pub(super) struct Sanction {
    pub(super) subject: String,
    pub(super) scope: String,
    pub(super) redirect_uri: String,
    /// S256 of the code verifier.
    pub(super) challenge: String,
}

/// One answer of the token endpoint.
#[derive(Clone)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
    pub(super) scope: String,
    pub(super) expires: Instant,
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) counts: Counts,
    /// Takes the place of what the settings say.
    pub(super) access_lifetime_first: Option<Duration>,
    /// As above.
    pub(super) access_lifetime_refreshed: Option<Duration>,
    codes: HashMap<String, Code>,
    refresh_tokens: HashMap<String, RefreshToken>,
    access_tokens: HashMap<String, AccessToken>,
    families: Vec<Family>,
}

impl Ledger {
    pub(super) fn issue_code(&mut self, sanction: Sanction, expires: Instant) -> String {
        self.counts.authorizations += 1;
        let code = random_text();
        self.codes.insert(code.clone(), Code { sanction, expires, used: false, family: None });
        code
    }

    /// Exchanges a code. Presenting it uses it up, also with the wrong verifier: whoever guesses
    /// has one guess.
    pub(super) fn redeem(
        &mut self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
        settings: &Settings,
        now: Instant,
    ) -> Result<Tokens, Refusal> {
        let record =
            self.codes.get_mut(code).ok_or(Refusal::invalid_grant("the code is unknown"))?;
        if record.used {
            if let Some(family) = record.family {
                self.revoke_for_reuse(family);
            }
            return Err(Refusal::invalid_grant("the code was used before"));
        }
        record.used = true;
        if now >= record.expires {
            return Err(Refusal::invalid_grant("the code is expired"));
        }
        if redirect_uri != record.sanction.redirect_uri {
            return Err(Refusal::invalid_grant("redirect_uri differs from the authorization"));
        }
        if s256(verifier) != record.sanction.challenge {
            return Err(Refusal::invalid_grant("code_verifier does not match"));
        }
        record.family = Some(self.families.len());
        let Sanction { subject, scope, .. } = record.sanction.clone();
        self.counts.code_exchanges += 1;
        Ok(self.sign_in(subject, scope, settings, now))
    }

    /// The first tokens of a new family.
    pub(super) fn sign_in(
        &mut self,
        subject: String,
        scope: String,
        settings: &Settings,
        now: Instant,
    ) -> Tokens {
        let family = self.families.len();
        self.families.push(Family { subject, scope: scope.clone(), revoked: false });
        tracing::debug!(family, "signed in");
        let lifetime = self.access_lifetime_first.unwrap_or(settings.access_lifetime_first);
        self.issue(family, scope, now + lifetime)
    }

    /// Rotates a refresh token, or judges its reuse.
    pub(super) fn refresh(
        &mut self,
        refresh_token: &str,
        scope: Option<&str>,
        settings: &Settings,
        now: Instant,
    ) -> Result<Tokens, Refusal> {
        let record = self
            .refresh_tokens
            .get_mut(refresh_token)
            .ok_or(Refusal::invalid_grant("the refresh token is unknown"))?;
        let number = record.family;
        let family = &self.families[number];
        if !scope.is_none_or(|scope| is_within(scope, &family.scope)) {
            return Err(Refusal::bad_request("invalid_scope", "more than was granted"));
        }
        let scope = scope.unwrap_or(&family.scope).to_owned();

        if record.presented {
            self.counts.reused_presentations += 1;
        }
        record.presented = true;
        if family.revoked {
            return Err(Refusal::invalid_grant("the grant is revoked"));
        }
        let lifetime = self.access_lifetime_refreshed.unwrap_or(settings.access_lifetime_refreshed);
        let expires = now + lifetime;
        let Some(rotation) = &record.rotation else {
            let tokens = self.issue(number, scope, expires);
            if let Some(record) = self.refresh_tokens.get_mut(refresh_token) {
                record.rotation = Some(Rotation { at: now, successor: tokens.clone() });
            }
            self.counts.refreshes += 1;
            tracing::debug!(family = number, "rotated");
            return Ok(tokens);
        };
        // Not `<=`: a grace of zero admits nothing, however quick the second presentation.
        if now.saturating_duration_since(rotation.at) < settings.reuse_grace {
            let same = (!settings.grace_mints_new).then(|| rotation.successor.clone());
            self.counts.refreshes += 1;
            self.counts.replays_in_grace += 1;
            tracing::debug!(family = number, minted = same.is_none(), "replayed inside the grace");
            return Ok(same.unwrap_or_else(|| self.issue(number, scope, expires)));
        }
        self.revoke_for_reuse(number);
        Err(Refusal::invalid_grant("the refresh token was used before"))
    }

    /// Whose access token this is, if it lives.
    pub(super) fn subject_of(&self, access_token: &str, now: Instant) -> Option<&str> {
        let record = self.access_tokens.get(access_token).filter(|token| now < token.expires)?;
        let family = &self.families[record.family];
        (!family.revoked).then_some(family.subject.as_str())
    }

    pub(super) fn revoke_subject(&mut self, subject: &str) -> u64 {
        let mut revoked = 0;
        for family in &mut self.families {
            if family.subject == subject && !family.revoked {
                family.revoked = true;
                revoked += 1;
            }
        }
        self.counts.subject_revocations += revoked;
        revoked
    }

    fn revoke_for_reuse(&mut self, number: usize) {
        let family = &mut self.families[number];
        if !family.revoked {
            family.revoked = true;
            self.counts.family_revocations += 1;
            tracing::debug!(family = number, "revoked: used twice");
        }
    }

    fn issue(&mut self, family: usize, scope: String, expires: Instant) -> Tokens {
        let tokens =
            Tokens { access_token: random_text(), refresh_token: random_text(), scope, expires };
        self.access_tokens.insert(tokens.access_token.clone(), AccessToken { family, expires });
        self.refresh_tokens.insert(
            tokens.refresh_token.clone(),
            RefreshToken { family, presented: false, rotation: None },
        );
        tokens
    }
}

struct Code {
    sanction: Sanction,
    expires: Instant,
    used: bool,
    /// What it was exchanged for: an index into the families, as below.
    family: Option<usize>,
}

struct RefreshToken {
    family: usize,
    presented: bool,
    rotation: Option<Rotation>,
}

struct Rotation {
    at: Instant,
    successor: Tokens,
}

struct AccessToken {
    family: usize,
    expires: Instant,
}

struct Family {
    subject: String,
    scope: String,
    revoked: bool,
}

fn is_within(scope: &str, granted: &str) -> bool {
    scope.split(' ').all(|part| granted.split(' ').any(|granted| granted == part))
}

fn s256(verifier: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(verifier))
}

/// 32 random bytes as 43 characters of base64url.
pub(super) fn random_text() -> String {
    let mut bytes = [0; 32];
    #[expect(clippy::expect_used, reason = "without random bytes there is no provider to run")]
    getrandom::fill(&mut bytes).expect("the system's random source answers");
    Base64UrlUnpadded::encode_string(&bytes)
}

#[cfg(test)]
mod tests;
