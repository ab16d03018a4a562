//! Failures that end the program with an exit code of their own.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | ended as asked |
//! | 1 | something failed while running |
//! | 2 | the command line is wrong |
//! | 3 | the configuration or the metadata schema is not one that Tradewind can use |
//! | 4 | something is missing: PostgreSQL, Python, the Airflow packages, a folder that can be written |
//! | 5 | the address or the home folder is in use |

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use tradewind_airflow::config::ConfigError;
use tradewind_metadata::MetadataError;
use tradewind_supervisor::pyhost::PyHostError;
use tradewind_telemetry::StartError;
use tradewind_webserver::OptionsError;

/// The kind of a failure, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The configuration is wrong.
    Configuration = 3,
    /// Something the program needs is missing.
    Missing = 4,
    /// The address or the home folder is in use.
    InUse = 5,
}

impl Kind {
    /// The kind that an exit code stands for.
    pub(crate) fn of_code(code: i32) -> Option<Self> {
        [Self::Configuration, Self::Missing, Self::InUse].into_iter().find(|kind| *kind as i32 == code)
    }
}

/// A failure with a cure: what went wrong, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    hint: String,
}

impl Failure {
    /// A failure of the kind given.
    pub(crate) fn new(kind: Kind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nhint: {}", self.message, self.hint)
    }
}

impl std::error::Error for Failure {}

/// Says why an address cannot be listened on.
pub(crate) fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let message = format!("cannot listen on {address}: {error}");
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            Failure::new(Kind::InUse, message, "end what listens there, or choose another port")
        }
        _ => Failure::new(Kind::Configuration, message, "choose an address of this machine and a port above 1023"),
    }
}

/// The exit code that an error stands for.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    kind(error).map_or(ExitCode::FAILURE, |kind| ExitCode::from(kind as u8))
}

fn kind(error: &anyhow::Error) -> Option<Kind> {
    error.chain().find_map(|cause| {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return Some(failure.kind);
        }
        let configuration = cause.is::<ConfigError>()
            || matches!(cause.downcast_ref::<StartError>(), Some(StartError::Collector(_)))
            || matches!(
                cause.downcast_ref::<MetadataError>(),
                Some(MetadataError::Url { .. } | MetadataError::Revision { .. })
            )
            || cause.downcast_ref::<OptionsError>().is_some_and(|error| !matches!(error, OptionsError::NoUi(_)));
        let missing = matches!(cause.downcast_ref::<PyHostError>(), Some(PyHostError::Missing { .. }))
            || matches!(cause.downcast_ref::<OptionsError>(), Some(OptionsError::NoUi(_)));
        match (configuration, missing) {
            (true, _) => Some(Kind::Configuration),
            (_, true) => Some(Kind::Missing),
            _ => None,
        }
    })
}
