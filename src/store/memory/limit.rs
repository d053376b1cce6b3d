//! What the scripts in `lua/limit` must do. In microseconds, as far as calls are counted.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;

use super::{MemoryStore, State, event::Events};
use crate::{
    digest::Digest,
    store::{
        By, ConnectorName, EventKind, GRACE, LimitStore, NewEvent, Pause, PauseRow, Paused,
        Release, Reserve, Reserved, Resumed, StoreError, Subject, millis, telling::words,
    },
};

#[async_trait]
impl LimitStore for MemoryStore {
    async fn reserve(&self, reserve: Reserve<'_>) -> Result<Reserved, StoreError> {
        let (mut state, now) = self.enter();
        Ok(state.providers.get(reserve.connector).reserve(&reserve, now))
    }

    async fn release(&self, release: Release<'_>) -> Result<(), StoreError> {
        let (mut state, now) = self.enter();
        state.providers.get(release.connector).release(&release, now);
        Ok(())
    }

    async fn pause_connector(&self, pause: Pause<'_>) -> Result<Paused, StoreError> {
        let (mut state, now) = self.enter();
        let State { providers, events, .. } = &mut *state;
        Ok(providers.get(pause.connector).pause(&pause, events, now))
    }

    async fn resume_connector(
        &self,
        connector: ConnectorName<'_>,
        request: Digest,
        by: By<'_>,
    ) -> Result<Resumed, StoreError> {
        let (mut state, now) = self.enter();
        let State { providers, events, .. } = &mut *state;
        Ok(providers.get(connector).resume(connector, request, by, events, now))
    }

    async fn read_pause(
        &self,
        connector: ConnectorName<'_>,
    ) -> Result<Option<PauseRow>, StoreError> {
        let (mut state, now) = self.enter();
        let paused = state.providers.get(connector).paused(now);
        Ok(paused.map(|paused| PauseRow {
            reason: paused.reason.clone(),
            since_ms: paused.since,
            until_ms: paused.until,
            times: paused.times,
        }))
    }
}

/// By slug: as many as a host has connectors.
#[derive(Default)]
pub(super) struct Providers(HashMap<String, Provider>);

impl Providers {
    fn get(&mut self, connector: ConnectorName<'_>) -> &mut Provider {
        self.0.entry(connector.slug.to_owned()).or_default()
    }
}

#[derive(Default)]
struct Provider {
    /// Holders, and when their leases end (ms).
    places: HashMap<Digest, u64>,
    /// By then the provider will have forgotten all calls so far (us).
    next: u64,
    /// Where the line ends (us).
    line: u64,
    pause: Option<Pausing>,
    /// The receipt of a resumption, and when that is forgotten.
    resumed: Option<(Digest, u64)>,
}

struct Pausing {
    reason: String,
    since: u64,
    until: u64,
    times: u32,
    by: Digest,
    probe: Option<(Digest, u64)>,
}

impl Provider {
    fn reserve(&mut self, reserve: &Reserve<'_>, now: u64) -> Reserved {
        let (now_us, ends_at) = (now * 1000, now + reserve.lease_ms());
        let probing = self.paused(now).and_then(|paused| paused.probe).filter(|it| it.1 > now);
        let probe = probing.is_some_and(|(holder, _)| holder == reserve.holder);
        if probe || self.places.get(&reserve.holder).is_some_and(|ends| *ends > now) {
            return Reserved::Go { probe };
        }
        if let Some(paused) = self.paused(now) {
            let until =
                if paused.until > now { paused.until } else { probing.map_or(0, |it| it.1) };
            if until > now {
                let remaining = Duration::from_millis(until - now);
                return Reserved::Paused { remaining, reason: paused.reason.clone() };
            }
        }

        let (burst, apart) = reserve.caps.pace().unwrap_or((1, 0));
        let next = self.next.clamp(now_us, now_us + u64::from(burst) * apart);
        let mut wait = next.saturating_sub(u64::from(burst - 1) * apart + now_us);
        let mut spacing = apart;
        if let Some(at_once) = reserve.caps.at_once {
            spacing = apart.max(Reserve::USUAL_US / u64::from(at_once.get()));
            self.places.retain(|_, ends| *ends > now);
            if self.places.len() >= at_once.get().into() {
                wait = wait.max(spacing);
            }
        }
        if wait > 0 {
            if reserve.in_line && wait >= spacing / 2 {
                let end = now_us + reserve.horizon_ms() * 1000;
                let from = self.line.max(now_us + wait).min(end);
                self.line = from + spacing / 2;
                wait = from - now_us;
            }
            return Reserved::Later(Duration::from_micros(wait));
        }

        if apart > 0 {
            self.next = next + apart;
        }
        if !reserve.caps.is_none() {
            self.places.retain(|_, ends| *ends > now);
            self.places.insert(reserve.holder, ends_at);
        }
        let Some(paused) = &mut self.pause else { return Reserved::Go { probe: false } };
        paused.probe = Some((reserve.holder, ends_at));
        Reserved::Go { probe: true }
    }

    fn release(&mut self, release: &Release<'_>, now: u64) {
        if let Some(paused) = &mut self.pause
            && !release.made
        {
            paused.probe = paused.probe.filter(|(holder, _)| *holder != release.holder);
        }
        let apart = release.caps.pace().map_or(0, |pace| pace.1);
        let held = self.places.remove(&release.holder).is_some_and(|ends| ends > now);
        if held && !release.made {
            self.next = self.next.saturating_sub(apart);
        }
    }

    fn pause(&mut self, pause: &Pause<'_>, events: &mut Events, now: u64) -> Paused {
        let (first, longest) = pause.spans_ms();
        let was = self.paused(now).map(|paused| (paused.times, paused.since));
        if let Some(paused) = self.pause.as_ref().filter(|paused| paused.until > now) {
            let remaining = Duration::from_millis(paused.until - now);
            return match paused.by == pause.request {
                true if paused.times > 1 => Paused::Again { remaining },
                true => Paused::Paused { remaining },
                false => Paused::Still { remaining },
            };
        }
        let (times, since) = was.map_or((1, now), |(times, since)| (times + 1, since));
        let life = first.saturating_mul(1 << (times - 1).min(32)).min(longest);
        self.pause = Some(Pausing {
            reason: pause.reason.to_owned(),
            since,
            until: now + life,
            times,
            by: pause.request,
            probe: None,
        });
        self.resumed = None;
        if times == 1 {
            let said =
                [("until", Some((now + life).to_string())), ("reason", Some(pause.reason.into()))];
            let kind = EventKind::ConnectorPaused;
            tell(events, kind, pause.connector, pause.by, &words(&said), now);
        }
        let remaining = Duration::from_millis(life);
        if times > 1 { Paused::Again { remaining } } else { Paused::Paused { remaining } }
    }

    fn resume(
        &mut self,
        connector: ConnectorName<'_>,
        request: Digest,
        by: By<'_>,
        events: &mut Events,
        now: u64,
    ) -> Resumed {
        if self.resumed.is_some_and(|(by, until)| by == request && until > now) {
            return Resumed::Resumed;
        }
        let Some(reason) = self.paused(now).map(|paused| paused.reason.clone()) else {
            return Resumed::Running;
        };
        let kind = EventKind::ConnectorResumed;
        tell(events, kind, connector, by, &words(&[("reason", Some(reason))]), now);
        self.pause = None;
        self.resumed = Some((request, now + millis(GRACE)));
        Resumed::Resumed
    }

    /// The pause, unless nobody asked after it for so long that it is forgotten.
    fn paused(&mut self, now: u64) -> Option<&Pausing> {
        self.pause.take_if(|paused| paused.until + millis(Pause::KEPT) <= now);
        self.pause.as_ref()
    }
}

/// The event that the script writes with its change.
fn tell(
    events: &mut Events,
    kind: EventKind,
    connector: ConnectorName<'_>,
    by: By<'_>,
    detail: &str,
    now: u64,
) {
    let event = NewEvent {
        kind,
        subject: Subject::Connector,
        subject_id: connector.slug,
        name: connector.slug,
        owner: None,
        actor: by.actor,
        idp_host: by.idp_host,
        detail,
    };
    events.note(connector.shard, &event, now);
}
