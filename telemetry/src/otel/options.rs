//! Where OpenTelemetry's metrics are sent: Airflow's options, and the variables of OpenTelemetry, which count more.
//!
//! Source: `airflow/_shared/observability/common.py`, `otel_env_config.py` and `metrics/otel_logger.py`, and what the exporter
//! of OpenTelemetry's Python SDK does with its variables (`opentelemetry/exporter/otlp/proto/http`), seconds of the timeout
//! included.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::uri::{Scheme, Uri};
use percent_encoding::percent_decode_str;
use tradewind_airflow::config::{Config, ConfigError, Environment};
use uuid::Uuid;

/// The path of metrics at a collector.
const PATH: &str = "v1/metrics";

/// How often is sent when nothing says so.
const INTERVAL: f64 = 60_000.0;

/// The longest interval, in milliseconds; `inf` means never, but for the farewell.
const LONGEST_INTERVAL: f64 = 1e12;

/// How long a request may take with all its repetitions, in seconds.
const TIMEOUT: f64 = 10.0;

/// A collector of OpenTelemetry, told by OTLP over HTTP in Protobuf's form.
#[derive(Debug, Clone)]
pub(crate) struct Otel {
    /// The whole address.
    pub(super) endpoint: Uri,
    /// Headers of every request; those that the user gives are secret.
    pub(super) headers: HeaderMap,
    pub(super) compression: Compression,
    /// For a request with all its repetitions.
    pub(super) timeout: Duration,
    pub(super) certificates: Certificates,
    /// Before every name, with a dot.
    pub(super) prefix: String,
    pub(super) interval: Duration,
    /// What is known of this process.
    pub(super) resource: Vec<(String, String)>,
    /// Whether sums are those since the last time.
    pub(super) is_delta: bool,
    /// Whether the log shows what is sent.
    pub(super) is_shown: bool,
    /// Whether older names are told, too.
    pub(super) has_legacy_names: bool,
}

/// How requests are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Deflate,
}

/// Files in PEM format for TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Certificates {
    /// Authorities that are believed; none: those of the machine.
    pub(super) authorities: Option<PathBuf>,
    /// The client's certificate, and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

impl Otel {
    /// None where no collector is told.
    ///
    /// # Errors
    /// An option or a variable has a value that cannot be used.
    pub(crate) fn from_config(config: &Config, environment: &Environment) -> Result<Option<Self>, ConfigError> {
        let is_off = environment.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if !config.bool("metrics", "otel_on")? || is_off {
            return Ok(None);
        }
        let variables = Variables(environment);
        let is_shown = match variables.get("OTEL_METRICS_EXPORTER") {
            Some(exporter) => exporter == "console",
            None => optional_bool(config, "otel_debugging_on")?,
        };
        let temporality = variables.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE").unwrap_or("CUMULATIVE");
        let is_delta = match temporality.trim().to_ascii_uppercase().as_str() {
            "DELTA" | "LOWMEMORY" => true,
            "CUMULATIVE" => false,
            other => {
                let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
                return Err(unusable(name, other, "CUMULATIVE, DELTA or LOWMEMORY"));
            }
        };
        Ok(Some(Self {
            endpoint: endpoint(config, &variables)?,
            headers: headers(&variables)?,
            compression: compression(&variables)?,
            timeout: timeout(&variables)?,
            certificates: certificates(&variables),
            prefix: config.optional("metrics", "otel_prefix")?.unwrap_or("airflow").to_owned(),
            interval: interval(config, &variables)?,
            resource: resource(config, &variables)?,
            is_delta,
            is_shown,
            has_legacy_names: config.bool("metrics", "legacy_names_on")?,
        }))
    }

    /// The collector, as it may be shown.
    pub(super) fn place(&self) -> String {
        let port = self.endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
        let scheme = self.endpoint.scheme_str().unwrap_or_default();
        format!("{scheme}://{}{port}{}", self.endpoint.host().unwrap_or_default(), self.endpoint.path())
    }

    /// Whether TLS is spoken.
    pub(super) fn is_secure(&self) -> bool {
        self.endpoint.scheme() == Some(&Scheme::HTTPS)
    }
}

/// OpenTelemetry's variables. An empty one is none.
struct Variables<'a>(&'a Environment);

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).filter(|value| !value.is_empty())
    }

    /// What the variable of metrics says, else that of all signals, and which it is.
    fn exporter(&self, name: &str) -> Option<(String, &str)> {
        [format!("OTEL_EXPORTER_OTLP_METRICS_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")]
            .into_iter()
            .find_map(|name| self.get(&name).map(|value| (name, value)))
    }
}

/// An error in a variable, which is no option of the tables.
fn unusable(variable: &str, value: &str, expected: &str) -> ConfigError {
    let detail = format!("{variable} = {value:?} is not {expected}\nhint: set {variable} to {expected}");
    ConfigError::Source { section: "metrics", key: "otel_on", detail }
}

fn optional_bool(config: &Config, key: &str) -> Result<bool, ConfigError> {
    if config.optional("metrics", key)?.is_none() { Ok(false) } else { config.bool("metrics", key) }
}

/// Variables first; the variable of metrics is a whole address, that of all signals has no path of its own.
fn endpoint(config: &Config, variables: &Variables<'_>) -> Result<Uri, ConfigError> {
    let Some((variable, value)) = variables.exporter("ENDPOINT") else { return configured_endpoint(config) };
    if let Some((protocol, "grpc")) = variables.exporter("PROTOCOL") {
        let detail = format!(
            "{protocol} = \"grpc\", which Tradewind does not speak\n\
             hint: set it to http/protobuf, and {variable} to the collector's port for HTTP, 4318 by default"
        );
        return Err(ConfigError::Source { section: "metrics", key: "otel_on", detail });
    }
    let whole = match variable.as_str() {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" => value.to_owned(),
        _ => format!("{}/{PATH}", value.strip_suffix('/').unwrap_or(value)),
    };
    usable(&whole).ok_or_else(|| unusable(&variable, value, "an address such as http://localhost:4318"))
}

fn configured_endpoint(config: &Config) -> Result<Uri, ConfigError> {
    let is_set = |key| config.optional("metrics", key).map(|value| value.is_some());
    let (Some(host), true) = (config.optional("metrics", "otel_host")?, is_set("otel_port")?) else {
        let detail = "metrics go to OpenTelemetry, but nothing says where\n\
                      hint: set OTEL_EXPORTER_OTLP_ENDPOINT to the address of a collector, such as http://localhost:4318";
        return Err(ConfigError::Source { section: "metrics", key: "otel_on", detail: detail.to_owned() });
    };
    let port = u16::try_from(config.int("metrics", "otel_port")?)
        .map_err(|_| config.invalid("metrics", "otel_port", "a port number"))?;
    let scheme = if optional_bool(config, "otel_ssl_active")? { "https" } else { "http" };
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    usable(&format!("{scheme}://{host}:{port}/{PATH}"))
        .ok_or_else(|| config.invalid("metrics", "otel_host", "the name or the IP address of a host"))
}

fn usable(address: &str) -> Option<Uri> {
    let uri: Uri = address.parse().ok()?;
    let is_spoken = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
    (is_spoken && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

/// `name=value,…`; a value may be percent-encoded.
fn headers(variables: &Variables<'_>) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    let agent = concat!("OTel-OTLP-Exporter-Tradewind/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    let Some((variable, text)) = variables.exporter("HEADERS") else { return Ok(headers) };
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let header = item.split_once('=').and_then(|(name, value)| {
            let value = value.trim();
            // One with blanks was not encoded.
            let value = if value.contains(' ') { value.to_owned() } else { decoded(value) };
            Some((HeaderName::try_from(decoded(name).trim()).ok()?, HeaderValue::try_from(value.trim()).ok()?))
        });
        let Some((name, mut value)) = header else {
            return Err(unusable(&variable, "***", "a list of headers such as name=value,other=value"));
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn compression(variables: &Variables<'_>) -> Result<Compression, ConfigError> {
    let Some((variable, text)) = variables.exporter("COMPRESSION") else { return Ok(Compression::None) };
    match text.trim().to_ascii_lowercase().as_str() {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "deflate" => Ok(Compression::Deflate),
        _ => Err(unusable(&variable, text, "none, gzip or deflate")),
    }
}

fn timeout(variables: &Variables<'_>) -> Result<Duration, ConfigError> {
    let Some((variable, text)) = variables.exporter("TIMEOUT") else { return Ok(Duration::from_secs_f64(TIMEOUT)) };
    let timeout = text.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    timeout.filter(|timeout| !timeout.is_zero()).ok_or_else(|| unusable(&variable, text, "a number of seconds above 0"))
}

fn certificates(variables: &Variables<'_>) -> Certificates {
    let file = |name| variables.exporter(name).map(|(_, path)| PathBuf::from(path));
    // A file may hold both.
    let client = file("CLIENT_CERTIFICATE").map(|file_of_both| {
        let key = file("CLIENT_KEY").unwrap_or_else(|| file_of_both.clone());
        (file_of_both, key)
    });
    Certificates { authorities: file("CERTIFICATE"), client }
}

/// The variable, else the option, else a minute.
fn interval(config: &Config, variables: &Variables<'_>) -> Result<Duration, ConfigError> {
    const VARIABLE: &str = "OTEL_METRIC_EXPORT_INTERVAL";
    let expected = "a number of milliseconds above 0";
    let usable = |milliseconds: f64| {
        // Neither is a number that is none.
        (milliseconds > 0.0).then(|| Duration::from_secs_f64(milliseconds.min(LONGEST_INTERVAL) / 1000.0))
    };
    let said = match variables.get(VARIABLE) {
        Some(text) => Some(text.trim().parse::<f64>().map_err(|_| unusable(VARIABLE, text, expected))?),
        None => None,
    };
    // As in official Airflow 0 is as if it were not there.
    if let Some(milliseconds) = said.filter(|milliseconds| *milliseconds != 0.0) {
        return usable(milliseconds).ok_or_else(|| unusable(VARIABLE, &milliseconds.to_string(), expected));
    }
    let key = "otel_interval_milliseconds";
    let milliseconds =
        if config.optional("metrics", key)?.is_none() { INTERVAL } else { config.float("metrics", key)? };
    usable(milliseconds).ok_or_else(|| config.invalid("metrics", key, expected))
}

/// Attributes of this process. The name of the service: its variable, else the option, else `airflow`.
fn resource(config: &Config, variables: &Variables<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    let mut attributes: Vec<(String, String)> = [
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.name", "tradewind"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", Uuid::new_v4().to_string().as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let mut set = |name: &str, value: String| {
        attributes.retain(|(known, _)| known != name);
        attributes.push((name.to_owned(), value));
    };
    for item in variables.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default().split(',') {
        match item.split_once('=') {
            Some((name, value)) => set(name.trim(), decoded(value.trim())),
            None if item.trim().is_empty() => {}
            None => tracing::warn!(item, "OTEL_RESOURCE_ATTRIBUTES: this is not name=value, and is left out"),
        }
    }
    let configured = config.optional("metrics", "otel_service")?;
    set("service.name", variables.get("OTEL_SERVICE_NAME").or(configured).unwrap_or("airflow").to_owned());
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> Result<Option<Otel>, ConfigError> {
        let environment =
            Environment::default().with("AIRFLOW_HOME", "/nowhere").with("AIRFLOW__METRICS__OTEL_ON", "True");
        let environment = variables.iter().fold(environment, |known, (name, value)| known.with(*name, *value));
        Otel::from_config(&Config::from_environment(&environment)?, &environment)
    }

    fn collector(variables: &[(&str, &str)]) -> Otel {
        let with_place = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")], variables].concat();
        options(&with_place).expect("valid options").expect("a collector")
    }

    #[test]
    fn the_address_is_found_in_official_airflows_order() {
        let host = ("AIRFLOW__METRICS__OTEL_HOST", "::1");
        let port = ("AIRFLOW__METRICS__OTEL_PORT", "8889");
        let tls = ("AIRFLOW__METRICS__OTEL_SSL_ACTIVE", "True");
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/base/");
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://own/as/it/is");
        for (variables, expected) in [
            (&[host, port][..], "http://[::1]:8889/v1/metrics"),
            (&[host, port, tls], "https://[::1]:8889/v1/metrics"),
            (&[host, port, all], "http://all:4318/base/v1/metrics"),
            (&[all, own], "https://own/as/it/is"),
        ] {
            let options = options(variables).expect("valid options").expect("a collector");
            assert_eq!(options.endpoint, expected);
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_secrets_are_not_shown() {
        let place = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for (variables, expected) in [
            (&[][..], "nothing says where"),
            (&[("AIRFLOW__METRICS__OTEL_HOST", "collector")], "nothing says where"),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")], "is not an address"),
            (&[place, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "http/protobuf"),
            (&[place, ("OTEL_EXPORTER_OTLP_HEADERS", "secret")], "\"***\" is not a list of headers"),
            (&[place, ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd")], "none, gzip or deflate"),
            (&[place, ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1")], "seconds above 0"),
            (&[place, ("OTEL_METRIC_EXPORT_INTERVAL", "soon")], "milliseconds above 0"),
            (&[place, ("AIRFLOW__METRICS__OTEL_INTERVAL_MILLISECONDS", "-5")], "milliseconds above 0"),
        ] {
            let error = options(variables).expect_err("it cannot be used").to_string();
            assert!(error.contains(expected) && error.contains("hint: "), "{error}");
        }
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20c2VjcmV0,x-plain=a b");
        let options = collector(&[headers]);
        assert_eq!(options.headers["authorization"], "Basic c2VjcmV0");
        assert_eq!(options.headers["x-plain"], "a b");
        assert!(!format!("{options:?}").contains("c2VjcmV0"), "{options:?}");
    }

    #[test]
    fn variables_count_more_than_options() {
        let (interval, milliseconds) = ("AIRFLOW__METRICS__OTEL_INTERVAL_MILLISECONDS", "OTEL_METRIC_EXPORT_INTERVAL");
        for (variables, expected) in [
            (&[][..], 60_000),
            (&[(interval, "500")], 500),
            (&[(interval, "500"), (milliseconds, "250")], 250),
            (&[(interval, "500"), (milliseconds, "0")], 500),
        ] {
            assert_eq!(collector(variables).interval, Duration::from_millis(expected));
        }
        let timeouts = [("OTEL_EXPORTER_OTLP_TIMEOUT", "5"), ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1.5")];
        assert_eq!(collector(&timeouts).timeout, Duration::from_millis(1_500));
    }

    #[test]
    fn the_resource_names_the_service() {
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=x,deployment.environment=a%20b,,odd");
        let service = ("AIRFLOW__METRICS__OTEL_SERVICE", "from the option");
        for (variables, expected) in [
            (&[attributes][..], "airflow"),
            (&[attributes, service], "from the option"),
            (&[attributes, service, ("OTEL_SERVICE_NAME", "from the variable")], "from the variable"),
        ] {
            let resource = collector(variables).resource;
            let value = |name: &str| resource.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            assert_eq!(value("service.name"), Some(expected));
            assert_eq!(value("deployment.environment"), Some("a b"));
            assert!(value("service.instance.id").is_some() && value("odd").is_none());
        }
    }

    #[test]
    fn it_can_be_off() {
        let off = options(&[("OTEL_SDK_DISABLED", "true")]).expect("valid options");
        assert!(off.is_none());
        let off = options(&[("AIRFLOW__METRICS__OTEL_ON", "False")]).expect("valid options");
        assert!(off.is_none());
    }
}
