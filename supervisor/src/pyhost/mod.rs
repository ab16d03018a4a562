//! The client of `tradewind-pyhost`: starts it, has children forked, starts it again when it dies.
//!
//! This process becomes a subreaper, so that children outlive a pyhost that dies: they become children of this process,
//! which then learns how they end by itself.

mod control;
mod keeper;
mod options;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

pub use options::{Idle, Kept, Options};
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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    current: Mutex<Current>,
    /// Those that end after their last child.
    retired: Mutex<Vec<mpsc::Sender<Command>>>,
    hostname: Arc<str>,
}

#[derive(Debug, Clone)]
struct Current {
    commands: mpsc::Sender<Command>,
    generation: u64,
}

impl PyHost {
    /// Starts it and waits until Airflow is imported.
    ///
    /// # Errors
    /// It cannot be started; this is not tried again.
    pub async fn start(options: Options) -> Result<Self, PyHostError> {
        let (commands, hostname) = start_keeper(options).await?;
        let current = Mutex::new(Current { commands, generation: 0 });
        let shared = Shared { current, retired: Mutex::default(), hostname: hostname.into() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Starts another one in its place, from which all further children come. Children of the one before go on; it ends after the
    /// last of them.
    ///
    /// # Errors
    /// The other one cannot be started; the one that is there stays.
    pub async fn replace(&self, options: Options) -> Result<(), PyHostError> {
        let (commands, _) = start_keeper(options).await?;
        let before = {
            let mut current = lock(&self.shared.current);
            let generation = current.generation + 1;
            std::mem::replace(&mut *current, Current { commands, generation })
        };
        // An error means that it was stopped.
        let _ = before.commands.send(Command::Retire).await;
        let mut retired = lock(&self.shared.retired);
        retired.retain(|commands| !commands.is_closed());
        retired.push(before.commands);
        Ok(())
    }

    /// How often it was replaced: children of another generation do not know what further ones know.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.current().generation
    }

    /// The name of this host as `[core] hostname_callable` gives it.
    pub fn hostname(&self) -> &str {
        &self.shared.hostname
    }

    /// A child of the kind, which waits for its first frame. While pyhost is being started again, this waits.
    ///
    /// # Errors
    /// The child cannot be forked.
    pub async fn spawn(&self, kind: ChildKind) -> Result<Child, PyHostError> {
        loop {
            let current = self.current();
            let (answer, child) = oneshot::channel();
            let child = match current.commands.send(Command::Spawn { kind, answer }).await {
                Ok(()) => child.await.ok(),
                Err(_) => None,
            };
            match child {
                Some(child) => return child,
                None if self.generation() == current.generation => return Err(PyHostError::Stopped),
                // It was replaced, and has ended, before it was asked.
                None => {}
            }
        }
    }

    /// Has the Airflow modules that a Dag file imports imported before further children are forked, as official Airflow
    /// does before it parses a file (`[dag_processor] parsing_pre_import_modules`). Returns at once.
    pub async fn preload(&self, file: &Path) {
        if let Some(file) = file.to_str().filter(|file| !file.is_empty()) {
            // An error means that pyhost was stopped, which the next spawn says.
            let _ = self.current().commands.send(Command::Preload { file: file.to_owned() }).await;
        }
    }

    /// The process id of pyhost; `None` while it is being started again.
    pub async fn pid(&self) -> Option<u32> {
        let (answer, pid) = oneshot::channel();
        self.current().commands.send(Command::Pid { answer }).await.ok()?;
        pid.await.ok().flatten()
    }

    /// Ends it and the children that still run.
    pub async fn stop(&self) {
        let mut all = std::mem::take(&mut *lock(&self.shared.retired));
        all.push(self.current().commands);
        let stops = all.into_iter().map(|commands| async move {
            let (answer, stopped) = oneshot::channel();
            if commands.send(Command::Stop { answer }).await.is_ok() {
                let _ = stopped.await;
            }
        });
        futures::future::join_all(stops).await;
    }

    fn current(&self) -> Current {
        lock(&self.shared.current).clone()
    }
}

async fn start_keeper(options: Options) -> Result<(mpsc::Sender<Command>, String), PyHostError> {
    let (commands, waiting) = mpsc::channel(64);
    let (keeper, hostname) = Keeper::start(options, waiting).await?;
    tokio::spawn(keeper.run());
    Ok((commands, hostname))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
