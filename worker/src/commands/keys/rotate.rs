//! `keys rotate`, `keys promote` and `keys retire`: the ring of the key file, step by step.

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use vestibule::{Keys, seal::KeyId};

use super::{
    super::{Context, Shown},
    file::OnDisk,
    usage,
};

/// How a new key comes into the ring.
#[derive(Debug, Args)]
pub struct Rotate {
    /// Put it in front at once: only where one process has the keys, or all of them are stopped
    #[arg(long)]
    at_once: bool,
}

/// One key of the ring.
#[derive(Debug, Args)]
pub struct Which {
    /// Its id, as `keys status` shows it
    id: String,
}

/// A new key: it opens everywhere before it seals anywhere.
pub(super) fn rotate(options: &Rotate, context: &Context<'_>) -> anyhow::Result<Shown> {
    let mut on_disk = OnDisk::read(context)?;
    let old = on_disk.file.key_ids().next();
    let added = on_disk.file.add();
    if options.at_once {
        on_disk.file.promote(added)?;
    }
    on_disk.replace()?;
    let old = old.map(|id| id.to_string()).unwrap_or_default();
    let next = if options.at_once {
        format!(
            "start with it; `keys reseal`; when `keys status` has 0 for {old}, `keys retire {old}`"
        )
    } else {
        format!(
            "give this file to every service and worker (a worker takes it with SIGHUP); when all \
             have it, `keys promote {added}`"
        )
    };
    let does = if options.at_once { "seals" } else { "opens, and seals nothing yet" };
    let what = format!("added key {added} to {}: it {does}", on_disk.shown());
    Ok(changed(&on_disk, &what, &next, json!({ "added": added.to_string() })))
}

/// The key seals from now on.
pub(super) fn promote(which: &Which, context: &Context<'_>) -> anyhow::Result<Shown> {
    let mut on_disk = OnDisk::read(context)?;
    let key = find(&on_disk, &which.id)?;
    let old = on_disk.file.key_ids().next();
    on_disk.file.promote(key)?;
    on_disk.replace()?;
    let old = old.map(|id| id.to_string()).unwrap_or_default();
    let next = format!(
        "give this file to every service and worker; when all have it, `keys reseal`, or wait for \
         the sweep; when `keys status` has 0 for {old}, `keys retire {old}`"
    );
    let what = format!("key {key} is in front in {}: it seals", on_disk.shown());
    Ok(changed(&on_disk, &what, &next, json!({ "promoted": key.to_string() })))
}

/// Takes a key away that nothing asks for. Exit code 1 if something does.
pub(super) async fn retire(which: &Which, context: &Context<'_>) -> anyhow::Result<Shown> {
    let mut on_disk = OnDisk::read(context)?;
    let key = find(&on_disk, &which.id)?;
    let keys = Keys::from_toml(&on_disk.file.to_toml())?;
    let used = usage(&context.inspector()?, &keys, u16::MAX)
        .await
        .context("whether the key is in use cannot be told, so it stays")?;
    used.secrets.may_retire(key)?;
    let short = used.others(key);
    if short > 0 {
        bail!(
            "key {key} is in use: {short} records that live for a while (states, pendings, tokens) \
             ask for it; wait until they have ended"
        );
    }
    on_disk.file.remove(key)?;
    on_disk.replace()?;
    let next = "give this file to every service and worker; keep a copy of the key for as long as \
                you keep backups of Redis, or a journal, from before";
    let what = format!("took key {key} out of {}: nothing is sealed by it", on_disk.shown());
    Ok(changed(&on_disk, &what, next, json!({ "retired": key.to_string() })))
}

fn find(on_disk: &OnDisk, id: &str) -> anyhow::Result<KeyId> {
    let ring = || on_disk.file.key_ids();
    ring().find(|key| key.to_string() == id.to_lowercase()).with_context(|| {
        let there: Vec<_> = ring().map(|key| key.to_string()).collect();
        // Not repeated: who mixes up what he pastes has pasted a key.
        format!("there is no key of this id in the ring; there are {}", there.join(", "))
    })
}

fn changed(on_disk: &OnDisk, what: &str, next: &str, mut json: serde_json::Value) -> Shown {
    let ring: Vec<_> = on_disk.file.key_ids().map(|key| key.to_string()).collect();
    json["ring"] = json!(ring);
    json["next"] = json!(next);
    Shown::done(format!("{what}\nnext: {next}"), json)
}
