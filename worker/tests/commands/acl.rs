//! Row 21: the users that `acl` makes can do what they must, and nothing else.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use redis::{Value, aio::MultiplexedConnection};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use vestibule::{
    RequestId, Vestibule,
    event::{
        Actor, Delivery, DeliveryConfig, EventKind, Filter, LogNotifier, OutboxGroup, Subject,
    },
    inspect::{Inspector, Watch},
    pending::{Completion, Namespace, Pendings, PendingsConfig, Spec, Waited},
    store::{
        EventStore, NewEvent, Shard,
        redis::{Confirmation, RedisConfig, RedisStore},
    },
    sweep::{TrimEvents, TrimHistory},
};

use super::scene::{CANARY, LISTS, PATIENCE, Scene, said, worker};
use crate::support::server::TestServer;

const PASSWORD: &str = "of-a-role";
const ROLES: [&str; 4] = ["library", "worker", "inspector", "operator"];
/// What is sent as a topology, a version or the confirmed level asks for it.
const CLIENT: &[&str] = &[
    "asking",
    "auth",
    "cluster|slots",
    "evalsha",
    "hello",
    "ping",
    "role",
    "script|load",
    "select",
    "unsubscribe",
    "wait",
];

/// Makes the three users by what the command prints.
async fn users(server: &TestServer, prefix: &str) {
    let hash: String = Sha256::digest(PASSWORD).iter().map(|b| format!("{b:02x}")).collect();
    let mut raw = server.raw().await;
    for role in ROLES {
        let args = ["acl", "--role", role, "--hash", &hash, "--prefix", prefix];
        let said = said(worker(&args)).await;
        assert_eq!(said.code, 0, "{said:?}");
        let mut words = said.out.split_whitespace();
        let mut line = redis::cmd(words.next().unwrap());
        let _: () = line.arg(words.collect::<Vec<_>>()).query_async(&mut raw).await.unwrap();
    }
}

fn url(server: &TestServer, role: &str) -> String {
    server.url_as(&format!("vestibule-{role}"), PASSWORD)
}

/// What was refused since the last look, whoever was; a client that says what it is need not be let.
async fn refusals(raw: &mut MultiplexedConnection) -> String {
    let log: Value = redis::cmd("ACL").arg("LOG").arg(1000).query_async(raw).await.unwrap();
    let _: () = redis::cmd("ACL").arg("LOG").arg("RESET").query_async(raw).await.unwrap();
    let Value::Array(entries) = log else { return String::new() };
    let entries = entries.iter().map(|entry| format!("{entry:?}"));
    entries.filter(|entry| !entry.contains("client|setinfo")).collect()
}

async fn used(raw: &mut MultiplexedConnection) -> BTreeSet<String> {
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(raw).await.unwrap();
    let names = stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next());
    names.map(str::to_owned).collect()
}

/// Every command that a role is allowed, and that no script calls, was sent.
async fn expect_exact(raw: &mut MultiplexedConnection, role: &str) {
    let said = said(worker(&["acl", "--role", role, "--json"])).await;
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let used = used(raw).await;
    let scripts = called_by_scripts();
    for command in json[0]["rights"]["commands"].as_array().unwrap() {
        let command = command.as_str().unwrap();
        let by_script = role != "inspector" && scripts.contains(command);
        assert!(
            by_script || CLIENT.contains(&command) || used.contains(command),
            "the {role} is allowed {command}, and never sends it"
        );
    }
}

fn called_by_scripts() -> BTreeSet<String> {
    fn read(dir: &Path, called: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                read(&entry.path(), called);
            } else if entry.path().extension().is_some_and(|it| it == "lua") {
                let text = fs::read_to_string(entry.path()).unwrap();
                let calls = text.split("redis.call('").skip(1);
                called.extend(calls.map(|rest| rest.split('\'').next().unwrap().to_lowercase()));
            }
        }
    }
    let mut called = BTreeSet::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../lua"), &mut called);
    called
}

#[derive(Serialize, Deserialize)]
struct Form;

/// A pending that is waited for by one replica and completed by another.
async fn wait(url: &str, scene: &Scene) {
    let connect = async || {
        let config = RedisConfig::new(url).unwrap().with_prefix(&*scene.prefix).unwrap();
        let vestibule = Vestibule::connect(config, &scene.keys).await.unwrap();
        let pendings: Pendings<Form> = vestibule.pendings(PendingsConfig::default());
        pendings
    };
    let (here, there) = (connect().await, connect().await);
    let id = here.create(&Namespace::default(), &Spec::new("form", Form)).await.unwrap().id;
    let waiting = tokio::spawn(async move { here.wait::<String>(id, PATIENCE).await });
    while there.waiters(id).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let done = there.complete(id, None, &"done").await.unwrap();
    assert!(matches!(done, Completion::Won(_)));
    assert!(matches!(waiting.await.unwrap().unwrap(), Waited::Completed { .. }));
}

/// What is confirmed sends WAIT, and writes a key of its own.
async fn confirm(scene: &Scene) {
    let confirmation = Confirmation { replicas: 0, within: Duration::from_millis(50) };
    let config = RedisConfig::new(&scene.redis).unwrap().with_prefix(&*scene.prefix).unwrap();
    let config = config.with_confirmation(confirmation);
    let vestibule = Vestibule::connect(config, &scene.keys).await.unwrap();
    let pendings: Pendings<Form> = vestibule.pendings(PendingsConfig::default());
    pendings.create(&Namespace::default(), &Spec::new("form", Form)).await.unwrap();
}

/// What the status page and `events --follow` look at.
async fn look(scene: &Scene) {
    let config = RedisConfig::new(&scene.redis).unwrap().with_prefix(&*scene.prefix).unwrap();
    let inspector = Inspector::new(config);
    let (events, mut seen) = inspector.events(None, 0, 10).await.unwrap();
    assert!(!events.is_empty());
    assert!(inspector.news(None, &mut seen).await.unwrap().is_empty());
    let snapshot = Watch::new(inspector).look().await.unwrap();
    assert!(snapshot.refused.is_empty(), "{:?}", snapshot.refused);
}

/// What happens is told, listed and forgotten.
async fn tell(scene: &Scene) {
    let config = RedisConfig::new(&scene.redis).unwrap().with_prefix(&*scene.prefix).unwrap();
    let store = RedisStore::connect(config.clone(), &scene.keys.naming).await.unwrap();
    let vestibule = Vestibule::connect(config, &scene.keys).await.unwrap();
    let (events, group) = (vestibule.events(), OutboxGroup::new("log").unwrap());
    let config = DeliveryConfig::default();
    let delivery = Delivery::new(&events, group, Arc::new(LogNotifier), "acl", config);
    delivery.open().await.unwrap();
    let event = NewEvent {
        kind: EventKind::NeedsReauth,
        subject: Subject::Connection,
        subject_id: "00ffffffffffffffffffffffffffffffff",
        name: "demo",
        owner: None,
        actor: Actor::BackgroundRefresh,
        idp_host: "",
        detail: "",
    };
    store.append_event(Shard::new(0), event, RequestId::random().digest()).await.unwrap();
    let stop = CancellationToken::new();
    assert!(delivery.pass(&stop).await.delivered > 0);
    assert!(!events.list(&Filter::newest(10)).await.unwrap().events.is_empty());
    assert_eq!(TrimEvents::default().pass(&vestibule, &stop).await.errors, 0);
    assert_eq!(TrimHistory::default().pass(&vestibule, &stop).await.errors, 0);
    assert!(events.lags().await.is_ok());
}

/// A library, a worker and a person do all that they do under their own users: not one refusal, and
/// no right that nobody needs.
#[tokio::test]
async fn the_roles_can_do_what_they_must() {
    let server = TestServer::builder().start().await;
    let mut raw = server.raw().await;
    let mut scene = Scene::on(&server.url()).await;
    users(&server, &scene.prefix).await;
    let reset = async |raw: &mut MultiplexedConnection| {
        let _: () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(raw).await.unwrap();
    };

    // The library: sign-ins, vends, pendings, tokens; once more as a Cluster.
    reset(&mut raw).await;
    scene.redis = url(&server, "library");
    let ids = scene.populate(&server).await;
    let host = scene.host().await;
    host.vend(CANARY, &ids.active).await.unwrap();
    host.resume("demo").await.unwrap();
    host.vend(CANARY, &ids.overdue).await.unwrap();
    let page = host.list(CANARY, None, 100).await.unwrap();
    assert_eq!(page.connections.len(), 7);
    wait(&scene.redis, &scene).await;
    let cluster = scene.redis.replacen("redis://", "redis-cluster://", 1);
    wait(&cluster, &scene).await;
    confirm(&scene).await;
    tell(&scene).await;
    assert_eq!(refusals(&mut raw).await, "");
    expect_exact(&mut raw, "library").await;

    // An operator looks first, and then changes something.
    let _ = refusals(&mut raw).await;
    scene.redis = url(&server, "operator");
    let primary = scene.keys.ring.key_ids().next().unwrap().to_string();
    for args in [
        &["cancel", &ids.waited.to_string()][..],
        &["revoke", &ids.token.to_string()],
        &["revoke", ids.failing.as_str()],
        &["orphan", ids.overdue.as_str()],
        &["restore", ids.overdue.as_str()],
        &["retry", ids.exhausted.as_str()],
        &["keys", "rotate", "--at-once"],
        &["keys", "reseal"],
        &["keys", "status"],
    ] {
        assert_eq!(scene.run(args).await.code, 0, "{args:?}");
    }
    // Records that live for a while still need it, which only who looks at all of them knows.
    let kept = scene.run(&["keys", "retire", &primary]).await;
    assert!(kept.err.contains("records that live"), "{kept:?}");
    assert_eq!(refusals(&mut raw).await, "");

    // The worker refreshes what is due, and hears of nothing.
    let _ = refusals(&mut raw).await;
    reset(&mut raw).await;
    scene.redis = url(&server, "worker");
    let mut command = scene.configured(&["run", "--interval-ms", "50", "--admin", "off"]);
    let mut running = command.spawn().unwrap();
    let ver = async || {
        let key = scene.names.connection(&ids.exhausted);
        let ver: Option<String> =
            redis::cmd("HGET").arg(key).arg("ver").query_async(&mut raw.clone()).await.unwrap();
        ver.unwrap()
    };
    let refreshed = async {
        while ver().await != "2" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refreshed).await.expect("refreshed");
    running.kill().await.unwrap();
    tell(&scene).await;
    assert_eq!(refusals(&mut raw).await, "");
    expect_exact(&mut raw, "worker").await;
    // What a worker may not look at is no fault.
    let said = scene.run(&["doctor"]).await;
    assert!(said.code == 0 && said.out.contains("acl --role inspector"), "{said:?}");
    let _ = refusals(&mut raw).await;

    // A person looks at everything.
    reset(&mut raw).await;
    scene.redis = url(&server, "inspector");
    for what in LISTS {
        assert_eq!(scene.look(&["ls", what]).await.code, 0, "{what}");
    }
    for (id, _) in ids.named() {
        assert_eq!(scene.look(&["why", &id]).await.code, 0, "{id}");
    }
    let config = RedisConfig::new(&scene.redis).unwrap().with_prefix(&*scene.prefix).unwrap();
    assert!(Inspector::new(config).sealed_secret(&ids.active).await.unwrap().is_some());
    assert_eq!(scene.run(&["ls", "connections", "--owner", CANARY]).await.code, 0);
    for role in ROLES {
        let user = format!("vestibule-{role}");
        let said = scene.run(&["doctor", "--role", role, "--user", &user, "--json"]).await;
        let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let findings = json["findings"].as_array().unwrap();
        let rights = findings.iter().find(|it| it["about"] == "rights").unwrap();
        assert_eq!(rights["level"], "ok", "{rights}");
    }
    assert_eq!(refusals(&mut raw).await, "");
    let cluster = scene.redis.replacen("redis://", "redis-cluster://", 1);
    scene.redis = cluster;
    let listed = scene.json(&["ls", "connections"]).await;
    assert!(listed["rows"].as_array().unwrap().len() >= 7, "node by node: {listed}");
    let said = scene.run(&["doctor"]).await;
    assert!(said.code == 1 && said.out.contains("lacks what the worker needs"), "{said:?}");
    look(&scene).await;
    assert_eq!(refusals(&mut raw).await, "");
    expect_exact(&mut raw, "inspector").await;
    let changed = scene.run(&["cancel", &ids.waited.to_string()]).await;
    assert!(changed.code == 1 && changed.err.contains("NOPERM"), "{changed:?}");
}

/// What none of them may: about forty commands, of Redis itself and on keys of others.
#[tokio::test]
async fn the_roles_can_do_nothing_else() {
    let server = TestServer::builder().start().await;
    users(&server, "vst").await;
    let forbidden = "KEYS *|FLUSHALL|FLUSHDB|SWAPDB 0 1|CONFIG SET save x|CONFIG REWRITE|CONFIG RESETSTAT|\
        EVAL x 0|SCRIPT FLUSH|SCRIPT KILL|MONITOR|SLOWLOG GET|SLOWLOG RESET|CLIENT KILL TYPE normal|\
        CLIENT LIST|CLIENT PAUSE 1|CLIENT NO-EVICT on|REPLICAOF NO ONE|SAVE|BGSAVE|BGREWRITEAOF|\
        SHUTDOWN NOSAVE|DEBUG SLEEP 0|ACL LIST|ACL SETUSER x|ACL GETUSER default|ACL LOG|\
        MODULE LIST|FUNCTION LIST|CLUSTER RESET|CLUSTER FAILOVER|LATENCY RESET|MIGRATE h 1 k 0 1|\
        RESTORE k 0 x|DUMP vst:{00}:due|SORT vst:{00}:due|COPY vst:{00}:due vst:{00}:x|\
        RENAME vst:{00}:due vst:{00}:x|OBJECT FREQ vst:{00}:due|TOUCH vst:{00}:due|\
        GET other:{00}:conn:1|SET other:{00}:conn:1 x|GET vst|SET vst:other x|SUBSCRIBE other|\
        PSUBSCRIBE *|PUBLISH other x|SYNC|PSYNC ? -1";
    let of_one = [
        (
            "worker",
            "GET vst:{00}:pending:x|SET vst:{00}:pkce:x y|GET vst:{00}:pending:x|\
            SUBSCRIBE vst:wake|SCAN 0|EVALSHA 0 1 vst:{00}:token:x",
        ),
        (
            "inspector",
            "SET vst:{00}:pkce:x y|EVALSHA 0 1 vst:{00}:conn:x|HSET vst:{00}:conn:x a b|\
            PUBLISH vst:wake x|SCRIPT LOAD x|DEL vst:{00}:conn:x|WAIT 1 1",
        ),
        (
            "library",
            "SCAN 0|CONFIG GET save|ACL DRYRUN default get x|DEL vst:{00}:due|\
            PUBLISH other:wake x",
        ),
        (
            "operator",
            "SET vst:other:x y|DEL vst:{00}:due|CONFIG SET maxmemory 1|PUBLISH other:wake x",
        ),
    ];
    for (role, own) in of_one {
        let client = redis::Client::open(url(&server, role)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut tried = 0;
        for line in forbidden.split('|').chain(own.split('|')) {
            let words: Vec<_> = line.split_whitespace().collect();
            let reply: redis::RedisResult<Value> =
                redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await;
            let said = reply.and_then(Value::extract_error).expect_err(line).to_string();
            assert!(
                said.contains("NOPERM") || said.contains("no permissions"),
                "{role}: {line}: {said}"
            );
            tried += 1;
        }
        assert!(tried >= 40, "{tried}");
    }
}
