//! `keys`: what is known of the key ring.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use vestibule::{Keys, inspect::Inspector, seal::sealed_under, store::StoreError};

use super::{Context, Shown, shown::table};

/// How many records of each kind are looked at.
const SAMPLE: u16 = 1000;

/// What of the keys.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Which keys are in the ring, which seals, and which the records ask for
    Status,
}

pub(super) async fn status(context: &Context<'_>) -> anyhow::Result<Shown> {
    let keys = context.keys()?.context("no keys: give the key file with --keys")?;
    let ring: Vec<String> = keys.ring.key_ids().map(|id| id.to_string()).collect();
    // Without a Redis there is still the file to tell of.
    let asked = context.connect.redis.is_some() || context.connect.config.is_some();
    let used = if asked { Some(usage(&context.inspector()?).await?) } else { None };
    let count = |id: &str| used.as_ref().map(|used| used.get(id).copied().unwrap_or(0));
    let unknown: Vec<_> = used
        .iter()
        .flat_map(|used| used.iter())
        .filter(|(id, _)| !ring.contains(id))
        .map(|(id, count)| (id.clone(), *count))
        .collect();
    let mut rows: Vec<[String; 3]> = Vec::new();
    for (at, id) in ring.iter().enumerate() {
        let does = if at == 0 { "seals and opens" } else { "only opens" };
        rows.push([id.clone(), does.to_owned(), shown(count(id))]);
    }
    for (id, count) in &unknown {
        rows.push([id.clone(), "NOT in the ring".to_owned(), shown(Some(*count))]);
    }
    let mut text = table(["key", "does", "records that ask for it"], rows);
    text = format!("{text}\nCounted in a sample of up to {SAMPLE} records of each kind.");
    if keys.peppers.other.is_some() {
        text += "\nTwo token peppers: a rotation of the pepper is under way.";
    }
    let json = json!({
        "primary": ring[0],
        "ring": ring.iter().map(|id| json!({ "id": id, "records": count(id) })).collect::<Vec<_>>(),
        "unknown": unknown.iter().map(|(id, count)| json!({ "id": id, "records": count })).collect::<Vec<_>>(),
        "peppers": 1 + usize::from(keys.peppers.other.is_some()),
        "naming": keys.naming.check().to_hex(),
        "sample": SAMPLE,
    });
    Ok(Shown::done(text, json))
}

fn shown(count: Option<u64>) -> String {
    count.map_or_else(|| "–".to_owned(), |count| count.to_string())
}

/// How many records ask for each key, as far as the sample goes.
pub(super) async fn usage(inspector: &Inspector) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut used = BTreeMap::new();
    for (_, sealed) in inspector.sealed(SAMPLE).await? {
        if let Some(id) = sealed_under(&sealed) {
            *used.entry(id.to_string()).or_insert(0) += 1;
        }
    }
    Ok(used)
}

/// Those of them that no ring key opens.
pub(super) fn unknown<'a>(
    used: &'a BTreeMap<String, u64>,
    keys: &'a Keys,
) -> impl Iterator<Item = (&'a str, u64)> {
    let is_known = |id: &str| keys.ring.key_ids().any(|known| known.to_string() == id);
    used.iter().map(|(id, count)| (id.as_str(), *count)).filter(move |(id, _)| !is_known(id))
}
