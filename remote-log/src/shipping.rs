//! Sends the logs of attempts, of Dag files, and of programs, from their files.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_aws::Account;
use tradewind_aws::s3::Bucket;

use crate::batch::Lines;
use crate::delivery::Delivery;
use crate::object;
use crate::options::{Folder, Group, Place, TaskLogs};
use crate::tail::{NotSent, Tail};

/// How often a log that is being written is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The first pause after a failure, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Objects that are written at once, at most.
const UPLOAD_LOCKS: usize = 32;

/// Logs that may wait to be sent, or be written, at once. The files of others stay where they are.
const MOST_LOGS: usize = 10_000;

/// Sends logs. Clones share what they do.
#[derive(Debug, Clone)]
pub struct Shipping {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Target,
    delete_local: bool,
    logs: TaskTracker,
    stop: CancellationToken,
    /// How many attempts write, or send, a file: one that has paused may go on before its first part is sent.
    open: Mutex<HashMap<PathBuf, usize>>,
    parts: AtomicU64,
    /// Logs that were given up because this process ends.
    left: AtomicU64,
}

#[derive(Debug)]
enum Target {
    CloudWatch {
        delivery: Delivery,
        lines: Lines,
        /// Whether each log has a stream of its own, which is to be made.
        new_streams: bool,
    },
    S3 {
        folder: Folder,
        bucket: OnceCell<Bucket>,
        /// Parts of one object are added one after the other: the lock of an object is found by its name.
        locks: Vec<tokio::sync::Mutex<()>>,
        is_failing: AtomicBool,
    },
}

/// A log that is being written. It is complete when this is dropped.
#[derive(Debug)]
pub struct Follow {
    _writing: oneshot::Sender<()>,
}

/// The name of the stream of a log file, by its path below the log folder (`CloudWatchRemoteLogIO` in
/// `airflow/providers/amazon/aws/log/cloudwatch_task_handler.py`): streams have no colons in their names.
#[must_use]
pub fn stream_name(relative: &Path) -> String {
    relative.to_string_lossy().replace(':', "_")
}

impl Shipping {
    /// Sends logs where the logs of attempts go.
    #[must_use]
    pub fn of_tasks(logs: TaskLogs) -> Self {
        let target = match logs.place {
            Place::CloudWatch(group) => Target::of_events(group, true),
            Place::S3(folder) => {
                let locks = (0..UPLOAD_LOCKS).map(|_| tokio::sync::Mutex::default()).collect();
                Target::S3 { folder, bucket: OnceCell::new(), locks, is_failing: AtomicBool::new(false) }
            }
        };
        Self::new(target, logs.delete_local)
    }

    /// Sends logs to a group, whose streams are written to again and again.
    #[must_use]
    pub fn to_group(group: Group) -> Self {
        Self::new(Target::of_events(group, false), false)
    }

    /// Sends what programs say to a group, whatever its level is: all of it but secrets, to a stream for each log.
    #[must_use]
    pub fn of_programs(group: Group, masker: SecretsMasker) -> Self {
        let delivery = Delivery::new(group.settings);
        Self::new(Target::CloudWatch { delivery, lines: Lines::Text(masker), new_streams: true }, false)
    }

    fn new(target: Target, delete_local: bool) -> Self {
        let shared = Shared {
            target,
            delete_local,
            logs: TaskTracker::new(),
            stop: CancellationToken::new(),
            open: Mutex::default(),
            parts: AtomicU64::new(0),
            left: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Sends what is written to a file from now on. It is called before the file is opened, and never waits.
    #[must_use]
    pub fn follow(&self, path: PathBuf, relative: &Path) -> Follow {
        let (writing, written) = oneshot::channel();
        if self.shared.logs.len() >= MOST_LOGS {
            metrics::counter!("tradewind.remote_logs.skipped").increment(1);
            tracing::warn!(path = %path.display(), "too many logs wait to be sent; this one stays in its file");
            return Follow { _writing: writing };
        }
        let log = Log::begin(Arc::clone(&self.shared), path, relative.to_owned());
        self.shared.logs.spawn(log.ship(written));
        Follow { _writing: writing }
    }

    /// Sends what is left, for a while; what is then left stays in its files. No log may be written any more.
    pub async fn stop(&self, patience: Duration) {
        self.shared.logs.close();
        // Those that wait after a failure try once more.
        self.shared.stop.cancel();
        let still_sent = match timeout(patience, self.shared.logs.wait()).await {
            Ok(()) => 0,
            Err(_) => self.shared.logs.len() as u64,
        };
        let left = still_sent + self.shared.left.load(Ordering::Relaxed);
        if left > 0 {
            tracing::warn!(left, "logs could not be sent before the end of this process; they stay in their files");
        }
    }
}

impl Target {
    fn of_events(group: Group, new_streams: bool) -> Self {
        Self::CloudWatch { delivery: Delivery::new(group.settings), lines: Lines::Events(group.level), new_streams }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is to be added to an object.
struct Upload<'a> {
    bucket: &'a Bucket,
    key: String,
    part: PathBuf,
    encrypted: bool,
}

impl Upload<'_> {
    /// Uploads it, however often that has to be tried. That something is wrong is said once, and once when it is over.
    async fn run(self, shared: &Shared, locks: &[tokio::sync::Mutex<()>], is_failing: &AtomicBool) {
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        // The remainder is less than the number of locks.
        let lock = &locks[usize::try_from(hasher.finish() % locks.len() as u64).unwrap_or_default()];
        let mut pause = FIRST_PAUSE;
        loop {
            let is_last_try = shared.stop.is_cancelled();
            let added = {
                let _one_by_one = lock.lock().await;
                object::add(self.bucket, &self.key, &self.part, self.encrypted).await
            };
            match added {
                Ok(()) => {
                    // It is in S3; an error leaves a copy.
                    let _ = tokio::fs::remove_file(&self.part).await;
                    metrics::counter!("tradewind.s3_logs.uploaded").increment(1);
                    if is_failing.swap(false, Ordering::Relaxed) {
                        tracing::info!(bucket = self.bucket.name(), "logs are uploaded to S3 again");
                    }
                    return;
                }
                Err(error) => {
                    if !is_failing.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%error, key = self.key, "logs cannot be uploaded to S3, and wait");
                    }
                }
            }
            if is_last_try {
                shared.left.fetch_add(1, Ordering::Relaxed);
                return;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = shared.stop.cancelled() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Bytes of a file; none where there is no file.
fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// A log file that is written, or was, and is to be sent.
#[derive(Debug)]
struct Log {
    shared: Arc<Shared>,
    path: PathBuf,
    relative: PathBuf,
    /// What it had before this attempt.
    offset: u64,
    /// Whether the file is still this attempt's concern.
    is_open: bool,
}

impl Log {
    fn begin(shared: Arc<Shared>, path: PathBuf, relative: PathBuf) -> Self {
        let offset = {
            let mut open = shared.lock();
            *open.entry(path.clone()).or_default() += 1;
            // From now on nobody takes the file away.
            length(&path)
        };
        Self { shared, path, relative, offset, is_open: true }
    }

    async fn ship(mut self, written: oneshot::Receiver<()>) {
        let shared = Arc::clone(&self.shared);
        match &shared.target {
            Target::CloudWatch { delivery, lines, new_streams } => {
                let stream = stream_name(&self.relative);
                let tail = Tail::new(self.path.clone(), stream, lines.clone(), self.offset, *new_streams);
                if self.send(delivery, tail, written).await && self.shared.delete_local {
                    self.delete();
                }
            }
            Target::S3 { folder, bucket, locks, is_failing } => {
                // Dropped, not sent: it says no more than that.
                let _ = written.await;
                let bucket =
                    bucket.get_or_init(|| async { Bucket::new(&Account::from_environment().await, &folder.bucket) });
                let Some(part) = self.take_away() else { return };
                let key = format!("{}{}", folder.prefix, self.relative.to_string_lossy());
                let upload = Upload { bucket: bucket.await, key, part, encrypted: folder.encrypted };
                upload.run(&shared, locks, is_failing).await;
            }
        }
    }

    /// Sends the log while it is written, and then the rest of it. Returns whether all of it is there.
    async fn send(&self, delivery: &Delivery, mut tail: Tail, mut written: oneshot::Receiver<()>) -> bool {
        let mut end = None;
        let mut pause = FIRST_PAUSE;
        loop {
            if end.is_none() {
                tokio::select! {
                    _ = &mut written => end = Some(length(&self.path)),
                    () = sleep(INTERVAL) => {}
                }
            }
            let is_last_try = self.shared.stop.is_cancelled();
            match self.send_what_is_there(delivery, &mut tail, end).await {
                Ok(()) if end.is_some() => return true,
                Ok(()) => pause = FIRST_PAUSE,
                Err(()) if is_last_try => {
                    self.shared.left.fetch_add(1, Ordering::Relaxed);
                    return false;
                }
                Err(()) => {
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.shared.stop.cancelled() => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn send_what_is_there(&self, delivery: &Delivery, tail: &mut Tail, end: Option<u64>) -> Result<(), ()> {
        loop {
            match tail.advance(delivery, end).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // A refusal was told already, once for all logs.
                Err(NotSent::Aws(_)) => return Err(()),
                Err(error @ NotSent::File(_)) => {
                    tracing::warn!(%error, path = %self.path.display(), "a part of a log is not sent yet");
                    return Err(());
                }
            }
        }
    }

    /// Gives the file another name, by which it is still read as a part of the log; none where there is no file, or where another
    /// attempt writes to it already, with which it will be uploaded.
    fn take_away(&mut self) -> Option<PathBuf> {
        let shared = Arc::clone(&self.shared);
        let mut open = shared.lock();
        if open.get(&self.path).is_some_and(|number| *number > 1) || length(&self.path) == 0 {
            return None;
        }
        let number = self.shared.parts.fetch_add(1, Ordering::Relaxed);
        let name = self.path.file_name()?.to_string_lossy().into_owned();
        let part = self.path.with_file_name(format!("{name}.part.{}.{number}", std::process::id()));
        let renamed = std::fs::rename(&self.path, &part);
        renamed
            .inspect_err(|error| tracing::warn!(%error, file = %self.path.display(), "a log cannot be uploaded"))
            .ok()?;
        self.leave(&mut open);
        Some(part)
    }

    /// Deletes the file, unless another attempt writes to it.
    fn delete(&self) {
        let open = self.shared.lock();
        if open.get(&self.path).is_some_and(|number| *number > 1) {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %self.path.display(), "the file of a log that was sent cannot be deleted");
        }
    }

    /// The file is no concern of this attempt any more.
    fn leave(&mut self, open: &mut HashMap<PathBuf, usize>) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        if let Some(number) = open.get_mut(&self.path) {
            *number -= 1;
            if *number == 0 {
                open.remove(&self.path);
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.leave(&mut shared.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipping() -> Shipping {
        let folder = Folder { bucket: "b".to_owned(), prefix: String::new(), encrypted: false };
        Shipping::of_tasks(TaskLogs { place: Place::S3(folder), delete_local: true })
    }

    fn log(shipping: &Shipping, path: &Path) -> Log {
        Log::begin(Arc::clone(&shipping.shared), path.to_owned(), PathBuf::from("log"))
    }

    #[test]
    fn streams_are_named_as_airflow_names_them() {
        let path = "dag_id=d/run_id=manual__2026-01-01T00:00:00+00:00/task_id=t/attempt=1.log";
        let name = "dag_id=d/run_id=manual__2026-01-01T00_00_00+00_00/task_id=t/attempt=1.log";
        assert_eq!(stream_name(Path::new(path)), name);
    }

    #[test]
    fn a_file_that_another_attempt_writes_to_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("attempt=1.log");
        std::fs::write(&path, "line\n").expect("written");
        let shipping = shipping();
        let (mut first, mut second) = (log(&shipping, &path), log(&shipping, &path));
        first.delete();
        assert_eq!(first.take_away(), None);
        drop(first);
        let part = second.take_away().expect("a part");
        assert!(part.to_string_lossy().starts_with(&*path.to_string_lossy()), "{}", part.display());
        assert_eq!((path.exists(), std::fs::read_to_string(part).expect("a file").as_str()), (false, "line\n"));
        // What comes now is another's, however long the upload takes.
        std::fs::write(&path, "more\n").expect("written");
        assert!(log(&shipping, &path).take_away().is_some());
        drop(second);
        assert!(shipping.shared.lock().is_empty());
    }
}
