//! `[notify]`: who is told of events, and how long they are kept for people.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use vestibule::event::{
    EventKind, LogNotifier, Notifier, OutboxGroup, TRANSITIONS, Webhook, WebhookSecret,
};

use super::variable;

/// The receiver that is the log.
const LOG: &str = "log";
const HISTORY_DAYS: u32 = 90;

/// Who is told, checked.
#[derive(Debug)]
pub struct NotifySettings {
    /// Each of them.
    pub receivers: Vec<Receiver>,
    /// Receivers that are no more: nothing is kept for them.
    pub removed: Vec<OutboxGroup>,
}

/// One that is told.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Its name in the store and in metrics.
    pub group: OutboxGroup,
    /// How it is told.
    pub notifier: Arc<dyn Notifier>,
    /// Of what.
    pub kinds: Vec<EventKind>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyEntry {
    #[serde(default)]
    pub(super) log: bool,
    pub(super) log_events: Option<Vec<String>>,
    history_days: Option<u32>,
    #[serde(default)]
    pub(super) removed: Vec<String>,
    #[serde(default)]
    webhook: Vec<WebhookEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookEntry {
    name: String,
    url: String,
    secret_env: Option<String>,
    secret_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    events: Option<Vec<String>>,
}

impl NotifyEntry {
    pub(super) fn history_days(&self) -> u32 {
        self.history_days.unwrap_or(HISTORY_DAYS)
    }

    /// How long events are kept for people.
    pub(super) fn history_age(&self) -> Duration {
        Duration::from_secs(u64::from(self.history_days()) * 24 * 3600)
    }

    pub(super) fn settings(self) -> anyhow::Result<NotifySettings> {
        let days = self.history_days();
        let mut receivers = Vec::new();
        if self.log {
            receivers.push(Receiver {
                group: OutboxGroup::new(LOG)?,
                notifier: Arc::new(LogNotifier),
                kinds: kinds(self.log_events.as_deref()).context("notify: log_events")?,
            });
        } else if self.log_events.is_some() {
            bail!("notify: log_events needs log = true");
        }
        for webhook in self.webhook {
            receivers.push(webhook.receiver()?);
        }
        let removed = self.removed.into_iter().map(OutboxGroup::new);
        let removed = removed.collect::<Result<Vec<_>, _>>().context("notify: removed")?;
        let mut names: Vec<_> = receivers.iter().map(|receiver| &receiver.group).collect();
        names.extend(&removed);
        names.sort();
        let mut pairs = names.iter().zip(names.iter().skip(1));
        if let Some((twice, _)) = pairs.find(|(one, next)| one == next) {
            bail!("notify: two receivers are named {twice}: give each its own name");
        }
        if days == 0 {
            bail!("notify: history_days is at least 1");
        }
        Ok(NotifySettings { receivers, removed })
    }
}

impl WebhookEntry {
    fn receiver(self) -> anyhow::Result<Receiver> {
        let group = OutboxGroup::new(&*self.name).context("a webhook's name")?;
        let ca = match &self.ca_file {
            Some(path) => Some(
                std::fs::read(path)
                    .with_context(|| format!("webhook {group}: cannot read {}", path.display()))?,
            ),
            None => None,
        };
        let secret = WebhookSecret::new(&self.secret()?)
            .with_context(|| format!("webhook {group}: secret_env or secret_file"))?;
        let webhook = Webhook::new(&self.url, secret, ca.as_deref())
            .with_context(|| format!("webhook {group}: url or ca_file"))?;
        let kinds =
            kinds(self.events.as_deref()).with_context(|| format!("webhook {group}: events"))?;
        Ok(Receiver { group, notifier: Arc::new(webhook), kinds })
    }

    fn secret(&self) -> anyhow::Result<String> {
        let name = &self.name;
        match (&self.secret_env, &self.secret_file) {
            (Some(variable_name), None) => variable(variable_name).ok_or_else(|| {
                anyhow!("webhook {name}: secret_env names {variable_name}, which is not set")
            }),
            (None, Some(path)) => std::fs::read_to_string(path).with_context(|| {
                format!("webhook {name}: secret_file: cannot read {}", path.display())
            }),
            _ => bail!("webhook {name}: give secret_env or secret_file, one of them"),
        }
    }
}

/// The words, or what is told by default.
fn kinds(words: Option<&[String]>) -> anyhow::Result<Vec<EventKind>> {
    let Some(words) = words else { return Ok(TRANSITIONS.to_vec()) };
    if words.is_empty() {
        bail!("name at least one, or leave the key out for the transitions");
    }
    let kind = |word: &String| {
        EventKind::from_word(word).ok_or_else(|| {
            let known: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
            anyhow!("each is one of {}", known.join(", "))
        })
    };
    words.iter().map(kind).collect()
}
