//! Header credentials against the bare commands: read, stored, listed and asked for, beside ten
//! thousand and beside a million.

use std::{sync::Arc, time::Instant};

use futures_util::{StreamExt, stream};
use redis::{aio::MultiplexedConnection, cmd, pipe};
use vestibule::{
    Keys,
    headers::{Binding, HeaderCredentials, Headers, HeadersConfig, Identity},
    token::{LinkBase, Scopes},
};

use crate::{
    Scale,
    contestants::{replica, shared},
    pendings::timed,
    rounds::{Medians, Work, load, take_turns, work},
    store::grows,
    support::server::TestServer,
    table::{Reach::AtMost, Table},
};

const TASKS: usize = 64;
const ROUNDS: usize = 7;
const CLIENT: &str = "weather";
/// So many are the library's own, and read and stored; the others have its layout only.
const WORKED: u64 = 1_000;
/// What one takes sealed, and what the plain commands keep in the open.
const SEALED: usize = 330;
/// The fields that a read asks for.
const FIELDS: [&str; 13] = [
    "status",
    "reason",
    "status_at",
    "was",
    "mode",
    "identity",
    "client",
    "name",
    "binding",
    "created_at",
    "updated_at",
    "ver",
    "secret",
];

/// One at a time: what a caller waits for. Plain code that keeps a stable id for a binding has two
/// commands to read one, the second of which needs the first's answer; the second alone is what no
/// reader could do without.
pub async fn one_at_a_time(table: &mut Table, scale: Scale) {
    const IN_A_ROW: usize = 25;
    const VERBS: [[&str; 2]; 3] = [
        ["get by binding, opened, p50", "GET of its id, then HMGET of the same fields, p50"],
        ["get by binding, opened, p50", "HMGET alone of the same fields, p50"],
        ["list a page of 100, p50", "ZRANGE, then 100 HMGET in one pipeline, p50"],
    ];
    let beside = Beside::new(scale.count(10_000)).await;
    let (credentials, plain) = (&beside.credentials, &beside.plain);
    let mut medians = Medians::new();
    for round in 0..=ROUNDS {
        let mut samples = [(); 3].map(|()| [Vec::new(), Vec::new()]);
        let end = Instant::now() + scale.time(600);
        let mut number = 0;
        while Instant::now() < end {
            let numbers = number..number + IN_A_ROW as u64;
            number = numbers.end;
            let [gets, reads, lists] = &mut samples;
            for number in numbers.clone() {
                let got = timed(&mut gets[0], credentials.get(&binding(number % WORKED))).await;
                assert_eq!(got.unwrap().row.ver, 1);
            }
            for number in numbers.clone() {
                timed(&mut gets[1], plain.get(number % WORKED)).await;
            }
            for number in numbers {
                timed(&mut reads[1], plain.read(&Plain::id(number % WORKED))).await;
            }
            timed(&mut lists[0], credentials.list(CLIENT, None, None, 100)).await.unwrap();
            timed(&mut lists[1], plain.page()).await;
        }
        samples[1][0] = samples[0][0].clone();
        medians.add(round, samples);
    }
    for (at, ([what, against], (ratio, [ours, plain]))) in
        VERBS.into_iter().zip(medians.compared()).enumerate()
    {
        let (row, measured) =
            (["headers", what, against], format!("{ours:.0} against {plain:.0} µs"));
        if at == 0 {
            table.judge(row, ratio, AtMost(1.3), &measured);
        } else {
            table.compare(row, ratio, &measured);
        }
    }
}

/// Many at a time, and whether it matters how many credentials there are.
pub async fn under_load(table: &mut Table, scale: Scale) {
    // The last is more than 2^21 keys: below, Redis would grow its tables while it is measured.
    let sizes = [10_000, 1_000_000].map(|size| scale.count(size));
    let all = [Beside::new(sizes[0]).await, Beside::new(sizes[1]).await];
    for beside in &all {
        while grows(&beside.server).await {
            load(TASKS, scale.time(300), &beside.getting()).await;
        }
    }
    let works: Vec<_> = all
        .iter()
        .flat_map(|beside| {
            let plain = [beside.plain.getting(), beside.plain.storing()];
            [beside.getting(), beside.storing()].into_iter().chain(plain)
        })
        .collect();
    let rounds = take_turns(TASKS, scale.time(400), ROUNDS, &works).await;
    let kops = |one: usize| rounds.per_second(one) / 1000.0;
    for (at, size) in sizes.iter().enumerate() {
        for (verb, what, against) in [
            (0, "get by binding, opened", "GET of its id, then HMGET, same client"),
            (1, "upsert, sealed, idempotent, indexed", "SET + HSET in one pipeline, same client"),
        ] {
            let (ours, plain) = (at * 4 + verb, at * 4 + verb + 2);
            table.compare(
                ["headers", &format!("{what}, {TASKS} tasks, beside {size}"), against],
                rounds.speed(ours, plain),
                &format!("{:.1} k against {:.1} k/s", kops(ours), kops(plain)),
            );
        }
    }
    for (verb, what) in [(0, "get by binding"), (1, "upsert")] {
        let (few, many) = (verb, verb + 4);
        table.judge(
            [
                "headers",
                &format!("{what}, time of one beside {}", sizes[1]),
                &format!("beside {}", sizes[0]),
            ],
            rounds.speed(few, many),
            AtMost(1.2),
            &format!("{:.1} against {:.1} µs, {TASKS} tasks", 1e3 / kops(many), 1e3 / kops(few)),
        );
    }
}

/// A submission is asked for, and asked for again; plain code sets a key if it is not there, and reads
/// and extends the one that is.
pub async fn asking(table: &mut Table, scale: Scale) {
    let server = TestServer::for_benches().start().await;
    let credentials = credentials(&server).await;
    let ours = work(move |number| {
        let credentials = credentials.clone();
        async move {
            let base = LinkBase::parse("https://app.example/").unwrap();
            let first = credentials.initiate(&binding(number), &base).await.unwrap();
            let second = credentials.initiate(&binding(number), &base).await.unwrap();
            assert!(first.flow == second.flow && second.joined);
        }
    });
    let connection = shared(&server).await;
    let plain = work(move |number| {
        let mut connection = connection.clone();
        async move {
            const LIFE: u64 = 900_000;
            let key = format!("plain:flow:{number}");
            for id in 0..2 {
                let mut ask = cmd("SET");
                ask.arg(&key).arg(format!("{id:064}")).arg("NX").arg("PX").arg(LIFE);
                let is_new: bool = ask.query_async(&mut connection).await.unwrap();
                if !is_new {
                    let (found, _): (String, u64) = pipe()
                        .get(&key)
                        .cmd("PEXPIRE")
                        .arg(&key)
                        .arg(LIFE)
                        .query_async(&mut connection)
                        .await
                        .unwrap();
                    assert_eq!(found.len(), 64);
                }
            }
        }
    });
    let rounds = take_turns(TASKS, scale.time(500), ROUNDS, &[ours, plain]).await;
    let kops = |one: usize| rounds.per_second(one) * 2.0 / 1000.0;
    table.compare(
        [
            "headers",
            &format!("find or refresh a submission flow, sealed, {TASKS} tasks"),
            "SET NX PX, or GET + PEXPIRE, same client",
        ],
        rounds.speed(0, 1),
        &format!("{:.1} k against {:.1} k/s", kops(0), kops(1)),
    );
}

/// A server with so many credentials for one client, the latest of which are read and stored.
struct Beside {
    server: TestServer,
    credentials: HeaderCredentials,
    plain: Plain,
}

impl Beside {
    async fn new(size: usize) -> Self {
        let server = TestServer::for_benches().start().await;
        let credentials = credentials(&server).await;
        let plain = Plain { connection: shared(&server).await };
        // One there is before: what is filled in is for the same client.
        credentials.upsert(&binding(0), &headers()).await.unwrap();
        let mut raw = server.raw().await;
        let clients: Vec<String> =
            cmd("KEYS").arg("vst:{*}:client:*").query_async(&mut raw).await.unwrap();
        let client = clients[0].rsplit(':').next().unwrap().to_owned();
        fill(&mut raw, &client, size.saturating_sub(WORKED as usize)).await;
        stream::iter(0..WORKED)
            .for_each_concurrent(TASKS, async |number| {
                if number > 0 {
                    credentials.upsert(&binding(number), &headers()).await.unwrap();
                }
                plain.store(number).await;
            })
            .await;
        plain.index().await;
        Self { server, credentials, plain }
    }

    fn getting(&self) -> Work {
        let credentials = self.credentials.clone();
        work(move |number| {
            let credentials = credentials.clone();
            async move {
                let got = credentials.get(&binding(number % WORKED)).await.unwrap();
                assert_eq!(got.headers.iter().count(), 2);
            }
        })
    }

    fn storing(&self) -> Work {
        let (credentials, headers) = (self.credentials.clone(), Arc::new(headers()));
        work(move |number| {
            let (credentials, headers) = (credentials.clone(), headers.clone());
            async move {
                let stored = credentials.upsert(&binding(number % WORKED), &headers).await.unwrap();
                assert!(stored.ver > 1);
            }
        })
    }
}

async fn credentials(server: &TestServer) -> HeaderCredentials {
    let vestibule = replica(server, &Keys::random()).await;
    vestibule.header_credentials(HeadersConfig::new(vestibule.temp_tokens(Scopes::new())))
}

/// A person's, who has a session: no token is minted for a link.
fn binding(number: u64) -> Binding {
    Binding::new(Identity::user(format!("person-{number}@example.com")).unwrap(), CLIENT).unwrap()
}

fn headers() -> Headers {
    let bearer = format!("Bearer {}", "k".repeat(48));
    Headers::new([("Authorization", bearer), ("X-Team", "red".to_owned())]).unwrap()
}

/// Records and index entries of the library's layout.
async fn fill(raw: &mut MultiplexedConnection, client: &str, count: usize) {
    const LONG_AGO: u64 = 1_600_000_000_000;
    let hex = |what: &str, number: usize| {
        blake3::hash(format!("{what} {number}").as_bytes()).to_hex()[..32].to_owned()
    };
    let secret = [b's'; SEALED];
    for first in (0..count).step_by(500) {
        let mut some = pipe();
        for number in first..(first + 500).min(count) {
            let (identity, binding) = (hex("identity", number), hex("binding", number));
            let tag = identity[..2].to_owned();
            let (id, at) = (format!("{tag}{}", hex("id", number)), LONG_AGO + number as u64);
            let record = some.cmd("HSET").arg(format!("vst:{{{tag}}}:headers:{id}"));
            for (field, value) in [
                ("v", "1"),
                ("status", "active"),
                ("mode", "user"),
                ("name", CLIENT),
                ("key", "00000001"),
                ("ver", "1"),
                ("identity", &identity),
                ("client", client),
                ("binding", &binding),
                ("receipts", &identity),
            ] {
                record.arg(field).arg(value);
            }
            for field in ["status_at", "created_at", "updated_at"] {
                record.arg(field).arg(at);
            }
            record.arg("secret").arg(&secret).ignore();
            some.set(format!("vst:{{{tag}}}:binding:{binding}"), &id).ignore();
            some.zadd(format!("vst:{{{tag}}}:client:{client}"), &id, at).ignore();
            some.zadd(format!("vst:{{{tag}}}:sealed"), format!("headers:{id}"), 1).ignore();
        }
        let () = some.query_async(raw).await.unwrap();
    }
}

/// The same with plain commands: an id under the binding, and a hash under the id. Nothing is sealed,
/// judged or safe to retry, and no index is kept.
#[derive(Clone)]
struct Plain {
    connection: MultiplexedConnection,
}

impl Plain {
    fn id(number: u64) -> String {
        format!("plain:headers:{number:032}")
    }

    fn name(number: u64) -> String {
        format!("plain:binding:{number:032}")
    }

    async fn get(&self, number: u64) {
        let mut find = cmd("GET");
        find.arg(Self::name(number));
        let id: String = find.query_async(&mut self.connection.clone()).await.unwrap();
        self.read(&id).await;
    }

    async fn read(&self, id: &str) {
        let mut read = cmd("HMGET");
        read.arg(id).arg(&FIELDS);
        let row: Vec<Option<Vec<u8>>> =
            read.query_async(&mut self.connection.clone()).await.unwrap();
        assert_eq!(row[12].as_ref().map(Vec::len), Some(SEALED));
    }

    async fn store(&self, number: u64) {
        let id = Self::id(number);
        let mut both = pipe();
        both.set(Self::name(number), &id).ignore();
        let record = both.cmd("HSET").arg(&id);
        for field in FIELDS.iter().filter(|field| !["reason", "was", "secret"].contains(field)) {
            record.arg(*field).arg(&id[14..]);
        }
        record.arg("secret").arg(vec![b's'; SEALED]).ignore();
        let () = both.query_async(&mut self.connection.clone()).await.unwrap();
    }

    async fn index(&self) {
        let mut all = pipe();
        for number in 0..WORKED {
            all.zadd("plain:client", Self::id(number), number).ignore();
        }
        let () = all.query_async(&mut self.connection.clone()).await.unwrap();
    }

    async fn page(&self) {
        let mut connection = self.connection.clone();
        let mut range = cmd("ZRANGE");
        range.arg("plain:client").arg(0).arg(99);
        let ids: Vec<String> = range.query_async(&mut connection).await.unwrap();
        let mut rows = pipe();
        for id in &ids {
            rows.cmd("HMGET").arg(id).arg(&FIELDS[..12]);
        }
        let rows: Vec<Vec<Option<String>>> = rows.query_async(&mut connection).await.unwrap();
        assert_eq!(rows.len(), 100);
    }

    fn getting(&self) -> Work {
        let plain = self.clone();
        work(move |number| {
            let plain = plain.clone();
            async move { plain.get(number % WORKED).await }
        })
    }

    fn storing(&self) -> Work {
        let plain = self.clone();
        work(move |number| {
            let plain = plain.clone();
            async move { plain.store(number % WORKED).await }
        })
    }
}
