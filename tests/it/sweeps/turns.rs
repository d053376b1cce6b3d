//! Turns at sweeping, as people and late replicas meet them; and a Redis that fails amid a pass.

use std::time::Duration;

use redis::AsyncCommands;
use tokio_util::sync::CancellationToken;
use vestibule::{
    store::{BeginTurn, EndTurn, Shard, SweepName, Turn, TurnEnd},
    sweep::{Budget, Expired, Orphans, Reseal},
    token::{MintSpec, Scope, Scopes},
};

use crate::{
    lifecycle::Host,
    support::{server, verbs},
};

const SHARD: u8 = 0x2a;

fn begin(request: vestibule::Digest) -> BeginTurn {
    BeginTurn {
        sweep: SweepName::Orphans,
        shard: Shard::new(SHARD),
        request,
        lease: Duration::from_secs(60),
        not_within: Duration::from_secs(3600),
    }
}

fn end(request: vestibule::Digest, cursor: Option<&str>) -> EndTurn<'_> {
    let (sweep, shard) = (SweepName::Orphans, Shard::new(SHARD));
    EndTurn { sweep, shard, request, cursor, found: 3, done: 2 }
}

/// H-10: with redis-cli it is seen when a sweep was last done, and what it did.
#[tokio::test]
async fn a_round_is_seen_in_redis() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    let key = format!("{}:{{2a}}:sweep:orphans", host.side.prefix());
    let store = &host.side.store;
    let [one, two, three] = [verbs::request(), verbs::request(), verbs::request()];
    store.begin_turn(begin(one)).await.unwrap();
    assert_eq!(store.end_turn(end(one, Some("17"))).await.unwrap(), TurnEnd::Ended);
    let last: Option<u64> = raw.hget(&key, "last_at").await.unwrap();
    assert_eq!(last, None, "the round is not over");
    let turn = store.begin_turn(begin(two)).await.unwrap();
    assert_eq!(turn, Turn::Begun { cursor: "17".to_owned() });
    assert_eq!(store.end_turn(end(two, None)).await.unwrap(), TurnEnd::Ended);
    assert_eq!(store.end_turn(end(two, None)).await.unwrap(), TurnEnd::Ended, "a retry");
    let counts: (u64, u64, Option<u64>, Option<String>, Option<String>) =
        raw.hmget(&key, &["found", "done", "last_at", "cursor", "holder"]).await.unwrap();
    let (found, done, last, cursor, holder) = counts;
    assert_eq!((found, done, cursor, holder), (6, 4, None, None));
    assert!(last.is_some());
    assert!(raw.pttl::<_, i64>(&key).await.unwrap() > 6 * 24 * 3_600_000);
    assert!(matches!(store.begin_turn(begin(three)).await.unwrap(), Turn::Recent { .. }));
}

/// A holder that was paused past its lease cannot overwrite what its successor does.
#[tokio::test]
async fn a_late_holder_ends_nothing() {
    for host in Host::both().await {
        let store = &host.side.store;
        let [late, next] = [verbs::request(), verbs::request()];
        store.begin_turn(begin(late)).await.unwrap();
        assert!(matches!(store.begin_turn(begin(next)).await.unwrap(), Turn::Held { .. }));
        host.pass(61).await;
        assert!(matches!(store.begin_turn(begin(next)).await.unwrap(), Turn::Begun { .. }));
        assert_eq!(store.end_turn(end(late, None)).await.unwrap(), TurnEnd::Lost);
        assert_eq!(store.end_turn(end(next, None)).await.unwrap(), TurnEnd::Ended);
    }
}

/// Bad input: a turn's record that is damaged is mended by the next turn.
#[tokio::test]
async fn a_damaged_turn_is_begun_anew() {
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    let key = format!("{}:{{2a}}:sweep:orphans", host.side.prefix());
    for (field, value) in [
        ("lease_ends_at", &b"9999999999999999"[..]),
        ("lease_ends_at", b"soon"),
        ("last_at", b"then"),
        ("last_at", b"9999999999999"),
        ("found", b"many"),
        ("cursor", b"\xff\xfe"),
        ("cursor", b"18446744073709551615"),
    ] {
        let _: () = raw.del(&key).await.unwrap();
        let _: () = raw.hset(&key, field, value).await.unwrap();
        let request = verbs::request();
        let turn = host.side.store.begin_turn(begin(request)).await.unwrap();
        assert!(matches!(turn, Turn::Begun { .. }), "{field} {value:?}: {turn:?}");
        assert_eq!(host.side.store.end_turn(end(request, None)).await.unwrap(), TurnEnd::Ended);
        // A whole pass comes past it, too.
        let budget = Budget::default();
        let (stop, retention) = (CancellationToken::new(), Duration::from_secs(1));
        for sweep in ["orphans", "reseal"] {
            let key = format!("{}:{{2a}}:sweep:{sweep}", host.side.prefix());
            let _: () = raw.del(&key).await.unwrap();
            let _: () = raw.hset(&key, field, value).await.unwrap();
            let swept = match sweep {
                "orphans" => Orphans { retention, budget }.pass(&host.vestibule, &stop).await,
                _ => Reseal { budget }.pass(&host.vestibule, &stop).await,
            };
            assert_eq!((swept.errors, swept.shards), (0, 256), "{sweep} {field}: {swept:?}");
        }
    }
}

/// T-9: expired tokens are counted once, by whoever comes first; what lives stays valid.
#[tokio::test]
async fn expired_tokens_are_taken_off_their_indexes_once() {
    for host in Host::both().await {
        let scopes = Scopes::new();
        let scope = Scope::new("page").with_route("GET", "/page");
        scopes.register(scope.with_max_ttl(Duration::from_secs(7200))).unwrap();
        let tokens = host.vestibule.temp_tokens(scopes);
        let mint = async |resource: &str, seconds| {
            let spec = MintSpec::new("page", resource, Duration::from_secs(seconds));
            tokens.mint(&spec).await.unwrap().token
        };
        let lives = mint("a", 7200).await;
        for resource in ["a", "b"] {
            for _ in 0..5 {
                mint(resource, 10).await;
            }
        }
        host.pass(20).await;
        let stop = CancellationToken::new();
        let mut sweep = Expired::new(tokens.clone());
        assert_eq!(sweep.pass(&host.vestibule, &stop).await.found, 0, "they are in their grace");
        sweep.age = Duration::from_secs(5);
        sweep.budget.not_within = Duration::from_secs(60);
        // The pass before was one as well.
        assert_eq!(sweep.pass(&host.vestibule, &stop).await.recent, 256);
        host.pass(61).await;
        let dry = Expired { budget: Budget { dry_run: true, ..sweep.budget }, ..sweep.clone() };
        let counted = dry.pass(&host.vestibule, &stop).await;
        assert_eq!((counted.found, counted.done), (5, 0), "{counted:?}");
        let swept = sweep.pass(&host.vestibule, &stop).await;
        // Those of an index without any that lives are gone with it.
        assert_eq!((swept.found, swept.done, swept.errors), (5, 5, 0), "{swept:?}");
        assert!(tokens.validate(lives.secret(), "GET", "/page", None).await.is_ok());
        host.pass(61).await;
        assert_eq!(sweep.pass(&host.vestibule, &stop).await.found, 0);
    }
}

/// A Redis that does not answer is seen by the pass, which ends soon, and by the next.
#[tokio::test]
async fn a_redis_that_is_away_ends_the_pass() {
    let server = server::TestServer::builder().start().await;
    let store = crate::support::stores::store(&server, "vst").await;
    let keys = crate::properties::pkce::shared_keys();
    let seal = vestibule::seal::Seal::new(keys.ring.clone());
    let vestibule = vestibule::Vestibule::assemble(store, seal, &keys);
    let mut raw = server.raw().await;
    // Not a kill: each verb would wait for its whole deadline.
    let user = server.user();
    for command in [&*format!("ACL SETUSER {user} -evalsha"), "CLIENT KILL TYPE pubsub"] {
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        cmd.arg(words.collect::<Vec<_>>());
        let _: Result<redis::Value, _> = cmd.query_async(&mut raw).await;
    }
    let stop = CancellationToken::new();
    let swept = Orphans::default().pass(&vestibule, &stop).await;
    assert_eq!((swept.errors, swept.shards, swept.unfinished), (1, 0, true), "{swept:?}");
    let _: () = redis::cmd("ACL")
        .arg(&["SETUSER", &*user, "+evalsha"])
        .query_async(&mut raw)
        .await
        .unwrap();
    let swept = Orphans::default().pass(&vestibule, &stop).await;
    assert_eq!((swept.errors, swept.shards), (0, 256), "{swept:?}");
    let refused = server.refused();
    assert!(
        refused.iter().all(|it| it.contains(" evalsha ")) && !refused.is_empty(),
        "{refused:?}"
    );
}
