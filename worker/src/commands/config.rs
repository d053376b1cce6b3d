//! `config check`: what the configuration amounts to, and where each value comes from.

use clap::{ArgMatches, Subcommand, parser::ValueSource};
use serde::Serialize;
use serde_json::json;

use super::{Code, Context, Shown, shown::table};
use crate::config::{AdminSettings, FileText, RunOptions, Settings, TracesSettings};

/// What of the configuration.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Print it as `run` would have it, secrets redacted, and say where each value comes from
    Check(Box<RunOptions>),
}

/// A value, and where it comes from.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    value: String,
    from: String,
}

/// Exit code 1 if `run` would not start with it.
pub(super) fn check(options: &RunOptions, context: &Context<'_>) -> anyhow::Result<Shown> {
    let file = FileText::read(&context.connect)?;
    let mut leaf = context.matches;
    while let Some((_, inner)) = leaf.subcommand() {
        leaf = inner;
    }
    let mut rows = Vec::new();
    for (id, in_file, value, default) in settings(options, context) {
        // The keys may come as the text of a key file, which is no flag.
        let text = id == "keys" && FileText::has_keys_variable();
        let (from, value) = match source(leaf, id) {
            Some(from) => (from, value),
            None => match in_file.and_then(|key| Some((key, file.value(key)?))) {
                Some((key, value)) => (format!("`{key}` in the file"), value),
                None if text => ("VESTIBULE_KEYS".to_owned(), "[redacted]".to_owned()),
                None => ("default".to_owned(), default.to_owned()),
            },
        };
        let is_url = id == "redis" || id == "traces_endpoint" && value != "off";
        let value = if is_url { redacted(&value) } else { value };
        rows.push(Row { name: in_file.unwrap_or(id).to_owned(), value, from });
    }
    for (name, value) in file.others() {
        rows.push(Row { from: format!("`{name}` in the file"), name, value });
    }
    let fault = Settings::load(&context.connect).err();
    let fault = fault.or_else(|| AdminSettings::load(&context.connect, options).err());
    let fault = fault.or_else(|| TracesSettings::load(&context.connect, &options.traces).err());
    let fault = fault.map(|error| format!("{error:#}"));
    let told = rows.iter().map(|row| [row.name.clone(), row.value.clone(), row.from.clone()]);
    let mut text = table(["setting", "value", "from"], told);
    text = match &fault {
        None => format!("{text}\nThis configuration is whole."),
        Some(fault) => format!("{text}\n`run` would not start: {fault}"),
    };
    let code = if fault.is_some() { Code::Error } else { Code::Done };
    Ok(Shown::done(text, json!({ "settings": rows, "fault": fault })).with_code(code))
}

/// What a collector knows the worker as.
const SERVICE: &str = env!("CARGO_PKG_NAME");

type Setting = (&'static str, Option<&'static str>, String, &'static str);

/// Each by its flag, its name in the file, its value, and what it is without one.
fn settings(options: &RunOptions, context: &Context<'_>) -> Vec<Setting> {
    let connect = &context.connect;
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let admin = match options.admin {
        crate::config::Admin::Off => "off".to_owned(),
        crate::config::Admin::At(address) => address.to_string(),
    };
    let log = format!("{:?}", options.log).to_lowercase();
    let traces = &options.traces;
    let ratio = traces.traces_ratio.map(|ratio| ratio.to_string()).unwrap_or_default();
    vec![
        ("config", None, path(&connect.config), "none"),
        ("redis", Some("redis"), text(&connect.redis), "none: required"),
        ("keys", Some("keys_file"), path(&connect.keys), "none: required"),
        ("prefix", Some("prefix"), text(&connect.prefix), "vst"),
        ("journal_dir", Some("journal_dir"), path(&options.journal_dir), "none: no journal"),
        ("instance", None, text(&options.instance), "worker-<process id>"),
        ("interval_ms", None, options.interval_ms.to_string(), "1000"),
        ("parallel", None, options.parallel.to_string(), "16"),
        ("allow_missing_keys", None, options.allow_missing_keys.to_string(), "false"),
        ("admin", None, admin, "127.0.0.1:9464"),
        ("admin_token_file", None, path(&options.admin_token_file), "none: for this machine alone"),
        ("grace_s", None, options.grace_s.to_string(), "25"),
        ("log", None, log, "plain"),
        ("traces_endpoint", Some("traces.endpoint"), text(&traces.traces_endpoint), "off"),
        ("traces_service", Some("traces.service"), text(&traces.traces_service), SERVICE),
        ("traces_ratio", Some("traces.ratio"), ratio, "1"),
    ]
}

/// From which flag or variable, if from any.
fn source(matches: &ArgMatches, id: &str) -> Option<String> {
    let flag = id.replace('_', "-");
    match matches.value_source(id)? {
        ValueSource::CommandLine => Some(format!("--{flag}")),
        ValueSource::EnvVariable => Some(format!("environment, for --{flag}")),
        _ => None,
    }
}

/// A URL without its password, of any of the forms.
fn redacted(url: &str) -> String {
    // What is no URL may be anything, a password too.
    let Some((scheme, rest)) = url.split_once("://") else { return "[redacted]".to_owned() };
    // A password may have a slash or an @ in it: the last one decides.
    let Some(at) = rest.rfind('@') else { return url.to_owned() };
    let user = rest[..at].split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:***@{}", &rest[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_left() {
        for (url, shown) in [
            ("redis://h:1/2", "redis://h:1/2"),
            ("redis://:hunter2@h", "redis://:***@h"),
            ("rediss://u:hunter2@h:1/0", "rediss://u:***@h:1/0"),
            ("redis-cluster://u:hun@ter2@a:1,b:2", "redis-cluster://u:***@a:1,b:2"),
            ("redis://u:hun/ter2@h", "redis://u:***@h"),
            ("hunter2", "[redacted]"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
