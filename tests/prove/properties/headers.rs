//! Header credentials: one flow, one credential and one claimer of each binding, however many there are
//! that ask, store and claim. What ends them meanwhile is in [`endings`].

pub mod endings;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet};
use vestibule::{
    headers::{Binding, HeaderCredentials, Headers, HeadersConfig, HeadersError, Identity},
    store::PendingId,
    token::{LinkBase, Scope, Scopes, TempTokens},
};

use super::{
    Progress, Verdict, connect,
    races::{HERE, PROCESSES, RACERS, Racers, batches},
    verdict,
};
use crate::support::{
    children::Parent,
    server::{TestServer, random, with_every_right},
    stores::fresh_prefix,
};

const BATCH: u64 = 50;
const CLIENT: &str = "weather";
/// Of a claim, where one is to lapse.
pub const SHORT: Duration = Duration::from_millis(500);
const USUAL: Duration = Duration::from_secs(60);

/// The credentials of one replica, and the tokens of its links.
async fn replica(
    url: &str,
    prefix: &str,
    claim_lease: Duration,
) -> (HeaderCredentials, TempTokens) {
    let vestibule = connect(url, prefix).await;
    let scopes = Scopes::new();
    scopes.register(Scope::mcp_headers_auth("/api/headers")).unwrap();
    let tokens = vestibule.temp_tokens(scopes);
    let config = HeadersConfig { claim_lease, ..HeadersConfig::new(tokens.clone()) };
    (vestibule.header_credentials(config), tokens)
}

fn base() -> LinkBase {
    LinkBase::parse("https://app.example/").unwrap()
}

/// A person's.
fn binding(number: u64) -> Binding {
    Binding::new(Identity::user(format!("person-{number}@example.com")).unwrap(), CLIENT).unwrap()
}

/// Two headers that say the same: another's beside it would be a mixture.
fn headers(value: &str) -> Headers {
    Headers::new([("Authorization", value), ("X-Writer", value)]).unwrap()
}

/// What both headers say; `None` of a mixture.
fn value(headers: &Headers) -> Option<&str> {
    let [one, other] = ["authorization", "x-writer"].map(|name| headers.get(name));
    let (one, other) = (one?.secret(), other?.secret());
    (one == other).then_some(one)
}

/// What the racers said of one thing, and how many of them.
type Said = BTreeMap<String, u64>;

/// Racers who `ask`, `store` or `claim`; `plain` ones do what some write: look, then write.
async fn start(server: &TestServer, prefix: &str, what: &str, plain: bool) -> Racers {
    let args = json!({
        "url": server.url(), "prefix": prefix, "what": what, "plain": plain,
        "lease_ms": USUAL.as_millis() as u64,
    });
    Racers::start("race-headers", args).await
}

/// All 64 race for each of these.
async fn race(racers: &mut Racers, names: impl Iterator<Item = String>) -> Vec<Said> {
    let names: Vec<_> = names.collect();
    let mut all = vec![Said::new(); names.len()];
    for said in racers.race(&names.join(" ")).await {
        let said: Vec<Said> = serde_json::from_value(said).unwrap();
        for (all, said) in all.iter_mut().zip(said) {
            for (word, times) in said {
                *all.entry(word).or_default() += times;
            }
        }
    }
    all
}

/// 64 racers in four processes ask for each binding's submission, all at once: there is one flow, which
/// one of them began and all others joined, and whoever asks later joins too. With `plain` they look
/// for it, and set it if it is not there.
pub async fn one_flow(server: &TestServer, plain: bool, count: u64, progress: Progress) -> Verdict {
    let (seed, prefix) = (random(), fresh_prefix());
    let (host, _) = replica(&server.url(), &prefix, USUAL).await;
    let mut racers = start(server, &prefix, "ask", plain).await;
    let (mut several, mut firsts, mut open, mut other) = (0, 0, 0, 0);
    for batch in batches(count, BATCH) {
        let said = race(&mut racers, batch.clone().map(|number| number.to_string())).await;
        for (number, said) in batch.clone().zip(said) {
            let flows: BTreeSet<_> = said.keys().filter_map(|word| word.split_once(' ')).collect();
            let ids: BTreeSet<_> = flows.iter().map(|(id, _)| *id).collect();
            several += u64::from(ids.len() != 1);
            let began = said.iter().filter(|(word, _)| word.ends_with(" false"));
            firsts += u64::from(began.map(|(_, times)| times).sum::<u64>() != 1);
            other += RACERS as u64 - said.values().sum::<u64>();
            if !plain {
                let late = host.initiate(&binding(number), &base()).await.unwrap();
                let left = Duration::from_secs(890);
                let joins =
                    late.joined && late.expires_in > left && ids.contains(&*late.flow.to_string());
                let page = host.pending_flows(binding(number).identity(), None, 100).await.unwrap();
                open += u64::from(!joins || page.flows.len() != 1);
            }
        }
        progress(batch.end - batch.start);
    }
    verdict(
        format!(
            "{count} bindings x {RACERS} racers in {PROCESSES} processes, one flow each, begun by one \
             and joined by all others; seed {seed}"
        ),
        &[
            ("with several flows", several),
            ("not begun by exactly one", firsts),
            ("with another flow for who asks later", open),
            ("answers missing", other),
        ],
    )
}

/// 64 racers in four processes store each binding's credential at once: there is one id, created once,
/// each is counted once, and what is read is what one of them stored; at the end, what the last did.
/// With `plain` they look for the id, and write what they have in the commands it takes.
pub async fn one_credential(
    server: &TestServer,
    plain: bool,
    count: u64,
    progress: Progress,
) -> Verdict {
    let (seed, prefix) = (random(), fresh_prefix());
    let (host, _) = replica(&server.url(), &prefix, USUAL).await;
    let mut racers = start(server, &prefix, "store", plain).await;
    let [mut ids, mut created, mut vers, mut last, mut mixed] = [0; 5];
    for batch in batches(count, BATCH) {
        let said = race(&mut racers, batch.clone().map(|number| number.to_string())).await;
        for (number, said) in batch.clone().zip(said) {
            let told: Vec<Vec<&str>> = said.keys().map(|word| word.split(' ').collect()).collect();
            let of = |at: usize| told.iter().map(|told| told[at]).collect::<BTreeSet<_>>();
            ids += u64::from(of(0).len() != 1);
            created += u64::from(of(1).len() != 1);
            let counted: BTreeSet<u64> = of(2).iter().map(|ver| ver.parse().unwrap()).collect();
            vers += u64::from(counted != (1..=RACERS as u64).collect());
            mixed += u64::from(of(4).contains("mixed"));
            if !plain {
                let found = host.get(&binding(number)).await.unwrap();
                let newest = told.iter().find(|told| told[2] == RACERS.to_string());
                let is = (found.row.id.to_string(), found.row.created_at_ms.to_string());
                last += u64::from(newest.is_none_or(|told| {
                    (told[0], told[1]) != (&*is.0, &*is.1) || value(&found.headers) != Some(told[3])
                }));
            }
        }
        progress(batch.end - batch.start);
    }
    verdict(
        format!(
            "{count} bindings x {RACERS} racers in {PROCESSES} processes, one id each, created once, \
             counted to {RACERS}, and read as one of them stored it; seed {seed}"
        ),
        &[
            ("with several ids", ids),
            ("created more than once", created),
            ("whose counts have a gap", vers),
            ("that are not what the last stored", last),
            ("mixtures of two", mixed),
        ],
    )
}

/// 64 racers in four processes claim each flow at once, before they check what was submitted: one has
/// it, and all others are told that it is being checked. With `plain` they look, and then claim.
pub async fn one_claimer(
    server: &TestServer,
    plain: bool,
    count: u64,
    progress: Progress,
) -> Verdict {
    let (seed, prefix) = (random(), fresh_prefix());
    let (host, _) = replica(&server.url(), &prefix, USUAL).await;
    let mut racers = start(server, &prefix, "claim", plain).await;
    let (mut none, mut several, mut other) = (0, 0, 0);
    for batch in batches(count, BATCH) {
        let mut flows = Vec::new();
        for number in batch.clone() {
            flows.push(host.initiate(&binding(number), &base()).await.unwrap().flow.to_string());
        }
        for said in race(&mut racers, flows.into_iter()).await {
            let [claimed, busy] =
                ["claimed", "busy"].map(|word| said.get(word).copied().unwrap_or(0));
            none += u64::from(claimed == 0);
            several += u64::from(claimed > 1);
            other += RACERS as u64 - claimed - busy;
        }
        progress(batch.end - batch.start);
    }
    verdict(
        format!(
            "{count} flows x {RACERS} racers in {PROCESSES} processes, one claimer each; seed {seed}"
        ),
        &[("without a claimer", none), ("with several", several), ("other answers", other)],
    )
}

/// The racers of one process: 16 of the 64. They say of each thing what they were answered.
pub async fn racer(args: Value, mut parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let lease = Duration::from_millis(args["lease_ms"].as_u64().unwrap());
    let (host, _) = replica(&text("url"), &text("prefix"), lease).await;
    let (what, plain) = (text("what"), args["plain"].as_bool().unwrap());
    let client = redis::Client::open(with_every_right(&text("url"))).unwrap();
    let link = client.get_multiplexed_async_connection().await.unwrap();
    parent.ready().await;
    loop {
        let heard = parent.hear().await;
        let names: Arc<[String]> = heard.split(' ').map(str::to_owned).collect();
        let barrier = Arc::new(Barrier::new(HERE));
        let mut tasks = JoinSet::new();
        for task in 0..HERE {
            let name = format!("writer-{}-{task}", args["process"]);
            let (host, names, barrier) = (host.clone(), names.clone(), barrier.clone());
            let mut plainly = Plainly { link: link.clone(), prefix: text("prefix") };
            let what = what.clone();
            tasks.spawn(async move {
                let mut words = Vec::new();
                for at in &*names {
                    barrier.wait().await;
                    words.push(match (&*what, plain) {
                        ("ask", false) => ask(&host, at.parse().unwrap()).await,
                        ("ask", true) => plainly.ask(at).await,
                        ("store", false) => store(&host, at.parse().unwrap(), &name).await,
                        ("store", true) => plainly.store(at, &name).await,
                        ("claim", false) => claim(&host, at.parse().unwrap()).await,
                        _ => plainly.claim(at).await,
                    });
                }
                words
            });
        }
        let mut said = vec![Said::new(); names.len()];
        for words in tasks.join_all().await {
            for (said, word) in said.iter_mut().zip(words) {
                *said.entry(word).or_default() += 1;
            }
        }
        parent.say(json!(said));
    }
}

async fn ask(host: &HeaderCredentials, number: u64) -> String {
    let asked = host.initiate(&binding(number), &base()).await.unwrap();
    format!("{} {}", asked.flow, asked.joined)
}

async fn store(host: &HeaderCredentials, number: u64, name: &str) -> String {
    let stored = host.upsert(&binding(number), &headers(name)).await.unwrap();
    let found = host.get(&binding(number)).await.unwrap();
    let whole = if value(&found.headers).is_some() { "whole" } else { "mixed" };
    format!("{} {} {} {name} {whole}", stored.id, stored.created_at_ms, stored.ver)
}

async fn claim(host: &HeaderCredentials, flow: PendingId) -> String {
    match host.claim(flow).await {
        Ok(_) => "claimed".to_owned(),
        Err(HeadersError::FlowBusy { .. }) => "busy".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// The same with plain commands, to show that the properties can fail.
struct Plainly {
    link: MultiplexedConnection,
    prefix: String,
}

impl Plainly {
    fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:plain:{kind}:{name}", self.prefix)
    }

    /// What is there, or what was put there: as two who look at once do it.
    async fn found_or_put(&mut self, key: &str) -> (String, bool) {
        if let Some(found) = self.link.get::<_, Option<String>>(key).await.unwrap() {
            return (found, true);
        }
        let new = format!("{:x}", random());
        let () = self.link.set_ex(key, &new, 900).await.unwrap();
        (new, false)
    }

    async fn ask(&mut self, number: &str) -> String {
        let (flow, joined) = self.found_or_put(&self.key("flow", number)).await;
        format!("{flow} {joined}")
    }

    async fn store(&mut self, number: &str, name: &str) -> String {
        let (id, _) = self.found_or_put(&self.key("binding", number)).await;
        let record = self.key("headers", number);
        let () = self.link.hset(&record, "authorization", name).await.unwrap();
        let () = self.link.hset(&record, "x-writer", name).await.unwrap();
        let ver: u64 = self.link.hincr(&record, "ver", 1).await.unwrap();
        let found: [String; 2] =
            self.link.hmget(&record, &["authorization", "x-writer"]).await.unwrap();
        let whole = if found[0] == found[1] { "whole" } else { "mixed" };
        format!("{id} 0 {ver} {name} {whole}")
    }

    async fn claim(&mut self, flow: &str) -> String {
        let (_, there) = self.found_or_put(&self.key("claim", flow)).await;
        if there { "busy" } else { "claimed" }.to_owned()
    }
}
