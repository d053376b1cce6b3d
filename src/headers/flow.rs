//! Submission flows: a pending for a binding, and the link to its form.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::field::{Empty, display};

use super::{Binding, HeaderCredentials, HeadersError, Identity, Inner, Mode};
use crate::{
    digest::Digest,
    pending::{Created, Dedup, Life, Pending, PendingError, Spec},
    store::{PageCursor, PendingId},
    token::{Link, LinkBase, MCP_HEADERS_AUTH, MintSpec, TokenLink},
    trace,
};

/// How long a flow lives from when it was asked for last.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// A flow that somebody can submit headers in.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Flow {
    /// Which.
    pub id: PendingId,
    /// Whose headers, and for what.
    pub binding: Binding,
    /// What is left of its life.
    pub expires_in: Duration,
    /// When it was first asked for (ms since 1970, by the store's clock).
    pub created_at_ms: u64,
}

/// A page of an identity's flows, by the time of their end.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FlowPage {
    /// Those that live.
    pub flows: Vec<Flow>,
    /// Those that cannot be read: they are left as they are, until they expire.
    pub damaged: Vec<PendingId>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<PageCursor>,
}

/// A flow that was asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Initiated {
    /// Which.
    pub flow: PendingId,
    /// Whether it was there already: its life began anew.
    pub joined: bool,
    /// How long it lives.
    pub expires_in: Duration,
    /// The page of its form, for whoever has a session with the host.
    pub page: Link,
    /// The same with a token, for one who has none: for that person alone. A person and the host
    /// itself have a session; and there is none where no token could be had.
    pub link: Option<TokenLink>,
}

impl Initiated {
    /// Where to send the person: with a token, if there is one. As good as the token.
    #[must_use]
    pub fn url(&self) -> &str {
        self.link.as_ref().map_or_else(|| self.page.as_str(), TokenLink::secret)
    }
}

/// What is sealed of a flow.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct FlowData {
    mode: String,
    identity: String,
    client: String,
}

impl HeaderCredentials {
    /// Starts a submission of a binding's headers, or joins the one that is under way: then it lives
    /// for 15 minutes from now. However many ask at once, there is one flow. One whose submission is
    /// being checked is left as it is, and there is a new one.
    ///
    /// The link is `{base}/{page}?flow=…&kind=headers#t=…`. A token is minted for virtual keys and
    /// sessions, if the [toggle](super::LinkToggle) says so; where that or the mint fails, this is
    /// logged, and the link has no token.
    ///
    /// # Errors
    ///
    /// [`HeadersError::InvalidLink`] if the configured page is no path, [`HeadersError::Pending`] if
    /// the configured ceiling is too low, [`HeadersError::NotAvailable`]. There is no flow then.
    pub async fn initiate(
        &self,
        binding: &Binding,
        base: &LinkBase,
    ) -> Result<Initiated, HeadersError> {
        let span = tracing::info_span!(
            "vestibule.headers.initiate",
            mode = binding.identity().mode().as_str(),
            flow = Empty,
            joined = Empty
        );
        let initiated = trace::within(&span, self.inner.initiate(binding, base)).await?;
        span.record("flow", display(initiated.flow)).record("joined", initiated.joined);
        Ok(initiated)
    }

    /// A flow that lives; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`HeadersError::Pending`] if it cannot be read, [`HeadersError::NotAvailable`].
    pub async fn flow(&self, id: PendingId) -> Result<Option<Flow>, HeadersError> {
        self.inner.pendings.get(id).await?.map(Flow::of).transpose()
    }

    /// The flows of an identity that live, up to 100 at a time.
    ///
    /// # Errors
    ///
    /// [`HeadersError::NotAvailable`].
    pub async fn pending_flows(
        &self,
        identity: &Identity,
        cursor: Option<PageCursor>,
        limit: u16,
    ) -> Result<FlowPage, HeadersError> {
        self.inner.flows(self.inner.identity(identity), cursor, limit).await
    }
}

impl Inner {
    async fn initiate(
        &self,
        binding: &Binding,
        base: &LinkBase,
    ) -> Result<Initiated, HeadersError> {
        let page = base.page(&format!("/{}", self.config.page.trim_matches('/')))?;
        let (mode, identity, client) = binding.parts();
        let data = FlowData {
            mode: mode.as_str().to_owned(),
            identity: identity.to_owned(),
            client: client.to_owned(),
        };
        let spec = Spec {
            alias: binding.client_name().to_owned(),
            life: Life::For(LIFE),
            dedup: Dedup::Key(self.name(binding).digest.to_hex()),
            ..Spec::new("mcp_headers", data)
        };
        let namespace = binding.identity().namespace(&self.foundation.naming);
        let created = self.pendings.create_or_extend(&namespace, &spec).await?;
        let Created { id, joined, expires_in } = created;
        let page = page.with_query("flow", &id.to_string()).with_query("kind", "headers");
        let link = self.link(mode, id, expires_in, &page).await;
        tracing::info!(flow = %id, mode = mode.as_str(), joined, "headers are asked for");
        Ok(Initiated { flow: id, joined, expires_in, page, link })
    }

    pub(super) async fn flows(
        &self,
        identity: Digest,
        cursor: Option<PageCursor>,
        limit: u16,
    ) -> Result<FlowPage, HeadersError> {
        let listed = self.foundation.store.list_pendings(identity, cursor, limit).await?;
        let mut page = FlowPage { next: listed.next, ..FlowPage::default() };
        for id in listed.ids {
            match self.pendings.get(id).await {
                Ok(Some(flow)) => page.flows.push(Flow::of(flow)?),
                // It has ended meanwhile.
                Ok(None) => {}
                Err(PendingError::Store(error)) => return Err(error.into()),
                Err(_) => page.damaged.push(id),
            }
        }
        Ok(page)
    }

    /// Best-effort: a person who gets a link without a token signs in first.
    async fn link(
        &self,
        mode: Mode,
        id: PendingId,
        ttl: Duration,
        page: &Link,
    ) -> Option<TokenLink> {
        if !has_links(mode) {
            return None;
        }
        match self.config.links.links_allowed().await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                tracing::warn!(flow = %id, %error,
                    "whether links may have tokens cannot be read: this one has none");
                return None;
            }
        }
        let spec = MintSpec::new(MCP_HEADERS_AUTH, id.to_string(), ttl);
        match self.config.tokens.mint(&spec).await {
            Ok(minted) => Some(page.with_token(&minted.token)),
            Err(error) => {
                tracing::warn!(flow = %id, %error, "no token for a link: it has none");
                None
            }
        }
    }
}

/// Who has no session with the host.
pub(super) fn has_links(mode: Mode) -> bool {
    matches!(mode, Mode::VirtualKey | Mode::Session)
}

impl Flow {
    pub(super) fn of(pending: Pending<FlowData>) -> Result<Self, HeadersError> {
        let Pending { id, expires_in, created_at_ms, data, .. } = pending;
        let binding = Binding::sealed(&data.mode, &data.identity, &data.client)?;
        Ok(Self { id, binding, expires_in, created_at_ms })
    }
}
