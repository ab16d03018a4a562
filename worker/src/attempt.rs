//! Supervises one attempt: starts its child, answers it, keeps it alive, ends it, writes what became of it.
//!
//! Source: `ActivitySubprocess` in `airflow/sdk/execution_time/supervisor.py`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use chrono::Utc;
use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use serde_json::Value;
use sqlx::PgConnection;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tradewind_airflow::frames::Request;
use tradewind_airflow::log_format::{Level, LogLine};
use tradewind_airflow::log_path;
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_airflow::supervisor_protocol::response::ErrorResponse;
use tradewind_airflow::supervisor_protocol::task::{BundleInfo, StartupDetails, TaskInstance, TiRunContext};
use tradewind_airflow::supervisor_protocol::to_supervisor::ToSupervisor;
use tradewind_bundle::provider::ProvideError;
use tradewind_bundle::store::Snapshot;
use tradewind_metadata::attempt::{self, Accepted, AttemptError, Finish, Retry, Start};
use tradewind_metadata::audit_log::{self, Entry};
use tradewind_metadata::clear::{self, AttemptName};
use tradewind_metadata::queue::Claim;
use tradewind_metadata::task_callback::{self, Ended, Outcome};
use tradewind_model::state::TaskInstanceState;
use tradewind_remote_log::Follow;
use tradewind_supervisor::child::{Child, ESCALATION_DELAY, ExitStatus, Process, Requests};
use tradewind_supervisor::output::{self, Forwarder, Limits};
use tradewind_supervisor::pyhost::ChildKind;
use tradewind_supervisor::requests::Scope;
use uuid::Uuid;

use crate::ending::{Ending, Reported, ending, line, mismatch};
use crate::heartbeat::{Heartbeat, Verdict};
use crate::metric;
use crate::resources::Resources;

/// How long the writing of a final state is tried again while the database is away: then the scheduler has missed the
/// heartbeats and decides itself.
const WRITE_PATIENCE: Duration = Duration::from_secs(300);

/// How often the start of an attempt is reported while the database is away, and the first pause in between, which doubles.
/// The claim has no further heartbeat before the start is accepted.
const START_TRIES: usize = 6;
const START_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait for the channels of a task that was told to end.
const PATIENCE_AFTER_TERMINATION: Duration = Duration::from_secs(1);

/// Runs the attempt to its end.
pub(crate) async fn supervise(resources: &Resources, claim: Claim, end: CancellationToken) {
    metric::started(&claim, Utc::now());
    let started = Instant::now();
    if let Err(error) = run(resources, &claim, end).await {
        tracing::error!(%error, ti_id = %claim.id, dag_id = claim.dag_id, task_id = claim.task_id, run_id = claim.run_id, "the attempt could not be run");
        let ending = ending(&Reported::Nothing, ExitStatus::Unknown, error.should_retry(&claim));
        if error.is_ours_to_report() {
            write_ending(resources, &claim, ending, Some(&error.to_string())).await;
        }
    }
    tracing::info!(ti_id = %claim.id, dag_id = claim.dag_id, task_id = claim.task_id, duration = ?started.elapsed(), "attempt ended");
}

/// Why an attempt did not run.
#[derive(Debug, thiserror::Error)]
enum NotRun {
    #[error(transparent)]
    PyHost(#[from] tradewind_supervisor::pyhost::PyHostError),
    #[error(transparent)]
    Log(#[from] log_path::LogPathError),
    #[error(transparent)]
    Snapshot(#[from] ProvideError),
    #[error("the task instance has no version of its Dag\nhint: clear it, so that the scheduler gives it one")]
    NoDagVersion,
    #[error("the start of the attempt was not accepted: {0}")]
    Refused(AttemptError),
    #[error("the message that starts the child cannot be written: {0}")]
    Message(#[from] serde_json::Error),
}

impl NotRun {
    /// Whether the task instance is still this worker's.
    fn is_ours_to_report(&self) -> bool {
        !matches!(self, Self::Refused(reason) if !matches!(reason, AttemptError::Metadata(_)))
    }

    /// The database's own rule, for attempts whose start it never saw.
    fn should_retry(&self, claim: &Claim) -> bool {
        claim.max_tries != 0 && claim.try_number <= claim.max_tries
    }
}

async fn run(resources: &Resources, claim: &Claim, end: CancellationToken) -> Result<(), NotRun> {
    let dag_version_id = claim.dag_version_id.ok_or(NotRun::NoDagVersion)?;
    // Held until the log is complete, whose end is sent then.
    let _followed = follow(resources, claim)?;
    let mut file = resources.log_paths.open(&logged(claim))?;
    // Held until the attempt has ended: it reads the files of its snapshot as it goes.
    let snapshot = match resources.snapshots.provide(&claim.bundle_name, claim.bundle_version.as_deref()).await {
        Ok(snapshot) => snapshot,
        Err(error) => {
            explain(resources, &mut file, &error);
            return Err(error.into());
        }
    };
    let Child { process, requests, output } = resources.pyhost.spawn(ChildKind::Task).await?;
    let dag_rel_path = dag_rel_path(resources, claim, snapshot.as_ref(), dag_version_id).await;
    if let Some(file) = dag_file(claim, snapshot.as_ref(), dag_rel_path.as_deref()) {
        resources.preload(&file).await;
    }
    let (context, heartbeat, verdict) = match start(resources, claim, &process).await {
        Ok(started) => started,
        Err(error) => {
            process.signal(Signal::SIGKILL);
            return Err(NotRun::Refused(error));
        }
    };
    let should_retry = context.should_retry;
    let bundle_info = bundle_info(claim, snapshot.as_ref());
    let details = startup_details(resources, claim, bundle_info, dag_rel_path, dag_version_id, context);
    let first = serde_json::to_value(details)?;
    let masker = resources.masker.fresh();
    let forwarder = Forwarder::start(output, output::TASK, Some(file), masker.clone(), Limits::default());
    let mut supervision = Supervision {
        resources,
        claim,
        process,
        requests,
        forwarder,
        masker,
        heartbeat: Some(heartbeat),
        reported: Reported::Nothing,
        unwritten: None,
        overtime: None,
        termination: None,
    };
    // When the child is gone already, its status says more.
    if let Err(error) = supervision.requests.send_first(&first).await {
        tracing::warn!(%error, ti_id = %claim.id, "the child was not told what to run");
    }
    let status = supervision.serve(verdict, end).await;
    supervision.conclude(status, should_retry).await;
    Ok(())
}

/// Sends the log of the attempt to where logs go besides files, if they go anywhere.
fn follow(resources: &Resources, claim: &Claim) -> Result<Option<Follow>, NotRun> {
    let Some(shipping) = &resources.shipping else { return Ok(None) };
    let relative = resources.log_paths.relative(&logged(claim))?;
    Ok(Some(shipping.follow(resources.log_paths.base().join(&relative), &relative)))
}

/// Says in the log of the attempt why it has no process.
fn explain(resources: &Resources, log: &mut File, error: &ProvideError) {
    let mut line = Vec::new();
    LogLine::new(Utc::now(), Level::Error, error.to_string(), "task").write(&resources.masker, &mut line);
    if let Err(error) = log.write_all(&line) {
        tracing::warn!(%error, "the log of an attempt cannot be written");
    }
}

/// The Dag file within its bundle: where the newest version of the bundle has it or, when the snapshot has no such file, where
/// the Dag was when the run's version was stored.
async fn dag_rel_path(
    resources: &Resources,
    claim: &Claim,
    snapshot: Option<&Snapshot>,
    dag_version_id: Uuid,
) -> Option<String> {
    let newest = claim.relative_fileloc.clone();
    let Some(snapshot) = snapshot else { return newest };
    // A file within an archive is where the archive is.
    let mut candidates = Path::new(newest.as_deref().unwrap_or_default()).ancestors();
    if candidates.any(|path| snapshot.path().join(path).is_file()) {
        return newest;
    }
    let pinned = async {
        let mut connection = resources.database.pool().acquire().await?;
        resources.dags.version(&mut connection, dag_version_id).await
    };
    match pinned.await {
        Ok(dag) => dag.settings.relative_fileloc.clone().or(newest),
        Err(error) => {
            tracing::warn!(%error, ti_id = %claim.id, "where the Dag file was is not known");
            newest
        }
    }
}

/// The Dag file on this machine; for a bundle of this machine, where the Dag processor found it.
fn dag_file(claim: &Claim, snapshot: Option<&Snapshot>, dag_rel_path: Option<&str>) -> Option<PathBuf> {
    match snapshot {
        Some(snapshot) => Some(snapshot.path().join(dag_rel_path?)),
        None => claim.fileloc.as_ref().map(PathBuf::from),
    }
}

fn bundle_info(claim: &Claim, snapshot: Option<&Snapshot>) -> BundleInfo {
    let version = snapshot.map(|snapshot| snapshot.version().to_owned()).or_else(|| claim.bundle_version.clone());
    BundleInfo { name: claim.bundle_name.clone(), version }
}

async fn start(
    resources: &Resources,
    claim: &Claim,
    process: &Process,
) -> Result<(TiRunContext, Heartbeat, oneshot::Receiver<Verdict>), AttemptError> {
    let start = Start {
        id: claim.id,
        hostname: resources.claimant.hostname.clone(),
        unixname: resources.claimant.unixname.clone(),
        pid: process.pid(),
        start_date: claim.start_date.unwrap_or_else(Utc::now),
    };
    let context = report_start(resources, &start).await?;
    let (heartbeat, verdict) = resources.heartbeats.keep(claim.id, process.pid());
    Ok((context, heartbeat, verdict))
}

/// The same start may be reported twice: when the database broke off, it may have been accepted.
async fn report_start(resources: &Resources, start: &Start) -> Result<TiRunContext, AttemptError> {
    let mut pause = START_PAUSE;
    for _ in 1..START_TRIES {
        match try_report_start(resources, start).await {
            Err(error @ AttemptError::Metadata(_)) => {
                tracing::warn!(%error, ti_id = %start.id, "the start of the attempt will be reported again");
            }
            outcome => return outcome,
        }
        sleep(pause).await;
        pause *= 2;
    }
    try_report_start(resources, start).await
}

async fn try_report_start(resources: &Resources, start: &Start) -> Result<TiRunContext, AttemptError> {
    let mut connection = resources.database.pool().acquire().await?;
    attempt::start(&mut connection, start).await
}

fn startup_details(
    resources: &Resources,
    claim: &Claim,
    bundle_info: BundleInfo,
    dag_rel_path: Option<String>,
    dag_version_id: Uuid,
    ti_context: TiRunContext,
) -> StartupDetails {
    StartupDetails {
        ti: TaskInstance {
            id: claim.id,
            task_id: claim.task_id.clone(),
            dag_id: claim.dag_id.clone(),
            run_id: claim.run_id.clone(),
            try_number: claim.try_number,
            dag_version_id,
            map_index: claim.map_index,
            hostname: Some(resources.claimant.hostname.clone()),
            context_carrier: claim.context_carrier.clone(),
            queue: claim.queue.clone().unwrap_or_else(|| "default".to_owned()),
        },
        dag_rel_path: dag_rel_path.unwrap_or_default(),
        bundle_info,
        start_date: ti_context.start_date.or(claim.start_date).unwrap_or_else(Utc::now),
        ti_context,
        sentry_integration: String::new(),
    }
}

fn logged(claim: &Claim) -> log_path::Attempt {
    log_path::Attempt {
        dag_id: claim.dag_id.clone(),
        run_id: claim.run_id.clone(),
        task_id: claim.task_id.clone(),
        map_index: claim.map_index,
        try_number: claim.try_number,
        logical_date: claim.logical_date,
    }
}

/// A running attempt.
struct Supervision<'a> {
    resources: &'a Resources,
    claim: &'a Claim,
    process: Process,
    requests: Requests,
    forwarder: Forwarder,
    masker: SecretsMasker,
    heartbeat: Option<Heartbeat>,
    reported: Reported,
    /// A final state that the database has not accepted yet.
    unwritten: Option<ToSupervisor>,
    /// When a child that has reported its end, but goes on, is ended.
    overtime: Option<Instant>,
    termination: Option<BoxFuture<'static, ExitStatus>>,
}

enum Event {
    Asked(Request),
    Closed,
    Ended(ExitStatus),
    Verdict(Verdict),
    Overtime,
    EndAsked,
    Abandoned,
}

impl Supervision<'_> {
    /// Serves the child until it has ended and has closed its request channel.
    async fn serve(&mut self, mut verdict: oneshot::Receiver<Verdict>, end: CancellationToken) -> ExitStatus {
        let mut open = true;
        let mut ended = None;
        let mut end_asked = false;
        let mut abandon: Option<Pin<Box<Sleep>>> = None;
        let process = self.process.clone();
        let mut exit = Box::pin(process.wait());
        loop {
            if let (Some(status), false) = (ended, open) {
                return status;
            }
            let event = tokio::select! {
                request = self.requests.next(), if open => match request {
                    Ok(Some(request)) => Event::Asked(request),
                    Ok(None) => Event::Closed,
                    Err(error) => {
                        tracing::error!(%error, ti_id = %self.claim.id, "the child is not understood");
                        Event::Closed
                    }
                },
                status = &mut exit, if ended.is_none() => Event::Ended(status),
                verdict = &mut verdict, if self.heartbeat.is_some() && !verdict.is_terminated() => match verdict {
                    Ok(verdict) => Event::Verdict(verdict),
                    Err(_) => continue,
                },
                () = sleep_until(self.overtime.unwrap_or_else(Instant::now)), if self.overtime.is_some() && ended.is_none() => Event::Overtime,
                () = end.cancelled(), if !end_asked => Event::EndAsked,
                status = async { match &mut self.termination { Some(termination) => termination.await, None => std::future::pending().await } }, if ended.is_none() => Event::Ended(status),
                () = async { match &mut abandon { Some(abandon) => abandon.await, None => std::future::pending().await } }, if open => Event::Abandoned,
            };
            match event {
                Event::Asked(request) => self.answer(request).await,
                Event::Closed | Event::Abandoned => open = false,
                Event::Ended(status) => {
                    ended = Some(status);
                    self.heartbeat = None;
                    let asked = self.termination.is_some();
                    if let Some(line) = line(Utc::now(), status, asked) {
                        self.forwarder.write(line).await;
                    }
                    abandon = Some(Box::pin(sleep(self.patience())));
                }
                Event::Verdict(verdict) => self.obey(verdict).await,
                Event::Overtime => {
                    tracing::warn!(ti_id = %self.claim.id, "[core] task_success_overtime is over; the process is ended");
                    self.overtime = None;
                    self.terminate();
                }
                Event::EndAsked => {
                    end_asked = true;
                    if ended.is_none() {
                        tracing::info!(ti_id = %self.claim.id, "the worker stops; the task is asked to end");
                        self.terminate();
                    }
                }
            }
        }
    }

    /// Sends SIGTERM, and stronger signals if need be, while the child is still served.
    fn terminate(&mut self) {
        if self.termination.is_none() {
            let process = self.process.clone();
            self.termination = Some(async move { process.terminate(Signal::SIGTERM, ESCALATION_DELAY).await }.boxed());
        }
    }

    async fn obey(&mut self, verdict: Verdict) {
        self.heartbeat = None;
        if self.reported == Reported::Written || self.unwritten.is_some() {
            return;
        }
        match verdict {
            Verdict::Revoked(reason) => {
                tracing::error!(reason, ti_id = %self.claim.id, "the task instance is not to run any more; the process is ended");
                let event = "Server indicated the task shouldn't be running anymore. Terminating process";
                self.forwarder
                    .write(LogLine::new(Utc::now(), Level::Error, event, "task").with("detail", reason))
                    .await;
                self.reported = Reported::Revoked;
            }
            Verdict::Unreachable => {
                tracing::error!(ti_id = %self.claim.id, "too many failed heartbeats; the process is ended");
            }
        }
        self.terminate();
    }

    async fn answer(&mut self, request: Request) {
        let Request { id, body, .. } = request;
        let message: ToSupervisor = match serde_json::from_value(body) {
            Ok(message) => message,
            Err(error) => {
                // Airflow leaves such a request without an answer, upon which the task hangs.
                tracing::error!(%error, ti_id = %self.claim.id, "a request cannot be read");
                let refusal = ErrorResponse::failed(format!("the request cannot be read: {error}"), "ValidationError");
                return self.send(id, Err(refusal)).await;
            }
        };
        tracing::debug!(request = message.name(), ti_id = %self.claim.id, "request");
        match &message {
            ToSupervisor::ResendLoggingFD(_) => match self.requests.send_log_socket(id).await {
                Ok(socket) => self.forwarder.add_log_socket(socket),
                Err(error) => tracing::error!(%error, ti_id = %self.claim.id, "no further log socket could be made"),
            },
            ToSupervisor::MaskSecret(secret) => {
                self.masker.add(&secret.value, secret.name.as_deref());
                self.send(id, Ok(None)).await;
            }
            _ => self.answer_from_database(id, message).await,
        }
    }

    async fn answer_from_database(&mut self, id: u64, message: ToSupervisor) {
        if let ToSupervisor::TaskState(state) = &message {
            self.reported = Reported::Later(state.state, state.rendered_map_index.clone());
        }
        if matches!(message, ToSupervisor::TaskState(_) | ToSupervisor::SucceedTask(_) | ToSupervisor::RetryTask(_)) {
            self.overtime = Some(Instant::now() + self.resources.task_success_overtime);
        }
        let final_state = final_state(&message);
        self.unwritten = final_state.map(|_| message.clone());
        let answer = self.resources.answers.answer(Scope::Attempt(self.claim.id), message.clone()).await;
        match &answer {
            Ok(body) => {
                self.mask(&message, body.as_ref());
                if let Some(state) = final_state {
                    self.unwritten = None;
                    self.reported = Reported::Written;
                    metric::finished(self.claim, state, Utc::now());
                }
                if self.overtime.is_some() || final_state.is_some() {
                    self.heartbeat = None;
                }
            }
            Err(error) => tracing::error!(request = message.name(), ?error, ti_id = %self.claim.id, "a request failed"),
        }
        self.send(id, answer).await;
    }

    /// Adds the secrets that the child now has to those hidden in its log, as `handle_get_connection` and
    /// `handle_get_variable` in `airflow/sdk/execution_time/request_handlers.py` do.
    fn mask(&self, message: &ToSupervisor, body: Option<&Value>) {
        let Some(body) = body else { return };
        match message {
            ToSupervisor::GetConnection(_) => {
                self.masker.add(&body["password"], None);
                self.masker.add(&body["extra"], None);
            }
            ToSupervisor::GetVariable(variable) => self.masker.add(&body["value"], Some(&variable.key)),
            _ => {}
        }
    }

    async fn send(&mut self, id: u64, answer: Result<Option<Value>, ErrorResponse>) {
        let sent = match answer {
            Ok(body) => self.requests.answer(id, body.as_ref()).await,
            Err(error) => match serde_json::to_value(&error) {
                Ok(error) => self.requests.refuse(id, &error).await,
                Err(_) => return,
            },
        };
        if let Err(error) = sent {
            tracing::error!(%error, ti_id = %self.claim.id, "an answer could not be sent");
        }
    }

    /// Writes what became of the attempt, then the rest of its log.
    async fn conclude(mut self, status: ExitStatus, should_retry: bool) {
        if self.reported == Reported::Revoked {
            self.forwarder.write(LogLine::new(Utc::now(), Level::Error, "Task killed!", "task")).await;
        }
        match self.unwritten.take() {
            // As in Airflow, a report that failed is made once more when the process has ended. It may have been written all
            // the same, and the attempt, which keeps its id while it pauses, may go on in another process.
            Some(_) if !still_runs(self.resources, self.claim.id, self.process.pid()).await => {
                tracing::info!(ti_id = %self.claim.id, "the final state is written already, or the attempt is not ours any more");
            }
            Some(message) => {
                let again = self.resources.answers.answer(Scope::Attempt(self.claim.id), message).await;
                if let Err(error) = again {
                    tracing::error!(?error, ti_id = %self.claim.id, "the final state was not accepted a second time either");
                }
            }
            None => {
                let mismatch = mismatch(&self.reported, status);
                write_ending(self.resources, self.claim, ending(&self.reported, status, should_retry), mismatch).await;
            }
        }
        if self.reported != Reported::Written {
            restart_if_cleared(self.resources, self.claim).await;
        }
        let patience = self.patience();
        self.forwarder.finish(patience).await;
    }

    /// How long to wait for what is left in the child's channels. Processes that the task left behind may hold them open:
    /// one that was told to end is not waited for like one that ended by itself.
    fn patience(&self) -> Duration {
        let patience = self.resources.socket_cleanup_timeout;
        if self.termination.is_some() { patience.min(PATIENCE_AFTER_TERMINATION) } else { patience }
    }
}

/// Whether an attempt is still running, in this process.
async fn still_runs(resources: &Resources, id: Uuid, pid: i32) -> bool {
    let Ok(mut connection) = resources.database.pool().acquire().await else { return false };
    attempt::heartbeat(&mut connection, id, &resources.claimant.hostname, pid).await.is_ok()
}

/// The state in which the message leaves `running` as soon as it is written; none for other messages.
fn final_state(message: &ToSupervisor) -> Option<TaskInstanceState> {
    match message {
        ToSupervisor::SucceedTask(_) => Some(TaskInstanceState::Success),
        ToSupervisor::RetryTask(_) => Some(TaskInstanceState::UpForRetry),
        ToSupervisor::DeferTask(_) => Some(TaskInstanceState::Deferred),
        ToSupervisor::RescheduleTask(_) => Some(TaskInstanceState::UpForReschedule),
        ToSupervisor::AwaitInputTask(_) => Some(TaskInstanceState::AwaitingInput),
        _ => None,
    }
}

/// Lets the task instance start anew when it was cleared while the attempt ran. Should that fail, the scheduler does it
/// some time later.
async fn restart_if_cleared(resources: &Resources, claim: &Claim) {
    let attempt = AttemptName {
        dag_id: &claim.dag_id,
        run_id: &claim.run_id,
        task_id: &claim.task_id,
        map_index: claim.map_index,
        try_number: claim.try_number,
    };
    let restarted = async {
        let mut connection = resources.database.pool().acquire().await?;
        clear::restart_after(&mut connection, resources.answers.dags(), attempt).await
    };
    match restarted.await {
        Ok(true) => {
            tracing::info!(dag_id = claim.dag_id, task_id = claim.task_id, "was cleared while it ran: starts anew")
        }
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, ti_id = %claim.id, "whether the task was cleared could not be found out"),
    }
}

/// Writes how the attempt ended; tries again while the database is away. With a `mismatch` the attempt could not speak for
/// itself, and its callbacks are left to the Dag processor.
async fn write_ending(resources: &Resources, claim: &Claim, ending: Ending, mismatch: Option<&str>) {
    let until = Instant::now() + WRITE_PATIENCE;
    let mut pause = Duration::from_millis(200);
    loop {
        let error = match try_write_ending(resources, claim, &ending, mismatch).await {
            Ok(()) => return,
            Err(error @ AttemptError::Metadata(_)) if Instant::now() + pause < until => error,
            Err(error) => {
                tracing::warn!(%error, ti_id = %claim.id, "the end of the attempt was not accepted");
                return;
            }
        };
        tracing::warn!(%error, ti_id = %claim.id, "the end of the attempt could not be written and will be tried again");
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

async fn try_write_ending(
    resources: &Resources,
    claim: &Claim,
    ending: &Ending,
    mismatch: Option<&str>,
) -> Result<(), AttemptError> {
    if *ending == Ending::Nothing {
        return Ok(());
    }
    let mut transaction = resources.database.pool().begin().await?;
    let (id, end_date) = (claim.id, Utc::now());
    if let Some(message) = mismatch {
        request_callback(resources, &mut transaction, claim, ending, message).await?;
    }
    let state = match ending {
        Ending::Nothing => return Ok(()),
        Ending::Finish(state, rendered_map_index) => {
            let report = Finish { id, state: *state, end_date, rendered_map_index: rendered_map_index.clone() };
            if attempt::finish(&mut transaction, &report).await? == Accepted::Duplicate {
                return Ok(());
            }
            *state
        }
        Ending::Retry => {
            let report =
                Retry { id, end_date, rendered_map_index: None, retry_delay_seconds: None, retry_reason: None };
            if attempt::retry(&mut transaction, &report).await?.is_none() {
                return Ok(());
            }
            TaskInstanceState::UpForRetry
        }
    };
    transaction.commit().await?;
    metric::finished(claim, state, Utc::now());
    tracing::info!(ti_id = %id, %state, "attempt ended");
    Ok(())
}

/// What Airflow's scheduler does when a task instance ends at the executor without having ended itself
/// (`process_executor_events` in `airflow/jobs/scheduler_job_runner.py`).
async fn request_callback(
    resources: &Resources,
    connection: &mut PgConnection,
    claim: &Claim,
    ending: &Ending,
    message: &str,
) -> Result<(), AttemptError> {
    let entry = Entry {
        event: "state mismatch",
        dag_id: &claim.dag_id,
        run_id: &claim.run_id,
        task_id: &claim.task_id,
        map_index: claim.map_index,
        try_number: claim.try_number,
        logical_date: None,
        owner: None,
        extra: Some(message.to_owned()),
    };
    audit_log::write(&mut *connection, &[entry]).await?;
    let outcome = if *ending == Ending::Retry { Outcome::Retry } else { Outcome::Failure };
    task_callback::request(connection, &resources.dags, Ended { id: claim.id, message, outcome }, Utc::now()).await?;
    metrics::counter!("scheduler.tasks.killed_externally", "dag_id" => claim.dag_id.clone(), "task_id" => claim.task_id.clone())
        .increment(1);
    Ok(())
}
