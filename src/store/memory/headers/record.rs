//! One header credential as it is kept.

use super::super::recent::Recent;
use crate::{
    digest::Digest,
    store::{BindingName, HeadersId, HeadersMode, HeadersRow, HeadersStatus, UpsertedHeaders},
};

pub(super) struct Record {
    pub(super) binding: BindingName,
    pub(super) mode: HeadersMode,
    pub(super) identity: Digest,
    pub(super) client: Digest,
    pub(super) client_name: String,
    pub(super) secret: Vec<u8>,
    /// Which key sealed it, if that is known.
    pub(super) sealed_by: Option<u32>,
    pub(super) status: HeadersStatus,
    pub(super) reason: Option<String>,
    pub(super) status_at: u64,
    /// What an orphan was, and why.
    pub(super) was: Option<(HeadersStatus, Option<String>)>,
    pub(super) times: Times,
    pub(super) receipts: Recent,
}

/// What an upsert answers.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
    pub(super) ver: u64,
}

/// What a retry is answered from.
#[derive(Clone, Copy)]
pub(super) struct Remains {
    pub(super) times: Times,
    pub(super) receipts: Recent,
    pub(super) removed_by: Digest,
}

impl Times {
    pub(super) fn upserted(self, id: HeadersId) -> UpsertedHeaders {
        let Self { created_at, updated_at, ver } = self;
        UpsertedHeaders::Upserted { id, created_at_ms: created_at, updated_at_ms: updated_at, ver }
    }
}

impl Record {
    pub(super) fn row(&self, id: HeadersId) -> HeadersRow {
        HeadersRow {
            id,
            mode: self.mode,
            identity: self.identity,
            client: self.client,
            client_name: Some(self.client_name.clone()).filter(|name| !name.is_empty()),
            status: self.status,
            reason: self.reason.clone(),
            status_at_ms: self.status_at,
            was: self.was.as_ref().map(|was| was.0),
            created_at_ms: self.times.created_at,
            updated_at_ms: self.times.updated_at,
            ver: self.times.ver,
        }
    }
}
