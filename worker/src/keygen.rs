//! `keygen`: makes a key file.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use vestibule::Keys;
use zeroize::Zeroizing;

/// Where the key file goes.
#[derive(Debug, Args)]
pub struct Options {
    /// The file to make, readable by its owner only; never overwritten. Without it, the keys go to
    /// standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Makes the file, or prints it; as JSON `{"keys": …}`, which is what `VESTIBULE_KEYS` takes, or
/// `{"file": …}`.
///
/// # Errors
///
/// If the file exists already, or cannot be written.
pub fn run(options: &Options, json: bool) -> anyhow::Result<()> {
    let text = Keys::generate_toml();
    let Some(path) = &options.out else {
        let keys = json.then(|| serde_json::to_string(&*text).map(Zeroizing::new)).transpose()?;
        let shown = keys.map(|keys| Zeroizing::new(format!("{{ \"keys\": {} }}\n", *keys)));
        std::io::stdout().write_all(shown.unwrap_or(text).as_bytes())?;
        return Ok(());
    };
    let mut open = OpenOptions::new();
    open.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    let mut file = match open.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(
            "{} exists: a key file is never overwritten, because what it sealed would be lost; \
             name another file, or move this one away",
            path.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
    };
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    if json {
        writeln!(std::io::stdout().lock(), "{:#}", json!({ "file": path }))?;
        return Ok(());
    }
    // Not `eprintln!`: it panics when nobody listens.
    let _ = writeln!(
        std::io::stderr(),
        "wrote {}: give every replica and worker this same file, and keep a copy",
        path.display()
    );
    Ok(())
}
