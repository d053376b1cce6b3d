//! No script leaves half a change behind: whichever of its calls Redis refuses.
//!
//! What the stores' agreement asks of Redis is recorded, with Redis's own time of each call. It is
//! then played again on another server, where each call of a script is made to fail in every way
//! that Redis can refuse a part of one: a command, a key or a channel that the user has no right
//! to, and a key of another type. What has run out of memory, or replicas, is refused before the
//! first line runs.
//!
//! The invariant, for every call of every script:
//!
//! * a key of another type: all is as it was before;
//! * a missing right: all is as it was before, or as it would have been, or the same request
//!   completes it once the right is there: the same answer and the same state as if nothing had
//!   failed. Only how long a key lives may differ: a tombstone that could not be shortened lives as
//!   long as its record would have.

mod recording;
mod stage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

pub use self::recording::Recording;
use self::{
    recording::Call,
    stage::{Fault, Stage, State, near},
};
use super::{Progress, Verdict, verdict};
use crate::support::server::TestServer;

/// What is done to the scripts before they are tried: nothing, or a guard is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    AsTheyAre,
    /// Without the reads that are there for the type of their key alone.
    WithoutTypeChecks,
    /// With a pending's record before its entry in the index.
    RecordFirst,
    /// Without asking for the rights that later writes need.
    WithoutAsking,
}

/// How often the same fault is tried where a script has taken the same way.
const TIMES: u32 = 3;

/// Drives the store on a server for so many sequences of each kind.
pub type Drive = fn(&TestServer, u64);

/// Makes every call of every script fail in turn, in what `drive` asks for.
pub async fn every_call_fails(
    drive: Drive,
    scripts: Scripts,
    size: u64,
    progress: Progress,
) -> Verdict {
    refuse(&Recording::of(drive, size).await, scripts, size, progress).await
}

/// The same, of what was recorded; without a guard until the first is torn.
pub async fn refuse(
    recording: &Recording,
    scripts: Scripts,
    size: u64,
    progress: Progress,
) -> Verdict {
    let mut stage = Stage::set(move |source| scripts.change(source)).await;
    let mut tally = Tally::default();
    let mut names = BTreeMap::new();
    for (number, call) in recording.calls.iter().enumerate() {
        if scripts != Scripts::AsTheyAre && !tally.torn.is_empty() {
            break;
        }
        match call.word().as_str() {
            "script" if call.args[1].eq_ignore_ascii_case(b"load") => {
                let source = String::from_utf8_lossy(&call.args[2]).into_owned();
                let sha = stage.load(&source).await;
                names.insert(sha, name_of(&source));
            }
            "evalsha" if stage.knows(call) => {
                let name = names[&call.sha()].clone();
                tally.seen.insert(name.clone());
                try_faults(&mut stage, call, &name, &mut tally).await;
            }
            _ => stage.play(call).await,
        }
        if number as u64 * size / recording.calls.len() as u64 > tally.told {
            tally.told += 1;
            progress(1);
        }
    }
    let all: BTreeSet<String> = headers().into_iter().map(|(name, _)| name).collect();
    let missing: Vec<_> = all.difference(&tally.seen).cloned().collect();
    tally.verdict(all.len(), &missing)
}

#[derive(Debug, Default)]
struct Tally {
    /// The scripts that ran.
    seen: BTreeSet<String>,
    /// How often a fault was tried on a way through a script.
    tried: BTreeMap<(String, String, String), u32>,
    calls: u64,
    before: u64,
    after: u64,
    completed: u64,
    /// By script and fault, with the first example.
    torn: BTreeMap<(String, String), (u64, String)>,
    told: u64,
}

impl Tally {
    fn verdict(self, scripts: usize, missing: &[String]) -> Verdict {
        let Self { calls, before, after, completed, torn, .. } = self;
        let faults = before + after + completed;
        for ((script, fault), (times, example)) in &torn {
            println!("torn: {script}, {fault}, {times} times, such as\n{example}");
        }
        let which: BTreeSet<_> = torn.keys().map(|(script, _)| script.as_str()).collect();
        let which = format!("torn ({})", which.into_iter().collect::<Vec<_>>().join(", "));
        let without = format!("scripts without a case ({})", missing.join(", "));
        verdict(
            format!(
                "{scripts} scripts, {calls} runs of them refused {faults} times in the middle: \
                 {before} times all was as before, {after} times all was done, {completed} times \
                 the same request completed it"
            ),
            &[
                (&which, torn.values().map(|(times, _)| times).sum()),
                (&without, missing.len() as u64),
                ("runs in which no call was refused", u64::from(faults == 0)),
            ],
        )
    }
}

/// Tries each fault from the same state, then runs the call as it was.
async fn try_faults(stage: &mut Stage, call: &Call, name: &str, tally: &mut Tally) {
    let way: Vec<String> = call.inner.iter().map(|inner| inner.word()).collect();
    let faults: Vec<Fault> = Fault::all(call)
        .into_iter()
        .filter(|fault| {
            let key = (name.to_owned(), fault.kind(call), way.join(" "));
            let tried = tally.tried.entry(key).or_default();
            *tried += 1;
            *tried <= TIMES
        })
        .collect();
    if faults.is_empty() {
        let _ = stage.run(call).await; // it was told while it was recorded
        return;
    }
    tally.calls += 1;
    let before = stage.state().await;
    let expected = stage.run(call).await;
    let after = stage.state().await;
    for fault in faults {
        stage.restore(&before).await;
        let spoilt = stage.spoil(&fault).await;
        let before = if spoilt { stage.state().await } else { before.clone() };
        let refused = stage.run_without(&fault, call).await;
        if refused.is_ok() {
            continue; // this way does not lead past it
        }
        let left = stage.state().await;
        if near(&left, &before) {
            tally.before += 1;
            continue;
        }
        if near(&left, &after) {
            tally.after += 1;
            continue;
        }
        let again = if spoilt { None } else { Some(stage.run(call).await) };
        let done = stage.state().await;
        let same = near(&done, &after) || stage::near_but_for_lives(&done, &after);
        if same && again.as_ref().is_some_and(|again| stage::alike(again, &expected)) {
            tally.completed += 1;
            continue;
        }
        let example = || {
            format!(
                "{call:?}\nanswer  {expected:?}\nagain   {again:?}\n{}",
                State::differences(&[
                    ("before", &before),
                    ("left", &left),
                    ("done", &done),
                    ("after", &after)
                ])
            )
        };
        let torn = (name.to_owned(), fault.kind(call));
        tally.torn.entry(torn).or_insert_with(|| (0, example())).0 += 1;
    }
    stage.restore(&before).await;
    let _ = stage.run(call).await; // as above
}

impl Scripts {
    fn change(self, source: &str) -> String {
        match self {
            Self::AsTheyAre => source.to_owned(),
            Self::WithoutTypeChecks => {
                let check = |line: &&str| !line.trim_start().starts_with("redis.call('ZSCORE'");
                source.lines().filter(check).fold(String::new(), |all, line| all + line + "\n")
            }
            Self::WithoutAsking => {
                source.replace("if not redis.acl_check_cmd(command, key)", "if false")
            }
            Self::RecordFirst => {
                let record = "redis.call('SET', record, value, 'PX', ttl + grace)";
                let first = "redis.call('ZADD', index";
                match source.contains("put: a pending") && source.contains(record) {
                    true => source.replace(record, "").replace(first, &format!("{record} {first}")),
                    false => source.to_owned(),
                }
            }
        }
    }
}

/// The scripts there are, each with the comment that it opens with. A file without `#!lua` is a part
/// of others.
fn headers() -> Vec<(String, String)> {
    let lua = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua");
    let mut found = Vec::new();
    for folder in fs::read_dir(&lua).unwrap().map(|folder| folder.unwrap().path()) {
        for file in fs::read_dir(&folder).into_iter().flatten().map(|file| file.unwrap().path()) {
            let text = fs::read_to_string(&file).unwrap();
            if text.starts_with("#!lua") {
                let name = file.strip_prefix(&lua).unwrap().with_extension("");
                let header = text.lines().skip(1);
                let told = |line: &&str| line.starts_with("--") && !line.contains("include:");
                let header: Vec<_> = header.take_while(told).collect();
                found.push((name.display().to_string(), header.join("\n")));
            }
        }
    }
    assert!(!found.is_empty(), "the scripts are not where they were");
    found
}

fn name_of(source: &str) -> String {
    let found = headers().into_iter().find(|(_, header)| source.contains(header.as_str()));
    found.map_or_else(|| panic!("no file of lua/ begins like\n{source}"), |(name, _)| name)
}
