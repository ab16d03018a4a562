//! Calls the callbacks of missed deadlines (`SyncCallback`), each in a child of its own.
//!
//! Official schedulers hand them to an executor. Here they run in children of the Dag processor, as the callbacks of Dags do: it has
//! the files that they are in, in the version of their run.
//!
//! Source: `CallbackSubprocess` in `airflow/sdk/execution_time/callback_supervisor.py`, `ExecuteCallback.make` in
//! `airflow/executors/workloads/callback.py`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::frames::{FrameError, Request};
use tradewind_airflow::log_path::{LogPathError, LogPaths};
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_airflow::supervisor_protocol::to_supervisor::ToSupervisor;
use tradewind_bundle::configuration::{DagBundle, Place};
use tradewind_bundle::provider::{ProvideError, SnapshotProvider};
use tradewind_bundle::store::Snapshot;
use tradewind_metadata::deadline::callback::{self, Claimed, LEASE};
use tradewind_metadata::{Database, MetadataError};
use tradewind_remote_log::{Follow, Shipping, TaskLogs};
use tradewind_supervisor::child::{Child, ESCALATION_DELAY, ExitStatus, Requests};
use tradewind_supervisor::output::{Forwarder, Limits, TASK};
use tradewind_supervisor::pyhost::{ChildKind, PyHost, PyHostError};
use tradewind_supervisor::requests::{Answers, Scope};

use crate::reply::{not_understood, reply};

/// How often callbacks are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often those that official schedulers have left behind are looked for.
const ADOPTION_INTERVAL: Duration = Duration::from_secs(60);

/// How often a callback is tried whose process is lost together with the Dag processor.
const MOST_ATTEMPTS: i32 = 3;

/// The folder of their logs, below that of tasks.
const LOG_FOLDER: &str = "executor_callbacks";

/// How long the output of a child that has ended may take.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The options that these callbacks have for themselves.
#[derive(Debug, Clone)]
pub struct Options {
    /// `[callbacks] callback_execution_timeout`; none: there is no limit.
    pub timeout: Option<Duration>,
    /// Where their logs lie.
    pub log_paths: LogPaths,
    /// Where these go besides.
    pub logs: Option<TaskLogs>,
}

impl Options {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When a value cannot be used.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let seconds = u64::try_from(config.int("callbacks", "callback_execution_timeout")?).unwrap_or(0);
        Ok(Self {
            timeout: (seconds > 0).then(|| Duration::from_secs(seconds)),
            log_paths: LogPaths::from_config(config)?,
            logs: TaskLogs::from_config(config)?,
        })
    }
}

/// What callbacks are called with. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) database: Database,
    pub(crate) host: PyHost,
    pub(crate) answers: Answers,
    pub(crate) masker: SecretsMasker,
    pub(crate) snapshots: Arc<SnapshotProvider>,
    pub(crate) bundles: Arc<[DagBundle]>,
    pub(crate) options: Options,
    /// How many run at the same time.
    pub(crate) most: usize,
}

/// Why a callback could not be called.
#[derive(Debug, thiserror::Error)]
enum NotCalled {
    #[error("the run that missed its deadline was deleted")]
    NoRun,
    #[error("the process that called it was lost {MOST_ATTEMPTS} times")]
    Lost,
    #[error(transparent)]
    Snapshot(#[from] ProvideError),
    #[error(transparent)]
    Log(#[from] LogPathError),
    #[error(transparent)]
    Host(#[from] PyHostError),
    #[error("its process does not keep to the protocol: {0}")]
    Protocol(#[from] FrameError),
}

impl NotCalled {
    /// Whether it may be otherwise in a minute.
    fn may_pass(&self) -> bool {
        match self {
            Self::Host(_) | Self::Log(_) => true,
            Self::Snapshot(error) => !matches!(error, ProvideError::Unknown { .. } | ProvideError::Gone { .. }),
            Self::NoRun | Self::Lost | Self::Protocol(_) => false,
        }
    }
}

/// How a call ended.
enum End {
    Exited(ExitStatus),
    TimedOut(Duration),
    /// Somebody else has it by now.
    Overtaken,
    /// The Dag processor ends.
    Interrupted,
}

/// Calls callbacks until `shutdown`; those that run then are ended, and called again by whoever comes next.
pub(crate) async fn serve(caller: Caller, shutdown: CancellationToken) {
    let shipping = caller.options.logs.clone().map(Shipping::of_tasks);
    let mut running = JoinSet::new();
    let mut tick = interval(LOOK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut adopted = None;
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = tick.tick() => {}
        }
        while running.try_join_next().is_some() {}
        match caller.take(&mut adopted, caller.most - running.len()).await {
            Ok(claimed) => {
                for claimed in claimed {
                    running.spawn(call(caller.clone(), shipping.clone(), claimed, shutdown.clone()));
                }
            }
            Err(error) => tracing::warn!(%error, "callbacks of missed deadlines are not seen; trying again"),
        }
    }
    while running.join_next().await.is_some() {}
    if let Some(shipping) = shipping {
        shipping.stop(END_TIMEOUT).await;
    }
}

async fn call(caller: Caller, shipping: Option<Shipping>, claimed: Claimed, shutdown: CancellationToken) {
    let log = tracing::info_span!("deadline_callback", callback_id = %claimed.id, dag_id = claimed.dag_id, run_id = claimed.run_id);
    let called = caller.call(shipping.as_ref(), &claimed, &shutdown).await;
    let stored = match &called {
        Ok(End::Exited(status)) if status.success() => claimed.end(caller.database.pool(), Ok(())).await,
        Ok(End::Exited(status)) => {
            log.in_scope(|| tracing::error!(%status, "the callback of a missed deadline failed; its log says why"));
            // The words of the official scheduler, which is not told more.
            claimed.end(caller.database.pool(), Err("Execution failed")).await
        }
        Ok(End::TimedOut(limit)) => {
            let output =
                format!("Callback took longer than {limit:?} ([callbacks] callback_execution_timeout) and was stopped");
            log.in_scope(|| tracing::error!("{output}"));
            claimed.end(caller.database.pool(), Err(&output)).await
        }
        Ok(End::Overtaken) => Ok(()),
        Ok(End::Interrupted) => claimed.release(caller.database.pool(), true).await,
        Err(error) if error.may_pass() => {
            log.in_scope(
                || tracing::error!(%error, "the callback of a missed deadline cannot be called now; trying again"),
            );
            claimed.release(caller.database.pool(), false).await
        }
        Err(error) => {
            log.in_scope(|| tracing::error!(%error, "the callback of a missed deadline is not called"));
            claimed.end(caller.database.pool(), Err(&error.to_string())).await
        }
    };
    if let Err(error) = stored {
        log.in_scope(|| tracing::warn!(%error, "how the callback of a deadline ended cannot be stored"));
    }
}

impl Caller {
    async fn take(&self, adopted: &mut Option<Instant>, free: usize) -> Result<Vec<Claimed>, MetadataError> {
        let pool = self.database.pool();
        let names: Vec<String> = self.bundles.iter().map(|bundle| bundle.name.clone()).collect();
        if adopted.is_none_or(|at| at.elapsed() >= ADOPTION_INTERVAL) {
            *adopted = Some(Instant::now());
            let count = callback::adopt(pool, &names).await?;
            if count > 0 {
                tracing::info!(count, "callbacks of deadlines that an official scheduler left waiting are called here");
            }
        }
        if free == 0 {
            return Ok(Vec::new());
        }
        callback::claim(pool, &names, i64::try_from(free).unwrap_or(i64::MAX)).await
    }

    async fn call(
        &self,
        shipping: Option<&Shipping>,
        claimed: &Claimed,
        shutdown: &CancellationToken,
    ) -> Result<End, NotCalled> {
        if claimed.attempts > MOST_ATTEMPTS {
            return Err(NotCalled::Lost);
        }
        let (Some(dag_id), Some(run_id)) = (&claimed.dag_id, &claimed.run_id) else { return Err(NotCalled::NoRun) };
        let relative: PathBuf = [LOG_FOLDER, dag_id, run_id, &claimed.id.to_string()].iter().collect();
        // Held until the log is complete.
        let _followed = self.follow(shipping, &relative);
        let file = self.options.log_paths.open_relative(&relative)?;
        let interruption = async {
            tokio::select! {
                () = self.hold(claimed) => End::Overtaken,
                () = shutdown.cancelled() => End::Interrupted,
            }
        };
        tokio::pin!(interruption);
        let (snapshot, child) = tokio::select! {
            prepared = self.prepare(claimed) => prepared?,
            end = &mut interruption => return Ok(end),
        };
        let Child { process, mut requests, output } = child;
        let bundle = match &snapshot {
            Some(snapshot) => Some(snapshot.path()),
            None => self.folder(claimed.bundle_name.as_deref().unwrap_or_default()),
        };
        let masker = self.masker.fresh();
        let mut forwarder = Forwarder::start(output, TASK, Some(file), masker.clone(), Limits::default());
        let first = json!({"data": claimed.data, "bundle_path": bundle, "dag_rel_path": claimed.relative_fileloc});
        let exited = async {
            self.talk(&mut requests, &first, &mut forwarder, &masker).await?;
            Ok(End::Exited(process.wait().await))
        };
        let ended = tokio::select! {
            ended = exited => ended,
            limit = passed(self.options.timeout) => Ok(End::TimedOut(limit)),
            end = &mut interruption => Ok(end),
        };
        if !matches!(ended, Ok(End::Exited(_))) {
            process.terminate(Signal::SIGTERM, ESCALATION_DELAY).await;
        }
        forwarder.finish(END_TIMEOUT).await;
        ended
    }

    /// The files of the run's version, if they are not in a folder of this machine, and a child.
    async fn prepare(&self, claimed: &Claimed) -> Result<(Option<Snapshot>, Child), NotCalled> {
        let name = claimed.bundle_name.as_deref().unwrap_or_default();
        let snapshot = self.snapshots.provide(name, claimed.bundle_version.as_deref()).await?;
        Ok((snapshot, self.host.spawn(ChildKind::Callback).await?))
    }

    /// Extends the lease for as long as it is waited for; ends when that is no longer possible.
    async fn hold(&self, claimed: &Claimed) {
        loop {
            sleep(LEASE / 3).await;
            match claimed.extend(self.database.pool()).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "the lease of a deadline's callback cannot be extended now"),
            }
        }
    }

    /// The folder of a bundle that is one of this machine.
    fn folder(&self, name: &str) -> Option<&Path> {
        self.bundles.iter().filter(|bundle| bundle.name == name).find_map(|bundle| match &bundle.place {
            Place::Folder(path) => Some(path.as_path()),
            Place::S3(_) => None,
        })
    }

    fn follow(&self, shipping: Option<&Shipping>, relative: &Path) -> Option<Follow> {
        Some(shipping?.follow(self.options.log_paths.base().join(relative), relative))
    }

    /// Answers the child until it closes its channel.
    async fn talk(
        &self,
        requests: &mut Requests,
        first: &Value,
        forwarder: &mut Forwarder,
        masker: &SecretsMasker,
    ) -> Result<(), FrameError> {
        requests.send_first(first).await?;
        while let Some(request) = requests.next().await? {
            self.answer(request, requests, forwarder, masker).await?;
        }
        Ok(())
    }

    async fn answer(
        &self,
        request: Request,
        requests: &mut Requests,
        forwarder: &mut Forwarder,
        masker: &SecretsMasker,
    ) -> Result<(), FrameError> {
        if request.body["type"] == "ResendLoggingFD" {
            let socket = requests.send_log_socket(request.id).await?;
            forwarder.add_log_socket(socket);
            return Ok(());
        }
        let answer = match serde_json::from_value::<ToSupervisor>(request.body) {
            Ok(ToSupervisor::MaskSecret(secret)) => {
                masker.add(&secret.value, secret.name.as_deref());
                Ok(None)
            }
            Ok(message) => self.answers.answer(Scope::Deadline, message).await,
            Err(error) => Err(not_understood(&error)),
        };
        reply(requests, request.id, answer, masker).await
    }
}

/// Ends when a limit has passed, if there is one.
async fn passed(limit: Option<Duration>) -> Duration {
    let Some(limit) = limit else { return std::future::pending().await };
    sleep(limit).await;
    limit
}
