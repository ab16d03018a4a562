//! What is there of the log of an attempt: files that workers write, and what was sent from them elsewhere.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tradewind_remote_log::RemoteLog;

/// How long ago a file must have changed before its time of change tells it from what it will be: clocks of file systems tick
/// some hundred times a second, those of network file systems less often.
const SETTLED: Duration = Duration::from_secs(3);

/// What is there of a log in one place: texts of lines, and where they came from.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// Where they came from.
    pub sources: Vec<String>,
    /// As many texts.
    pub texts: Vec<String>,
}

impl Parts {
    /// Whether nothing was found, not even an empty file.
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Adds those of another place.
    pub(crate) fn extend(&mut self, more: Self) {
        self.sources.extend(more.sources);
        self.texts.extend(more.texts);
    }
}

impl From<RemoteLog> for Parts {
    fn from(log: RemoteLog) -> Self {
        Self { sources: log.sources, texts: log.parts.into_iter().map(|part| part.text).collect() }
    }
}

/// The files of a log, as they were when they were read.
#[derive(Debug, Default)]
pub(crate) struct LogFiles {
    /// The folder, which changes with every file that comes or goes, and the files in it.
    stamps: Vec<(PathBuf, Stamp)>,
}

/// What changes with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl From<Metadata> for Stamp {
    fn from(found: Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino(), length: found.len(), modified: found.modified().ok() }
    }
}

impl LogFiles {
    /// Reads every file whose name starts with the given one, since triggers write files of their own beside it.
    pub(crate) fn read(base: &Path, relative: &Path) -> io::Result<(Parts, Self)> {
        let (mut parts, mut files) = (Parts::default(), Self::default());
        let Some(base) = found(fs::canonicalize(base))? else { return Ok((parts, files)) };
        let path = base.join(relative);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
            return Ok((parts, files));
        };
        let Some(stamp) = found(fs::metadata(folder))? else { return Ok((parts, files)) };
        files.stamps.push((folder.to_owned(), stamp.into()));
        for path in starting_with(folder, name)? {
            // A link that leads out of the log folder is not followed.
            let Ok(resolved) = fs::canonicalize(&path) else { continue };
            if !resolved.starts_with(&base) {
                continue;
            }
            let Ok(stamp) = fs::metadata(&resolved) else { continue };
            let Ok(bytes) = fs::read(&resolved) else { continue };
            parts.texts.push(String::from_utf8_lossy(&bytes).into_owned());
            parts.sources.push(path.display().to_string());
            files.stamps.push((path, stamp.into()));
        }
        Ok((parts, files))
    }

    /// Whether there is any such file.
    pub(crate) fn exist(base: &Path, relative: &Path) -> bool {
        let path = base.join(relative);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
            return false;
        };
        starting_with(folder, name).is_ok_and(|files| !files.is_empty())
    }

    /// Whether they are still what they were.
    pub(crate) fn are_unchanged(&self) -> bool {
        self.stamps.iter().all(|(path, stamp)| fs::metadata(path).is_ok_and(|found| Stamp::from(found) == *stamp))
    }

    /// Whether every later change will show: nothing has changed for a while.
    pub(crate) fn are_settled(&self) -> bool {
        let is_settled = |modified: SystemTime| modified.elapsed().is_ok_and(|age| age >= SETTLED);
        !self.stamps.is_empty() && self.stamps.iter().all(|(_, stamp)| stamp.modified.is_some_and(is_settled))
    }
}

/// Nothing, where there is nothing.
fn found<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn starting_with(folder: &Path, name: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|found| found.starts_with(name)) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs::{File, FileTimes};

    /// As if a file or folder had not changed for a minute.
    pub(crate) fn age(path: &Path) {
        let times = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(60));
        File::open(path).and_then(|file| file.set_times(times)).expect("a time of change");
    }

    #[test]
    fn reads_files_of_the_folder_alone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let outside = tempfile::NamedTempFile::new().expect("temporary file");
        fs::write(folder.path().join("attempt=1.log.trigger.7.log"), "b").expect("writes");
        fs::write(folder.path().join("attempt=1.log"), "a").expect("writes");
        fs::write(folder.path().join("attempt=2.log"), "c").expect("writes");
        std::os::unix::fs::symlink(outside.path(), folder.path().join("attempt=1.log.evil")).expect("links");
        let (parts, files) = LogFiles::read(folder.path(), Path::new("attempt=1.log")).expect("readable");
        assert_eq!(parts.texts, ["a", "b"]);
        assert!(parts.sources[0].ends_with("attempt=1.log"), "{parts:?}");
        assert_eq!(files.stamps.len(), 3, "the folder and two files");
        assert!(LogFiles::exist(folder.path(), Path::new("attempt=2.log")));
        assert!(!LogFiles::exist(folder.path(), Path::new("attempt=3.log")));
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_files() {
        let (parts, files) =
            LogFiles::read(Path::new("/nowhere/at/all"), Path::new("attempt=1.log")).expect("no files");
        assert!(parts.is_empty() && parts.sources.is_empty() && !files.are_settled());
        let (parts, _) = LogFiles::read(Path::new("/"), Path::new("nowhere/attempt=1.log")).expect("no files");
        assert!(parts.is_empty());
    }

    #[test]
    fn every_change_of_settled_files_shows() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let log = folder.path().join("attempt=1.log");
        let read = || LogFiles::read(folder.path(), Path::new("attempt=1.log")).expect("readable").1;
        fs::write(&log, "a").expect("writes");
        assert!(!read().are_settled(), "it may change unseen while the clock stands");
        let changes: [&dyn Fn(); 4] = [
            &|| fs::write(&log, "b").expect("writes"),
            &|| fs::write(&log, "longer").expect("writes"),
            &|| fs::write(folder.path().join("attempt=1.log.trigger.7.log"), "").expect("writes"),
            &|| fs::remove_file(&log).expect("removes"),
        ];
        for change in changes {
            fs::read_dir(folder.path()).expect("a folder").for_each(|entry| age(&entry.expect("a file").path()));
            age(folder.path());
            let files = read();
            assert!(files.are_settled() && files.are_unchanged());
            change();
            assert!(!files.are_unchanged());
        }
    }
}
