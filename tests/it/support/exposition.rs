//! What Prometheus scrapes, read back and held against the list of metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use vestibule::metric::{self, Kind, Label, Metric, Values};

/// The text of a scrape.
pub struct Exposition {
    pub samples: Vec<Sample>,
    /// By name: what HELP and TYPE say.
    pub help: BTreeMap<String, String>,
    pub types: BTreeMap<String, String>,
}

/// One line of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Exposition {
    pub fn read(text: &str) -> Self {
        let mut read = Self { samples: Vec::new(), help: BTreeMap::new(), types: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), Some(text)) => {
                    read.help.insert(name.to_owned(), text.to_owned());
                }
                (Some("#"), Some("TYPE"), Some(name), Some(text)) => {
                    read.types.insert(name.to_owned(), text.to_owned());
                }
                _ => read.samples.push(Sample::read(line)),
            }
        }
        read
    }

    /// The value of one series, named as PromQL names it; `None` if it is not there.
    pub fn value(&self, series: &str) -> Option<f64> {
        let wanted = Sample::read(&format!("{series} 0"));
        let same = |sample: &&Sample| sample.name == wanted.name && sample.labels == wanted.labels;
        self.samples.iter().find(same).map(|sample| sample.value)
    }

    /// What is not as the list says.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: BTreeSet<_> = self.samples.iter().filter_map(Sample::fault).collect();
        for sample in &self.samples {
            let Some(metric) = metric_of(&sample.name) else { continue };
            if self.types.get(metric.name()).map(String::as_str) != Some(metric.kind().as_str()) {
                faults.insert(format!("{}: TYPE is not {}", metric.name(), metric.kind().as_str()));
            }
            if self.help.get(metric.name()).map(String::as_str) != Some(metric.text()) {
                faults.insert(format!("{}: HELP is not the list's", metric.name()));
            }
        }
        faults.into_iter().collect()
    }
}

impl Sample {
    fn read(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
        let labels = labels.split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (label, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
            (label.to_owned(), value.trim_matches('"').to_owned())
        });
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        Self { name: name.to_owned(), labels: labels.collect(), value }
    }

    /// What is wrong with its name, its labels, or their values.
    pub fn fault(&self) -> Option<String> {
        let Some(metric) = metric_of(&self.name) else {
            return Some(format!("{self}: not in the list"));
        };
        let given: BTreeSet<_> = self.labels.keys().map(String::as_str).collect();
        let mut wanted: BTreeSet<_> = metric.labels().iter().map(Label::name).collect();
        if self.name.ends_with("_bucket") {
            wanted.insert("le");
        }
        if given != wanted {
            return Some(format!("{self}: has {given:?}, the list says {wanted:?}"));
        }
        let wrong = metric.labels().iter().find(|label| {
            let value = &*self.labels[label.name()];
            match (label.values(), label.closed()) {
                (_, Some(words)) => !words.contains(&value),
                // As the registry and the configuration have them.
                (Values::Connectors | Values::Notifiers | Values::Keys, _) => {
                    let fits =
                        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
                    value.is_empty() || value.len() > 32 || !value.bytes().all(fits)
                }
                _ => true,
            }
        });
        wrong.map(|label| format!("{self}: {} is none of its words", label.name()))
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.name, self.labels)
    }
}

/// The metric that a sample's name belongs to, or one that is written in a query.
pub fn metric_of(sample: &str) -> Option<&'static Metric> {
    metric::ALL.iter().copied().find(|metric| {
        let rest = sample.strip_prefix(metric.name());
        match metric.kind() {
            Kind::Histogram => rest.is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end)),
            _ => rest == Some(""),
        }
    })
}
