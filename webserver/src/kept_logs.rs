//! Logs as they were answered, kept for as long as their files stay what they are; and who may make one.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tradewind_metadata::weighted_lru::WeightedLru;

use crate::log_parts::LogFiles;

/// How many logs are kept.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// How many bytes they take together.
const BYTES: usize = 8 << 20;

/// A longer log is made anew each time.
const LONGEST: usize = 1 << 20;

/// In which form a log is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// A JSON array of messages.
    Array,
    /// A JSON object a line, with a time in each.
    Lines,
}

/// A log in one of its forms.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// The text.
    pub text: Bytes,
    /// How many messages of the attempt it has.
    pub messages: usize,
}

/// How many are made at a time: what is read of a log takes several times its size.
const TURNS: usize = 2;

/// Logs by the path of their first file.
type Logs = WeightedLru<(PathBuf, Form), Arc<Kept>>;

/// The logs that are kept.
#[derive(Debug)]
pub(crate) struct KeptLogs {
    logs: Mutex<Logs>,
    turns: Semaphore,
}

#[derive(Debug)]
struct Kept {
    files: LogFiles,
    told: Told,
}

impl Default for KeptLogs {
    fn default() -> Self {
        Self { logs: Mutex::new(Logs::new(CAPACITY, BYTES)), turns: Semaphore::new(TURNS) }
    }
}

impl KeptLogs {
    /// What was told of a log, if its files are what they were; this asks the file system.
    pub(crate) fn get(&self, path: &Path, form: Form) -> Option<Told> {
        let kept = Arc::clone(self.lock().get(&(path.to_owned(), form))?);
        kept.files.are_unchanged().then(|| kept.told.clone())
    }

    /// Keeps what was told of a log, if it is worth it and no later change of its files can go unnoticed.
    pub(crate) fn put(&self, path: PathBuf, form: Form, files: LogFiles, told: &Told) {
        let bytes = told.text.len();
        if bytes <= LONGEST && files.are_settled() {
            self.lock().put((path, form), Arc::new(Kept { files, told: told.clone() }), bytes);
        }
    }

    /// Waits until a log may be made, which lasts as long as what is returned.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        self.turns.acquire().await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_parts::tests::age;
    use std::fs;

    #[test]
    fn a_log_is_kept_until_it_changes() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (relative, log) = (Path::new("attempt=1.log"), folder.path().join("attempt=1.log"));
        let kept = KeptLogs::default();
        let put = |text: &'static str| {
            let (_, files) = LogFiles::read(folder.path(), relative).expect("readable");
            kept.put(
                relative.to_owned(),
                Form::Array,
                files,
                &Told { text: Bytes::from_static(text.as_bytes()), messages: 1 },
            );
        };
        let get = |form| kept.get(relative, form).map(|told| told.text);
        fs::write(&log, "a").expect("writes");
        put("too new");
        assert_eq!(get(Form::Array), None);
        age(&log);
        age(folder.path());
        put("[a]");
        assert_eq!(get(Form::Array).as_deref(), Some(&b"[a]"[..]));
        assert_eq!(get(Form::Lines), None, "another form");
        fs::write(&log, "b").expect("writes");
        assert_eq!(get(Form::Array), None);
    }
}
