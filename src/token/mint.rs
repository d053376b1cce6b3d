//! Minting.

use std::time::Duration;

use tracing::field::{Empty, display};
use zeroize::Zeroizing;

use super::{
    InvalidMint, Scope, TempToken, TempTokens, TokenError,
    record::{Body, Kept},
};
use crate::{
    digest::{Digest, RequestId, random_bytes},
    metric,
    seal::Binding,
    store::{GRACE, MintReceipt, NewToken, PutToken, TokenId},
    trace,
};

/// The longest resource or subject, in bytes.
const LONGEST: usize = 512;

/// A token to be minted.
#[derive(Clone)]
pub struct MintSpec {
    /// The name of a registered scope.
    pub scope: String,
    /// What it is for: 1 to 512 bytes, and if the scope's routes name it, as they can.
    pub resource: String,
    /// How long it lives: above zero, at most the scope's maximum.
    pub ttl: Duration,
    /// Who alone may present it: what the host authenticates, or a session's digest, of at most 512
    /// bytes. `None` for anybody, unless the scope is [bound](Scope::bound).
    pub subject: Option<String>,
}

impl MintSpec {
    /// A token for anybody.
    #[must_use]
    pub fn new(scope: impl Into<String>, resource: impl Into<String>, ttl: Duration) -> Self {
        Self { scope: scope.into(), resource: resource.into(), ttl, subject: None }
    }

    /// The same for this subject alone.
    #[must_use]
    pub fn for_subject(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    fn check(&self, scope: &Scope) -> Result<(), TokenError> {
        let max = scope.max_ttl();
        if self.ttl.as_millis() == 0 || self.ttl > max {
            return Err(TokenError::TtlExceedsMax { requested: self.ttl, max });
        }
        let name = || scope.name().to_owned();
        if !(1..=LONGEST).contains(&self.resource.len()) {
            return Err(InvalidMint::Resource { length: self.resource.len() }.into());
        }
        if !scope.can_reach(&self.resource) {
            return Err(InvalidMint::Unreachable { scope: name() }.into());
        }
        match &self.subject {
            Some(subject) if subject.len() > LONGEST => {
                Err(InvalidMint::Subject { length: subject.len() }.into())
            }
            None if scope.is_bound() => Err(InvalidMint::NoSubject { scope: name() }.into()),
            _ => Ok(()),
        }
    }
}

/// The resource and the subject may be a person's: not for logs.
impl std::fmt::Debug for MintSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintSpec")
            .field("scope", &self.scope)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// A token that was minted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Minted {
    /// Its text: this is the only time that it is told.
    pub token: TempToken,
    /// Its id, which is no secret: for logs, and to revoke it.
    pub id: TokenId,
    /// What is left of its life.
    pub expires_in: Duration,
}

impl TempTokens {
    /// Mints a token.
    ///
    /// # Errors
    ///
    /// [`TokenError::ScopeUnknown`], [`TokenError::TtlExceedsMax`] or [`TokenError::Invalid`];
    /// a failure of the seal or the store. If the store's is ambiguous, a token that nobody knows
    /// may have been minted: it expires by itself.
    pub async fn mint(&self, spec: &MintSpec) -> Result<Minted, TokenError> {
        self.put(&RequestId::random(), spec, None).await
    }

    /// [`mint`](Self::mint) with a request id of the caller's, who may then retry it, from any
    /// replica: within a minute the same id gets the same token for the same scope and resource. One
    /// that was revoked meanwhile stays revoked. A later retry mints another token.
    ///
    /// The id belongs to one spec: the first to arrive says how long the token lives, and for whom.
    /// For that minute the text is in Redis, sealed, which [`mint`](Self::mint) never writes.
    ///
    /// # Errors
    ///
    /// As [`mint`](Self::mint); if what was left for a retry does not open, [`TokenError::Seal`].
    pub async fn mint_as(
        &self,
        request: &RequestId,
        spec: &MintSpec,
    ) -> Result<Minted, TokenError> {
        let index = self.index(&spec.scope, &spec.resource);
        let id = request.digest();
        let parts = [id.as_bytes().as_slice(), index.as_bytes()];
        let receipt = self.foundation.naming.digest("token-mint", &parts);
        self.put(request, spec, Some(receipt)).await
    }

    /// Mints, and leaves a receipt of this name behind, or finds one.
    async fn put(
        &self,
        request: &RequestId,
        spec: &MintSpec,
        receipt: Option<Digest>,
    ) -> Result<Minted, TokenError> {
        let span = tracing::info_span!("vestibule.token.mint", scope = Empty, token_id = Empty);
        let minted = trace::within(&span, self.put_now(request, spec, receipt)).await?;
        span.record("scope", &*spec.scope).record("token_id", display(minted.id));
        Ok(minted)
    }

    async fn put_now(
        &self,
        request: &RequestId,
        spec: &MintSpec,
        receipt: Option<Digest>,
    ) -> Result<Minted, TokenError> {
        let scope = self.scopes.lookup(&spec.scope).ok_or(TokenError::ScopeUnknown)?;
        spec.check(&scope)?;
        let foundation = &self.foundation;
        let index = self.index(&spec.scope, &spec.resource);
        let token = TempToken::of(index, &Zeroizing::new(random_bytes()));
        let id = TokenId::new(index, foundation.peppers.current.digest(token.secret()));
        let body = Body {
            scope: spec.scope.clone(),
            resource: spec.resource.clone(),
            subject: spec.subject.as_deref().map(|subject| self.subject_digest(subject)),
            max_uses: scope.max_uses(),
            created_at_ms: foundation.store.now_ms(),
        };
        let text = id.to_string();
        let sealed = foundation.seal.seal_short(self.binding(&text), spec.ttl, &body)?;
        let kept = receipt.map(|name| self.seal_receipt(name, &token)).transpose()?;
        let receipt = receipt.zip(kept.as_deref());
        let new = NewToken {
            id,
            scope: self.scope_digest(&spec.scope),
            request: request.digest(),
            ttl: spec.ttl,
            display: &[("scope", &spec.scope)],
            body: &sealed,
            receipt: receipt.map(|(name, sealed)| MintReceipt { name, sealed }),
        };
        let outcome = foundation.store.mint_token(new).await;
        let word = match &outcome {
            Ok(PutToken::Minted { .. }) => "stored",
            Ok(PutToken::Retried { .. }) => "retried",
            Ok(PutToken::Collision) => "collision",
            Err(error) => error.class().as_str(),
        };
        metric::PUTS.of(&["token", word]).increment(1);
        match (outcome?, receipt) {
            (PutToken::Minted { left }, _) => Ok(Minted { token, id, expires_in: left }),
            (PutToken::Retried { id, left, sealed }, Some((name, _))) => {
                Ok(Minted { token: self.open_receipt(name, &sealed)?, id, expires_in: left })
            }
            _ => Err(TokenError::Collision),
        }
    }

    fn seal_receipt(&self, name: Digest, token: &TempToken) -> Result<Vec<u8>, TokenError> {
        let name = name.to_hex();
        let kept = Kept { text: token.secret().to_owned() };
        Ok(self.foundation.seal.seal_short(self.receipt_binding(&name), GRACE, &kept)?)
    }

    fn open_receipt(&self, name: Digest, sealed: &[u8]) -> Result<TempToken, TokenError> {
        let name = name.to_hex();
        let mut kept: Kept =
            self.foundation.seal.open_short(self.receipt_binding(&name), sealed)?;
        Ok(TempToken::new(std::mem::take(&mut kept.text)))
    }

    fn receipt_binding<'a>(&'a self, name: &'a str) -> Binding<'a> {
        Binding { purpose: "token-receipt", ..self.binding(name) }
    }
}
