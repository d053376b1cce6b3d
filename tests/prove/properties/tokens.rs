//! A token that is good for n uses is used n times, and what is revoked stays revoked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet};
use vestibule::{
    RequestId,
    store::{Revocation, StoreError},
    token::{MintSpec, Minted, NotFound, Scope, Scopes, TempTokens, TokenError, ValidatedToken},
};

use super::{
    Progress, Verdict, connect, for_each,
    races::{HERE, PROCESSES, RACERS, Racers, batches},
    verdict,
};
use crate::support::{
    children::Parent,
    proxy::Proxy,
    server::{TestServer, random, with_every_right},
    stores::fresh_prefix,
};

const BATCH: u64 = 100;
const TTL: Duration = Duration::from_secs(600);
/// The limits in turn: one, few, nearly all, all, more than there are racers.
const LIMITS: [u32; 5] = [1, 3, 63, 64, 100];

/// The tokens of one replica: a scope for each limit, and one without.
pub async fn replica(url: &str, prefix: &str) -> TempTokens {
    let scopes = Scopes::new();
    let page = |name| Scope::new(name).with_route("GET", "/page").with_max_ttl(TTL);
    for limit in LIMITS {
        scopes.register(page(format!("limited-{limit}")).with_max_uses(limit)).unwrap();
    }
    scopes.register(page("plain".to_owned())).unwrap();
    connect(url, prefix).await.temp_tokens(scopes)
}

fn spec(scope: &str, number: u64) -> MintSpec {
    MintSpec::new(scope, format!("resource-{number}"), TTL)
}

pub async fn get(tokens: &TempTokens, text: &str) -> Result<ValidatedToken, TokenError> {
    tokens.validate(text, "GET", "/page", None).await
}

/// 64 racers in four processes use each token, whose limits differ: exactly so many are let in, and
/// all others are told that it is used up. With `plain` they do what some write: GET the count,
/// compare, SET it.
pub async fn exactly_so_many_uses(
    server: &TestServer,
    plain: bool,
    count: u64,
    progress: Progress,
) -> Verdict {
    let (seed, prefix) = (random(), fresh_prefix());
    let tokens = replica(&server.url(), &prefix).await;
    let args = json!({ "url": server.url(), "prefix": prefix, "plain": plain });
    let mut racers = Racers::start("race-tokens", args).await;

    let (mut too_many, mut too_few, mut other, mut uses) = (0, 0, 0, 0);
    for batch in batches(count, BATCH) {
        let (mut texts, mut limits) = (Vec::new(), Vec::new());
        for number in batch {
            let limit = LIMITS[(number % LIMITS.len() as u64) as usize];
            limits.push(u64::from(limit).min(RACERS as u64));
            texts.push(if plain {
                format!("plain-{seed:x}-{number}:{limit}")
            } else {
                let minted = tokens.mint(&spec(&format!("limited-{limit}"), number % 50)).await;
                minted.unwrap().token.secret().to_owned()
            });
        }
        let mut let_in = vec![0; texts.len()];
        for said in racers.race(&texts.join(" ")).await {
            for (sum, more) in let_in.iter_mut().zip(said["let_in"].as_array().unwrap()) {
                *sum += more.as_u64().unwrap();
            }
            other += said["other"].as_u64().unwrap();
        }
        for (let_in, limit) in let_in.into_iter().zip(limits) {
            too_many += u64::from(let_in > limit);
            too_few += u64::from(let_in < limit);
            uses += let_in;
        }
        progress(texts.len() as u64);
    }
    verdict(
        format!(
            "{count} tokens good for 1 to 100 uses x {RACERS} racers in {PROCESSES} processes, \
             each used exactly so often, {uses} in all; seed {seed}"
        ),
        &[("used too often", too_many), ("used too rarely", too_few), ("other answers", other)],
    )
}

/// The racers of one process; see [`exactly_so_many_uses`].
pub async fn racer(args: Value, mut parent: Parent) {
    let text = |name: &str| args[name].as_str().unwrap().to_owned();
    let tokens = replica(&text("url"), &text("prefix")).await;
    let plain = args["plain"].as_bool().unwrap();
    let client = redis::Client::open(with_every_right(&text("url"))).unwrap();
    let link = client.get_multiplexed_async_connection().await.unwrap();
    parent.ready().await;
    loop {
        let texts: Arc<[String]> = parent.hear().await.split(' ').map(str::to_owned).collect();
        let barrier = Arc::new(Barrier::new(HERE));
        let mut tasks = JoinSet::new();
        for _ in 0..HERE {
            let (tokens, texts, barrier) = (tokens.clone(), texts.clone(), barrier.clone());
            let mut link = link.clone();
            tasks.spawn(async move {
                let (mut let_in, mut other) = (vec![0_u64; texts.len()], 0_u64);
                for (at, text) in texts.iter().enumerate() {
                    barrier.wait().await;
                    if plain {
                        let limit: u64 = text.split(':').nth(1).unwrap().parse().unwrap();
                        let used: u64 = link.get::<_, Option<_>>(text).await.unwrap().unwrap_or(0);
                        if used < limit {
                            let _: () = link.set(text, used + 1).await.unwrap();
                            let_in[at] += 1;
                        }
                        continue;
                    }
                    match get(&tokens, text).await {
                        Ok(_) => let_in[at] += 1,
                        Err(TokenError::NotFound(NotFound::UsedUp)) => {}
                        Err(_) => other += 1,
                    }
                }
                (let_in, other)
            });
        }
        let (mut let_in, mut others) = (vec![0; texts.len()], 0);
        for (more, other) in tasks.join_all().await {
            for (sum, more) in let_in.iter_mut().zip(more) {
                *sum += more;
            }
            others += other;
        }
        parent.say(json!({ "let_in": let_in, "other": others }));
    }
}

/// A proxy swallows the replies of a fifth of all scripts, which Redis has run: every token is
/// minted once, every use counted once, every revocation done and said to be its caller's.
pub async fn lost_replies(count: u64, progress: Progress) -> Verdict {
    let (seed, size) = (random(), (count / 4).clamp(5, 50));
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    let through = replica(&proxy.url(), "vst").await;
    let direct = replica(&server.url(), "vst").await;
    proxy.drop_reply(0.2, seed);
    let [doubled, lost, wrong, unknown] = [(); 4].map(|()| AtomicU64::new(0));
    let add = |to: &AtomicU64, wrong: bool| {
        to.fetch_add(wrong.into(), Ordering::Relaxed);
    };
    let groups = count.div_ceil(size);
    // Few at a time: a swallowed reply takes all that are in flight on the connection with it.
    for_each(groups, 4, async |group| {
        let mut minted = Vec::new();
        for number in group * size..count.min((group + 1) * size) {
            let (request, limited) = (RequestId::random(), spec("limited-3", group));
            let token: Minted = surely(&unknown, || through.mint_as(&request, &limited)).await;
            minted.push((number, token));
        }
        let listed = direct.list("limited-3", &format!("resource-{group}"), None, 100).await;
        add(&doubled, listed.unwrap().tokens.len() > minted.len());
        for (number, token) in &minted {
            let text = token.token.secret();
            for left in [2, 1] {
                let request = RequestId::random();
                let used =
                    surely(&unknown, || through.validate_as(&request, text, "GET", "/page", None));
                add(&doubled, used.await.uses_left != Some(left));
            }
            if number % 2 == 0 {
                let request = RequestId::random();
                let revoked = surely(&unknown, || through.revoke_as(&request, text)).await;
                add(&wrong, revoked != Revocation::Revoked);
                add(&lost, get(&direct, text).await.is_ok());
            }
        }
        let left = minted.iter().filter(|(number, _)| number % 2 == 1).count() as u64;
        let (request, resource) = (RequestId::random(), format!("resource-{group}"));
        let dropped =
            surely(&unknown, || through.revoke_resource_as(&request, "limited-3", &resource));
        add(&wrong, dropped.await != left);
        for (_, token) in &minted {
            add(&lost, get(&direct, token.token.secret()).await.is_ok());
        }
        progress(minted.len() as u64);
    })
    .await;
    let (dropped, unknown) = (proxy.dropped_replies(), unknown.into_inner());
    verdict(
        format!(
            "{count} tokens minted, used twice and revoked, by themselves or with their resource, \
             {dropped} replies lost, {unknown} unknown to the caller and resolved by the same \
             request id; seed {seed}"
        ),
        &[
            ("minted or counted twice", doubled.into_inner()),
            ("still valid after their revocation", lost.into_inner()),
            ("wrong answers", wrong.into_inner()),
            ("unknown outcomes above 0.1 %", u64::from(unknown > (count * 4).div_ceil(1000))),
            ("runs in which no reply was lost", u64::from(dropped < count / 20)),
        ],
    )
}

/// One request, as often as that takes.
async fn surely<T, F>(unknown: &AtomicU64, call: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, TokenError>>,
{
    loop {
        match call().await {
            Err(TokenError::Store(StoreError::Unknown { .. } | StoreError::NotExecuted { .. })) => {
                unknown.fetch_add(1, Ordering::Relaxed);
            }
            other => return other.unwrap_or_else(|error| panic!("{error}")),
        }
    }
}
