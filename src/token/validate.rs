//! Validating: the checks in their order, and what is told of a refusal.

use std::{fmt, time::Duration};

use tracing::field::Empty;

use super::{NotFound, Scope, TempTokens, TokenError, record::Body, text};
use crate::{
    digest::RequestId,
    metric,
    seal::{Seal, SealError},
    store::{Actor, EventKind, NewEvent, Subject, TokenId, TokenRow, Use},
    trace,
};

/// A token that is good for the request that it came with.
#[derive(Clone)]
#[non_exhaustive]
pub struct ValidatedToken {
    /// Its id, for logs.
    pub id: TokenId,
    /// The name of its scope.
    pub scope: String,
    /// What it is for.
    pub resource: String,
    /// When it was minted (ms since 1970, by the store's clock).
    pub created_at_ms: u64,
    /// What is left of its life.
    pub expires_in: Duration,
    /// How many uses are left after this one; `None` if they are not counted.
    pub uses_left: Option<u32>,
}

/// The resource may be a person's: not for logs.
impl fmt::Debug for ValidatedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidatedToken")
            .field("id", &self.id)
            .field("scope", &self.scope)
            .field("expires_in", &self.expires_in)
            .field("uses_left", &self.uses_left)
            .finish_non_exhaustive()
    }
}

/// A request that brings a token.
#[derive(Clone, Copy)]
struct Presented<'a> {
    text: &'a str,
    method: &'a str,
    raw_path: &'a str,
    subject: Option<&'a str>,
}

impl TempTokens {
    /// Whether a token is good for this request. It is not consumed, unless its scope
    /// [limits its uses](Scope::with_max_uses): then this counts one.
    ///
    /// `raw_path` is the path as it came over the wire, still encoded. `subject` is who presents
    /// it, as far as the host knows; it matters for a token that is bound to one.
    ///
    /// One round trip; a counted use takes another. The limit is sealed, and a use is counted only
    /// when all else is right, so that nobody can use up a token with requests that it is not for.
    ///
    /// # Errors
    ///
    /// In this order: [`TokenError::NotFound`] for a text that is not a token's; a failure of the
    /// store; not found; [`TokenError::Expired`], at the very end of its life too;
    /// [`TokenError::ScopeUnknown`]; [`TokenError::RouteNotAllowed`]; not found for another
    /// subject, or when it is used up. Tell no caller which: see [`TokenError::is_refusal`].
    pub async fn validate(
        &self,
        text: &str,
        method: &str,
        raw_path: &str,
        subject: Option<&str>,
    ) -> Result<ValidatedToken, TokenError> {
        self.judge(None, Presented { text, method, raw_path, subject }).await
    }

    /// [`validate`](Self::validate) with a request id of the caller's, who may then retry it: the
    /// same id is counted once.
    pub async fn validate_as(
        &self,
        request: &RequestId,
        text: &str,
        method: &str,
        raw_path: &str,
        subject: Option<&str>,
    ) -> Result<ValidatedToken, TokenError> {
        self.judge(Some(request), Presented { text, method, raw_path, subject }).await
    }

    async fn judge(
        &self,
        request: Option<&RequestId>,
        presented: Presented<'_>,
    ) -> Result<ValidatedToken, TokenError> {
        let judged = match self.ids(presented.text) {
            Some((id, other)) => {
                let span = tracing::debug_span!("vestibule.token.validate", outcome = Empty);
                let judging = self.judge_one(request, presented, id, other);
                let judged = trace::within(&span, judging).await;
                span.record("outcome", word(&judged));
                judged
            }
            None => Err(TokenError::NotFound(NotFound::Malformed)),
        };
        metric::TAKES.of(&["token", word(&judged)]).increment(1);
        judged
    }

    async fn judge_one(
        &self,
        request: Option<&RequestId>,
        presented: Presented<'_>,
        id: TokenId,
        other: Option<TokenId>,
    ) -> Result<ValidatedToken, TokenError> {
        let (id, row) = self.foundation.store.read_token(id, other).await?;
        let judged = match row {
            TokenRow::Live { body, left } => self.accept(request, presented, id, &body, left).await,
            TokenRow::Revoked => Err(TokenError::NotFound(NotFound::Revoked)),
            TokenRow::Dropped => Err(TokenError::NotFound(NotFound::Dropped)),
            TokenRow::Expired => Err(TokenError::Expired),
            TokenRow::Absent => Err(TokenError::NotFound(NotFound::Absent)),
        };
        match &judged {
            // Whoever guesses decides how many of these there are.
            Err(TokenError::NotFound(NotFound::Absent)) => {
                tracing::debug!(token_id = %id, "an unknown temp token was presented");
            }
            Err(refusal) if refusal.is_refusal() => {
                let cause = refusal.as_str();
                tracing::info!(token_id = %id, cause, "a temp token was refused");
            }
            _ => {}
        }
        judged
    }

    async fn accept(
        &self,
        request: Option<&RequestId>,
        presented: Presented<'_>,
        id: TokenId,
        sealed: &[u8],
        left: Duration,
    ) -> Result<ValidatedToken, TokenError> {
        let body = self.open(id, sealed)?;
        let scope = self.scopes.lookup(&body.scope).ok_or(TokenError::ScopeUnknown)?;
        if !scope.allows(presented.method, presented.raw_path, &body.resource) {
            return Err(TokenError::RouteNotAllowed);
        }
        if !self.is_for(&body, &scope, presented.subject) {
            return Err(TokenError::NotFound(NotFound::OtherSubject));
        }
        let uses_left = match body.max_uses {
            Some(limit) => {
                let counted = self.count(request, id, limit).await;
                if let Err(TokenError::NotFound(NotFound::UsedUp)) = counted {
                    self.tell_replay(id, &body.scope).await;
                }
                Some(counted?)
            }
            None => None,
        };
        Ok(ValidatedToken {
            id,
            scope: body.scope,
            resource: body.resource,
            created_at_ms: body.created_at_ms,
            expires_in: left,
            uses_left,
        })
    }

    /// A scope that has become bound does not accept what was minted for anybody.
    fn is_for(&self, body: &Body, scope: &Scope, subject: Option<&str>) -> bool {
        match body.subject {
            Some(bound) => subject.is_some_and(|given| self.subject_digest(given) == bound),
            None => !scope.is_bound(),
        }
    }

    async fn count(
        &self,
        request: Option<&RequestId>,
        id: TokenId,
        limit: u32,
    ) -> Result<u32, TokenError> {
        let request = request.map_or_else(|| RequestId::random().digest(), RequestId::digest);
        match self.foundation.store.use_token(id, request, limit).await? {
            Use::Used { left } => Ok(left),
            Use::UsedUp => Err(TokenError::NotFound(NotFound::UsedUp)),
            Use::Revoked => Err(TokenError::NotFound(NotFound::Revoked)),
            Use::Dropped => Err(TokenError::NotFound(NotFound::Dropped)),
            Use::Expired => Err(TokenError::Expired),
            Use::Absent => Err(TokenError::NotFound(NotFound::Absent)),
        }
    }

    /// Once a minute, however often it is presented.
    async fn tell_replay(&self, id: TokenId, scope: &str) {
        let event = NewEvent {
            kind: EventKind::ReplayRefused,
            subject: Subject::State,
            subject_id: &id.to_string(),
            name: scope,
            owner: None,
            actor: Actor::Owner,
            idp_host: "",
            detail: "",
        };
        let request = self.foundation.naming.digest("replay", &[id.to_string().as_bytes()]);
        self.foundation.tell(id.shard(), event, request).await;
    }

    fn open(&self, id: TokenId, sealed: &[u8]) -> Result<Body, TokenError> {
        let name = id.to_string();
        self.foundation.seal.open_short(self.binding(&name), sealed).map_err(|error| match error {
            SealError::PastItsLife => {
                tracing::error!(token_id = %id,
                    "redis says that a temp token lives, this machine's clock that it is over: \
                     one of the two clocks is wrong");
                TokenError::Expired
            }
            error => {
                let key_id = Seal::key_id_of(sealed).map(|id| id.to_string()).unwrap_or_default();
                tracing::error!(token_id = %id, key_id, %error, "a temp token does not open");
                TokenError::Seal(error)
            }
        })
    }

    /// What a text names under the pepper that mints, and under the other one.
    pub(super) fn ids(&self, text: &str) -> Option<(TokenId, Option<TokenId>)> {
        let index = text::index_of(text)?;
        let peppers = &self.foundation.peppers;
        let other = peppers.other.as_ref().map(|other| TokenId::new(index, other.digest(text)));
        Some((TokenId::new(index, peppers.current.digest(text)), other))
    }
}

fn word(judged: &Result<ValidatedToken, TokenError>) -> &'static str {
    judged.as_ref().map_or_else(TokenError::as_str, |_| "valid")
}
