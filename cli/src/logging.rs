//! Log lines of a process, on standard error.

use std::io::{IsTerminal, stderr};

use anyhow::Result;
use tracing_subscriber::EnvFilter;
use tradewind_airflow::config::Config;

use crate::failure::{Failure, Kind};

/// Starts logging at `[logging] logging_level`, which `RUST_LOG` overrides; as JSON with `[logging] json_logs`.
pub(crate) fn start(config: &Config) -> Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(config)?)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    if config.bool("logging", "json_logs")? {
        builder.json().flatten_event(true).init();
    } else {
        builder.init();
    }
    Ok(())
}

fn filter(config: &Config) -> Result<EnvFilter> {
    if let Some(directives) = std::env::var("RUST_LOG").ok().filter(|directives| !directives.is_empty()) {
        return EnvFilter::try_new(&directives).map_err(|error| {
            let message = format!("RUST_LOG = {directives:?} cannot be read: {error}");
            Failure::new(Kind::Configuration, message, "write it as LEVEL or TARGET=LEVEL, separated by commas").into()
        });
    }
    let level = match config.string("logging", "logging_level")?.to_ascii_uppercase().as_str() {
        "CRITICAL" | "FATAL" | "ERROR" => "error",
        "WARN" | "WARNING" => "warn",
        "DEBUG" => "debug",
        "NOTSET" => "trace",
        _ => "info",
    };
    // At these levels libraries tell of their own work, which drowns ours.
    Ok(EnvFilter::new(match level {
        "debug" | "trace" => {
            format!("info,tradewind={level},{}", OUR_CRATES.map(|name| format!("{name}={level}")).join(","))
        }
        _ => format!("{level},sqlx=warn"),
    }))
}

const OUR_CRATES: [&str; 9] = [
    "tradewind_aws",
    "tradewind_broker",
    "tradewind_dag_processor",
    "tradewind_fleet",
    "tradewind_metadata",
    "tradewind_scheduler",
    "tradewind_supervisor",
    "tradewind_webserver",
    "tradewind_worker",
];
