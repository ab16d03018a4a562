//! Snapshots on this machine: one folder per version, in Airflow's places (`airflow/dag_processing/bundles/base.py`).
//!
//! Several processes share them. Who uses a snapshot, or makes one, holds a lock on its folder (`flock`), which ends with the
//! process; only what nobody holds is removed.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;

/// The snapshots of a bundle.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    versions: PathBuf,
    staging: PathBuf,
    tracking: PathBuf,
}

/// A snapshot that stays while this value, or a clone of it, lives.
#[derive(Debug, Clone)]
pub struct Snapshot {
    version: String,
    path: PathBuf,
    /// The folder itself.
    lock: Arc<File>,
}

impl Snapshot {
    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its folder is still in its place: who knows nothing of locks may have removed it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let inode = |metadata: io::Result<fs::Metadata>| metadata.ok().map(|metadata| metadata.ino());
        let there = inode(fs::metadata(&self.path));
        there.is_some() && there == inode(self.lock.metadata())
    }
}

/// A snapshot that is being made; removed when it is dropped.
#[derive(Debug)]
pub struct Staged {
    folder: TempDir,
    _lock: File,
}

impl Staged {
    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl SnapshotStore {
    /// The snapshots of `bundle` below `[dag_processor] dag_bundle_storage_path`.
    #[must_use]
    pub fn new(storage: &Path, bundle: &str) -> Self {
        let folder = storage.join(bundle);
        Self {
            versions: folder.join("versions"),
            staging: folder.join("staging"),
            tracking: storage.join("_tracking").join(bundle),
        }
    }

    /// A snapshot, if it is there.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(&self, version: &str) -> io::Result<Option<Snapshot>> {
        let Some(path) = self.path_of(version) else { return Ok(None) };
        let Some(folder) = found(File::open(&path))? else { return Ok(None) };
        folder.lock_shared()?;
        let snapshot = Snapshot { version: version.to_owned(), path, lock: Arc::new(folder) };
        // It may have been removed before it was locked.
        Ok(snapshot.is_there().then_some(snapshot))
    }

    /// An empty folder for a new snapshot.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn stage(&self) -> io::Result<Staged> {
        fs::create_dir_all(&self.versions)?;
        fs::create_dir_all(&self.staging)?;
        loop {
            let folder = TempDir::new_in(&self.staging)?;
            // Another process may take it for a leftover before it is locked.
            let Some(lock) = found(File::open(folder.path()))? else { continue };
            lock.lock_shared()?;
            if folder.path().exists() {
                // Tasks may run as another user.
                fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
                return Ok(Staged { folder, _lock: lock });
            }
        }
    }

    /// Puts a new snapshot in place, unless another process has put the same there meanwhile.
    ///
    /// # Errors
    /// It cannot be put there.
    pub fn publish(&self, staged: Staged, version: &str) -> io::Result<Snapshot> {
        let refused =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("{version:?} is no version of a snapshot"));
        let path = self.path_of(version).ok_or_else(refused)?;
        File::open(staged.path())?.sync_all()?;
        match fs::rename(staged.path(), &path) {
            Ok(()) => {
                // It is no longer where it would be removed.
                let _ = staged.folder.keep();
                File::open(&self.versions)?.sync_all()?;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {}
            Err(error) => return Err(error),
        }
        self.open(version)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it was removed at once"))
    }

    /// All snapshots, the oldest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn versions(&self) -> io::Result<Vec<(String, SystemTime)>> {
        let Some(entries) = found(fs::read_dir(&self.versions))? else { return Ok(Vec::new()) };
        let mut versions = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some(metadata) = found(entry.metadata())? else { continue };
            versions.push((entry.file_name().to_string_lossy().into_owned(), metadata.modified()?));
        }
        versions.sort_by_key(|(_, made)| *made);
        Ok(versions)
    }

    /// Removes a snapshot that nobody uses; returns whether it is gone.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, version: &str) -> io::Result<bool> {
        let Some(path) = self.path_of(version) else { return Ok(false) };
        if !remove_unused(&path, &self.staging.join(version))? {
            return Ok(false);
        }
        // Airflow's task runner notes there when a version was used.
        found(fs::remove_file(self.tracking.join(version)))?;
        Ok(true)
    }

    /// Removes what processes left behind that died while they made or removed a snapshot.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn clear_staging(&self) -> io::Result<()> {
        let Some(entries) = found(fs::read_dir(&self.staging))? else { return Ok(()) };
        for entry in entries {
            let path = entry?.path();
            remove_unused(&path, &path)?;
        }
        Ok(())
    }

    /// `None` for what is no version of ours, and might name another folder.
    fn path_of(&self, version: &str) -> Option<PathBuf> {
        let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_version.then(|| self.versions.join(version))
    }
}

/// Moves a folder that nobody holds to `aside`, where nobody looks for it, and removes it there.
fn remove_unused(path: &Path, aside: &Path) -> io::Result<bool> {
    let Some(folder) = found(File::open(path))? else { return Ok(true) };
    match folder.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if path != aside {
        fs::rename(path, aside)?;
    }
    fs::remove_dir_all(aside)?;
    Ok(true)
}

/// What is not there is no error.
fn found<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (TempDir, SnapshotStore) {
        let storage = tempfile::tempdir().expect("a folder");
        let store = SnapshotStore::new(storage.path(), "b");
        (storage, store)
    }

    fn publish(store: &SnapshotStore, version: &str, content: &str) -> Snapshot {
        let staged = store.stage().expect("a folder");
        fs::write(staged.path().join("a.py"), content).expect("a file");
        store.publish(staged, version).expect("a snapshot")
    }

    fn content(snapshot: &Snapshot) -> String {
        fs::read_to_string(snapshot.path().join("a.py")).expect("a file")
    }

    #[test]
    fn the_first_of_two_equal_snapshots_stays() {
        let (_storage, store) = store();
        assert!(store.open("aa").expect("an answer").is_none());
        let first = publish(&store, "aa", "first");
        let second = publish(&store, "aa", "second");
        assert_eq!((content(&first), first.path()), ("first".to_owned(), second.path()));
        assert_eq!(fs::read_dir(&store.staging).expect("a folder").count(), 0);
    }

    #[test]
    fn what_is_in_use_is_not_removed() {
        let (_storage, store) = store();
        let used = publish(&store, "aa", "used");
        let again = store.open("aa").expect("an answer").expect("a snapshot");
        drop(used);
        assert!(!store.remove("aa").expect("an answer"));
        assert_eq!(content(&again), "used");
        drop(again);
        assert!(store.remove("aa").expect("an answer") && store.open("aa").expect("an answer").is_none());
        assert_eq!(store.versions().expect("a list"), []);
        assert_eq!(fs::read_dir(&store.staging).expect("a folder").count(), 0);
    }

    #[test]
    fn no_version_names_another_folder() {
        let (_storage, store) = store();
        publish(&store, "aa", "");
        for version in ["", ".", "..", "../versions/aa", "/", "aa/", "a\0"] {
            assert!(store.open(version).expect("an answer").is_none(), "{version:?}");
            assert!(!store.remove(version).expect("an answer"), "{version:?}");
            assert!(store.publish(store.stage().expect("a folder"), version).is_err(), "{version:?}");
        }
        assert!(store.open("aa").expect("an answer").is_some());
    }

    #[test]
    fn leftovers_are_cleared_but_not_what_is_being_made() {
        let (_storage, store) = store();
        let alive = store.stage().expect("a folder");
        let Staged { folder, _lock } = store.stage().expect("a folder");
        let dead = folder.keep();
        drop(_lock);
        store.clear_staging().expect("cleared");
        assert!(alive.path().exists() && !dead.exists());
    }
}
