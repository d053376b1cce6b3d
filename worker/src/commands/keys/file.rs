//! The key file, replaced as a whole.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, fchown},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use vestibule::KeyFile;
use zeroize::Zeroizing;

use super::super::Context;
use crate::config;

/// A key file on disk.
pub(super) struct OnDisk {
    path: PathBuf,
    before: Zeroizing<String>,
    /// What is in it, to be changed.
    pub(super) file: KeyFile,
}

impl OnDisk {
    pub(super) fn read(context: &Context<'_>) -> anyhow::Result<Self> {
        let Some(path) = config::keys_path(&context.connect)? else {
            bail!(
                "only a file can be changed: give the key file with --keys, VESTIBULE_KEYS_FILE, or \
                 `keys_file` in the config file"
            );
        };
        // What a link leads to is replaced, not the link.
        let path = path
            .canonicalize()
            .with_context(|| format!("the key file {} cannot be read", path.display()))?;
        let before = Zeroizing::new(read(&path)?);
        let file = KeyFile::parse(&before)?;
        Ok(Self { path, before, file })
    }

    /// Whoever reads it has the old one or the new one, whole, whatever dies meanwhile. Mode and
    /// owner stay.
    pub(super) fn replace(&self) -> anyhow::Result<()> {
        let path = &self.path;
        let cannot = || {
            format!(
                "{} cannot be replaced; where it is mounted read-only, change its source instead, \
                 with a copy of it",
                path.display()
            )
        };
        let text = self.file.to_toml();
        let dir = path.parent().unwrap_or(Path::new("/"));
        let was = fs::metadata(path).with_context(cannot)?;
        let new = tempfile::Builder::new().prefix(".keys-").tempfile_in(dir);
        let mut new = new.with_context(cannot)?;
        let is = new.as_file().metadata().with_context(cannot)?;
        if (is.uid(), is.gid()) != (was.uid(), was.gid()) {
            fchown(new.as_file(), Some(was.uid()), Some(was.gid())).with_context(|| {
                format!("{} has another owner, which would be lost: run as that", path.display())
            })?;
        }
        new.as_file().set_permissions(was.permissions()).with_context(cannot)?;
        new.write_all(text.as_bytes()).with_context(cannot)?;
        new.as_file().sync_all().with_context(cannot)?;
        if *Zeroizing::new(read(path)?) != *self.before {
            bail!("{} was changed by somebody else meanwhile: try again", path.display());
        }
        new.persist(path).with_context(cannot)?;
        // The name lasts when its directory does.
        fs::File::open(dir).and_then(|dir| dir.sync_all()).with_context(cannot)
    }

    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path)
        .with_context(|| format!("the key file {} cannot be read", path.display()))
}
