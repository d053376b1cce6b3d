//! What is measured: every metric of the library and of the worker, in one [list](ALL).
//!
//! A label's values are a closed set of words, or names that the configuration gives: the slugs of the
//! registry's connectors, and the receivers of events. Nothing that comes from Redis, from a provider or
//! with a request becomes one, and no owner does.
//!
//! What is measured goes to whatever recorder the host has installed for the `metrics` facade; without
//! one it costs next to nothing. A host installs it before it connects: what was open or waited before is
//! not counted. It calls [`describe`] once after that, and [`at_zero`] once it knows its connectors: a
//! counter that appears with its first event has no rise that an alert could see.

mod list;
mod series;

pub(crate) use metrics::SharedString;
use metrics::with_recorder;

use self::series::Series;
pub use self::{
    list::*,
    series::{Counter, Gauge, Histogram, Raised},
};

/// One metric of the [list](ALL).
#[derive(Debug)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    text: &'static str,
    labels: &'static [Label],
    from: Origin,
    buckets: &'static [f64],
    series: Series,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It only rises; its name ends in `_total`.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How often which values occurred.
    Histogram,
}

/// What a metric counts in. Prometheus' base units: never milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds; the metric's name says so.
    Seconds,
}

/// Who measures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The library: in a service, and in the worker as far as it does the same.
    Library,
    /// The worker alone.
    Worker,
}

/// A label, and what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    name: &'static str,
    values: Values,
}

/// What a label may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Values {
    /// One of these words.
    Words(&'static [&'static [&'static str]]),
    /// The slug of a connector in the registry; `unknown` for one that is not in it.
    Connectors,
    /// The name of a receiver of events.
    Notifiers,
    /// The id of a sealing key that is or was in the ring; `unknown` for all others together.
    Keys,
}

impl Kind {
    /// Its word, as Prometheus has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Label {
    const fn words(name: &'static str, words: &'static [&'static [&'static str]]) -> Self {
        Self { name, values: Values::Words(words) }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it may be.
    #[must_use]
    pub const fn values(&self) -> Values {
        self.values
    }

    /// The words that it may be; `None` if they are the configuration's.
    #[must_use]
    pub fn closed(&self) -> Option<Vec<&'static str>> {
        matches!(self.values, Values::Words(_)).then(|| self.all().collect())
    }

    fn all(&self) -> impl Iterator<Item = &'static str> + Clone {
        let words = match self.values {
            Values::Words(words) => words,
            Values::Connectors | Values::Notifiers | Values::Keys => &[],
        };
        words.iter().copied().flatten().copied()
    }
}

impl Metric {
    const fn new(
        name: &'static str,
        (kind, unit, from): (Kind, Unit, Origin),
        text: &'static str,
        labels: &'static [Label],
        buckets: &'static [f64],
    ) -> Self {
        let text = text.trim_ascii();
        Self { name, kind, unit, text, labels, from, buckets, series: Series::new() }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How it behaves.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What it counts in.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        self.unit
    }

    /// What it means, in a sentence or two.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        self.text
    }

    /// Its labels; one whose values are the configuration's comes first.
    #[must_use]
    pub const fn labels(&self) -> &'static [Label] {
        self.labels
    }

    /// Who measures it.
    #[must_use]
    pub const fn from(&self) -> Origin {
        self.from
    }

    /// Of a histogram, the upper bounds that an exporter should count by; else none.
    #[must_use]
    pub const fn buckets(&self) -> &'static [f64] {
        self.buckets
    }
}

/// Tells the recorder that is installed what each metric means, and its unit.
pub fn describe() {
    for metric in ALL {
        let unit = Some(match metric.unit {
            Unit::Count => metrics::Unit::Count,
            Unit::Seconds => metrics::Unit::Seconds,
        });
        let (name, text) = (metric.name.into(), metric.text.into());
        with_recorder(|recorder| match metric.kind {
            Kind::Counter => recorder.describe_counter(name, unit, text),
            Kind::Gauge => recorder.describe_gauge(name, unit, text),
            Kind::Histogram => recorder.describe_histogram(name, unit, text),
        });
    }
}

/// Starts counters at zero, so that their first event is a rise: all that have at most one label of
/// words; and the gauges of what is open or waits in this process. `connectors` are the slugs in the
/// registry, `notifiers` the receivers of events.
pub fn at_zero<'a>(
    connectors: impl IntoIterator<Item = &'a str>,
    notifiers: impl IntoIterator<Item = &'a str>,
) {
    let owned = |name: &str| metrics::SharedString::from(name.to_owned());
    let connectors: Vec<_> = connectors.into_iter().map(owned).collect();
    let notifiers: Vec<_> = notifiers.into_iter().map(owned).collect();
    for metric in ALL {
        let words = metric.labels.iter().filter(|label| label.closed().is_some());
        if metric.kind != Kind::Counter || words.count() > 1 {
            continue;
        }
        let names = metric.labels.first().map(Label::values);
        match names {
            Some(Values::Connectors) => metric.begin(&connectors),
            Some(Values::Notifiers) => metric.begin(&notifiers),
            _ => metric.begin(&[]),
        }
    }
    WAITERS.begin();
    REDIS_CONNECTIONS.begin();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_say_kind_and_unit() {
        let mut names = BTreeSet::new();
        for metric in ALL {
            let name = metric.name;
            assert!(names.insert(name), "{name} is there twice");
            let word = name.strip_prefix("vestibule_").unwrap();
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(name.ends_with("_total"), is_counter, "{name}");
            assert_eq!(name.ends_with("_seconds"), metric.unit == Unit::Seconds, "{name}");
            assert_eq!(metric.buckets.is_empty(), metric.kind != Kind::Histogram, "{name}");
            assert!(metric.buckets.is_sorted(), "{name}");
            assert!(metric.text.ends_with('.') && !metric.text.contains('|'), "{name}");
            if metric.unit == Unit::Seconds {
                assert!(metric.text.to_lowercase().contains("seconds"), "{name}: {}", metric.text);
            }
        }
    }

    #[test]
    fn labels_are_closed_and_few() {
        for metric in ALL {
            let mut series = 1;
            for (at, label) in metric.labels.iter().enumerate() {
                let Some(words) = label.closed() else {
                    assert_eq!(at, 0, "{}: {} is not the first", metric.name, label.name);
                    continue;
                };
                let unique: BTreeSet<_> = words.iter().collect();
                assert_eq!(unique.len(), words.len(), "{} {}", metric.name, label.name);
                assert!(words.len() > 1, "{} {}", metric.name, label.name);
                let plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
                assert!(words.iter().all(|word| word.bytes().all(plain)), "{words:?}");
                series *= words.len();
            }
            assert!(series <= 128, "{}: {series} series", metric.name);
        }
    }
}
