//! From a metric of the list to one of its series: without an allocation where all labels are words.

use std::{fmt, sync::OnceLock};

use metrics::{Key, Level, Metadata, SharedString, with_recorder};

use super::{Label, Metric};

static METADATA: Metadata<'static> = Metadata::new("vestibule", Level::INFO, Some(module_path!()));

/// The series of a metric whose labels are all words: made at first use, then looked up.
#[derive(Debug)]
pub(super) struct Series(OnceLock<Box<[Key]>>);

impl Series {
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }
}

impl Metric {
    /// Runs `then` with the key of these values, in the order of the labels.
    fn with<T>(
        &self,
        name: Option<SharedString>,
        words: &[&'static str],
        then: impl FnOnce(&Key) -> T,
    ) -> T {
        let closed = &self.labels[usize::from(name.is_some()).min(self.labels.len())..];
        // A word that is not in the list is a fault of the code, never of what is counted.
        let place = place(closed, words);
        debug_assert!(place.is_some(), "{} has no {words:?}", self.name);
        match (name, place) {
            (None, Some(place)) => then(&self.keys()[place]),
            (name, _) => then(&self.key(name, words)),
        }
    }

    fn key(&self, name: Option<SharedString>, words: &[&'static str]) -> Key {
        let values = name.into_iter().chain(words.iter().map(|word| SharedString::const_str(word)));
        let labels = self.labels.iter().zip(values);
        let labels: Vec<_> =
            labels.map(|(label, value)| metrics::Label::new(label.name, value)).collect();
        Key::from_parts(self.name, labels)
    }

    /// All series, those of the last label's words beside each other.
    fn keys(&self) -> &[Key] {
        self.series.0.get_or_init(|| {
            let mut all = vec![Vec::new()];
            for label in self.labels {
                let words = label.closed().unwrap_or_default();
                let longer = |row: &Vec<_>| {
                    let row = row.clone();
                    words.clone().into_iter().map(move |word| [&row[..], &[word]].concat())
                };
                all = all.iter().flat_map(longer).collect();
            }
            all.iter().map(|words| self.key(None, words)).collect()
        })
    }

    /// Its series with these names, at zero; those without a name if there are none to have.
    pub(super) fn begin(&'static self, names: &[SharedString]) {
        let is_open = self.labels.first().is_some_and(|label| label.closed().is_none());
        let words = self.labels.iter().find_map(Label::closed);
        let words: Vec<Vec<_>> = words
            .map_or_else(|| vec![vec![]], |words| words.into_iter().map(|w| vec![w]).collect());
        let names: Vec<_> =
            if is_open { names.iter().cloned().map(Some).collect() } else { vec![None] };
        for name in names {
            for words in &words {
                self.with(name.clone(), words, register_counter).increment(0);
            }
        }
    }
}

/// Where these words are among all that the labels may be; `None` if one of them is not.
fn place(labels: &[Label], words: &[&'static str]) -> Option<usize> {
    if labels.len() != words.len() {
        return None;
    }
    labels.iter().zip(words).try_fold(0, |place, (label, word)| {
        let all = label.all();
        let at = all.clone().position(|known| known == *word)?;
        Some(place * all.count() + at)
    })
}

fn register_counter(key: &Key) -> metrics::Counter {
    with_recorder(|recorder| recorder.register_counter(key, &METADATA))
}

fn register_gauge(key: &Key) -> metrics::Gauge {
    with_recorder(|recorder| recorder.register_gauge(key, &METADATA))
}

fn register_histogram(key: &Key) -> metrics::Histogram {
    with_recorder(|recorder| recorder.register_histogram(key, &METADATA))
}

/// A metric that only rises.
#[derive(Debug)]
pub struct Counter(pub(super) Metric);

/// A metric that is what it is now.
#[derive(Debug)]
pub struct Gauge(pub(super) Metric);

/// A metric of how often which values occurred.
#[derive(Debug)]
pub struct Histogram(pub(super) Metric);

macro_rules! series {
    ($($of:ident $by:ident;)+) => {$(
        impl $of {
            /// The series of these words, in the order of the labels.
            pub fn of(&self, words: &[&'static str]) -> metrics::$of {
                self.0.with(None, words, $by)
            }

            /// The series of a name that the configuration gives, and of these words.
            pub fn named(
                &self,
                name: impl Into<SharedString>,
                words: &[&'static str],
            ) -> metrics::$of {
                self.0.with(Some(name.into()), words, $by)
            }
        }

        impl std::ops::Deref for $of {
            type Target = Metric;

            fn deref(&self) -> &Metric {
                &self.0
            }
        }
    )+};
}

series! {
    Counter register_counter;
    Gauge register_gauge;
    Histogram register_histogram;
}

impl Gauge {
    /// All series, at what they are: zero, if nothing was raised yet.
    pub(super) fn begin(&self) {
        for key in self.0.keys() {
            register_gauge(key).increment(0.0);
        }
    }

    /// One more, for as long as what is returned is kept.
    #[must_use]
    pub fn raise(&self, words: &[&'static str]) -> Raised {
        let gauge = self.of(words);
        gauge.increment(1.0);
        Raised(gauge)
    }
}

/// One of those that a gauge counts, until it is dropped.
pub struct Raised(metrics::Gauge);

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raised")
    }
}
