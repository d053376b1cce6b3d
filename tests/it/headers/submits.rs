//! Submissions: claimed by one, checked, stored with the end of their flow.

use std::time::Duration;

use vestibule::{
    headers::{HeadersError, Identity},
    pending::{Pendings, PendingsConfig, Waited},
    store::{Ending, PendingId},
};

use super::{Host, alice, base, bearer, key_of, of, value};

const PATIENCE: Duration = Duration::from_secs(20);

/// H-8, H-15: of several submissions one is checked; it ends the flow, its tokens are gone, and the
/// credential is there.
#[tokio::test]
async fn a_submission_ends_its_flow() {
    for host in Host::both().await {
        for binding in [alice(), key_of(1)] {
            let asked = host.one.initiate(&binding, &base()).await.unwrap();
            let claim = host.one.claim(asked.flow).await.unwrap();
            assert_eq!((claim.flow(), claim.binding()), (asked.flow, &binding));
            assert!(claim.expires_in() > Duration::from_secs(890));
            for _ in 0..2 {
                let busy = host.two.claim(asked.flow).await.unwrap_err();
                let HeadersError::FlowBusy { left } = busy else { panic!("{busy}") };
                assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60));
            }
            let stored = host.one.submit(&claim, &bearer("Bearer mine")).await.unwrap();
            let found = host.two.get(&binding).await.unwrap();
            assert_eq!((found.row.id, found.row.ver), (stored.id, 1));
            assert_eq!(value(&found.headers), "Bearer mine");
            assert!(host.one.flow(asked.flow).await.unwrap().is_none());
            let page = host.one.pending_flows(binding.identity(), None, 10).await.unwrap();
            assert_eq!(page.flows.len(), 0);
            assert_eq!(host.links_to(asked.flow).await, 0, "its links are dead");
            let late = host.two.claim(asked.flow).await.unwrap_err();
            assert!(matches!(late, HeadersError::FlowEnded(Ending::Completed)), "{late}");
            let next = host.one.initiate(&binding, &base()).await.unwrap();
            assert!(next.flow != asked.flow && !next.joined);
        }
    }
}

/// Built on pendings: whoever waits for the flow is told.
#[tokio::test]
async fn who_waits_for_a_flow_is_told() {
    for host in Host::both().await {
        let asked = host.one.initiate(&alice(), &base()).await.unwrap();
        let keys = crate::properties::pkce::shared_keys();
        let seal = vestibule::seal::Seal::new(keys.ring.clone());
        let vestibule = vestibule::Vestibule::assemble(host.side.store.clone(), seal, &keys);
        let pendings: Pendings<()> = vestibule.pendings(PendingsConfig::default());
        let claim = host.one.claim(asked.flow).await.unwrap();
        let headers = bearer("x");
        let (waited, stored) = tokio::join!(
            pendings.wait::<()>(asked.flow, PATIENCE),
            host.two.submit(&claim, &headers)
        );
        assert!(stored.is_ok());
        assert!(matches!(waited.unwrap(), Waited::Completed { .. }));
    }
}

/// H-15: a claim that is given back may be taken by another, at once; the person corrects the form.
#[tokio::test]
async fn a_claim_is_given_back() {
    for host in Host::both().await {
        let asked = host.one.initiate(&alice(), &base()).await.unwrap();
        let first = host.one.claim(asked.flow).await.unwrap();
        host.one.release(&first).await.unwrap();
        let second = host.two.claim(asked.flow).await.unwrap();
        // The first one's is over, whatever it does.
        host.one.release(&first).await.unwrap();
        let late = host.one.submit(&first, &bearer("late")).await.unwrap_err();
        assert!(matches!(late, HeadersError::NotClaimed), "{late}");
        assert!(matches!(host.one.get(&alice()).await, Err(HeadersError::NotFound)));
        let again = host.one.initiate(&alice(), &base()).await.unwrap();
        assert!(again.flow != asked.flow, "it is claimed");
        host.two.submit(&second, &bearer("mine")).await.unwrap();
        assert_eq!(value(&host.one.vend(&alice()).await.unwrap()), "mine");
    }
}

/// H-15: who dies in the middle of a check blocks nobody for longer than the lease; and who only
/// slept stores nothing over what came since.
#[tokio::test]
async fn a_claim_lapses() {
    for host in Host::both().await {
        let asked = host.one.initiate(&key_of(1), &base()).await.unwrap();
        let slept = host.one.claim(asked.flow).await.unwrap();
        host.pass(59).await;
        assert!(matches!(host.two.claim(asked.flow).await, Err(HeadersError::FlowBusy { .. })));
        host.pass(2).await;
        let late = host.one.submit(&slept, &bearer("late")).await.unwrap_err();
        assert!(matches!(late, HeadersError::NotClaimed), "nobody has it: {late}");
        let same = host.one.initiate(&key_of(1), &base()).await.unwrap();
        assert_eq!(same.flow, asked.flow, "it is pending again");
        let second = host.two.claim(asked.flow).await.unwrap();
        let late = host.one.submit(&slept, &bearer("late")).await.unwrap_err();
        assert!(matches!(late, HeadersError::NotClaimed), "{late}");
        host.two.submit(&second, &bearer("mine")).await.unwrap();
        let late = host.one.submit(&slept, &bearer("late")).await.unwrap_err();
        assert!(matches!(late, HeadersError::FlowEnded(Ending::Completed)), "{late}");
        assert_eq!(value(&host.one.vend(&key_of(1)).await.unwrap()), "mine");
    }
}

/// H-6, H-8: what is past its life, or never was, stores nothing.
#[tokio::test]
async fn an_expired_flow_stores_nothing() {
    for host in Host::both().await {
        let asked = host.one.initiate(&alice(), &base()).await.unwrap();
        host.pass(850).await;
        let claim = host.one.claim(asked.flow).await.unwrap();
        assert!(claim.expires_in() <= Duration::from_secs(50));
        host.pass(51).await;
        let late = host.one.submit(&claim, &bearer("late")).await.unwrap_err();
        assert!(matches!(late, HeadersError::FlowGone), "{late}");
        assert!(matches!(host.one.claim(asked.flow).await, Err(HeadersError::FlowGone)));
        let never = PendingId::random(asked.flow.namespace());
        assert!(matches!(host.one.claim(never).await, Err(HeadersError::FlowGone)));
        assert!(matches!(host.one.get(&alice()).await, Err(HeadersError::NotFound)));
    }
}

/// H-15: a caller who goes away leaves no half: the flow, the credential and the tokens are as if it
/// had stayed.
#[tokio::test]
async fn a_dropped_caller_leaves_no_half() {
    for host in Host::both().await {
        let session = of(Identity::session("s-1"), "weather");
        for number in 0..20_u64 {
            let asked = host.one.initiate(&session, &base()).await.unwrap();
            let claim = host.one.claim(asked.flow).await.unwrap();
            let headers = bearer(&format!("number-{number}"));
            let submit = host.one.submit(&claim, &headers);
            // Started, and dropped at once or a little later.
            let patience = Duration::from_micros(number * 40);
            let _ = tokio::time::timeout(patience, submit).await;
            host.one.drained().await;
            let found = host.two.get(&session).await.unwrap();
            assert_eq!(value(&found.headers), format!("number-{number}"));
            assert!(host.two.flow(asked.flow).await.unwrap().is_none());
            assert_eq!(host.links_to(asked.flow).await, 0, "{number}");
        }
        let asked = host.one.initiate(&key_of(1), &base()).await.unwrap();
        host.one.upsert(&key_of(1), &bearer("x")).await.unwrap();
        let (binding, soon) = (key_of(1), Duration::ZERO);
        let _ = tokio::time::timeout(soon, host.one.revoke(&binding)).await;
        host.one.drained().await;
        assert!(matches!(host.two.get(&key_of(1)).await, Err(HeadersError::NotFound)));
        assert!(host.two.flow(asked.flow).await.unwrap().is_none());
    }
}
