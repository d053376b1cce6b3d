//! The names of keys: each is one of the table, and those of one record are in one slot.

use std::{collections::BTreeSet, fs, path::Path};

use vestibule::{
    RequestId,
    store::{
        ConnectionId, ConnectorName, Kind, PendingId, RecordName, Shard, TokenId,
        redis::{Keyspace, Prefix},
    },
};

use super::{
    Progress, Verdict,
    malformed::{Dice, Peak, Run},
};
use crate::support::server::random;

/// The keys of ids: each has a line of the table, and all of a record's are in one slot.
pub fn of_all_ids(count: u64, peak: Peak, progress: &Progress) -> Verdict {
    let seed = random();
    let mut dice = Dice::new(seed);
    let table = Table::read();
    let slugs = ["github", "a", "x-1", &"z".repeat(32)];
    let (mut unknown, mut apart, mut run) = (Vec::new(), 0, Run::new(peak));
    let mut kinds = BTreeSet::new();
    for number in 0..count {
        let prefix = ["vst", "a", "my-app-2", &"x".repeat(32)][number as usize % 4].to_owned();
        let keyspace = Keyspace::new(Prefix::new(prefix.as_str()).unwrap());
        let mut caller = (0..dice.below(64)).map(|_| dice.roll() as u8).collect::<Vec<_>>();
        dice.mutate(&mut caller);
        let caller = String::from_utf8_lossy(&caller).into_owned();
        let (one, two) = (RequestId::derived(&caller, "x").digest(), dice.digest());
        let (pending, token) = (PendingId::of(one, two), TokenId::new(one, two));
        let connection = ConnectionId::random(one);
        let (shard, slug) = (Shard::new(dice.roll() as u8), dice.one(&slugs));
        let connector = ConnectorName { shard, slug };
        for record in [
            vec![keyspace.one_shot(&RecordName::alone(Kind::Pkce, one))],
            vec![
                keyspace.pending(pending),
                keyspace.outcome(pending),
                keyspace.waiters(pending),
                keyspace.lease(pending),
                keyspace.pendings(pending.shard(), one),
                keyspace.dedup(pending.shard(), two),
                keyspace.receipt(pending.shard(), two),
            ],
            vec![
                keyspace.token(token),
                keyspace.uses(token),
                keyspace.tokens(token.shard(), one),
                keyspace.scope(token.shard(), two),
                keyspace.receipt(token.shard(), two),
            ],
            vec![
                keyspace.connection(&connection),
                keyspace.owner(connection.shard(), one),
                keyspace.due(connection.shard()),
                keyspace.receipt(connection.shard(), two),
            ],
            vec![keyspace.places(connector), keyspace.limit(connector), keyspace.pause(connector)],
        ] {
            apart += u64::from(record.iter().any(|key| slot(key) != slot(&record[0])));
            for key in record {
                match table.kind(&prefix, &key) {
                    Some(kind) => drop(kinds.insert(kind)),
                    None if unknown.len() < 20 => unknown.push(key),
                    None => {}
                }
            }
        }
        run.one(progress);
    }
    for key in &unknown {
        println!("not in the table: {key}");
    }
    let figure = format!(
        "the keys of {count} ids, of {} kinds, each in the table of docs/keyspace.md, those of one \
         record in one slot; seed {seed}",
        kinds.len()
    );
    run.verdict(
        &figure,
        &[
            ("keys that are not in the table", unknown.len() as u64),
            ("records in two slots", apart),
        ],
    )
}

/// The table of `docs/keyspace.md`.
struct Table {
    kinds: BTreeSet<String>,
}

impl Table {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/keyspace.md");
        let text = fs::read_to_string(path).unwrap();
        let names =
            text.lines().filter_map(|line| line.strip_prefix("| `vst:{xx}:")?.split('`').next());
        let kinds: BTreeSet<_> = names.map(str::to_owned).collect();
        assert!(kinds.len() > 10, "the table is not where it was");
        Self { kinds }
    }

    /// Which line a key is of: `<…>` stands for hexadecimal digits, or for a slug.
    fn kind(&self, prefix: &str, key: &str) -> Option<String> {
        let rest = key.strip_prefix(prefix)?.strip_prefix(":{")?;
        let (shard, rest) = rest.split_once("}:")?;
        Shard::from_hex(shard)?;
        let matches = |pattern: &&String| match pattern.split_once(":<") {
            None => **pattern == rest,
            Some((kind, what)) => {
                let Some(value) = rest.strip_prefix(kind).and_then(|rest| rest.strip_prefix(':'))
                else {
                    return false;
                };
                let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                let slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                if what.starts_with("connector") {
                    (1..=32).contains(&value.len()) && value.bytes().all(slug)
                } else {
                    [32, 34, 64].contains(&value.len()) && value.bytes().all(hex)
                }
            }
        };
        self.kinds.iter().find(matches).cloned()
    }
}

/// Redis's hash of what is between the first braces: CRC16, XMODEM, of 16384.
fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let mut crc = 0_u16;
    for byte in tag.filter(|tag| !tag.is_empty()).unwrap_or(key).bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc % 16384
}
