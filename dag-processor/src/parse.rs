//! Has one file parsed by a child.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::Utc;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tradewind_airflow::frames::{FrameError, Request};
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_airflow::supervisor_protocol::dag_processor::{DagFileParseRequest, DagFileParsingResult, ToManager};
use tradewind_airflow::supervisor_protocol::response::ErrorResponse;
use tradewind_airflow::supervisor_protocol::to_supervisor::ToSupervisor;
use tradewind_remote_log::{Follow, Shipping};
use tradewind_supervisor::child::{Child, ExitStatus, Process, Requests};
use tradewind_supervisor::output::{DAG_PROCESSOR, Forwarder, Limits};
use tradewind_supervisor::pyhost::{ChildKind, PyHost, PyHostError};
use tradewind_supervisor::requests::{Answers, Scope};

use crate::bundle::DagBundle;
use crate::log_file;
use crate::queue::FileKey;
use crate::reply::{not_understood, reply};

/// What a file may write while it is parsed; a file that writes more does not belong among Dag files.
const LOG_BYTES: u64 = 16 * 1024 * 1024;

/// How long a child that has closed its request channel, or was killed, may take to be gone.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// What children are parsed with. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Parser {
    pub(crate) host: PyHost,
    pub(crate) answers: Answers,
    pub(crate) masker: SecretsMasker,
    pub(crate) timeout: Duration,
    pub(crate) log_directory: PathBuf,
    /// Sends logs of files to CloudWatch, if they go there.
    pub(crate) shipping: Option<Shipping>,
}

/// How parsing went.
#[derive(Debug)]
pub(crate) struct Parse {
    /// The result, or the text of the import error that stands for it. `None` when callbacks ran, which have no result.
    pub(crate) result: Option<Result<DagFileParsingResult, String>>,
    /// Whether the file asked for anything in the database, so that it may give something else next time.
    pub(crate) asked: bool,
    /// Whether it was killed because it took too long.
    pub(crate) timed_out: bool,
    /// How long it took.
    pub(crate) duration: Duration,
}

/// What came of talking with the child.
#[derive(Default)]
struct Talk {
    result: Option<DagFileParsingResult>,
    asked: bool,
    failure: Option<String>,
    timed_out: bool,
}

impl Parser {
    /// Parses the file `key` of `bundle`, or, with `callbacks`, runs these callbacks of its Dags.
    ///
    /// # Errors
    /// When no child can be had. Whatever the file does is a result.
    pub(crate) async fn parse(
        &self,
        bundle: &DagBundle,
        key: &FileKey,
        callbacks: Vec<Value>,
        cancelled: &CancellationToken,
    ) -> Result<Parse, PyHostError> {
        let started = Instant::now();
        let masker = self.masker.fresh();
        self.host.preload(&bundle.path.join(&key.path)).await;
        let Child { process, mut requests, output } = self.host.spawn(ChildKind::DagFile).await?;
        // Held until the log is complete.
        let _followed = self.follow(key);
        let log = self.log(key);
        let limits = Limits { total_bytes: Some(LOG_BYTES), ..Limits::default() };
        let mut forwarder = Forwarder::start(output, DAG_PROCESSOR, log, masker.clone(), limits);
        let runs_callbacks = !callbacks.is_empty();
        let first = first_message(&bundle.path, key, callbacks);
        let talk = tokio::select! {
            talk = self.talk(&mut requests, &first, &mut forwarder, &masker) => talk,
            () = sleep_until((started + self.timeout).into()) => Talk { timed_out: true, ..Talk::default() },
            () = cancelled.cancelled() => Talk { failure: Some("Parsing was given up.".to_owned()), ..Talk::default() },
        };
        let status =
            end(&process, talk.result.is_some() || (runs_callbacks && talk.failure.is_none() && !talk.timed_out)).await;
        let written = forwarder.finish(END_TIMEOUT).await;
        let asked = talk.asked;
        let timed_out = talk.timed_out;
        let result = if runs_callbacks && talk.result.is_none() {
            self.report_callbacks(key, &talk, status);
            None
        } else {
            Some(self.result(key, talk, status, written.dropped))
        };
        Ok(Parse { result, asked, timed_out, duration: started.elapsed() })
    }

    async fn talk(
        &self,
        requests: &mut Requests,
        first: &Value,
        forwarder: &mut Forwarder,
        masker: &SecretsMasker,
    ) -> Talk {
        let mut talk = Talk::default();
        if let Err(error) = requests.send_first(first).await {
            talk.failure = Some(error.to_string());
            return talk;
        }
        loop {
            match requests.next().await {
                Ok(Some(request)) => {
                    if let Err(error) = self.serve(request, requests, &mut talk, forwarder, masker).await {
                        talk.failure = Some(error.to_string());
                        return talk;
                    }
                }
                Ok(None) => return talk,
                Err(error) => {
                    talk.failure = Some(error.to_string());
                    return talk;
                }
            }
        }
    }

    async fn serve(
        &self,
        request: Request,
        requests: &mut Requests,
        talk: &mut Talk,
        forwarder: &mut Forwarder,
        masker: &SecretsMasker,
    ) -> Result<(), FrameError> {
        if request.body["type"] == "ResendLoggingFD" {
            let socket = requests.send_log_socket(request.id).await?;
            forwarder.add_log_socket(socket);
            return Ok(());
        }
        let answer = match ToManager::from_body(request.body) {
            Ok(ToManager::Result(result)) => {
                talk.result = Some(*result);
                Ok(None)
            }
            Ok(ToManager::Request(message)) => self.answer(*message, talk, masker).await,
            Err(error) => Err(not_understood(&error)),
        };
        reply(requests, request.id, answer, masker).await
    }

    async fn answer(
        &self,
        message: ToSupervisor,
        talk: &mut Talk,
        masker: &SecretsMasker,
    ) -> Result<Option<Value>, ErrorResponse> {
        if let ToSupervisor::MaskSecret(secret) = &message {
            masker.add(&secret.value, secret.name.as_deref());
            return Ok(None);
        }
        talk.asked = true;
        self.answers.answer(Scope::DagFile, message).await
    }

    /// The stream is named as in an Amazon MWAA environment.
    fn follow(&self, key: &FileKey) -> Option<Follow> {
        let stream = format!("scheduler_dag_processor_{}.log", key.path.display());
        let path = log_file::path(&self.log_directory, key, Utc::now());
        Some(self.shipping.as_ref()?.follow(path, Path::new(&stream)))
    }

    fn log(&self, key: &FileKey) -> Option<File> {
        log_file::open(&self.log_directory, key, Utc::now())
            .inspect_err(|error| {
                tracing::warn!(file = %key.path.display(), %error, "the log of the file cannot be opened");
            })
            .ok()
    }

    fn result(
        &self,
        key: &FileKey,
        talk: Talk,
        status: ExitStatus,
        dropped: u64,
    ) -> Result<DagFileParsingResult, String> {
        let log = log_file::path(&self.log_directory, key, Utc::now());
        let log = log.display();
        let path = key.path.display();
        if dropped > 0 {
            let limit = LOG_BYTES / 1024 / 1024;
            return Err(format!(
                "{path} wrote more than {limit} MiB of output while it was parsed.\nHint: print nothing at the top level of a \
                 Dag file; the start of the output is in {log}."
            ));
        }
        if let Some(result) = talk.result {
            return Ok(result);
        }
        if talk.timed_out {
            return Err(format!(
                "Parsing {path} took longer than {} seconds ([dag_processor] dag_file_processor_timeout) and was \
                 stopped.\nHint: move work out of the top level of the Dag file; its output is in {log}.",
                self.timeout.as_secs_f64()
            ));
        }
        Err(match talk.failure {
            Some(failure) => format!("The process that parsed {path} broke off: {failure}.\nIts output is in {log}."),
            None => format!(
                "The process that parsed {path} ended with {status} before it gave a result.\nHint: the Dag file, or what it \
                 imports, ended the process; its output is in {log}."
            ),
        })
    }

    fn report_callbacks(&self, key: &FileKey, talk: &Talk, status: ExitStatus) {
        let file = key.path.display();
        if talk.timed_out {
            tracing::error!(%file, seconds = self.timeout.as_secs_f64(), "callbacks took too long and were stopped");
        } else if !status.success() || talk.failure.is_some() {
            let failure = talk.failure.as_deref().unwrap_or_default();
            tracing::error!(%file, %status, failure, "the process that ran callbacks failed");
        }
    }
}

fn first_message(bundle: &Path, key: &FileKey, callbacks: Vec<Value>) -> Value {
    json!(DagFileParseRequest {
        file: bundle.join(&key.path).to_string_lossy().into_owned(),
        bundle_path: bundle.to_string_lossy().into_owned(),
        bundle_name: key.bundle.clone(),
        callback_requests: callbacks,
    })
}

/// Waits for the end of a child that has done its work, and kills any other.
async fn end(process: &Process, done: bool) -> ExitStatus {
    // One that closed its channel is about to end by itself, and how it does is worth knowing.
    if let Ok(status) = timeout(if done { END_TIMEOUT } else { Duration::from_millis(200) }, process.wait()).await {
        return status;
    }
    process.terminate(Signal::SIGKILL, END_TIMEOUT).await
}
