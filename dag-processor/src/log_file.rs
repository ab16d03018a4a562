//! The log of a Dag file: `{directory}/{day}/{bundle}/{path}.log`, with `latest` pointing at the day.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::queue::FileKey;

/// Where the log of a file lies.
pub(crate) fn path(directory: &Path, key: &FileKey, now: DateTime<Utc>) -> PathBuf {
    let mut name = key.path.clone().into_os_string();
    name.push(".log");
    directory.join(day(now)).join(&key.bundle).join(name)
}

/// Opens the log of a file to append to it.
///
/// # Errors
/// When it cannot be created.
pub(crate) fn open(directory: &Path, key: &FileKey, now: DateTime<Utc>) -> io::Result<File> {
    let path = path(directory, key, now);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    point_latest(directory, now)?;
    OpenOptions::new().create(true).append(true).open(path)
}

fn day(now: DateTime<Utc>) -> String {
    now.format("%Y-%m-%d").to_string()
}

/// `_symlink_latest_log_directory` of `airflow/dag_processing/manager.py`.
fn point_latest(directory: &Path, now: DateTime<Utc>) -> io::Result<()> {
    let link = directory.join("latest");
    let target = PathBuf::from(day(now));
    match fs::read_link(&link) {
        Ok(known) if known == target => return Ok(()),
        Ok(_) => fs::remove_file(&link)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // Somebody put a file or folder there; Airflow leaves it alone too.
        Err(_) => return Ok(()),
    }
    match symlink(target, link) {
        // Another parse was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}
