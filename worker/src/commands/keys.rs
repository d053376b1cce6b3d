//! `keys`: what is known of the key ring, and its rotation.

mod file;
mod reseal;
mod rotate;

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use vestibule::{
    Keys,
    inspect::Inspector,
    seal::{KeyId, KeyUsage, sealed_under},
    store::StoreError,
};

use super::{Context, Shown, shown::table};

/// How many records of each kind are looked at, of those that live for a while.
pub(super) const SAMPLE: u16 = 1000;

/// What of the keys.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Which keys are in the ring, which seals, and which the records ask for
    Status,
    /// Add a new key to the key file: it opens, and seals nothing until it is promoted
    Rotate(rotate::Rotate),
    /// Put a key of the key file in front: it seals from now on
    Promote(rotate::Which),
    /// Seal anew what another key than the first has sealed, until nothing is left
    Reseal,
    /// Take a key out of the key file, unless something is sealed by it
    Retire(rotate::Which),
}

pub(super) async fn run(what: &What, context: &Context<'_>) -> anyhow::Result<Shown> {
    match what {
        What::Status => status(context).await,
        What::Rotate(options) => rotate::rotate(options, context),
        What::Promote(which) => rotate::promote(which, context),
        What::Reseal => reseal::run(context).await,
        What::Retire(which) => rotate::retire(which, context).await,
    }
}

async fn status(context: &Context<'_>) -> anyhow::Result<Shown> {
    let keys = context.keys()?.context("no keys: give the key file with --keys")?;
    // Without a Redis there is still the file to tell of.
    let asked = context.connect.redis.is_some() || context.connect.config.is_some();
    let used = if asked { Some(usage(&context.inspector()?, &keys, SAMPLE).await?) } else { None };
    let mut rows: Vec<[String; 4]> = Vec::new();
    let mut ring = Vec::new();
    for (at, id) in keys.ring.key_ids().enumerate() {
        let does = if at == 0 { "seals and opens" } else { "only opens" };
        let (secrets, others) = (
            used.as_ref().map(|used| used.secrets.secrets(id)),
            used.as_ref().map(|used| used.others(id)),
        );
        rows.push([id.to_string(), does.to_owned(), shown(secrets), shown(others)]);
        ring.push(told(id, secrets.zip(others)));
    }
    let mut unknown = Vec::new();
    for (id, used) in
        used.iter().flat_map(|used| used.unknown().into_keys().map(move |id| (id, used)))
    {
        let (secrets, others) = (used.secrets.secrets(id), used.others(id));
        rows.push([
            id.to_string(),
            "NOT in the ring".to_owned(),
            secrets.to_string(),
            others.to_string(),
        ]);
        unknown.push(told(id, Some((secrets, others))));
    }
    let mut text = table(["key", "does", "secrets", "other records"], rows);
    text = format!(
        "{text}\nSecrets are all that have no end; other records a sample of up to {SAMPLE} of each kind."
    );
    if keys.peppers.other.is_some() {
        text += "\nTwo token peppers: a rotation of the pepper is under way.";
    }
    let json = json!({
        "primary": keys.ring.key_ids().next().map(|id| id.to_string()),
        "ring": ring,
        "unknown": unknown,
        "behind": used.as_ref().map(|used| used.secrets.behind()),
        "peppers": 1 + usize::from(keys.peppers.other.is_some()),
        "naming": keys.naming.check().to_hex(),
        "sample": SAMPLE,
    });
    Ok(Shown::done(text, json))
}

fn shown(count: Option<u64>) -> String {
    count.map_or_else(|| "–".to_owned(), |count| count.to_string())
}

fn told(id: KeyId, counts: Option<(u64, u64)>) -> serde_json::Value {
    json!({
        "id": id.to_string(),
        "secrets": counts.map(|(secrets, _)| secrets),
        "records": counts.map(|(secrets, others)| secrets + others),
    })
}

/// What asks for each key.
pub(super) struct Used {
    /// All that have no end.
    pub(super) secrets: KeyUsage,
    /// Of what lives for a while, as far as the sample goes.
    short_lived: BTreeMap<KeyId, u64>,
}

impl Used {
    fn others(&self, key: KeyId) -> u64 {
        self.short_lived.get(&key).copied().unwrap_or(0)
    }

    /// The keys that are asked for and not in the ring, and by how many records.
    pub(super) fn unknown(&self) -> BTreeMap<KeyId, u64> {
        let mut unknown: BTreeMap<_, _> =
            self.secrets.unknown().filter(|(key, _)| *key != KeyId::NONE).collect();
        for (key, count) in &self.short_lived {
            if !self.secrets.ring().contains(key) {
                *unknown.entry(*key).or_insert(0) += count;
            }
        }
        unknown
    }
}

/// Looks at all secrets, and at so many others of each kind.
pub(super) async fn usage(
    inspector: &Inspector,
    keys: &Keys,
    sample: u16,
) -> Result<Used, StoreError> {
    let counts = inspector.sealed_by_key().await?;
    let counts = counts.into_iter().map(|(number, count)| (KeyId::of_number(number), count));
    let secrets = KeyUsage::new(keys.ring.key_ids().collect(), counts.collect());
    let mut short_lived = BTreeMap::new();
    for (_, sealed) in inspector.sealed(sample).await? {
        if let Some(id) = sealed_under(&sealed) {
            *short_lived.entry(id).or_insert(0) += 1;
        }
    }
    Ok(Used { secrets, short_lived })
}
