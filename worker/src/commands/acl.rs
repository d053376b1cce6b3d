//! `acl`: the rules of least-privilege users, made from the scripts and the commands that are sent.

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use vestibule::{
    inspect::{Rights, Role},
    store::redis::Prefix,
};

use super::{Context, Shown, Usage};

/// For whom.
#[derive(Debug, Args)]
pub struct Options {
    /// Only for this role
    #[arg(long, value_enum)]
    role: Option<Which>,
    /// The SHA-256 of the role's password, 64 hexadecimal digits; needs --role
    #[arg(long, value_name = "HEX", requires = "role")]
    hash: Option<String>,
    /// The user's name; needs --role
    #[arg(long, value_name = "NAME", requires = "role")]
    user: Option<String>,
    /// The server is Redis 7.2 or newer: clients may say what they are
    #[arg(long)]
    client_info: bool,
}

/// The roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Which {
    /// A service that embeds the library
    Library,
    /// The worker
    Worker,
    /// People who look, and change nothing
    Inspector,
    /// People who change something by hand
    Operator,
}

impl Which {
    pub(super) fn role(self) -> Role {
        match self {
            Self::Library => Role::Library,
            Self::Worker => Role::Worker,
            Self::Inspector => Role::Inspector,
            Self::Operator => Role::Operator,
        }
    }
}

pub(super) fn run(options: &Options, context: &Context<'_>) -> anyhow::Result<Shown> {
    // The file may name it.
    let prefix = if context.connect.redis.is_some() || context.connect.config.is_some() {
        context.inspector()?.keyspace().prefix().to_owned()
    } else {
        context.connect.prefix.clone().unwrap_or_else(|| "vst".to_owned())
    };
    let prefix = Prefix::new(prefix)?;
    if let Some(hash) = &options.hash
        && !(hash.len() == 64
            && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
    {
        return Err(anyhow!(Usage("--hash takes 64 lower-case hexadecimal digits".to_owned())));
    }
    if let Some(user) = &options.user
        && !user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        bail!(Usage("--user takes letters, digits, -, _ and .".to_owned()));
    }
    let roles = options.role.map_or(Role::ALL.to_vec(), |which| vec![which.role()]);
    let mut lines = Vec::new();
    let mut json = Vec::new();
    for role in roles {
        let mut rights = Rights::of(role, &prefix);
        if options.client_info {
            rights.commands.insert("client|setinfo".to_owned());
        }
        let user = options.user.clone().unwrap_or_else(|| format!("vestibule-{}", role.as_str()));
        let hash = options.hash.as_deref().unwrap_or("SHA256-OF-ITS-PASSWORD");
        let line = format!("ACL SETUSER {user} reset on #{hash} {}", rights.rules());
        json.push(json!({ "user": user, "rights": rights, "line": line }));
        lines.push(line);
    }
    Ok(Shown::done(lines.join("\n"), json))
}
