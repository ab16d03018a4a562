//! A child that runs official Airflow code: its process, its requests, its output.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tradewind_airflow::frames::{FrameBuffer, FrameError, Request, encode_response};

/// Signals of Airflow's supervisor to end a child, each stronger than the one before.
const ESCALATION: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL];

/// How long Airflow's supervisor waits before it takes the next signal.
pub const ESCALATION_DELAY: Duration = Duration::from_secs(5);

/// A running child.
#[derive(Debug)]
pub struct Child {
    /// To signal it and to wait for its end.
    pub process: Process,
    /// What it asks.
    pub requests: Requests,
    /// What it writes.
    pub output: Output,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with a code.
    Exited(i32),
    /// By the signal of this number.
    Signaled(i32),
    /// Nobody knows: the program that forked it died, and the system gave the status to nobody.
    Unknown,
}

impl ExitStatus {
    /// From Python's form: the code, or the negative number of the signal.
    pub const fn from_code(code: i32) -> Self {
        if code < 0 { Self::Signaled(-code) } else { Self::Exited(code) }
    }

    /// Python's form: the code, or the negative number of the signal; 1 when nobody knows, as Airflow assumes.
    pub const fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => -signal,
            Self::Unknown => 1,
        }
    }

    /// Whether it ended by itself with code 0.
    pub const fn success(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signaled(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "signal {}", signal.as_str()),
                Err(_) => write!(f, "signal {number}"),
            },
            Self::Unknown => f.write_str("unknown status"),
        }
    }
}

/// The process of a child, which leads a process group of its own.
#[derive(Debug, Clone)]
pub struct Process {
    pid: i32,
    status: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    pub(crate) fn new(pid: i32, status: watch::Receiver<Option<ExitStatus>>) -> Self {
        Self { pid, status }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// How it ended; `None` while it runs.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.status.borrow()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> ExitStatus {
        let mut status = self.status.clone();
        match status.wait_for(Option::is_some).await {
            Ok(known) => known.unwrap_or(ExitStatus::Unknown),
            Err(_) => ExitStatus::Unknown,
        }
    }

    /// Sends a signal to its process group; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        if self.status().is_some() {
            return;
        }
        // An error means that the group is gone.
        let _ = killpg(Pid::from_raw(self.pid), signal);
    }

    /// Ends it as `WatchedSubprocess.kill(force=True)` does: `first`, then the stronger signals, `delay` between them.
    pub async fn terminate(&self, first: Signal, delay: Duration) -> ExitStatus {
        let from = ESCALATION.iter().position(|signal| *signal == first).unwrap_or(0);
        for signal in &ESCALATION[from..] {
            self.signal(*signal);
            if let Ok(status) = timeout(delay, self.wait()).await {
                tracing::info!(pid = self.pid, %status, signal = signal.as_str(), "process ended");
                return status;
            }
            tracing::warn!(pid = self.pid, signal = signal.as_str(), "process did not end in time");
        }
        self.wait().await
    }
}

/// The request channel of a child.
#[derive(Debug)]
pub struct Requests {
    stream: UnixStream,
    buffer: FrameBuffer,
}

impl Requests {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: FrameBuffer::default() }
    }

    /// Sends the message that starts the child's work.
    ///
    /// # Errors
    /// The message is too large, or the socket fails. That the child is gone is no error: its status says more.
    pub async fn send_first(&mut self, body: &Value) -> Result<(), FrameError> {
        self.answer(0, Some(body)).await
    }

    /// The next request; `None` when the child has closed the channel. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The child does not follow the protocol, or the socket fails.
    pub async fn next(&mut self) -> Result<Option<Request>, FrameError> {
        loop {
            if let Some(payload) = self.buffer.next_payload()? {
                return Request::decode(&payload).map(Some);
            }
            match self.stream.read_buf(self.buffer.space()).await {
                Ok(0) => return self.buffer.finish().map(|()| None),
                Ok(_) => {}
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The answer is too large, or the socket fails. That the child is gone is no error.
    pub async fn answer(&mut self, id: u64, body: Option<&Value>) -> Result<(), FrameError> {
        self.write(&encode_response(id, body, None)?).await
    }

    /// Answers a request with an error.
    ///
    /// # Errors
    /// The answer is too large, or the socket fails. That the child is gone is no error.
    pub async fn refuse(&mut self, id: u64, error: &Value) -> Result<(), FrameError> {
        self.write(&encode_response(id, None, Some(error))?).await
    }

    /// Answers `ResendLoggingFD` with a new log socket, and returns the supervisor's end of it.
    ///
    /// # Errors
    /// No socket can be made, or the socket fails.
    pub async fn send_log_socket(&mut self, id: u64) -> Result<UnixStream, FrameError> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        let body = serde_json::json!({"type": "SentFDs", "fds": [theirs.as_raw_fd()]});
        let frame = encode_response(id, Some(&body), None)?;
        let rights = [theirs.as_raw_fd()];
        let sent = self
            .stream
            .async_io(Interest::WRITABLE, || {
                let slices = [io::IoSlice::new(&frame)];
                let rights = [ControlMessage::ScmRights(&rights)];
                Ok(sendmsg::<()>(self.stream.as_raw_fd(), &slices, &rights, MsgFlags::MSG_NOSIGNAL, None)?)
            })
            .await?;
        self.write(&frame[sent..]).await?;
        Ok(ours)
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), FrameError> {
        match self.stream.write_all(frame).await {
            Err(error) if is_gone(&error) => Ok(()),
            done => Ok(done?),
        }
    }
}

/// Whether the error only says that the other end was closed.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EPIPE | Errno::ECONNRESET))
}

/// What a child writes.
#[derive(Debug)]
pub struct Output {
    /// Its standard output.
    pub stdout: UnixStream,
    /// Its standard error.
    pub stderr: UnixStream,
    /// Its log lines, as JSON.
    pub logs: UnixStream,
}
