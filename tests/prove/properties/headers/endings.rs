//! What ends a flow or a credential while it is submitted, claimers that die, and replies that are lost.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use redis::AsyncCommands;
use serde_json::json;
use tokio::time::{Instant, sleep};
use vestibule::{
    RequestId,
    headers::{Binding, HeaderCredentials, HeadersError, Identity},
    store::{Ending, PendingId, RemovedHeaders, RestoredHeaders, WithdrawnHeaders},
};

use super::{
    CLIENT, Progress, SHORT, USUAL, Verdict, base, binding, headers, replica, value, verdict,
};
use crate::{
    properties::{AT_ONCE, for_each, races::Usual},
    support::{
        children,
        proxy::Proxy,
        server::{TestServer, random, with_every_right},
        stopwatch::Stopwatch,
        stores::fresh_prefix,
    },
};

/// How credentials are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ender {
    /// The library's way: the flows first.
    Vestibule,
    /// One that looks for the credential, removes it, and forgets what is being submitted.
    CredentialAlone,
}

/// A submission that was checked, while its binding is revoked, or its access withdrawn: whichever is
/// first, there is nothing to be had of it afterwards, no flow is open, and no link leads anywhere. Either
/// the submission stored and the other found that, or it stored nothing; never both.
pub async fn ended_meanwhile(
    server: &TestServer,
    ender: Ender,
    count: u64,
    progress: Progress,
) -> Verdict {
    let (seed, prefix) = (random(), fresh_prefix());
    let (submitter, tokens) = replica(&server.url(), &prefix, USUAL).await;
    let (host, _) = replica(&server.url(), &prefix, USUAL).await;
    let [kept, open, links, both, stored, refused] = [(); 6].map(|()| AtomicU64::new(0));
    let takes = Usual::default();
    let add = |to: &AtomicU64, it: bool| {
        to.fetch_add(it.into(), Ordering::Relaxed);
    };
    for_each(count, AT_ONCE, async |number| {
        // Every other of them has links with tokens.
        let binding = if number % 2 == 0 { binding(number) } else { of_key(number) };
        let had = number % 3 == 0;
        if had {
            host.upsert(&binding, &headers("old")).await.unwrap();
        }
        let flow = host.initiate(&binding, &base()).await.unwrap().flow;
        let claim = submitter.claim(flow).await.unwrap();
        // Its one step races the other's three or four: at any moment of them, or after.
        let submit = async {
            sleep(takes.moment_of_twice()).await;
            submitter.submit(&claim, &headers("new")).await
        };
        let end = takes.of(ended(&host, ender, &binding, number % 4 < 2));
        let (submitted, (flows, withdrawn)) = tokio::join!(submit, end);
        let has_stored = match submitted {
            Ok(_) => true,
            Err(HeadersError::FlowEnded(Ending::Cancelled)) => false,
            Err(error) => panic!("{error}"),
        };
        add(if has_stored { &stored } else { &refused }, true);
        add(&both, (flows == 1) == has_stored);
        add(&kept, !matches!(host.get(&binding).await, Err(HeadersError::NotFound)));
        let page = host.pending_flows(binding.identity(), None, 100).await.unwrap();
        add(&open, !page.flows.is_empty() || host.flow(flow).await.unwrap().is_some());
        let left = tokens.list("mcp_headers_auth", &flow.to_string(), None, 100).await;
        add(&links, !left.unwrap().tokens.is_empty());
        if withdrawn {
            let back = host.restore_access(&binding).await.unwrap();
            let found = host.get(&binding).await.ok();
            let found = found.as_ref().and_then(|found| value(&found.headers));
            let right = match (has_stored, had) {
                (true, _) => Some("new"),
                (false, true) => Some("old"),
                (false, false) => None,
            };
            let is_back = matches!(back, RestoredHeaders::Restored(_)) == right.is_some();
            add(&kept, !is_back || found != right);
        }
        progress(1);
    })
    .await;
    let [kept, open, links, both, stored, refused] =
        [kept, open, links, both, stored, refused].map(AtomicU64::into_inner);
    // Who forgets what is being submitted never ends it.
    let one_sided = ender == Ender::Vestibule && count > 100 && stored * refused == 0;
    verdict(
        format!(
            "{count} races: {stored} submitted before and found, {refused} ended before and not stored; \
             seed {seed}"
        ),
        &[
            ("there though revoked or withdrawn, or not given back as they were", kept),
            ("flows left open", open),
            ("flows whose links are left", links),
            ("submitted and ended, or neither", both),
            ("runs in which no side ever lost", u64::from(one_sided)),
        ],
    )
}

fn of_key(number: u64) -> Binding {
    Binding::new(Identity::virtual_key(format!("key-{number}")).unwrap(), CLIENT).unwrap()
}

/// How many flows it ended, and whether access was withdrawn.
async fn ended(
    host: &HeaderCredentials,
    ender: Ender,
    binding: &Binding,
    revokes: bool,
) -> (u64, bool) {
    if ender == Ender::CredentialAlone {
        if let Ok(found) = host.get(binding).await {
            host.delete(found.row.id).await.unwrap();
        }
        return (0, false);
    }
    if revokes {
        return (host.revoke(binding).await.unwrap().flows, false);
    }
    let withdrawn = host.withdraw_access(binding, "left").await.unwrap();
    assert!(
        matches!(withdrawn.credential, WithdrawnHeaders::Withdrawn | WithdrawnHeaders::Absent),
        "{withdrawn:?}"
    );
    (withdrawn.flows, true)
}

/// So many flows are claimed by each process that dies.
const EACH: u64 = 16;

/// Processes are killed that have claimed flows, to check what was submitted: others claim them when the
/// lease is over, not before, and not a second later. With `forever` a claim has no lease, as a plain
/// SET NX has none.
pub async fn dead_claimers(
    server: &TestServer,
    forever: bool,
    kills: u64,
    progress: Progress,
) -> Verdict {
    const LATE: Duration = Duration::from_secs(1);
    let (seed, prefix) = (random(), fresh_prefix());
    let (host, _) = replica(&server.url(), &prefix, SHORT).await;
    let mut raw = server.raw().await;
    let (mut early, mut stuck, mut worst) = (0, 0, Duration::ZERO);
    for kill in 0..kills {
        let mut flows = Vec::new();
        for number in kill * EACH..(kill + 1) * EACH {
            flows.push(host.initiate(&binding(number), &base()).await.unwrap().flow);
        }
        // One that is to last for ever must not end before that is done to it.
        let lease = if forever { USUAL } else { SHORT };
        let args = json!({
            "url": server.url(), "prefix": prefix, "what": "claim", "plain": false,
            "process": 0, "lease_ms": lease.as_millis() as u64,
        });
        let mut victim = children::spawn("race-headers", &args).await;
        children::start_together(std::slice::from_mut(&mut victim)).await;
        let names: Vec<_> = flows.iter().map(PendingId::to_string).collect();
        let asked = Instant::now();
        victim.tell(&names.join(" ")).await;
        let said = victim.next().await.expect("it claims them");
        let (told, since) = (Instant::now(), Stopwatch::start());
        assert!(said.as_array().unwrap().iter().all(|said| said["claimed"] == 1), "{said}");
        victim.kill9().await;
        if forever {
            for flow in &names {
                let key = format!("{prefix}:{{{}}}:claim:{flow}", &flow[..2]);
                let kept: u64 = raw.persist(key).await.unwrap();
                assert_eq!(kept, 1, "{flow} is claimed still");
            }
        }
        let claims = flows.iter().map(|flow| claimed_again(&host, *flow, &since, SHORT + LATE));
        for claimed in futures_util::future::join_all(claims).await {
            match claimed {
                None => stuck += 1,
                Some(at) if at < asked + SHORT => early += 1,
                Some(at) => worst = worst.max((at - told).saturating_sub(SHORT)),
            }
        }
        progress(1);
    }
    verdict(
        format!(
            "{kills} processes killed with {EACH} claims each: all are claimed by another, the last \
             {} ms after the lease of {} ms; seed {seed}",
            worst.as_millis(),
            SHORT.as_millis()
        ),
        &[("claimed within the lease", early), ("not claimed a second after it", stuck)],
    )
}

/// When it could be claimed; `None` if it could not for so long.
async fn claimed_again(
    host: &HeaderCredentials,
    flow: PendingId,
    since: &Stopwatch,
    most: Duration,
) -> Option<Instant> {
    while since.took() < most {
        match host.claim(flow).await {
            Ok(_) => return Some(Instant::now()),
            Err(HeadersError::FlowBusy { .. }) => sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
    None
}

/// A proxy swallows the replies of a fifth of all commands, which Redis has executed: whoever asks again
/// with the same request stores once, submits once and removes once. With `plain` a script
/// without receipts stands for that.
pub async fn lost_replies(plain: bool, count: u64, progress: Progress) -> Verdict {
    let seed = random();
    let server = TestServer::builder().start().await;
    let proxy = Proxy::start(server.port());
    let (through, _) = replica(&proxy.url(), "vst", USUAL).await;
    let (direct, _) = replica(&server.url(), "vst", USUAL).await;
    let client = redis::Client::open(with_every_right(&proxy.url())).unwrap();
    proxy.drop_reply(0.2, seed);
    let [doubled, lost, unknown] = [(); 3].map(|()| AtomicU64::new(0));
    // Few at a time: a swallowed reply takes all that are in flight on the connection with it.
    for_each(count, 4, async |number| {
        let lived = if plain {
            raised(&client, number).await
        } else {
            life(&through, &direct, &binding(number), &unknown).await
        };
        match lived {
            Ok(()) => {}
            Err(Fault::Doubled) => drop(doubled.fetch_add(1, Ordering::Relaxed)),
            Err(Fault::Lost) => drop(lost.fetch_add(1, Ordering::Relaxed)),
        }
        progress(1);
    })
    .await;
    let dropped = proxy.dropped_replies();
    verdict(
        format!(
            "{count} credentials stored, stored anew, asked for, claimed, submitted and removed, {dropped} \
             replies lost, {} unknown to the caller and resolved by the same request id; seed {seed}",
            unknown.into_inner()
        ),
        &[
            ("lost", lost.into_inner()),
            ("done twice", doubled.into_inner()),
            ("runs in which no reply was lost", u64::from(dropped < count / 20)),
        ],
    )
}

/// How long somebody asks again, as the same request: many times the deadline of a verb.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a lost reply may do to what it was the answer to.
enum Fault {
    Lost,
    Doubled,
}

/// All that is done with one credential, each step by the version that it must have then.
async fn life(
    through: &HeaderCredentials,
    direct: &HeaderCredentials,
    binding: &Binding,
    unknown: &AtomicU64,
) -> Result<(), Fault> {
    let lost = |_| Fault::Lost;
    let mut first = None;
    for ver in 1..=2 {
        let (request, stored) = (RequestId::random(), headers(&format!("stored-{ver}")));
        let told = surely(unknown, || through.upsert_as(&request, binding, &stored));
        let told = told.await.map_err(lost)?;
        let first = first.get_or_insert(told);
        if (told.id, told.created_at_ms, told.ver) != (first.id, first.created_at_ms, ver) {
            return Err(Fault::Doubled);
        }
    }
    let base = base();
    let asked = surely(unknown, || through.initiate(binding, &base)).await.map_err(lost)?;
    let request = RequestId::random();
    // Another's claim would be its own, of which it does not know.
    let claim = surely(unknown, || through.claim_as(&request, asked.flow)).await;
    let claim = claim.map_err(|_| Fault::Doubled)?;
    let new = headers("submitted");
    let told = surely(unknown, || through.submit(&claim, &new)).await.map_err(lost)?;
    let found = direct.get(binding).await.map_err(lost)?;
    if (told.ver, found.row.ver, value(&found.headers)) != (3, 3, Some("submitted")) {
        return Err(Fault::Doubled);
    }
    let request = RequestId::random();
    match surely(unknown, || through.delete_as(&request, found.row.id)).await {
        Ok(RemovedHeaders::Removed) => {}
        // It was removed before: by itself.
        _ => return Err(Fault::Doubled),
    }
    match direct.get(binding).await {
        Err(HeadersError::NotFound) => Ok(()),
        _ => Err(Fault::Lost),
    }
}

/// Asks again, as the same request, for as long as it is not known what came of it.
async fn surely<T, F: Future<Output = Result<T, HeadersError>>>(
    unknown: &AtomicU64,
    ask: impl Fn() -> F,
) -> Result<T, HeadersError> {
    let started = Instant::now();
    loop {
        match ask().await {
            Err(HeadersError::NotAvailable(_)) if started.elapsed() < PATIENCE => {
                unknown.fetch_add(1, Ordering::Relaxed);
            }
            told => return told,
        }
    }
}

/// A version that is raised once, by a script without a receipt, and by who tries again when the
/// connection broke.
async fn raised(client: &redis::Client, number: u64) -> Result<(), Fault> {
    let store = redis::Script::new("return redis.call('HINCRBY', KEYS[1], 'ver', 1)");
    for _ in 0..20 {
        let Ok(mut link) = client.get_multiplexed_async_connection().await else { continue };
        let stored = store.key(format!("plain-{number}")).invoke_async::<u64>(&mut link).await;
        match stored {
            Ok(1) => return Ok(()),
            Ok(_) => return Err(Fault::Doubled),
            Err(_) => {}
        }
    }
    Err(Fault::Lost)
}
