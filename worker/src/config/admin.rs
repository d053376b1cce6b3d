//! Who may look at the admin port: everybody on this machine, or whoever has its token.

use std::{fmt, net::SocketAddr, path::PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Admin, ConfigFile, Connect, RunOptions, Secret};

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;

/// The admin port, checked.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// Where it is; `None` for nowhere.
    pub address: Option<SocketAddr>,
    /// Who may see the status page: whoever has this, or without one whoever is on this machine.
    pub token: Option<AdminToken>,
}

/// Why the admin port is not served. No token is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// It could be reached from elsewhere, by everybody.
    #[error(
        "--admin {address} can be reached from other machines, and there is no token for its status \
         page: give `admin.token_file` in the config file, --admin-token-file, or \
         VESTIBULE_ADMIN_TOKEN (16 characters or more; `openssl rand -hex 16` makes one); or listen \
         on 127.0.0.1; or --admin off"
    )]
    NoToken {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The file cannot be read.
    #[error("`admin.token_file`: cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What is there is no token.
    #[error(
        "{from}: the token of the admin port has 16 characters or more, of those that a keyboard \
         prints, without spaces; `openssl rand -hex 16` makes one"
    )]
    Weak {
        /// What it came from.
        from: &'static str,
    },
}

/// The token of the admin port: its digest is all that is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Takes what a file or a variable says, without the line end.
    ///
    /// # Errors
    ///
    /// [`AdminError::Weak`] if it has fewer than 16 characters, or others than printable ASCII.
    pub fn new(text: &str, from: &'static str) -> Result<Self, AdminError> {
        let text = text.trim();
        if text.len() < SHORTEST || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(AdminError::Weak { from });
        }
        Ok(Self(Sha256::digest(text).into()))
    }

    /// Whether this is it, in a time that does not tell how much of it is right.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        self.0.ct_eq(&given).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken([redacted])")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminTable {
    pub(super) address: Option<Admin>,
    pub(super) token_file: Option<PathBuf>,
}

impl AdminSettings {
    /// Reads flags, environment and file.
    ///
    /// # Errors
    ///
    /// An [`AdminError`], or what is wrong with the file as a whole.
    pub fn load(connect: &Connect, options: &RunOptions) -> anyhow::Result<Self> {
        let file = ConfigFile::of(connect)?;
        let address = match file.run(options).admin {
            // Then it serves no port.
            _ if options.once => None,
            Admin::Off => None,
            Admin::At(address) => Some(address),
        };
        let token = match file.token_from(options) {
            Some(Secret::File(path)) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| AdminError::Unreadable { path, error })?;
                Some(AdminToken::new(&text, "`admin.token_file`")?)
            }
            Some(Secret::Text(text)) => Some(AdminToken::new(&text, "VESTIBULE_ADMIN_TOKEN")?),
            None => None,
        };
        match address {
            Some(address) if token.is_none() && !address.ip().is_loopback() => {
                Err(AdminError::NoToken { address }.into())
            }
            _ => Ok(Self { address, token }),
        }
    }
}

impl ConfigFile {
    pub(super) fn token_from(&self, options: &RunOptions) -> Option<Secret> {
        let in_file = self.admin.token_file.as_ref();
        Secret::first(options.admin_token_file.as_ref(), "VESTIBULE_ADMIN_TOKEN", in_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_never_shown() {
        let token = AdminToken::new("0123456789abcdef\n", "test").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF"] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{token:?}"), "AdminToken([redacted])");
        for weak in ["", "short", "0123456789abcde", "0123456789 abcdef", "0123456789abcdé"] {
            let error = AdminToken::new(weak, "`admin.token_file`").unwrap_err().to_string();
            assert!(error.contains("admin.token_file") && error.contains("openssl"), "{error}");
            assert!(weak.is_empty() || !error.contains(weak), "{error}");
        }
    }
}
