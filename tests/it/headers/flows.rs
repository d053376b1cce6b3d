//! Flows: found or begun, and the links to them.

use std::{sync::Arc, time::Duration};

use vestibule::{
    headers::{HeadersError, Identity, Initiated},
    pending::{PendingError, PendingsConfig},
    token::{InvalidLink, Scopes, TokenLink},
};

use super::{Host, Switch, alice, base, key_of, of};
use crate::support::logs;

const LIFE: Duration = Duration::from_secs(900);

/// H-6: whoever asks for the same gets the same flow, with all of its life; other bindings have their
/// own.
#[tokio::test]
async fn a_flow_is_found_and_lives_anew() {
    for host in Host::both().await {
        let first = host.one.initiate(&alice(), &base()).await.unwrap();
        assert_eq!((first.joined, first.expires_in), (false, LIFE));
        host.pass(800).await;
        let second = host.two.initiate(&alice(), &base()).await.unwrap();
        assert_eq!((second.flow, second.joined, second.expires_in), (first.flow, true, LIFE));
        host.pass(800).await;
        let flow = host.one.flow(first.flow).await.unwrap().unwrap();
        assert_eq!(flow.binding, alice());
        assert!(flow.expires_in > Duration::from_secs(95) && flow.expires_in <= LIFE, "{flow:?}");
        for other in [of(Identity::user("alice@example.com"), "other"), key_of(1)] {
            let other = host.one.initiate(&other, &base()).await.unwrap();
            assert!(other.flow != first.flow && !other.joined);
        }
        host.pass(101).await;
        assert!(host.one.flow(first.flow).await.unwrap().is_none());
        let next = host.one.initiate(&alice(), &base()).await.unwrap();
        assert!(next.flow != first.flow && !next.joined, "what has expired is not refreshed");
    }
}

/// H-6: a flow that is asked for again and again ends at the ceiling of pendings; then there is a
/// new one, with all of its life.
#[tokio::test]
async fn a_flow_has_a_ceiling() {
    for host in Host::both().await {
        let ceiling = Duration::from_secs(2000);
        let low = host.with(|config| {
            config.pendings = PendingsConfig { ceiling, ..PendingsConfig::default() }
        });
        let first = low.initiate(&alice(), &base()).await.unwrap();
        host.pass(800).await;
        assert_eq!(low.initiate(&alice(), &base()).await.unwrap().flow, first.flow);
        host.pass(800).await;
        let third = low.initiate(&alice(), &base()).await.unwrap();
        assert!(third.flow != first.flow && third.expires_in == LIFE, "{third:?}");
        let short = host.with(|config| {
            let ceiling = Duration::from_secs(899);
            config.pendings = PendingsConfig { ceiling, ..PendingsConfig::default() };
        });
        let error = short.initiate(&alice(), &base()).await.unwrap_err();
        assert!(matches!(error, HeadersError::Pending(PendingError::Invalid(_))), "{error}");
    }
}

/// H-8: the flows of an identity that live, whoever asked for them.
#[tokio::test]
async fn pending_flows_are_listed() {
    for host in Host::both().await {
        let clients = ["one", "two", "three"].map(|client| of(Identity::session("s"), client));
        for binding in &clients {
            host.one.initiate(binding, &base()).await.unwrap();
        }
        host.one.initiate(&of(Identity::session("t"), "one"), &base()).await.unwrap();
        let identity = clients[0].identity();
        let page = host.two.pending_flows(identity, None, 2).await.unwrap();
        assert_eq!((page.flows.len(), page.damaged.len()), (2, 0));
        let rest = host.two.pending_flows(identity, page.next, 2).await.unwrap();
        let all: Vec<_> = page.flows.iter().chain(&rest.flows).map(|flow| &flow.binding).collect();
        assert_eq!(all.len(), 3);
        assert!(clients.iter().all(|binding| all.contains(&binding)));
        host.pass(901).await;
        let page = host.two.pending_flows(identity, None, 100).await.unwrap();
        assert_eq!((page.flows.len(), page.next), (0, None));
    }
}

/// H-7: the page, the flow and the kind; the token of a virtual key or a session in the fragment,
/// good for this flow alone.
#[tokio::test]
async fn a_link_leads_to_the_form() {
    for host in Host::both().await {
        for binding in [key_of(1), of(Identity::session("s-1"), "weather")] {
            let asked = host.one.initiate(&binding, &base()).await.unwrap();
            let flow = asked.flow;
            let bare =
                format!("https://app.example/workspace/mcp-sessions/auth?flow={flow}&kind=headers");
            assert_eq!(asked.page.as_str(), bare);
            let (page, fragment) = asked.url().split_once('#').unwrap();
            assert_eq!(page, bare);
            let token = TokenLink::token_in(fragment).unwrap();
            let path = format!("/api/headers/flows/{flow}");
            for method in ["GET", "PUT"] {
                host.tokens.validate(token.secret(), method, &path, None).await.unwrap();
            }
            assert!(!format!("{asked:?}").contains(token.secret()), "{asked:?}");
            host.pass(10).await;
            let minted = host.tokens.list("mcp_headers_auth", &flow.to_string(), None, 10).await;
            let [token] = &minted.unwrap().tokens[..] else { panic!("one token") };
            assert!(token.expires_in <= Duration::from_secs(890));
        }
        let elsewhere = host.with(|config| config.page = "/forms/headers/".to_owned());
        let asked = elsewhere.initiate(&key_of(2), &base()).await.unwrap();
        assert!(asked.page.as_str().starts_with("https://app.example/forms/headers?flow="));
        let odd = host.with(|config| config.page = "a/../b".to_owned());
        let error = odd.initiate(&key_of(2), &base()).await.unwrap_err();
        assert!(matches!(error, HeadersError::InvalidLink(InvalidLink::Page)), "{error}");
    }
}

/// H-15: a person has a session with the host, and so has the host itself: no token is minted.
#[tokio::test]
async fn users_and_the_host_get_no_token() {
    for host in Host::both().await {
        for binding in [alice(), of(Ok(Identity::admin()), "weather")] {
            let asked = host.one.initiate(&binding, &base()).await.unwrap();
            expect_bare(&host, &asked).await;
        }
    }
}

/// H-7: no token where the toggle says no or cannot be read, or where none can be minted: this is
/// told, and there is a flow.
#[tokio::test]
async fn a_link_without_a_token_is_better_than_none() {
    let logs = logs::capture();
    for host in Host::both().await {
        for (says, warning) in
            [(Some(false), None), (None, Some("whether links may have tokens cannot be read"))]
        {
            let one = host.with(|config| config.links = Arc::new(Switch(says)));
            let asked = one.initiate(&key_of(1), &base()).await.unwrap();
            expect_bare(&host, &asked).await;
            assert!(warning.is_none_or(|warning| logs.contain(warning)));
        }
        let keys = crate::properties::pkce::shared_keys();
        let seal = vestibule::seal::Seal::new(keys.ring.clone());
        let vestibule = vestibule::Vestibule::assemble(host.side.store.clone(), seal, &keys);
        let unknown = host.with(|config| config.tokens = vestibule.temp_tokens(Scopes::new()));
        let asked = unknown.initiate(&key_of(2), &base()).await.unwrap();
        expect_bare(&host, &asked).await;
        assert!(logs.contain("no token for a link"));
        assert!(host.one.flow(asked.flow).await.unwrap().is_some());
        let on = host.with(|config| config.links = Arc::new(Switch(Some(true))));
        assert!(on.initiate(&key_of(1), &base()).await.unwrap().link.is_some());
    }
}

async fn expect_bare(host: &Host, asked: &Initiated) {
    assert!(asked.link.is_none());
    assert!(asked.url() == asked.page.as_str() && !asked.url().contains('#'));
    assert_eq!(host.links_to(asked.flow).await, 0);
}
