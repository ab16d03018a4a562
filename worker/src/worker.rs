//! Takes task instances from the queue while slots are free.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::log_path::LogPaths;
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_bundle::provider::SnapshotProvider;
use tradewind_metadata::fleet::Asked;
use tradewind_metadata::queue::Claimant;
use tradewind_metadata::{Database, MetadataError, serialized_dag};
use tradewind_remote_log::{Shipping, TaskLogs};
use tradewind_supervisor::pyhost::PyHost;
use tradewind_supervisor::requests::{Answers, SetUpError};
use uuid::Uuid;

use crate::attempt::supervise;
use crate::heartbeat::{Heartbeats, Rhythm};
use crate::intake::{Intake, Source};
use crate::options::Options;
use crate::presence;
use crate::protection::Protection;
use crate::resources::Resources;
use crate::slots::Slots;

/// How long attempts may take once they were asked to end: SIGTERM, 5 s, SIGKILL, and the writing of their states.
const END_TIMEOUT: Duration = Duration::from_secs(8);

/// How long the ends of logs may take to be sent when all attempts have ended.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// An option has a wrong value.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Requests cannot be answered.
    #[error(transparent)]
    SetUp(#[from] SetUpError),
    /// The metadata database fails.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The operating system does not know the user of this process.
    #[error(
        "the user that the worker runs as has no name\nhint: run it as a user with an entry in /etc/passwd, or set LOGNAME"
    )]
    NoUserName,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Attempts that may run at once.
    pub slots: usize,
    /// Attempts that run.
    pub running: usize,
    /// Whether it takes new ones.
    pub takes: bool,
}

/// A worker.
pub struct Worker {
    resources: Arc<Resources>,
    options: Options,
    source: Source,
    rhythm: Rhythm,
    id: Uuid,
    status: watch::Sender<Status>,
    readiness: Option<watch::Receiver<bool>>,
    protection: Protection,
}

impl Worker {
    /// A worker on a pyhost that the caller owns.
    ///
    /// # Errors
    /// An option cannot be used, or this process has no user name.
    pub fn new(database: Database, pyhost: PyHost, config: &Config, options: Options) -> Result<Self, WorkerError> {
        let claimant = Claimant { hostname: pyhost.hostname().to_owned(), unixname: user_name()? };
        let resources = Resources {
            answers: Answers::new(database.clone(), config)?.with_interpreter(&pyhost, config)?,
            dags: serialized_dag::Cache::default(),
            snapshots: SnapshotProvider::from_config(config, database.clone())?,
            database,
            pyhost,
            claimant,
            heartbeats: Heartbeats::default(),
            preloaded: Mutex::default(),
            log_paths: LogPaths::from_config(config)?,
            shipping: TaskLogs::from_config(config)?.map(Shipping::of_tasks),
            masker: SecretsMasker::from_config(config)?,
            socket_cleanup_timeout: config.seconds("workers", "socket_cleanup_timeout")?,
            task_success_overtime: config.seconds("core", "task_success_overtime")?,
        };
        let (status, _) = watch::channel(Status { slots: options.slots.max, running: 0, takes: true });
        let rhythm = Rhythm::from_config(config)?;
        Ok(Self {
            resources: Arc::new(resources),
            rhythm,
            options,
            source: Source::default(),
            id: Uuid::now_v7(),
            status,
            readiness: None,
            protection: Protection::default(),
        })
    }

    /// The same, calling itself by an id that its fleet has chosen.
    #[must_use]
    pub fn with_id(self, id: Uuid) -> Self {
        Self { id, ..self }
    }

    /// The same, taking from another source than the outbox.
    #[must_use]
    pub fn with_source(self, source: Source) -> Self {
        Self { source, ..self }
    }

    /// The same, taking nothing while this says that it is not ready.
    #[must_use]
    pub fn with_readiness(self, readiness: watch::Receiver<bool>) -> Self {
        Self { readiness: Some(readiness), ..self }
    }

    /// The same, protected from being ended while it is busy.
    #[must_use]
    pub fn with_protection(self, protection: Protection) -> Self {
        Self { protection, ..self }
    }

    /// What it is doing, now and later.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Works until the shutdown, then lets running attempts end.
    ///
    /// # Errors
    /// The metadata database fails while the worker starts; later failures are tried again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let mut intake = Intake::open(
            &self.source,
            self.resources.database.clone(),
            self.options.queues.clone(),
            self.resources.claimant.clone(),
        )
        .await?;
        let heartbeats_stop = CancellationToken::new();
        let heartbeats = tokio::spawn(self.resources.heartbeats.clone().run(
            self.resources.database.clone(),
            self.resources.claimant.hostname.clone(),
            self.rhythm,
            heartbeats_stop.clone(),
        ));
        let (ask, asked) = watch::channel(Asked::Work);
        let presence = tokio::spawn(presence::keep(
            self.resources.database.clone(),
            self.id,
            self.resources.claimant.hostname.clone(),
            self.options.queues.clone(),
            self.status(),
            ask,
            heartbeats_stop.clone(),
        ));
        let resources = Arc::clone(&self.resources);
        let (retention, stop) = (self.options.retention, heartbeats_stop.clone());
        let cleaning = tokio::spawn(async move { resources.snapshots.keep_clean(retention, stop).await });
        let protecting = tokio::spawn(self.protection.clone().keep(heartbeats_stop.clone()));
        let end = CancellationToken::new();
        let mut attempts = JoinSet::new();
        self.take_and_run(&mut attempts, &mut intake, asked, &end, &shutdown).await;
        tokio::join!(intake.close(), self.drain(attempts, &end));
        if let Some(shipping) = &self.resources.shipping {
            shipping.stop(LOG_TIMEOUT).await;
        }
        heartbeats_stop.cancel();
        // It ends at once, and has nothing to say.
        let _ = heartbeats.await;
        // So do these.
        let _ = presence.await;
        let _ = cleaning.await;
        let _ = protecting.await;
        Ok(())
    }

    async fn take_and_run(
        &self,
        attempts: &mut JoinSet<()>,
        intake: &mut Intake,
        mut asked: watch::Receiver<Asked>,
        end: &CancellationToken,
        shutdown: &CancellationToken,
    ) {
        let mut slots = Slots::new(self.options.slots, Instant::now());
        let mut readiness = self.readiness.clone();
        while !shutdown.is_cancelled() {
            while attempts.try_join_next().is_some() {}
            let is_ready = readiness.as_mut().is_none_or(|readiness| *readiness.borrow_and_update());
            let takes = *asked.borrow_and_update() == Asked::Work;
            let open = slots.adapt(attempts.len(), Instant::now());
            let free = if takes && is_ready { open.saturating_sub(attempts.len()) } else { 0 };
            let taken = intake.take(free).await;
            let may_be_more = taken.len() == free && free > 0;
            for claim in taken {
                let (resources, end) = (Arc::clone(&self.resources), end.clone());
                let lease = self.protection.lease();
                attempts.spawn(async move {
                    lease.settled().await;
                    supervise(&resources, claim, end).await;
                });
            }
            let open = slots.adapt(attempts.len(), Instant::now());
            let free = if takes && is_ready { open.saturating_sub(attempts.len()) } else { 0 };
            self.report(open, attempts.len(), takes);
            if may_be_more && free > 0 {
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = attempts.join_next(), if !attempts.is_empty() => {}
                () = intake.news(free) => {}
                // Who would ask something else is gone with the presence, which outlives this.
                _ = asked.changed() => {}
                () = changed(&mut readiness) => {}
                () = sleep(self.options.poll_interval) => {}
            }
        }
    }

    /// Lets running attempts end, asks those that go on for too long to end, and gives up on what then still runs.
    async fn drain(&self, mut attempts: JoinSet<()>, end: &CancellationToken) {
        if !attempts.is_empty() {
            tracing::info!(running = attempts.len(), patience = ?self.options.drain_timeout, "waiting for running tasks");
        }
        let all_ended = timeout(self.options.drain_timeout, self.join_all(&mut attempts)).await.is_ok();
        if all_ended {
            return;
        }
        tracing::info!(running = attempts.len(), "running tasks are asked to end");
        end.cancel();
        if timeout(END_TIMEOUT, self.join_all(&mut attempts)).await.is_err() {
            tracing::error!(running = attempts.len(), "tasks did not end; the scheduler will miss their heartbeats");
        }
    }

    async fn join_all(&self, attempts: &mut JoinSet<()>) {
        let slots = self.options.slots.max;
        self.report(slots, attempts.len(), false);
        while attempts.join_next().await.is_some() {
            self.report(slots, attempts.len(), false);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of slots")]
    fn report(&self, slots: usize, running: usize, takes: bool) {
        let status = Status { slots, running, takes };
        let changed = self.status.send_if_modified(|known| {
            let changes = *known != status;
            *known = status;
            changes
        });
        if changed {
            metrics::gauge!("executor.running_tasks").set(running as f64);
            metrics::gauge!("executor.open_slots").set(status.slots.saturating_sub(running) as f64);
        }
    }
}

/// Waits until a worker becomes ready, or is no longer.
async fn changed(readiness: &mut Option<watch::Receiver<bool>>) {
    let Some(receiver) = readiness else { return std::future::pending().await };
    if receiver.changed().await.is_err() {
        // Who would say something else is gone: it stays as it is.
        *readiness = None;
    }
}

/// As Python's `getpass.getuser`: the first of four variables, then the name of the user in the system's list.
fn user_name() -> Result<String, WorkerError> {
    let named = ["LOGNAME", "USER", "LNAME", "USERNAME"].iter().filter_map(|name| std::env::var(name).ok());
    let named = named.into_iter().find(|name| !name.is_empty());
    let listed = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    named.or_else(listed).ok_or(WorkerError::NoUserName)
}
