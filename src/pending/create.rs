//! What writes a pending: creating one, joining one, replacing one.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use tracing::field::{Empty, display};

use super::{Created, InvalidSpec, Namespace, Pending, PendingError, Pendings, Spec, record::Body};
use crate::{
    digest::RequestId,
    metric,
    store::{Ending, NewPending, PendingId, PutPending, Replaced},
    trace::{self, TraceContext},
};

/// What came of replacing a pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replacement {
    /// It is as the new spec says; its id, its namespace and when it was created stay.
    Replaced {
        /// How long it lives now.
        expires_in: Duration,
    },
    /// It had ended already. Nothing was written.
    Ended(Ending),
    /// Its life was over. Nothing was written.
    Expired,
    /// There is none of this id. Nothing was written.
    Absent,
}

impl<T: Serialize + DeserializeOwned + Sync> Pendings<T> {
    /// Creates a pending, or joins the live one with the same [`Dedup`](super::Dedup).
    ///
    /// # Errors
    ///
    /// [`PendingError::Invalid`] for a life of zero or above the ceiling, or a field that is too
    /// long; a failure of the seal or the store, in which case there is no id.
    pub async fn create(
        &self,
        namespace: &Namespace,
        spec: &Spec<T>,
    ) -> Result<Created, PendingError> {
        self.create_as(&RequestId::random(), namespace, spec).await
    }

    /// [`create`](Self::create) with a request id of the caller's, who may then retry it: the id of
    /// the pending is made of it, so a retry finds the same one.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub async fn create_as(
        &self,
        request: &RequestId,
        namespace: &Namespace,
        spec: &Spec<T>,
    ) -> Result<Created, PendingError> {
        self.put(request, namespace, spec, false).await
    }

    /// [`create`](Self::create); but one that is joined lives for the spec's life from now, so that
    /// whoever asks last has it whole. One that would pass its ceiling, or that somebody is about to
    /// end, is left as it is, and there is a new one.
    ///
    /// What is sealed outlives every extension, so it is for the store alone to say when the life is
    /// over. All who share a dedup key use this, or all use [`create`](Self::create).
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub async fn create_or_extend(
        &self,
        namespace: &Namespace,
        spec: &Spec<T>,
    ) -> Result<Created, PendingError> {
        self.put(&RequestId::random(), namespace, spec, true).await
    }

    async fn put(
        &self,
        request: &RequestId,
        namespace: &Namespace,
        spec: &Spec<T>,
        extends: bool,
    ) -> Result<Created, PendingError> {
        let span = tracing::info_span!(
            "vestibule.pending.create",
            kind = spec.kind,
            pending = Empty,
            joined = Empty
        );
        let created = trace::within(&span, self.put_now(request, namespace, spec, extends)).await?;
        span.record("pending", display(created.id)).record("joined", created.joined);
        Ok(created)
    }

    async fn put_now(
        &self,
        request: &RequestId,
        namespace: &Namespace,
        spec: &Spec<T>,
        extends: bool,
    ) -> Result<Created, PendingError> {
        let ttl = spec.check(self.config.ceiling)?;
        let life = if extends { self.config.ceiling } else { ttl };
        let digest = self.namespace(namespace);
        let id = PendingId::of(digest, self.digest("pending-id", &request.digest().to_hex()));
        let now_ms = self.foundation.store.now_ms();
        let body = Body::of(spec, namespace, now_ms, TraceContext::current());
        let sealed = self.foundation.seal.seal_short(self.binding(&id.to_string()), life, &body)?;
        let display = spec.display();
        let new = self.new_pending(id, request, spec, ttl, &display, &sealed);
        let put = self.foundation.store.put_pending(NewPending { extends, ..new }).await;
        let word = match &put {
            Ok(PutPending::Stored) => "stored",
            Ok(PutPending::Joined { .. }) => "joined",
            Ok(PutPending::Collision) => "collision",
            Err(error) => error.class().as_str(),
        };
        metric::PUTS.of(&["pending", word]).increment(1);
        match put? {
            PutPending::Stored => Ok(Created { id, joined: false, expires_in: ttl }),
            PutPending::Joined { id, left } => Ok(Created { id, joined: true, expires_in: left }),
            PutPending::Collision => Err(PendingError::Collision),
        }
    }

    /// Replaces a live pending by what `spec` says: payload, life from now on, subject, dedup. Its
    /// id, its namespace and when it was created stay, and whoever waits goes on waiting.
    ///
    /// `pending` is one that was read: which it is, and whose. If two replace at once, the later
    /// one stays. A dedup key that only the earlier spec had leads to it until that runs out.
    ///
    /// # Errors
    ///
    /// [`PendingError::OtherNamespace`] if `pending` says another namespace than its id: a
    /// namespace never changes. [`PendingError::Invalid`] as [`create`](Self::create), and if it
    /// would live longer than the ceiling after it was created. Nothing was written then; nor was
    /// it lost on a failure of the store.
    pub async fn replace(
        &self,
        pending: &Pending<T>,
        spec: &Spec<T>,
    ) -> Result<Replacement, PendingError> {
        self.replace_as(&RequestId::random(), pending, spec).await
    }

    /// [`replace`](Self::replace) with a request id of the caller's, who may retry it: the same id
    /// gets the same answer until another one replaces it.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace).
    pub async fn replace_as(
        &self,
        request: &RequestId,
        pending: &Pending<T>,
        spec: &Spec<T>,
    ) -> Result<Replacement, PendingError> {
        let ttl = spec.check(self.config.ceiling)?;
        let Pending { id, namespace, created_at_ms, .. } = pending;
        if self.namespace(namespace) != id.namespace() {
            return Err(PendingError::OtherNamespace { id: *id });
        }
        let body = Body::of(spec, namespace, *created_at_ms, pending.trace);
        let sealed = self.foundation.seal.seal_short(self.binding(&id.to_string()), ttl, &body)?;
        let display = spec.display();
        let new = self.new_pending(*id, request, spec, ttl, &display, &sealed);
        match self.foundation.store.replace_pending(new).await? {
            Replaced::Replaced => Ok(Replacement::Replaced { expires_in: ttl }),
            Replaced::BeyondCeiling { left } => {
                Err(InvalidSpec::BeyondCeiling { life: ttl, left }.into())
            }
            Replaced::Ended(how) => Ok(Replacement::Ended(how)),
            Replaced::Expired => Ok(Replacement::Expired),
            Replaced::Absent => Ok(Replacement::Absent),
        }
    }

    fn new_pending<'a>(
        &self,
        id: PendingId,
        request: &RequestId,
        spec: &Spec<T>,
        ttl: Duration,
        display: &'a [(&'static str, &'a str)],
        body: &'a [u8],
    ) -> NewPending<'a> {
        NewPending {
            id,
            request: request.digest(),
            ttl,
            ceiling: self.config.ceiling,
            subject: spec.subject.as_deref().map(|subject| self.digest("subject", subject)),
            dedup: self.dedup(id.namespace(), spec),
            extends: false,
            display,
            body,
        }
    }
}
