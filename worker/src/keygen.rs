//! `keygen`: makes a key file.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};
use clap::Args;
use vestibule::Keys;

/// Where the key file goes.
#[derive(Debug, Args)]
pub struct Options {
    /// The file to make, readable by its owner only; never overwritten. Without it, the keys go to
    /// standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Makes the file, or prints it.
///
/// # Errors
///
/// If the file exists already, or cannot be written.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let text = Keys::generate_toml();
    let Some(path) = &options.out else {
        std::io::stdout().write_all(text.as_bytes())?;
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
    // Not `eprintln!`: it panics when nobody listens.
    let _ = writeln!(
        std::io::stderr(),
        "wrote {}: give every replica and worker this same file, and keep a copy",
        path.display()
    );
    Ok(())
}
