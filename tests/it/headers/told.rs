//! What happens to a header credential is told: in the step that makes the change, once.

use std::time::Duration;

use vestibule::{
    RequestId,
    event::Filter,
    headers::Identity,
    store::{Actor, Event, HeadersId, NewHeaders, Subject},
};

use super::{Host, alice, bearer, of};

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

async fn events(host: &Host, id: HeadersId) -> Vec<Event> {
    let filter = Filter { headers: Some(id), ..Filter::newest(100) };
    let mut listed = host.vestibule.events().list(&filter).await.unwrap();
    assert_eq!((listed.whole, listed.damaged), (true, 0));
    listed.events.reverse();
    listed.events
}

/// What was told since the last look, in words: times are left out.
async fn told(host: &Host, id: HeadersId, seen: &mut usize) -> Vec<String> {
    let all = events(host, id).await;
    let new = all[*seen..].iter().map(|event| {
        let detail = event.detail.split(' ').filter(|word| !word.starts_with("since="));
        let detail = detail.collect::<Vec<_>>().join(" ");
        format!("{} {} {detail}", event.kind.as_str(), event.actor.as_str()).trim_end().to_owned()
    });
    let new = new.collect();
    *seen = all.len();
    new
}

/// E-1: its whole life, and nothing for what changes nothing.
#[tokio::test]
async fn a_life_is_told() {
    for host in Host::both().await {
        let (one, two, mut seen) = (&host.one, &host.two, 0);
        let id = one.upsert(&alice(), &bearer("first")).await.unwrap().id;
        assert_eq!(told(&host, id, &mut seen).await, ["connect_completed owner ver=1"]);
        for _ in 0..2 {
            one.mark_needs_update("weather", "moved").await.unwrap();
        }
        assert_eq!(told(&host, id, &mut seen).await, ["needs_reauth operator reason=moved"]);
        two.upsert(&alice(), &bearer("second")).await.unwrap();
        let anew =
            ["connect_completed owner ver=2", "recovered owner from=needs_update reason=moved"];
        assert_eq!(told(&host, id, &mut seen).await, anew);
        for _ in 0..2 {
            one.withdraw_access(&alice(), "left").await.unwrap();
        }
        let gone = ["orphaned operator from=active reason=left"];
        assert_eq!(told(&host, id, &mut seen).await, gone);
        // What an orphan will be is told when it is that.
        one.mark_needs_update("weather", "moved").await.unwrap();
        assert_eq!(told(&host, id, &mut seen).await, [] as [&str; 0]);
        for _ in 0..2 {
            two.restore_access(&alice()).await.unwrap();
        }
        let back = ["reactivated operator to=needs_update"];
        assert_eq!(told(&host, id, &mut seen).await, back);
        one.withdraw_access(&alice(), "left").await.unwrap();
        host.pass(31 * 24 * 3600).await;
        for _ in 0..2 {
            two.reap(id, MONTH).await.unwrap();
        }
        let end = ["orphaned operator from=needs_update reason=left", "reaped system:sweep"];
        assert_eq!(told(&host, id, &mut seen).await, end);

        let (next, mut seen) = (one.upsert(&alice(), &bearer("third")).await.unwrap().id, 0);
        for _ in 0..2 {
            one.revoke(&alice()).await.unwrap();
        }
        let short = ["connect_completed owner ver=1", "token_deleted_revoked owner from=active"];
        assert_eq!(told(&host, next, &mut seen).await, short);
        for event in events(&host, id).await.into_iter().chain(events(&host, next).await) {
            assert_eq!((event.subject, &*event.name), (Subject::Headers, "weather"));
            let who = one.identity_digest(alice().identity());
            assert_eq!((event.owner, &*event.idp_host), (Some(who), ""));
        }
    }
}

/// E-1: the host's own are stored and deleted by whoever runs it.
#[tokio::test]
async fn the_hosts_own_are_its_operators() {
    for host in Host::both().await {
        let own = of(Ok(Identity::admin()), "weather");
        let id = host.one.upsert(&own, &bearer("key")).await.unwrap().id;
        host.one.revoke(&own).await.unwrap();
        let by: Vec<Actor> = events(&host, id).await.iter().map(|event| event.actor).collect();
        assert_eq!(by, [Actor::Operator; 2]);
    }
}

/// E-1: a retry of what was done is told nothing of.
#[tokio::test]
async fn a_retry_is_told_once() {
    for host in Host::both().await {
        let first = host.one.upsert(&alice(), &bearer("first")).await.unwrap();
        let (row, request) =
            (host.one.get(&alice()).await.unwrap().row, RequestId::random().digest());
        let new = NewHeaders {
            id: first.id,
            request,
            binding: host.side.store.find_headers(first.id).await.unwrap().unwrap().name,
            mode: row.mode,
            identity: row.identity,
            client: row.client,
            client_name: "weather",
            secret: b"sealed",
            key: "",
            flow: None,
        };
        let binding = new.binding;
        for _ in 0..2 {
            host.side.store.upsert_headers(new.clone()).await.unwrap();
        }
        let request = RequestId::random().digest();
        for _ in 0..2 {
            host.side.store.withdraw_headers(binding, None, request, "left").await.unwrap();
        }
        let request = RequestId::random().digest();
        for _ in 0..2 {
            host.side.store.restore_headers(binding, None, request).await.unwrap();
        }
        let request = RequestId::random().digest();
        for _ in 0..2 {
            host.side.store.delete_headers(first.id, request).await.unwrap();
        }
        let kinds: Vec<_> =
            events(&host, first.id).await.iter().map(|it| it.kind.as_str()).collect();
        let once = [
            "connect_completed",
            "connect_completed",
            "orphaned",
            "reactivated",
            "token_deleted_revoked",
        ];
        assert_eq!(kinds, once);
    }
}
