//! One child that evaluates plugins, from its fork to its end.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tradewind_airflow::evaluation::Reply;
use tradewind_airflow::secrets_masker::SecretsMasker;

use super::EvaluationError;
use crate::child::{Child, ExitStatus, Output, Process, Requests};

/// Bytes of output that are logged per question; the rest is read and counted.
const LOGGED_BYTES: u64 = 16 * 1024;

/// How long a child that closed its socket may take until its end is known.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// A child, and what it has been asked.
#[derive(Debug)]
pub(super) struct Conversation {
    process: Process,
    requests: Requests,
    asked: u64,
    /// Whether an answer is due.
    is_busy: bool,
    written: Written,
}

impl Conversation {
    pub(super) fn new(child: Child, masker: Option<SecretsMasker>) -> Self {
        let written = Written::of(child.output, child.process.pid(), masker);
        Self { process: child.process, requests: child.requests, asked: 0, is_busy: false, written }
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// Asks, and waits for the reply. After an error, or when this is given up, the child is of no use any more.
    pub(super) async fn reply(&mut self, question: &Value) -> Result<Reply, EvaluationError> {
        self.asked += 1;
        self.is_busy = true;
        self.written.begin();
        let broken = |error: &dyn std::fmt::Display| EvaluationError::Broken(error.to_string());
        self.requests.answer(self.asked, Some(question)).await.map_err(|error| broken(&error))?;
        let Some(reply) = self.requests.next().await.map_err(|error| broken(&error))? else {
            let status = timeout(END_PATIENCE, self.process.wait()).await;
            return Err(EvaluationError::Died(status.unwrap_or(ExitStatus::Unknown)));
        };
        self.is_busy = false;
        self.written.end();
        if reply.id != self.asked {
            return Err(EvaluationError::Broken(format!(
                "it answered question {} in place of {}",
                reply.id, self.asked
            )));
        }
        serde_json::from_value(reply.body).map_err(|error| broken(&error))
    }
}

impl Drop for Conversation {
    /// A child without work ends by itself when its sockets close; one that is in the middle of a plugin may never look.
    fn drop(&mut self) {
        if self.is_busy {
            self.process.signal(Signal::SIGKILL);
        }
    }
}

/// What a child writes on its streams: logged as far as it is not too much. It is always read, so that nobody waits.
#[derive(Debug)]
struct Written {
    pid: i32,
    bytes: Arc<AtomicU64>,
    _readers: JoinSet<()>,
}

impl Written {
    fn of(output: Output, pid: i32, masker: Option<SecretsMasker>) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let mut readers = JoinSet::new();
        for stream in [output.stdout, output.stderr, output.logs] {
            readers.spawn(log(stream, pid, Arc::clone(&bytes), masker.clone()));
        }
        Self { pid, bytes, _readers: readers }
    }

    fn begin(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    fn end(&self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        if bytes > LOGGED_BYTES {
            tracing::warn!(
                pid = self.pid,
                bytes,
                "a plugin writes much while it is evaluated; most of it is not logged"
            );
        }
    }
}

async fn log(mut stream: UnixStream, pid: i32, bytes: Arc<AtomicU64>, masker: Option<SecretsMasker>) {
    let mut buffer = vec![0; 8 * 1024];
    // An error means that the child was killed while it wrote: the same as the end.
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let before = bytes.fetch_add(count as u64, Ordering::Relaxed);
        if before < LOGGED_BYTES {
            let text = String::from_utf8_lossy(&buffer[..count]);
            for line in text.lines().filter(|line| !line.is_empty()) {
                let line = masker.as_ref().map_or_else(|| line.into(), |masker| Cow::from(masker.redact_text(line)));
                tracing::info!(pid, "a plugin writes: {line}");
            }
        }
    }
}
