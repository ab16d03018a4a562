//! Logs that lie on the machines which write them: asked of workers and triggerers over HTTP.
//!
//! Source: `_read_from_logs_server` and `_fetch_logs_from_service` in `airflow/utils/log/file_task_handler.py`.

use crate::log_parts::Parts;
use crate::options::{Options, OptionsError};
use axum::body::{Body, BodyDataStream};
use axum::http::uri::InvalidUri;
use axum::http::{HeaderValue, Request, StatusCode, Uri, header};
use chrono::Utc;
use futures::StreamExt as _;
use futures::future::join_all;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tradewind_airflow::config::Config;
use tradewind_airflow::log_token::{LogTokenError, LogTokens};

/// Bytes of a log that are taken, at most.
const LARGEST: usize = 32 << 20;

/// How many logs are in memory at a time.
const ROOMS: usize = 2;

/// How often `[api] log_fetch_timeout_sec`, which is for a connection and for each part of the answer, all of it may take.
const WHOLE: u32 = 6;

/// What a path of a URL may hold as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=');

/// A process that writes logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Runs tasks.
    Worker,
    /// Runs triggers.
    Trigger,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Worker => "worker",
            Self::Trigger => "trigger",
        })
    }
}

/// A log on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    /// Who writes it.
    pub kind: Kind,
    /// The name of the machine, as the process told it; empty where it did not.
    pub host: String,
    /// The file, below the log folder of that machine.
    pub file: String,
}

/// What was fetched.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    /// The texts, and what went wrong.
    pub parts: Parts,
    /// Others wait for as long as the texts are in memory.
    _room: Option<OwnedSemaphorePermit>,
}

/// Asks machines for logs.
#[derive(Debug)]
pub(crate) struct ServedLogs {
    client: Client<HttpConnector, Body>,
    tokens: LogTokens,
    patience: Duration,
    worker_port: i64,
    trigger_port: i64,
    rooms: Arc<Semaphore>,
}

/// Why there is no text; the words are Airflow's, where it has any.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(
        "Could not read served logs: Hostname not available for {0}. Please check your `hostname_callable` configuration."
    )]
    NoHost(Kind),
    #[error(
        "!!!! Please make sure that all your Airflow components (e.g. schedulers, api-servers, dag-processors, workers and triggerer) \
         have the same 'secret_key' configured in '[api]' section and time is synchronized on all your machines (for example with \
         ntpd)\nSee more at https://airflow.apache.org/docs/apache-airflow/stable/configurations-ref.html#secret-key"
    )]
    Forbidden,
    #[error(
        "Log file not found on {kind} '{host}'. This attempt may have run on a different worker whose logs are no longer accessible. \
         Consider configuring remote logging (S3, GCS, etc.) for log persistence."
    )]
    NotFound { kind: Kind, host: String },
    #[error("Could not read served logs: {0} for url: {1}")]
    Status(StatusCode, String),
    #[error("Could not read served logs: '{0}' is no name of a machine: {1}")]
    Address(String, InvalidUri),
    #[error("Could not read served logs: {0}: {1}")]
    Unreachable(String, String),
    #[error("Could not read served logs: {url} does not answer within {} s ([api] log_fetch_timeout_sec)", .limit.as_secs_f64())]
    TimedOut { url: String, limit: Duration },
    #[error("Could not read served logs: {url} takes longer than {} s", .limit.as_secs_f64())]
    TooSlow { url: String, limit: Duration },
    #[error("Could not read served logs: {0}")]
    Token(#[from] LogTokenError),
}

impl ServedLogs {
    /// As configured; tokens are signed with `[api] secret_key`.
    ///
    /// # Errors
    /// An option has a wrong value.
    pub(crate) fn new(config: &Config, options: &Options) -> Result<Self, OptionsError> {
        let patience = config.seconds("api", "log_fetch_timeout_sec")?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(patience));
        // Nobody asks often enough for connections to be kept.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self {
            client,
            tokens: LogTokens::new(config, &options.secret_key)?,
            patience,
            worker_port: config.int("logging", "worker_log_server_port")?,
            trigger_port: config.int("logging", "trigger_log_server_port")?,
            rooms: Arc::new(Semaphore::new(ROOMS)),
        })
    }

    /// Fetches all that is there of these logs. What goes wrong is among the sources, in words.
    pub(crate) async fn fetch(&self, logs: &[Served]) -> Fetched {
        let answers = join_all(logs.iter().map(|log| self.ask(log))).await;
        // Nobody closes it. Machines that do not answer hold none.
        let room = Arc::clone(&self.rooms).acquire_owned().await.ok();
        let mut parts = Parts::default();
        for (log, answer) in logs.iter().zip(answers) {
            let text = match answer {
                Ok(body) => self.text(log, body, &mut parts.sources).await,
                Err(error) => Err(error),
            };
            match text {
                Ok(text) if text.is_empty() => {}
                Ok(text) => parts.texts.push(text),
                Err(error) => {
                    tracing::debug!(host = log.host, file = log.file, %error, "a log cannot be fetched");
                    parts.sources.push(error.to_string());
                }
            }
        }
        Fetched { parts, _room: room }
    }

    async fn ask(&self, log: &Served) -> Result<BodyDataStream, FetchError> {
        if log.host.is_empty() {
            return Err(FetchError::NoHost(log.kind));
        }
        let address = self.address(log, &utf8_percent_encode(&log.file, PLAIN).to_string());
        let uri = address.parse::<Uri>().map_err(|error| FetchError::Address(log.host.clone(), error))?;
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri;
        let token = self.tokens.issue(&log.file, Utc::now())?;
        if let Ok(token) = HeaderValue::from_str(&token) {
            request.headers_mut().insert(header::AUTHORIZATION, token);
        }
        let answer = timeout(self.patience, self.client.request(request)).await;
        let answer =
            answer.map_err(|_| FetchError::TimedOut { url: self.address(log, &log.file), limit: self.patience })?;
        let answer = answer.map_err(|error| FetchError::Unreachable(self.address(log, &log.file), reasons(&error)))?;
        match answer.status() {
            StatusCode::FORBIDDEN => Err(FetchError::Forbidden),
            StatusCode::NOT_FOUND => Err(FetchError::NotFound { kind: log.kind, host: log.host.clone() }),
            status if status.is_success() => Ok(Body::new(answer.into_body()).into_data_stream()),
            status => Err(FetchError::Status(status, self.address(log, &log.file))),
        }
    }

    /// The text of an answer, whose address is noted where there is any. What is too long is cut after a line.
    async fn text(&self, log: &Served, body: BodyDataStream, sources: &mut Vec<String>) -> Result<String, FetchError> {
        let address = self.address(log, &log.file);
        let whole = self.patience * WHOLE;
        let Ok(bytes) = timeout(whole, self.bytes(body, &address)).await else {
            return Err(FetchError::TooSlow { url: address, limit: whole });
        };
        let mut bytes = bytes?;
        if bytes.is_empty() {
            return Ok(String::new());
        }
        sources.push(address);
        if bytes.len() > LARGEST {
            bytes.truncate(LARGEST);
            let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(LARGEST, |last| last + 1);
            bytes.truncate(end);
            sources.push(format!("The log is longer than {} MiB; its rest is on '{}' alone.", LARGEST >> 20, log.host));
        }
        Ok(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    async fn bytes(&self, mut body: BodyDataStream, address: &str) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        loop {
            let part = timeout(self.patience, body.next()).await;
            match part.map_err(|_| FetchError::TimedOut { url: address.to_owned(), limit: self.patience })? {
                None => return Ok(bytes),
                Some(Ok(part)) => bytes.extend_from_slice(&part),
                Some(Err(error)) => return Err(FetchError::Unreachable(address.to_owned(), reasons(&error))),
            }
            if bytes.len() > LARGEST {
                return Ok(bytes);
            }
        }
    }

    fn address(&self, log: &Served, file: &str) -> String {
        let port = match log.kind {
            Kind::Worker => self.worker_port,
            Kind::Trigger => self.trigger_port,
        };
        // An address of IPv6 has colons of its own.
        match log.host.contains(':') {
            true => format!("http://[{}]:{port}/log/{file}", log.host),
            false => format!("http://{}:{port}/log/{file}", log.host),
        }
    }
}

/// What went wrong, and why.
fn reasons(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
