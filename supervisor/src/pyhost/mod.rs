//! The client of `tradewind-pyhost`: starts it, has children forked, starts it again when it dies.
//!
//! This process becomes a subreaper, so that children outlive a pyhost that dies: they become children of this process,
//! which then learns how they end by itself.

mod control;
mod keeper;
mod options;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

pub use options::{Idle, Options};
pub use tradewind_airflow::pyhost_protocol::ChildKind;

use crate::child::Child;
use keeper::{Command, Keeper};

/// Why no child can be had.
#[derive(Debug, thiserror::Error)]
pub enum PyHostError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] tradewind_airflow::config::ConfigError),
    /// A program is missing.
    #[error("{what} is not at {path}\nhint: {hint}", path = .path.display())]
    Missing {
        /// Which one.
        what: &'static str,
        /// Where it was looked for.
        path: std::path::PathBuf,
        /// How to mend it.
        hint: &'static str,
    },
    /// It does not start.
    #[error("tradewind-pyhost does not start: {0}\nhint: its own message is on the standard error of this process")]
    Start(String),
    /// It cannot fork.
    #[error("tradewind-pyhost cannot fork a child: {0}\nhint: memory or the number of processes may be exhausted")]
    Fork(String),
    /// It was stopped.
    #[error("tradewind-pyhost was stopped")]
    Stopped,
    /// A system call failed.
    #[error("{action} failed: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A warm CPython that has imported Airflow. Clones share it.
#[derive(Debug, Clone)]
pub struct PyHost {
    commands: mpsc::Sender<Command>,
    hostname: Arc<str>,
}

impl PyHost {
    /// Starts it and waits until Airflow is imported.
    ///
    /// # Errors
    /// It cannot be started; this is not tried again.
    pub async fn start(options: Options) -> Result<Self, PyHostError> {
        let (commands, waiting) = mpsc::channel(64);
        let (keeper, hostname) = Keeper::start(options, waiting).await?;
        tokio::spawn(keeper.run());
        Ok(Self { commands, hostname: hostname.into() })
    }

    /// The name of this host as `[core] hostname_callable` gives it.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// A child of the kind, which waits for its first frame. While pyhost is being started again, this waits.
    ///
    /// # Errors
    /// The child cannot be forked.
    pub async fn spawn(&self, kind: ChildKind) -> Result<Child, PyHostError> {
        let (answer, child) = oneshot::channel();
        self.commands.send(Command::Spawn { kind, answer }).await.map_err(|_| PyHostError::Stopped)?;
        child.await.map_err(|_| PyHostError::Stopped)?
    }

    /// Has the Airflow modules that a Dag file imports imported before further children are forked, as official Airflow
    /// does before it parses a file (`[dag_processor] parsing_pre_import_modules`). Returns at once.
    pub async fn preload(&self, file: &Path) {
        if let Some(file) = file.to_str().filter(|file| !file.is_empty()) {
            // An error means that pyhost was stopped, which the next spawn says.
            let _ = self.commands.send(Command::Preload { file: file.to_owned() }).await;
        }
    }

    /// The process id of pyhost; `None` while it is being started again.
    pub async fn pid(&self) -> Option<u32> {
        let (answer, pid) = oneshot::channel();
        self.commands.send(Command::Pid { answer }).await.ok()?;
        pid.await.ok().flatten()
    }

    /// Ends it and the children that still run.
    pub async fn stop(&self) {
        let (answer, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop { answer }).await.is_ok() {
            let _ = stopped.await;
        }
    }
}
