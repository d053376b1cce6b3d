//! The clock of Redis jumps: a token lives no longer for it, and what it ended stays ended.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use redis::cmd;
use vestibule::{
    Keys, Vestibule,
    seal::Seal,
    token::{MintSpec, Scope, Scopes, TempTokens, TokenError},
};

use super::{Progress, Verdict, verdict};
use crate::support::{clock::Clock, server::TestServer, stores};

const TTL: Duration = Duration::from_secs(60);
const HOUR: i64 = 3_600;
/// What the local clock may be past the sealed end; and a moment.
const TOLERANCE_MS: i64 = 2_000 + 100;
const AT_ONCE: usize = 64;

/// T-6: tokens of a minute meet a Redis whose clock goes back by an hour, is put right, goes on by two
/// minutes, and is put right again.
///
/// * Back: Redis keeps them for another hour; past the end that is sealed in them, and two seconds,
///   they are refused, by a replica whose own clock is right. With `follows` that replica's clock
///   has gone back with the one of Redis: then nobody is left who knows.
/// * On: all are refused, for good. A jump ahead costs lives, and that is the safe side.
pub async fn jumps(follows: bool, count: u64, progress: Progress) -> Verdict {
    let clock = Clock::new();
    let server = clock.before(TestServer::builder().cluster(false)).start().await;
    let (keys, store) = (Keys::random(), stores::store(&server, "vst").await);
    let replica = |shift_ms| {
        let seal = Seal::new(keys.ring.clone()).with_wall_clock_shift(shift_ms);
        let scopes = Scopes::new();
        let page = Scope::new("page").with_route("GET", "/page").with_max_ttl(TTL);
        scopes.register(page).unwrap();
        Vestibule::assemble(store.clone(), seal, &keys).temp_tokens(scopes)
    };
    let now = replica(0);
    let past_the_end = TTL.as_millis() as i64 + TOLERANCE_MS;
    let later = replica(if follows { past_the_end - HOUR * 1000 } else { past_the_end });

    let texts = stream::iter(0..count).map(|number| {
        let now = &now;
        async move {
            let spec = MintSpec::new("page", format!("resource-{}", number % 50), TTL);
            now.mint(&spec).await.unwrap().token.secret().to_owned()
        }
    });
    let texts: Vec<String> = texts.buffer_unordered(AT_ONCE).collect().await;
    let at = async |shift: i64, tokens: &TempTokens| -> u64 {
        clock.jump_to(shift);
        let apart = server_time(&server).await - local_time();
        assert!((apart - shift).abs() <= 5, "the clock of Redis is {apart} s apart, not {shift}");
        valid(tokens, &texts).await
    };
    let kept = at(-HOUR, &now).await;
    let revived = at(-HOUR, &later).await;
    progress(count / 2);
    let unharmed = at(0, &now).await;
    let ahead = at(120, &now).await;
    let after = at(0, &now).await;
    progress(count - count / 2);
    verdict(
        format!(
            "{count} tokens of 60 s: Redis an hour back keeps {kept}, and {revived} are accepted \
             2.1 s past their sealed end; put right, {unharmed} are valid; 120 s ahead {ahead}; \
             put right again {after}"
        ),
        &[
            ("accepted past their sealed end", revived),
            ("lost by a jump back", count - unharmed.min(count)),
            ("accepted by a Redis past their end", ahead),
            ("brought back to life", after),
            ("runs in which no jump was noticed", u64::from(kept < count)),
        ],
    )
}

/// How many of them are accepted; anything but *expired* and *not found* ends the run.
async fn valid(tokens: &TempTokens, texts: &[String]) -> u64 {
    let judged = stream::iter(texts).map(|text| tokens.validate(text, "GET", "/page", None));
    let valid = judged.buffer_unordered(AT_ONCE).filter(|judged| {
        std::future::ready(match judged {
            Ok(_) => true,
            Err(TokenError::Expired | TokenError::NotFound(_)) => false,
            Err(error) => panic!("{error}"),
        })
    });
    valid.count().await as u64
}

/// Seconds since 1970, as Redis has them.
async fn server_time(server: &TestServer) -> i64 {
    let (seconds, _): (i64, u64) = cmd("TIME").query_async(&mut server.raw().await).await.unwrap();
    seconds
}

fn local_time() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs() as i64
}
