//! `[traces]`: where spans are sent, if anywhere.

use clap::Args;
use serde::Deserialize;
use url::Url;

use super::{ConfigFile, Connect};

/// Where OTLP over HTTP takes spans, of a URL that names no path.
const PATH: &str = "/v1/traces";
const OFF: &str = "off";

/// What of it the command line may say.
#[derive(Debug, Clone, Default, Args)]
pub struct TracesOptions {
    /// Where spans are sent: an OTLP collector, over HTTP; `off` for nowhere, whatever the config
    /// file says; also `traces.endpoint` there
    #[arg(long, env = "VESTIBULE_TRACES_ENDPOINT", value_name = "URL|off")]
    pub traces_endpoint: Option<String>,
    /// What the collector shall know this as; also `traces.service` in the config file
    #[arg(long, env = "VESTIBULE_TRACES_SERVICE", value_name = "NAME")]
    pub traces_service: Option<String>,
    /// Which share of the traces that begin here is sent; also `traces.ratio` in the config file
    #[arg(long, env = "VESTIBULE_TRACES_RATIO", value_name = "0..1")]
    pub traces_ratio: Option<f64>,
}

/// Where spans are sent, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesSettings {
    /// The collector, with its path.
    pub endpoint: Url,
    /// What it shall know this as.
    pub service: String,
    /// Which share is sent of the traces that begin here: 0 to 1. A trace that began elsewhere is
    /// sampled as it was there.
    pub ratio: f64,
}

/// Why no spans can be sent. No value is in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TracesError {
    /// There is no exporter in this program.
    #[error(
        "traces: this program was built without an exporter: build it with `--features otlp`, or \
         leave `traces.endpoint` out"
    )]
    NotBuilt,
    /// It is no URL that spans could be posted to.
    #[error(
        "traces.endpoint is an http or https URL like http://127.0.0.1:4318, without a user or a \
         password in it (OTEL_EXPORTER_OTLP_HEADERS has those), or off"
    )]
    Endpoint,
    /// It says nothing.
    #[error("traces.service is a name of 1 to 200 characters")]
    Service,
    /// It is no share.
    #[error("traces.ratio is a number from 0 to 1: 0.1 sends one trace in ten")]
    Ratio,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TracesTable {
    endpoint: Option<String>,
    service: Option<String>,
    ratio: Option<f64>,
}

impl TracesSettings {
    /// Reads flags, environment and file; `None` if spans are sent nowhere.
    ///
    /// # Errors
    ///
    /// A [`TracesError`], or what is wrong with the file as a whole.
    pub fn load(connect: &Connect, options: &TracesOptions) -> anyhow::Result<Option<Self>> {
        let file = ConfigFile::of(connect)?;
        Ok(file.traces.settings(options, cfg!(feature = "otlp"))?)
    }
}

impl TracesTable {
    /// Endpoint, service and ratio: each from the first of flag, environment, file and default; not
    /// checked.
    pub(super) fn chosen(&self, options: &TracesOptions) -> (String, String, f64) {
        let endpoint = options.traces_endpoint.as_ref().or(self.endpoint.as_ref());
        let service = options.traces_service.as_ref().or(self.service.as_ref());
        let or = |text: Option<&String>, usual: &str| text.map_or(usual, String::as_str).to_owned();
        let ratio = options.traces_ratio.or(self.ratio).unwrap_or(1.0);
        (or(endpoint, OFF), or(service, env!("CARGO_PKG_NAME")), ratio)
    }

    fn settings(
        &self,
        options: &TracesOptions,
        has_exporter: bool,
    ) -> Result<Option<TracesSettings>, TracesError> {
        let (endpoint, service, ratio) = self.chosen(options);
        if !(0.0..=1.0).contains(&ratio) {
            return Err(TracesError::Ratio);
        }
        if !(1..=200).contains(&service.chars().count()) {
            return Err(TracesError::Service);
        }
        if endpoint == OFF {
            return Ok(None);
        }
        let endpoint = url(&endpoint).ok_or(TracesError::Endpoint)?;
        if !has_exporter {
            return Err(TracesError::NotBuilt);
        }
        Ok(Some(TracesSettings { endpoint, service, ratio }))
    }
}

fn url(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let has_more = !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some();
    if url.path() == "/" {
        url.set_path(PATH);
    }
    (is_web && !has_more).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoint: &str) -> TracesOptions {
        TracesOptions { traces_endpoint: Some(endpoint.to_owned()), ..TracesOptions::default() }
    }

    fn table(text: &str) -> TracesTable {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn flags_come_before_the_file() {
        let file = || table("endpoint = \"https://c.example/otlp\"\nservice = \"a\"\nratio = 0.5");
        let settings = file().settings(&TracesOptions::default(), true).unwrap().unwrap();
        assert_eq!(settings.endpoint.as_str(), "https://c.example/otlp");
        assert_eq!((settings.service.as_str(), settings.ratio), ("a", 0.5));
        let options = TracesOptions {
            traces_service: Some("b".to_owned()),
            traces_ratio: Some(0.0),
            ..at("http://127.0.0.1:4318")
        };
        let settings = file().settings(&options, true).unwrap().unwrap();
        assert_eq!(settings.endpoint.as_str(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!((settings.service.as_str(), settings.ratio), ("b", 0.0));
        assert_eq!(file().settings(&at("off"), true), Ok(None));
        let unset = TracesTable::default().settings(&TracesOptions::default(), true);
        assert_eq!(unset, Ok(None), "traces are sent nowhere unless somebody says so");
    }

    #[test]
    fn what_is_wrong_is_named_without_its_value() {
        for bad in [
            "hunter2",
            "ftp://hunter2",
            "http://",
            "http://u:hunter2@c.example",
            "http://hunter2@c.example",
            "http://c.example/?token=hunter2",
            "http://c.example/#hunter2",
        ] {
            let error = TracesTable::default().settings(&at(bad), true).unwrap_err();
            assert_eq!(error, TracesError::Endpoint, "{bad}");
            assert!(!error.to_string().contains("hunter2"));
        }
        for ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let options = TracesOptions { traces_ratio: Some(ratio), ..at("http://c") };
            let error = TracesTable::default().settings(&options, true).unwrap_err();
            assert_eq!(error, TracesError::Ratio, "{ratio}");
        }
        let error = table("service = \"\"").settings(&at("http://c"), true).unwrap_err();
        assert_eq!(error, TracesError::Service);
    }

    /// It is said, and not passed over.
    #[test]
    fn without_an_exporter_an_endpoint_is_an_error() {
        let file = table("endpoint = \"http://127.0.0.1:4318\"");
        let error = file.settings(&TracesOptions::default(), false).unwrap_err();
        assert_eq!(error, TracesError::NotBuilt);
        assert!(error.to_string().contains("--features otlp"));
        let file = table("ratio = 0.5");
        assert_eq!(file.settings(&TracesOptions::default(), false), Ok(None));
    }
}
