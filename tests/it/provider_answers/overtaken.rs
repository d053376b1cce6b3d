//! The same refusals, while another replica has rotated the refresh token meanwhile: none of them
//! is about what is current now.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use vestibule::{
    connection::{
        CodeGrant, Connections, ConnectionsConfig, Connector, ExchangeError, HttpExchange,
        RefreshToken, Refreshed, Registry, ReplayPolicy, TokenAnswer, TokenExchange,
    },
    store::{ConnectionId, Status},
};

use super::{
    HOUR, connector,
    endpoint::Endpoint,
    exchange,
    table::{refusals, unreadable},
};
use crate::{
    properties::connect,
    support::{
        ageing::age,
        provider::{Scripted, connections_at, tokens},
        server,
        stores::fresh_prefix,
    },
};

/// Another replica is quicker: it is done when this one's answer comes.
#[derive(Debug)]
struct Slow {
    http: HttpExchange,
    other: Connections,
    prefix: String,
}

impl Slow {
    /// The lease is over, as after a pause: the other takes over, and its exchange is committed.
    async fn overtaken(&self) {
        let mut raw = server::shared().await.raw().await;
        age(&mut raw, &self.prefix, Duration::from_secs(13)).await;
        let page = self.other.list("alice", None, 1).await.unwrap();
        let id = &page.connections[0].id;
        let refreshed = self.other.refresh(id).await.unwrap();
        assert!(matches!(refreshed, Refreshed::Fresh { .. }), "{refreshed:?}");
    }
}

#[async_trait]
impl TokenExchange for Slow {
    async fn exchange_code(
        &self,
        _: &Connector,
        _: CodeGrant<'_>,
    ) -> Result<TokenAnswer, ExchangeError> {
        unreachable!("nobody signs in here")
    }

    async fn exchange_refresh_token(
        &self,
        connector: &Connector,
        refresh_token: &RefreshToken,
    ) -> Result<TokenAnswer, ExchangeError> {
        self.overtaken().await;
        self.http.exchange_refresh_token(connector, refresh_token).await
    }
}

/// Row 10, C-6, H-14: whatever a provider says of a token that was rotated meanwhile, the credential
/// is the sibling's, active, and served.
#[tokio::test]
async fn no_refusal_of_an_old_token_touches_the_new_one() {
    let endpoint = Endpoint::start().await;
    let url = server::shared().await.url();
    for case in refusals().into_iter().chain(unreadable()) {
        let prefix = fresh_prefix();
        let vestibule = connect(&url, &prefix).await;
        let mut connector = connector(endpoint.port);
        connector.replay = ReplayPolicy::Grace(Duration::from_secs(30));
        let other = connections_at(&Scripted::giving(HOUR), &vestibule, [connector.clone()]);
        let slow = Slow { http: exchange(), other: other.clone(), prefix: prefix.clone() };
        let registry = Registry::new([connector]).unwrap();
        let late = vestibule.connections(ConnectionsConfig::new(registry, Arc::new(slow)));

        let id: ConnectionId = late.store("alice", "demo", None, &tokens(0, HOUR)).await.unwrap();
        let nearly = HOUR - Duration::from_secs(60);
        age(&mut server::shared().await.raw().await, &prefix, nearly).await;
        endpoint.answer(case.reply.clone());
        let refreshed = late.refresh(&id).await.unwrap();
        assert!(matches!(refreshed, Refreshed::NotDue { .. }), "{}: {refreshed:?}", case.name);
        assert_eq!(endpoint.requests().len(), 1, "{}: asked", case.name);
        let row = late.get("alice", &id).await.unwrap();
        assert_eq!((row.status, row.ver, row.attempts), (Status::Active, 2, 0), "{}", case.name);
        let kept = tokens(1, HOUR).access_token;
        let vended = late.vend("alice", &id).await.unwrap().access_token;
        assert_eq!(vended.secret(), kept.secret(), "{}", case.name);
    }
}
