//! What a process says of itself, sent to the group of its kind.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;
use tradewind_aws::logs::LogEvent;

use crate::batch;
use crate::delivery::Delivery;
use crate::options::{Group, Kind};

/// Lines, and their bytes, that may wait to be sent; what comes beyond them is left out and counted.
const WAITING_LINES: usize = 10_000;
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// A longer line is cut.
const LINE_BYTES: usize = 64 * 1024;

/// How long lines are gathered for a request.
const INTERVAL: Duration = Duration::from_secs(1);

/// The first pause after a failure, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The log of this process, until it is [started](ProcessLog::start).
#[derive(Debug)]
pub struct ProcessLog {
    group: Group,
    stream: String,
    waiting: mpsc::Receiver<LogEvent>,
    bytes: Arc<AtomicUsize>,
}

/// Takes the lines of the log of this process.
#[derive(Debug, Clone)]
pub struct ProcessLogWriter {
    lines: mpsc::Sender<LogEvent>,
    bytes: Arc<AtomicUsize>,
}

/// The log of this process, which is being sent.
#[derive(Debug)]
pub struct Sending {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl ProcessLog {
    /// The log of a process of this component on this machine, named as in an Amazon MWAA environment. Lines wait until it
    /// is started.
    #[must_use]
    pub fn new(group: Group, component: &str, hostname: &str) -> (ProcessLogWriter, Self) {
        let (lines, waiting) = mpsc::channel(WAITING_LINES);
        let bytes = Arc::new(AtomicUsize::new(0));
        let stream = stream_name(component, hostname);
        (ProcessLogWriter { lines, bytes: Arc::clone(&bytes) }, Self { group, stream, waiting, bytes })
    }

    /// Sends the lines from now on.
    #[must_use]
    pub fn start(self) -> Sending {
        let stop = CancellationToken::new();
        Sending { task: tokio::spawn(self.send(stop.clone())), stop }
    }

    async fn send(mut self, stop: CancellationToken) {
        let delivery = Delivery::new(self.group.settings.clone());
        let (mut gathered, mut is_new) = (Vec::new(), true);
        loop {
            if self.waiting.recv_many(&mut gathered, WAITING_LINES).await == 0 {
                return;
            }
            self.gather(&mut gathered, &stop).await;
            let bytes = gathered.iter().map(|event| event.message.len()).sum();
            for request in batch::requests(std::mem::take(&mut gathered)) {
                if !deliver(&delivery, &self.stream, &request, is_new, &stop).await {
                    return;
                }
                is_new = false;
            }
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            if stop.is_cancelled() && self.waiting.is_empty() {
                return;
            }
        }
    }

    /// Takes what comes within the interval.
    async fn gather(&mut self, gathered: &mut Vec<LogEvent>, stop: &CancellationToken) {
        let until = Instant::now() + INTERVAL;
        while gathered.len() < WAITING_LINES {
            let room = WAITING_LINES - gathered.len();
            tokio::select! {
                biased;
                number = self.waiting.recv_many(gathered, room) => if number == 0 { return },
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }
}

/// Delivers a request, however long it takes; false when it was told to stop before.
async fn deliver(
    delivery: &Delivery,
    stream: &str,
    request: &[LogEvent],
    is_new: bool,
    stop: &CancellationToken,
) -> bool {
    let mut pause = FIRST_PAUSE;
    loop {
        let is_last_try = stop.is_cancelled();
        if delivery.put(stream, request, is_new).await.is_ok() {
            return true;
        }
        if is_last_try {
            return false;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Source: the streams of an Amazon MWAA environment.
fn stream_name(component: &str, hostname: &str) -> String {
    if Kind::of_component(component) == Some(Kind::DagProcessing) {
        return "dag-processor-manager.log".to_owned();
    }
    stream_of(component, hostname)
}

/// The name of the stream of what begins now on this machine, as in an Amazon MWAA environment.
#[must_use]
pub fn stream_of(what: &str, hostname: &str) -> String {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{what}_{hostname}_{epoch}.log")
}

impl Sending {
    /// Sends what waits, for a while.
    pub async fn stop(self, patience: Duration) {
        self.stop.cancel();
        // What is not sent by then is on standard error, too.
        let _ = timeout(patience, self.task).await;
    }
}

impl<'a> MakeWriter<'a> for ProcessLogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl Write for ProcessLogWriter {
    /// Takes a line; never waits and never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        let message = text[..text.floor_char_boundary(LINE_BYTES)].to_owned();
        if message.is_empty() {
            return Ok(line.len());
        }
        let bytes = message.len();
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let event = LogEvent { timestamp: batch::now(), message };
        if waiting + bytes > WAITING_BYTES || self.lines.try_send(event).is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            metrics::counter!("tradewind.cloudwatch_logs.dropped").increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tradewind_airflow::log_format::Level;
    use tradewind_aws::logs::Settings;

    use super::*;

    #[test]
    fn streams_are_named_as_in_mwaa() {
        assert_eq!(stream_name("dag-processor", "h"), "dag-processor-manager.log");
        let name = stream_name("scheduler", "h");
        let epoch = name.strip_prefix("scheduler_h_").and_then(|rest| rest.strip_suffix(".log"));
        assert!(epoch.is_some_and(|epoch| epoch.parse::<u64>().is_ok()), "{name}");
    }

    #[test]
    fn what_is_too_much_is_left_out_and_nobody_waits() {
        let group = Group { settings: Settings::default(), level: Level::Info };
        let (mut writer, mut log) = ProcessLog::new(group, "worker", "h");
        let line = "x".repeat(LINE_BYTES + 1);
        for _ in 0..=WAITING_BYTES / LINE_BYTES {
            assert_eq!(writer.write(line.as_bytes()).expect("no failure"), line.len());
        }
        writer.write_all(b"\n").expect("no failure");
        let mut taken = 0;
        while let Ok(event) = log.waiting.try_recv() {
            taken += event.message.len();
        }
        assert_eq!(taken, WAITING_BYTES);
    }
}
