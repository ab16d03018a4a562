//! Log lines of a process, on standard error, and in CloudWatch where its group is switched on.

use std::io::{IsTerminal, stderr};

use anyhow::Result;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};
use tradewind_airflow::config::Config;
use tradewind_airflow::log_format::Level;
use tradewind_remote_log::{self as remote_log, Kind as GroupKind, ProcessLog};

use crate::failure::{Failure, Kind};

/// Starts logging at `[logging] logging_level`, which `RUST_LOG` overrides; as JSON with `[logging] json_logs`.
pub(crate) fn start(config: &Config) -> Result<()> {
    let json = config.bool("logging", "json_logs")?;
    let shown = layer(stderr, stderr().is_terminal(), json, filter(config)?);
    tracing_subscriber::registry().with(shown).init();
    Ok(())
}

/// The same for a component, whose lines also go to its group in CloudWatch where `[tradewind]` says so, at the level of that
/// group. What is returned has to be started, and then sends them.
pub(crate) fn start_component(config: &Config, component: &str, hostname: &str) -> Result<Option<ProcessLog>> {
    let group = match GroupKind::of_component(component) {
        Some(kind) => remote_log::group(config, kind)?,
        None => None,
    };
    let Some(group) = group else { return start(config).map(|()| None) };
    let json = config.bool("logging", "json_logs")?;
    let sent_filter = filter_at(of_group(group.level));
    let (writer, log) = ProcessLog::new(group, component, hostname);
    let shown = layer(stderr, stderr().is_terminal(), json, filter(config)?);
    tracing_subscriber::registry().with(shown).with(layer(writer, false, json, sent_filter)).init();
    Ok(Some(log))
}

/// Writes lines that pass the filter, in text or as JSON.
fn layer<S, W>(writer: W, ansi: bool, json: bool, filter: EnvFilter) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(ansi);
    if json { layer.json().flatten_event(true).with_filter(filter).boxed() } else { layer.with_filter(filter).boxed() }
}

fn filter(config: &Config) -> Result<EnvFilter> {
    if let Some(directives) = std::env::var("RUST_LOG").ok().filter(|directives| !directives.is_empty()) {
        return EnvFilter::try_new(&directives).map_err(|error| {
            let message = format!("RUST_LOG = {directives:?} cannot be read: {error}");
            Failure::new(Kind::Configuration, message, "write it as LEVEL or TARGET=LEVEL, separated by commas").into()
        });
    }
    Ok(filter_at(match config.string("logging", "logging_level")?.to_ascii_uppercase().as_str() {
        "CRITICAL" | "FATAL" | "ERROR" => "error",
        "WARN" | "WARNING" => "warn",
        "DEBUG" => "debug",
        "NOTSET" => "trace",
        _ => "info",
    }))
}

/// The level of a group. Nothing that a component says of itself is graver than an error.
fn of_group(level: Level) -> &'static str {
    match level {
        Level::Notset | Level::Debug => "debug",
        Level::Info => "info",
        Level::Warning => "warn",
        Level::Error | Level::Critical => "error",
    }
}

fn filter_at(level: &str) -> EnvFilter {
    // At these levels libraries tell of their own work, which drowns ours.
    EnvFilter::new(match level {
        "debug" | "trace" => {
            format!("info,tradewind={level},{}", OUR_CRATES.map(|name| format!("{name}={level}")).join(","))
        }
        _ => format!("{level},sqlx=warn"),
    })
}

const OUR_CRATES: [&str; 11] = [
    "tradewind_aws",
    "tradewind_broker",
    "tradewind_dag_processor",
    "tradewind_fleet",
    "tradewind_metadata",
    "tradewind_remote_log",
    "tradewind_scheduler",
    "tradewind_secrets",
    "tradewind_supervisor",
    "tradewind_webserver",
    "tradewind_worker",
];
