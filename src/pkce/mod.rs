//! PKCE states: what a sign-in leaves behind while its user is away at the provider.
//!
//! A sign-in starts on one replica and comes back on another. In between, the state names a sealed
//! record with the PKCE verifier and with what must match when it returns. It lives for
//! [`TTL`], by the clock of the store; a name that is taken is refused; and it is handed to
//! exactly one caller, once.
//!
//! To the outside a replayed, an expired and an unknown state look the same:
//! [`PkceError::StateNotFound`]. The [`NotFound`] in it is for logs and events.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use vestibule::{
//!     Vestibule,
//!     pkce::{OauthState, PkceState, PkceVerifier},
//! };
//!
//! let states = Vestibule::in_memory().pkce();
//! let (state, verifier) = (OauthState::random(), PkceVerifier::random());
//! let challenge = verifier.challenge(); // goes to the provider, with the state
//! states.put(&state, &PkceState::new("github", verifier)).await?;
//!
//! // The callback, on whichever replica: one caller gets it, once.
//! let record = states.take(&state).await?;
//! assert_eq!(record.verifier.challenge(), challenge);
//! assert!(states.take(&state).await.is_err());
//! # Ok(()) }
//! ```

mod state;
mod verifier;

use std::{sync::Arc, time::Duration};

pub use self::{
    state::{InvalidField, PkceState},
    verifier::{InvalidState, OauthState, PkceChallenge, PkceVerifier},
};
use crate::{
    digest::RequestId,
    foundation::Foundation,
    metric,
    seal::{Binding, Seal, SealError},
    store::{
        Actor, EventKind, Handed, Kind, NewEvent, NewRecord, Put, RecordName, StoreError, Subject,
        Take,
    },
    trace,
};

/// How long a state lives: a person has ten minutes to sign in.
pub const TTL: Duration = Duration::from_secs(600);

/// The store of PKCE states.
#[derive(Debug, Clone)]
pub struct PkceStates {
    foundation: Arc<Foundation>,
}

impl PkceStates {
    pub(crate) fn new(foundation: Arc<Foundation>) -> Self {
        Self { foundation }
    }

    /// Puts a record under a state, for [`TTL`].
    ///
    /// # Errors
    ///
    /// [`PkceError::StateCollision`] if the state is in use, or was within the last minute;
    /// [`PkceError::Put`] if the store failed; [`PkceError::Invalid`] for a field that is too long.
    pub async fn put(&self, state: &OauthState, record: &PkceState) -> Result<(), PkceError> {
        self.put_as(&RequestId::random(), state, record).await
    }

    /// [`put`](Self::put) with a request id of the caller's, who may then retry it: the same id
    /// gets the same answer for 60 s.
    pub async fn put_as(
        &self,
        request: &RequestId,
        state: &OauthState,
        record: &PkceState,
    ) -> Result<(), PkceError> {
        record.check()?;
        let name = self.name(state);
        let body = self
            .foundation
            .seal
            .seal_short(self.binding(&name), TTL, record)
            .map_err(PkceError::Seal)?;
        let new = NewRecord {
            name,
            request: request.digest(),
            ttl: TTL,
            display: &[("kind", record.kind()), ("connection", &record.connection)],
            body: &body,
        };
        let outcome = self.foundation.store.put(new).await;
        let word = match &outcome {
            Ok(Put::Stored) => "stored",
            Ok(Put::Collision) => "collision",
            Err(error) => error.class().as_str(),
        };
        metric::PUTS.of(&["pkce", word]).increment(1);
        match outcome {
            Ok(Put::Stored) => Ok(()),
            Ok(Put::Collision) => {
                tracing::warn!(record = %name.digest, "a PKCE state is already in use");
                Err(PkceError::StateCollision)
            }
            Err(source) => Err(PkceError::Put { source }),
        }
    }

    /// Takes the record of a state: the first caller gets it, everybody else
    /// [`PkceError::StateNotFound`].
    ///
    /// # Errors
    ///
    /// [`PkceError::Take`] with an ambiguous [`StoreError`] means that it may have been taken:
    /// only [`take_as`](Self::take_as) with the same request id can then be tried again.
    /// [`PkceError::Open`] means that it was taken and does not open; for the next 60 s the same
    /// request id gets it again, from a process with the right key ring.
    pub async fn take(&self, state: &OauthState) -> Result<PkceState, PkceError> {
        self.take_as(&RequestId::random(), state).await
    }

    /// [`take`](Self::take) with a request id of the caller's: see [`RequestId::derived`].
    pub async fn take_as(
        &self,
        request: &RequestId,
        state: &OauthState,
    ) -> Result<PkceState, PkceError> {
        let span = tracing::info_span!("vestibule.pkce.take");
        let taken = self.take_unseen(request, state).await;
        if let Ok(record) = &taken {
            record.trace().join(&span);
        }
        trace::judge(&span, &taken);
        taken
    }

    /// [`take_as`](Self::take_as) for those who have a span of their own.
    pub(crate) async fn take_unseen(
        &self,
        request: &RequestId,
        state: &OauthState,
    ) -> Result<PkceState, PkceError> {
        let name = self.name(state);
        let outcome = self.foundation.store.take(&name, request.digest()).await;
        let word = match &outcome {
            Ok(take) => take.as_str(),
            Err(error) => error.class().as_str(),
        };
        metric::TAKES.of(&["pkce", word]).increment(1);
        let cause = match outcome {
            Ok(Take::Taken(handed)) => return self.open(&name, &handed),
            Ok(Take::AlreadyTaken { at_ms }) => {
                tracing::warn!(record = %name.digest, at_ms, "a PKCE state was presented again");
                self.tell_replay(&name).await;
                NotFound::Replayed { at_ms }
            }
            Ok(Take::Expired) => NotFound::Expired,
            Ok(Take::Absent) => NotFound::Absent,
            Err(source) => return Err(PkceError::Take { source }),
        };
        Err(PkceError::StateNotFound(cause))
    }

    fn open(&self, name: &RecordName, handed: &Handed) -> Result<PkceState, PkceError> {
        let Handed { body, ago } = handed;
        match self.foundation.seal.open_handed(self.binding(name), body, *ago) {
            Ok(record) => Ok(record),
            Err(SealError::PastItsLife) => {
                tracing::error!(record = %name.digest,
                    "redis says that a PKCE state lives, this machine's clock that it is over: \
                     one of the two clocks is wrong");
                Err(PkceError::StateNotFound(NotFound::Expired))
            }
            Err(source) => {
                let key_id = Seal::key_id_of(body).map(|id| id.to_string()).unwrap_or_default();
                tracing::error!(record = %name.digest, key_id, error = %source,
                    "a PKCE state was taken and does not open");
                Err(PkceError::Open { source })
            }
        }
    }

    /// Once a minute, however often it is presented.
    async fn tell_replay(&self, name: &RecordName) {
        let event = NewEvent {
            kind: EventKind::ReplayRefused,
            subject: Subject::State,
            subject_id: &name.digest.to_hex(),
            name: name.kind.as_str(),
            owner: None,
            actor: Actor::Owner,
            idp_host: "",
            detail: "",
        };
        let request = self.foundation.naming.digest("replay", &[name.digest.as_bytes()]);
        self.foundation.tell(name.shard, event, request).await;
    }

    /// Where the record of a state is.
    pub(crate) fn name(&self, state: &OauthState) -> RecordName {
        let digest = self.foundation.naming.digest("pkce", &[state.secret().as_bytes()]);
        RecordName::alone(Kind::Pkce, digest)
    }

    fn binding<'a>(&'a self, name: &'a RecordName) -> Binding<'a> {
        Binding {
            purpose: "pkce",
            prefix: self.foundation.store.prefix(),
            name: name.digest.as_bytes(),
        }
    }
}

/// Why there is no record for a state. For logs and events: a caller outside must not learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotFound {
    /// Somebody took it before, at this time of the store (ms since 1970).
    Replayed {
        /// When.
        at_ms: u64,
    },
    /// Its ten minutes are over.
    Expired,
    /// It never existed, or is long gone.
    Absent,
}

/// What can go wrong with a PKCE state.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PkceError {
    /// No record to hand out. The cause is not in the message, which may reach the outside.
    #[error("pkce: state not found")]
    StateNotFound(NotFound),
    /// The state is in use: make another. With random states this means that a caller reuses one.
    #[error("pkce: state collision: this state is in use or was within the last minute")]
    StateCollision,
    /// The record was not stored, or not certainly.
    #[error("pkce: put failed (store): {source}")]
    Put {
        /// What the store says.
        source: StoreError,
    },
    /// The record was not taken, or not certainly.
    #[error("pkce: take failed (store): {source}")]
    Take {
        /// What the store says.
        source: StoreError,
    },
    /// The record cannot be sealed.
    #[error("pkce: put failed (seal): {0}")]
    Seal(#[source] SealError),
    /// The record was taken and does not open.
    #[error("pkce: taken, but {source}; retry with the same request id within a minute")]
    Open {
        /// Which key it names, and why it does not open.
        source: SealError,
    },
    /// A field of the record is not acceptable. Nothing was stored.
    #[error("pkce: put refused: {0}")]
    Invalid(#[from] InvalidField),
}
