//! Carries what a child writes into its log, line by line as it comes.
//!
//! The child never waits for ever: when the log cannot be written, or grows beyond its limit, the rest is read and
//! dropped.

use std::fs::File;
use std::time::Duration;

use chrono::Utc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tradewind_airflow::log_format::{Level, LogLine};
use tradewind_airflow::secrets_masker::SecretsMasker;

use crate::child::Output;

/// Chunks of lines that may wait for the disk; then the child's sockets fill, and it waits.
const WAITING_CHUNKS: usize = 32;

const READ_BYTES: usize = 64 * 1024;

/// What a log may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A longer line is cut into several (of a stream) or left out (of the log socket).
    pub line_bytes: usize,
    /// Everything that comes after so many bytes is left out; `None`: no limit.
    pub total_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line_bytes: 4 * 1024 * 1024, total_bytes: None }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes in the log.
    pub bytes: u64,
    /// Bytes left out.
    pub dropped: u64,
}

/// Where a stream's lines come from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Stream { level: Level, logger: &'static str },
    LogSocket,
}

/// Names of the loggers of standard output and error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLoggers {
    /// Of standard output.
    pub stdout: &'static str,
    /// Of standard error.
    pub stderr: &'static str,
}

/// As Airflow names them in the log of a task.
pub const TASK: StreamLoggers = StreamLoggers { stdout: "task.stdout", stderr: "task.stderr" };

/// As Airflow names them in the log of a Dag file.
pub const DAG_PROCESSOR: StreamLoggers =
    StreamLoggers { stdout: "dag_processor.stdout", stderr: "dag_processor.stderr" };

/// Forwards the output of one child.
#[derive(Debug)]
pub struct Forwarder {
    lines: mpsc::Sender<Vec<LogLine>>,
    limits: Limits,
    readers: JoinSet<()>,
    writer: JoinHandle<Summary>,
}

impl Forwarder {
    /// Starts to forward; `file` is appended to, or, without one, all is read and dropped.
    pub fn start(
        output: Output,
        loggers: StreamLoggers,
        file: Option<File>,
        masker: SecretsMasker,
        limits: Limits,
    ) -> Self {
        let (lines, waiting) = mpsc::channel(WAITING_CHUNKS);
        let writer = Writer {
            file: file.map(tokio::fs::File::from_std),
            masker,
            limit: limits.total_bytes,
            summary: Summary::default(),
        };
        let writer = tokio::spawn(writer.run(waiting));
        let mut forwarder = Self { lines, limits, readers: JoinSet::new(), writer };
        forwarder.read(output.stdout, Origin::Stream { level: Level::Info, logger: loggers.stdout });
        forwarder.read(output.stderr, Origin::Stream { level: Level::Error, logger: loggers.stderr });
        forwarder.read(output.logs, Origin::LogSocket);
        forwarder
    }

    /// Forwards a further log socket of the child.
    pub fn add_log_socket(&mut self, socket: UnixStream) {
        self.read(socket, Origin::LogSocket);
    }

    /// Adds a line of the supervisor's own.
    pub async fn write(&self, line: LogLine) {
        // An error means that the writer panicked; then there is no log to write to.
        let _ = self.lines.send(vec![line]).await;
    }

    /// Waits until the child and all who inherited its streams have closed them, at most `patience`, and until the
    /// log is written.
    pub async fn finish(mut self, patience: Duration) -> Summary {
        if timeout(patience, async { while self.readers.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!(
                open = self.readers.len(),
                "the child has ended but its streams stay open; they are closed now"
            );
            self.readers.shutdown().await;
        }
        drop(self.lines);
        self.writer.await.unwrap_or_default()
    }

    fn read(&mut self, stream: UnixStream, origin: Origin) {
        let reader = Reader { stream, origin, line_bytes: self.limits.line_bytes, buffer: Vec::new() };
        self.readers.spawn(reader.run(self.lines.clone()));
    }
}

struct Reader {
    stream: UnixStream,
    origin: Origin,
    line_bytes: usize,
    buffer: Vec<u8>,
}

impl Reader {
    async fn run(mut self, lines: mpsc::Sender<Vec<LogLine>>) {
        let mut scanned = 0;
        loop {
            self.buffer.reserve(READ_BYTES);
            // An error means that the child was killed while it wrote: the same as the end.
            let ended = !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(count) if count > 0);
            let chunk = self.take_lines(&mut scanned, ended);
            if !chunk.is_empty() && lines.send(chunk).await.is_err() {
                return;
            }
            if ended {
                return;
            }
        }
    }

    /// Takes the complete lines out of the buffer; at the end also what has no line feed.
    fn take_lines(&mut self, scanned: &mut usize, ended: bool) -> Vec<LogLine> {
        let mut lines = Vec::new();
        let mut start = 0;
        while let Some(offset) = self.buffer[*scanned..].iter().position(|byte| *byte == b'\n') {
            let end = *scanned + offset;
            lines.extend(self.line(&self.buffer[start..end]));
            start = end + 1;
            *scanned = start;
        }
        let rest = &self.buffer[start..];
        if !rest.is_empty() && (ended || rest.len() >= self.line_bytes) {
            lines.extend(self.line(rest));
            start = self.buffer.len();
        }
        self.buffer.drain(..start);
        *scanned = self.buffer.len();
        lines
    }

    fn line(&self, bytes: &[u8]) -> Option<LogLine> {
        match self.origin {
            Origin::Stream { level, logger } => Some(LogLine::from_stream(Utc::now(), level, bytes, logger)),
            Origin::LogSocket => LogLine::from_child(Utc::now(), bytes)
                .inspect_err(|error| tracing::warn!(%error, "log line left out"))
                .ok(),
        }
    }
}

struct Writer {
    file: Option<tokio::fs::File>,
    masker: SecretsMasker,
    limit: Option<u64>,
    summary: Summary,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Vec<LogLine>>) -> Summary {
        let mut chunks = Vec::with_capacity(WAITING_CHUNKS);
        while waiting.recv_many(&mut chunks, WAITING_CHUNKS).await > 0 {
            let mut bytes = Vec::new();
            for line in chunks.drain(..).flatten() {
                self.append(line, &mut bytes);
            }
            self.write(&bytes).await;
        }
        self.summary
    }

    fn append(&mut self, line: LogLine, bytes: &mut Vec<u8>) {
        let before = bytes.len();
        line.write(&self.masker, bytes);
        let length = u64::try_from(bytes.len() - before).unwrap_or(u64::MAX);
        if self.limit.is_none_or(|limit| self.summary.bytes.saturating_add(length) <= limit) {
            self.summary.bytes += length;
            return;
        }
        bytes.truncate(before);
        if self.summary.dropped == 0 {
            let limit = self.limit.unwrap_or_default();
            let line = format!("Output limit of {limit} bytes reached; the rest is left out");
            LogLine::new(Utc::now(), Level::Warning, line, "supervisor").write(&self.masker, bytes);
        }
        self.summary.dropped = self.summary.dropped.saturating_add(length);
    }

    async fn write(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let written = async {
            file.write_all(bytes).await?;
            file.flush().await
        };
        if let Err(error) = written.await {
            tracing::error!(%error, "the log of a child cannot be written; its output is left out from here");
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tradewind_airflow::config::{Config, Environment};

    use super::*;

    type Peer = std::os::unix::net::UnixStream;

    fn masker() -> SecretsMasker {
        SecretsMasker::from_config(&Config::from_environment(&Environment::default()).expect("defaults"))
            .expect("defaults")
    }

    fn pair() -> (Peer, UnixStream) {
        let (theirs, ours) = Peer::pair().expect("a socket");
        ours.set_nonblocking(true).expect("a socket");
        (theirs, UnixStream::from_std(ours).expect("a socket"))
    }

    /// Runs `child` on a thread with its three streams; returns the log and the summary.
    async fn forwarded(limits: Limits, child: impl FnOnce(Peer, Peer, Peer) + Send + 'static) -> (String, Summary) {
        let (stdout, our_stdout) = pair();
        let (stderr, our_stderr) = pair();
        let (logs, our_logs) = pair();
        let log = tempfile::NamedTempFile::new().expect("a file");
        let output = Output { stdout: our_stdout, stderr: our_stderr, logs: our_logs };
        let forwarder = Forwarder::start(output, TASK, Some(log.reopen().expect("a file")), masker(), limits);
        tokio::task::spawn_blocking(move || child(stdout, stderr, logs)).await.expect("no panic");
        let summary = forwarder.finish(Duration::from_secs(5)).await;
        (std::fs::read_to_string(log.path()).expect("UTF-8"), summary)
    }

    #[tokio::test]
    async fn every_stream_has_its_form() {
        let (log, summary) = forwarded(Limits::default(), |mut stdout, mut stderr, mut logs| {
            stdout.write_all(b"one\ntwo").expect("written");
            stderr.write_all(b"bad\n").expect("written");
            logs.write_all(b"{\"level\":\"info\",\"event\":\"e\",\"logger\":\"x\"}\nnonsense\n").expect("written");
        })
        .await;
        assert_eq!(log.lines().count(), 4, "{log}");
        for part in [
            r#""level":"info","event":"one","logger":"task.stdout""#,
            r#""event":"two""#,
            r#""level":"error","event":"bad","logger":"task.stderr""#,
            r#""level":"info","event":"e","logger":"x""#,
        ] {
            assert!(log.contains(part), "{part} is not in {log}");
        }
        assert_eq!(summary, Summary { bytes: log.len() as u64, dropped: 0 });
    }

    #[tokio::test]
    async fn a_flood_neither_blocks_the_child_nor_fills_the_disk() {
        let limits = Limits { line_bytes: 1000, total_bytes: Some(10_000) };
        let (log, summary) = forwarded(limits, |mut stdout, _, _| {
            for _ in 0..2000 {
                stdout.write_all(&[b'x'; 1024]).expect("written");
            }
        })
        .await;
        assert!(log.len() < 11_000, "{} bytes", log.len());
        assert!(summary.dropped > 1_900_000 && summary.bytes <= 10_000, "{summary:?}");
        assert_eq!(log.matches("Output limit").count(), 1);
    }

    #[tokio::test]
    async fn streams_that_a_grandchild_keeps_open_are_closed_after_a_while() {
        let (_stdout, our_stdout) = pair();
        let (_, our_stderr) = pair();
        let (_, our_logs) = pair();
        let output = Output { stdout: our_stdout, stderr: our_stderr, logs: our_logs };
        let forwarder = Forwarder::start(output, TASK, None, masker(), Limits::default());
        let summary = timeout(Duration::from_secs(5), forwarder.finish(Duration::from_millis(50))).await;
        assert_eq!(summary.expect("not for ever"), Summary::default());
    }
}
