//! what an older key sealed is sealed anew, and a key that is in use is not taken away. What
//! races at full size is in `prove_rotation`.

use redis::AsyncCommands;
use tokio_util::sync::CancellationToken;
use vestibule::{
    Digest, Keys, Vestibule,
    connection::{Connections, ReplayPolicy},
    headers::{Binding, HeaderCredentials, Headers, HeadersConfig, Identity},
    seal::{self, KeyInUse, KeyRing, Seal, SealingKey},
    store::{
        self, Commit, CommitOutcome, ConnectionId, NewCredential, Resealed, SealedName, SealedOf,
        SealedPage, Stored,
    },
    sweep::{Budget, Reseal, Swept},
    token::Scopes,
};

use super::Fields;
use crate::{
    lifecycle::{Host, granted},
    properties::{
        connections::{connections_of, connector},
        pkce::shared_keys,
    },
    support::{
        logs, server,
        verbs::{
            LEASE, answer, attempt, begin_as, connection, credential, digest, owner_of, request,
        },
    },
};

/// A process of the same host whose ring has these keys, the first of which seals.
struct Replica {
    vestibule: Vestibule,
    connections: Connections,
    headers: HeaderCredentials,
    seal: Seal,
    prefix: String,
}

/// What is sealed here.
#[derive(serde::Serialize, serde::Deserialize)]
struct Body {
    text: String,
}

fn key(number: u8) -> SealingKey {
    SealingKey::new([number; 32])
}

fn number(of: u8) -> u32 {
    key(of).id().number()
}

impl Host {
    fn with_ring(&self, ring: &[u8]) -> Replica {
        let ring = KeyRing::new(ring.iter().map(|number| key(*number)).collect()).unwrap();
        let keys = Keys { ring: ring.clone(), ..shared_keys() };
        let seal = Seal::new(ring);
        let vestibule = Vestibule::assemble(self.side.store.clone(), seal.clone(), &keys);
        let connector = connector("http://127.0.0.1:9", ReplayPolicy::Strict);
        let connections = connections_of(&vestibule, connector);
        let tokens = vestibule.temp_tokens(Scopes::new());
        let headers = vestibule.header_credentials(HeadersConfig::new(tokens));
        Replica { vestibule, connections, headers, seal, prefix: self.side.prefix().to_owned() }
    }

    /// A connection's own record, on Redis.
    async fn fields(&self, id: &ConnectionId) -> Fields {
        self.side.raw().hgetall(self.key(id)).await.unwrap()
    }

    async fn index(&self, member: &str, score: f64) {
        let shard = &member.split(':').nth(1).unwrap()[..2];
        let index = format!("{}:{{{shard}}}:sealed", self.side.prefix());
        let _: () = self.side.raw().zadd(index, member, score).await.unwrap();
    }
}

impl Replica {
    async fn stored(&self, owner: &str) -> ConnectionId {
        self.connections.store(owner, "demo", None, &granted("first")).await.unwrap()
    }

    async fn vended(&self, owner: &str, id: &ConnectionId) -> bool {
        match self.connections.vend(owner, id).await {
            Ok(vended) => vended.access_token.secret() == "first",
            Err(_) => false,
        }
    }

    async fn pass(&self) -> Swept {
        self.pass_with(Budget::default()).await
    }

    async fn pass_with(&self, budget: Budget) -> Swept {
        Reseal { budget }.pass(&self.vestibule, &CancellationToken::new()).await
    }

    async fn sealed_by(&self, number: u8) -> u64 {
        self.vestibule.key_usage().await.unwrap().secrets(key(number).id())
    }

    /// A credential, sealed for its record.
    async fn sealed(&self, id: &ConnectionId, text: &str) -> Vec<u8> {
        let place = place(id, owner_of(id), "demo");
        let body = Body { text: text.to_owned() };
        self.seal.seal_long(self.binding(&place), &body).await.unwrap()
    }

    fn binding<'a>(&'a self, place: &'a str) -> seal::Binding<'a> {
        seal::Binding { purpose: "credential", prefix: &self.prefix, name: place.as_bytes() }
    }

    /// What is sealed under this name, if it opens.
    async fn opened(&self, host: &Host, name: &SealedName) -> Option<String> {
        let found = host.side.store.read_sealed(name).await.unwrap()?;
        let SealedOf::Connection { owner, connector } = &found.of else { panic!("{:?}", found.of) };
        let (SealedName::Connection(id) | SealedName::Sibling(id) | SealedName::OlderSibling(id)) =
            name
        else {
            panic!("{name}")
        };
        let place = place(id, *owner, connector);
        let opened = self.seal.open_long(self.binding(&place), &found.sealed).await;
        let Body { text } = opened.inspect_err(|error| println!("{name}: {error}")).ok()?;
        Some(text)
    }

    /// A connection with two siblings, which overlapping exchanges bring.
    async fn with_siblings(&self, host: &Host) -> ConnectionId {
        let id = connection();
        let secret = self.sealed(&id, "first").await;
        let new = NewCredential {
            sealed_by: self.seal.sealed_by().number(),
            secret: &secret,
            ..credential(&id, request())
        };
        assert_eq!(
            host.side.store.store_credential(new).await.unwrap(),
            Stored::Stored { grant: 1 }
        );
        let mut begun = Vec::new();
        for _ in 0..3 {
            begun.push(begin_as(&*host.side.store, attempt(&id, request())).await);
            host.pass(LEASE.as_secs() + 1).await;
        }
        for (at, begun) in (1_u8..).zip(&begun) {
            let secret = self.sealed(&id, &format!("answer {at}")).await;
            let commit = Commit {
                secret: &secret,
                refresh_token: Some(digest(at)),
                expires_in: None,
                next_in: None,
                // The later the better.
                answered_ago: LEASE - std::time::Duration::from_secs(at.into()),
                sealed_by: self.seal.sealed_by().number(),
                ..answer(&id, begun, request())
            };
            let committed = host.side.store.commit(commit).await.unwrap();
            assert!(matches!(committed, CommitOutcome::Committed { .. }), "{committed:?}");
        }
        id
    }
}

fn place(id: &ConnectionId, owner: Digest, connector: &str) -> String {
    format!("{id}:{owner}:{connector}")
}

fn all_of(id: &ConnectionId) -> [SealedName; 3] {
    let id = || id.clone();
    [SealedName::Connection(id()), SealedName::Sibling(id()), SealedName::OlderSibling(id())]
}

fn alice() -> Binding {
    Binding::new(Identity::user("alice").unwrap(), "weather").unwrap()
}

/// after one pass nothing is sealed by the old key, and everything opens without it; nothing but
/// the ciphertext and the key's name is another.
#[tokio::test]
async fn one_pass_frees_the_old_key() {
    for host in Host::both().await {
        let (old, both) = (host.with_ring(&[1]), host.with_ring(&[2, 1]));
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(old.stored("alice").await);
        }
        let with_siblings = old.with_siblings(&host).await;
        let headers = Headers::new([("Authorization", "Bearer one")]).unwrap();
        old.headers.upsert(&alice(), &headers).await.unwrap();
        let fresh = both.stored("alice").await;
        assert_eq!((old.sealed_by(1).await, both.sealed_by(2).await), (24, 1));
        let before = match host.side.is_redis() {
            true => Some(host.fields(&with_siblings).await),
            false => None,
        };

        let dry = both.pass_with(Budget { dry_run: true, ..Budget::default() }).await;
        assert_eq!((dry.found, dry.done, both.sealed_by(1).await), (24, 0, 24), "{dry:?}");
        let swept = both.pass().await;
        assert_eq!(
            (swept.found, swept.done, swept.left, swept.errors),
            (24, 24, 0, 0),
            "{swept:?}"
        );
        let usage = both.vestibule.key_usage().await.unwrap();
        assert_eq!((usage.secrets(key(1).id()), usage.secrets(key(2).id())), (0, 25));
        assert_eq!((usage.behind(), usage.may_retire(key(1).id())), (0, Ok(())));

        let new = host.with_ring(&[2]);
        for id in ids.iter().chain([&fresh]) {
            assert!(new.vended("alice", id).await);
        }
        for (name, text) in all_of(&with_siblings).iter().zip(["answer 3", "answer 2", "answer 1"])
        {
            assert_eq!(new.opened(&host, name).await.as_deref(), Some(text), "{name}");
        }
        let found = new.headers.get(&alice()).await.unwrap();
        assert_eq!(found.headers.get("authorization").unwrap().secret(), "Bearer one");
        if let Some(mut before) = before {
            let mut after = host.fields(&with_siblings).await;
            for prefix in ["", "alt_", "alt2_"] {
                let (secret, by) = (format!("{prefix}secret"), format!("{prefix}key"));
                assert_ne!(before.remove(&secret), after.remove(&secret));
                assert_eq!(after.remove(&by), Some(key(2).id().to_string().into_bytes()));
                before.remove(&by);
            }
            assert_eq!(before, after);
        }
        let again = both.pass().await;
        assert_eq!((again.found, again.shards), (0, 256), "{again:?}");
    }
}

/// what has changed since it was read is left to whoever changed it; and a retry is one.
#[tokio::test]
async fn what_came_meanwhile_stays() {
    for host in Host::both().await {
        let (old, both) = (host.with_ring(&[1]), host.with_ring(&[2, 1]));
        let id = old.stored("alice").await;
        let name = SealedName::Connection(id.clone());
        let read = host.side.store.read_sealed(&name).await.unwrap().unwrap();
        let reseal = store::Reseal {
            name: &name,
            request: request(),
            old: &read.sealed,
            new: b"sealed anew",
            sealed_by: number(2),
        };
        both.connections.store("alice", "demo", Some(&id), &granted("first")).await.unwrap();
        let stays = host.side.store.read_sealed(&name).await.unwrap().unwrap();
        for _ in 0..2 {
            assert_eq!(host.side.store.reseal(reseal).await.unwrap(), Resealed::Changed);
            assert_eq!(host.side.store.read_sealed(&name).await.unwrap().unwrap(), stays);
        }
        assert!(host.with_ring(&[2]).vended("alice", &id).await);

        let reseal = store::Reseal { old: &stays.sealed, ..reseal };
        for _ in 0..2 {
            assert_eq!(host.side.store.reseal(reseal).await.unwrap(), Resealed::Resealed);
        }
        both.connections.delete("alice", &id).await.unwrap();
        assert_eq!(host.side.store.reseal(reseal).await.unwrap(), Resealed::Absent);
        assert_eq!(both.sealed_by(2).await, 0);
    }
}

/// Bad input: what does not open, or is none of ours, is left and named, and holds up nothing, also
/// where it comes first and a turn ends amid it.
#[tokio::test]
async fn what_does_not_open_holds_up_nothing() {
    let logs = logs::capture();
    let host = Host::redis().await;
    let mut raw = server::shared().await.raw().await;
    let (lost, old, both) = (host.with_ring(&[9]), host.with_ring(&[1]), host.with_ring(&[2, 1]));
    let [altered, moved, wrong, unknown, nobodys] = [
        old.stored("alice").await,
        old.stored("alice").await,
        old.stored("alice").await,
        lost.stored("alice").await,
        old.stored("alice").await,
    ];
    let _: () = raw.hset(host.key(&altered), "secret", "not sealed").await.unwrap();
    let _: () = raw.hset(host.key(&moved), "connector", "github").await.unwrap();
    let _: () = raw.hdel(host.key(&nobodys), "owner").await.unwrap();
    let _: () = raw.del(host.key(&wrong)).await.unwrap();
    let _: () = raw.set(host.key(&wrong), "x").await.unwrap();
    // Of another shard, of no kind, of no key, in front of all others.
    host.index(&format!("conn:2a{}", &altered.as_str()[2..]), -1.0).await;
    host.index("novelty:00ff", f64::INFINITY).await;
    host.index("conn:0000", f64::NEG_INFINITY).await;
    let mut ids = Vec::new();
    // All of one owner, and so of the shard in which something is wrong.
    for _ in 0..45 {
        ids.push(old.stored("alice").await);
    }
    let mut done = 0;
    for round in 0.. {
        let swept = both.pass_with(Budget { limit: 3, ..Budget::default() }).await;
        done += swept.done;
        if done == ids.len() as u64 {
            break;
        }
        assert!(round < 100, "held up: {swept:?}");
    }
    // The first goes on where the turns before ended.
    both.pass().await;
    let swept = both.pass().await;
    assert!(swept.left >= 7 && swept.done == 0 && swept.errors == 0, "{swept:?}");
    let new = host.with_ring(&[2]);
    for id in &ids {
        assert!(new.vended("alice", id).await, "{id}");
    }
    for id in [&altered, &moved, &wrong, &unknown, &nobodys] {
        let told = |line: &&str| line.contains("not sealed anew") && line.contains(id.as_str());
        assert!(logs.text().lines().any(|line| told(&line)), "{id} is named");
    }
    // None of it was changed.
    let secret: String = raw.hget(host.key(&altered), "secret").await.unwrap();
    assert_eq!(secret, "not sealed");
}

/// an index that says what is not so is mended, in either direction, on the way.
#[tokio::test]
async fn an_index_that_is_wrong_is_mended() {
    let host = Host::redis().await;
    let (old, both) = (host.with_ring(&[1]), host.with_ring(&[2, 1]));
    let id = both.stored("alice").await;
    let deleted = both.stored("alice").await;
    both.connections.delete("alice", &deleted).await.unwrap();
    let fields = host.fields(&id).await;
    for member in [format!("conn:{id}"), format!("alt:{id}"), format!("alt2:{deleted}")] {
        host.index(&member, number(1).into()).await;
    }
    assert_eq!(old.sealed_by(1).await, 3);
    let swept = both.pass().await;
    assert_eq!((swept.found, swept.left, swept.errors), (3, 0, 0), "{swept:?}");
    assert_eq!((both.sealed_by(1).await, both.sealed_by(2).await), (0, 1));
    let after = host.fields(&id).await;
    assert!(fields.keys().eq(after.keys()) && host.with_ring(&[2]).vended("alice", &id).await);
}

/// each of two siblings counts for its own key, whichever is older: a ring that is rolled out
/// seals with both keys for a while.
#[tokio::test]
async fn every_sibling_counts() {
    for host in Host::both().await {
        let (old, both) = (host.with_ring(&[1]), host.with_ring(&[2, 1]));
        let id = old.with_siblings(&host).await;
        let name = SealedName::OlderSibling(id.clone());
        let read = host.side.store.read_sealed(&name).await.unwrap().unwrap();
        let new = both.sealed(&id, "answer 1").await;
        let reseal = store::Reseal {
            name: &name,
            request: request(),
            old: &read.sealed,
            new: &new,
            sealed_by: number(2),
        };
        assert_eq!(host.side.store.reseal(reseal).await.unwrap(), Resealed::Resealed);
        assert_eq!((both.sealed_by(1).await, both.sealed_by(2).await), (2, 1));
        let page = SealedPage { shard: id.shard(), not_by: number(2), skip: 0, limit: 10 };
        let mut listed = host.side.store.list_sealed(page).await.unwrap();
        listed.sort();
        let names: Vec<_> = listed.into_iter().map(|record| record.name).collect();
        assert_eq!(names, all_of(&id)[..2]);
        let skipped = SealedPage { skip: 1, ..page };
        assert_eq!(host.side.store.list_sealed(skipped).await.unwrap().len(), 1);
    }
}

/// a key that is in use is not retired, and a ring without it is found out before anything fails
/// to open; the error tells how many secrets need it.
#[tokio::test]
async fn a_key_in_use_is_kept() {
    for host in Host::both().await {
        let (old, both, new) =
            (host.with_ring(&[1]), host.with_ring(&[2, 1]), host.with_ring(&[2]));
        for _ in 0..3 {
            old.stored("alice").await;
        }
        let (id, secrets) = (key(1).id(), 3);
        let usage = both.vestibule.key_usage().await.unwrap();
        assert_eq!(usage.may_retire(id), Err(KeyInUse::Secrets { key: id, secrets }));
        assert_eq!(usage.check(), Ok(()));
        let early = new.vestibule.key_usage().await.unwrap();
        assert_eq!(early.check(), Err(KeyInUse::Missing { key: id, secrets }));
        both.pass().await;
        assert_eq!(new.vestibule.key_usage().await.unwrap().check(), Ok(()));
    }
}

/// H-10: replicas share a round: nothing is sealed anew twice.
#[tokio::test]
async fn replicas_share_a_round() {
    let host = Host::redis().await;
    let old = host.with_ring(&[1]);
    for _ in 0..100 {
        old.stored("alice").await;
    }
    let replicas = [host.with_ring(&[2, 1]), host.with_ring(&[2, 1]), host.with_ring(&[2, 1])];
    let not_within = std::time::Duration::from_secs(600);
    let passes = replicas
        .iter()
        .map(|replica| replica.pass_with(Budget { not_within, ..Budget::default() }));
    let swept = futures_util::future::join_all(passes).await;
    let sum = |of: fn(&Swept) -> u64| swept.iter().map(of).sum::<u64>();
    assert_eq!((sum(|it| it.found), sum(|it| it.done), sum(|it| it.changed)), (100, 100, 0));
    assert_eq!(sum(|it| it.shards), 256, "{swept:?}");
}
