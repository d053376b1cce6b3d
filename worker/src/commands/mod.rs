//! What a person asks at the command line, and does by hand: one file a command.
//!
//! A command returns what it has to [show](Shown), for people and for programs alike; only
//! [`run`] prints. Those that look use the inspector, and need no keys; those that change something
//! go through the library's verbs, which first recognise the database by its naming key.

mod acl;
mod aside;
mod cancel;
mod completions;
mod config;
mod connectors;
pub(crate) mod doctor;
mod events;
mod key;
mod keys;
mod ls;
mod orphan;
mod refresh;
mod resume;
mod retry;
mod revoke;
mod show;
mod shown;
mod story;
mod subject;
mod top;
mod waiters;
pub(crate) mod when;
mod why;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgMatches, Subcommand};
use vestibule::{
    Keys, Vestibule,
    inspect::{Inspector, Names},
};

pub use self::shown::{Code, Shown, Usage};
use crate::config::{Connect, Settings, load_keys, load_redis, load_store};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what is in Redis
    #[command(subcommand)]
    Ls(ls::What),
    /// Show one record, without its secrets
    Show(subject::Id),
    /// Tell in plain sentences where a record stands, what happens next, and what to do
    Why(subject::Id),
    /// Print a record's key in Redis, for redis-cli
    Key(subject::Id),
    /// Who waits for a pending
    Waiters(subject::Id),
    /// Cancel a pending, and wake whoever waits
    Cancel(subject::Id),
    /// Revoke a connection or a temp token, for good
    Revoke(revoke::Options),
    /// Refresh a connection now, if it is due and nobody else does
    Refresh(refresh::Options),
    /// Make a connection due at once that backs off, or was given up
    Retry(subject::Id),
    /// Withdraw the access to a connection or a header credential, which is kept whole for a while
    Orphan(orphan::Options),
    /// Give the access to an orphaned connection or header credential back
    Restore(subject::Id),
    /// What happened, the newest last; with --follow what happens
    Events(events::Options),
    /// What goes on, live in the terminal
    Top(top::Options),
    /// End a connector's pause, once its cause is mended
    Resume(resume::Options),
    /// What is known of the key ring, and its rotation
    #[command(subcommand)]
    Keys(keys::What),
    /// Look for what is wrong, and say how to mend it
    Doctor(doctor::Options),
    /// Print the rules of least-privilege users of Redis
    Acl(acl::Options),
    /// What the configuration amounts to
    #[command(subcommand)]
    Config(config::What),
    /// Print a shell's completions
    Completions(completions::Options),
}

/// What every command has.
#[derive(Debug)]
pub struct Context<'a> {
    connect: Connect,
    json: bool,
    matches: &'a ArgMatches,
}

impl<'a> Context<'a> {
    /// From what was parsed, and how.
    #[must_use]
    pub fn new(connect: Connect, json: bool, matches: &'a ArgMatches) -> Self {
        Self { connect, json, matches }
    }

    fn inspector(&self) -> anyhow::Result<Inspector> {
        Ok(Inspector::new(load_redis(&self.connect)?))
    }

    fn keys(&self) -> anyhow::Result<Option<Keys>> {
        load_keys(&self.connect)
    }

    /// For who asks by a name that stands in Redis as a digest only.
    fn names(&self, what: &str) -> anyhow::Result<Names> {
        let keys = self.keys()?.with_context(|| {
            format!("{what} stands in Redis as a digest: give the key file with --keys")
        })?;
        Ok(Names::new(keys.naming))
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        Settings::load(&self.connect)
    }

    /// Recognises the database first.
    async fn vestibule(&self) -> anyhow::Result<Vestibule> {
        let (redis, keys) = load_store(&self.connect)?;
        Ok(Vestibule::connect(redis, &keys).await?)
    }
}

/// Runs a command and prints what it shows. The exit code is the [`Code`]'s.
pub async fn run(command: Command, context: &Context<'_>) -> ExitCode {
    let shown = match command {
        Command::Ls(what) => ls::run(what, context).await,
        Command::Show(id) => show::run(&id, context).await,
        Command::Why(id) => why::run(&id, context).await,
        Command::Key(id) => key::run(&id, context).await,
        Command::Waiters(id) => waiters::run(&id, context).await,
        Command::Cancel(id) => cancel::run(&id, context).await,
        Command::Revoke(options) => revoke::run(&options, context).await,
        Command::Refresh(options) => refresh::run(&options, context).await,
        Command::Retry(id) => retry::run(&id, context).await,
        Command::Orphan(options) => orphan::withdraw(&options, context).await,
        Command::Restore(id) => orphan::restore(&id, context).await,
        Command::Events(options) => {
            return events::done(events::run(&options, context).await, context.json);
        }
        Command::Top(options) => return top::run(&options, context).await,
        Command::Resume(options) => resume::run(&options, context).await,
        Command::Keys(what) => keys::run(&what, context).await,
        Command::Doctor(options) => doctor::run(&options, context).await,
        Command::Acl(options) => acl::run(&options, context),
        Command::Config(config::What::Check(options)) => config::check(&options, context),
        Command::Completions(options) => return completions::run(&options),
    };
    shown.unwrap_or_else(|error| Shown::failure(&error)).print(context.json)
}
