//! Environments on this machine: a folder for each version. Who uses one, or builds it, holds a lock on it (`flock`), which ends
//! with the process.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tradewind_supervisor::pyhost;

use crate::packages::Packages;

/// What is written last: an environment without it is not complete.
const FACTS: &str = "environment.json";

/// Versions that stay although nobody uses them: what is taken back finds its environment.
const KEPT: usize = 2;

/// The environments of a home folder.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// What is written down of an environment. The script may have exported secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Variables that the start-up script exported.
    pub(crate) variables: BTreeMap<String, String>,
    /// Whether it has plugins.
    pub(crate) has_plugins: bool,
}

/// An environment that is complete, and stays while this value or a clone of it lives.
#[derive(Debug, Clone)]
pub struct Environment {
    version: String,
    place: Place,
    facts: Facts,
    lock: Arc<File>,
}

/// Where the parts of an environment lie.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) root: PathBuf,
}

impl Place {
    /// The copy of the installed packages.
    pub(crate) fn packages(&self) -> PathBuf {
        self.root.join("venv")
    }

    /// The plugins folder.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// A file beside them.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The variables of processes that work here, on top of others.
    pub(crate) fn variables(&self, facts: &Facts, options: pyhost::Options) -> pyhost::Options {
        let mut options = options;
        for (name, value) in &facts.variables {
            options = options.with_variable(name, value);
        }
        let packages = self.packages();
        let path = options.variable("PATH").unwrap_or_default().to_owned();
        let programs = std::iter::once(packages.join("bin"));
        let path = std::env::join_paths(programs.chain(std::env::split_paths(&path))).unwrap_or(path);
        options = options.with_variable("PATH", path).with_variable("VIRTUAL_ENV", &packages);
        if facts.has_plugins {
            options = options.with_variable("AIRFLOW__CORE__PLUGINS_FOLDER", self.plugins());
        }
        options
    }
}

impl Environment {
    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its packages.
    #[must_use]
    pub fn packages(&self) -> Packages {
        Packages::new(&self.place.packages())
    }

    /// Its plugins folder, where it has one.
    #[must_use]
    pub fn plugins(&self) -> Option<PathBuf> {
        self.facts.has_plugins.then(|| self.place.plugins())
    }

    /// How an interpreter is started that is to work in it, from how one is started otherwise.
    #[must_use]
    pub fn applied_to(&self, options: pyhost::Options) -> pyhost::Options {
        let lock: Arc<dyn Any + Send + Sync> = Arc::<File>::clone(&self.lock);
        let python = self.packages().program("python");
        pyhost::Options { python, kept: Some(pyhost::Kept(lock)), ..self.place.variables(&self.facts, options) }
    }
}

/// A version that is being built. Nobody else builds it meanwhile.
#[derive(Debug)]
pub(crate) struct Unfinished {
    pub(crate) place: Place,
    version: String,
    lock: File,
}

/// What became of the wish to build a version.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is to be built.
    Unfinished(Unfinished),
    /// Another process has built it.
    Complete(Environment),
}

impl Store {
    /// The environments in a folder.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// A version, if it is complete.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(&self, version: &str) -> io::Result<Option<Environment>> {
        let lock = match File::open(self.lock_file(version)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match lock.try_lock_shared() {
            Ok(()) => self.read(version, lock),
            // It is being built.
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn read(&self, version: &str, lock: File) -> io::Result<Option<Environment>> {
        let place = self.place(version);
        let text = match fs::read(place.file(FACTS)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let facts = serde_json::from_slice(&text)?;
        Ok(Some(Environment { version: version.to_owned(), place, facts, lock: Arc::new(lock) }))
    }

    /// Begins to build a version, or finds it built; `None` while another process builds it. What an earlier attempt has left is
    /// removed.
    pub(crate) fn begin(&self, version: &str) -> io::Result<Option<Begun>> {
        fs::create_dir_all(&self.folder)?;
        let path = self.lock_file(version);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).read(true).open(&path)?;
        match lock.try_lock() {
            Ok(()) => {}
            // It may have been finished, and be in use.
            Err(TryLockError::WouldBlock) => return Ok(self.open(version)?.map(Begun::Complete)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let place = self.place(version);
        if place.file(FACTS).exists() {
            lock.lock_shared()?;
            return Ok(self.read(version, lock)?.map(Begun::Complete));
        }
        remove(&place.root)?;
        fs::create_dir(&place.root)?;
        Ok(Some(Begun::Unfinished(Unfinished { place, version: version.to_owned(), lock })))
    }

    /// Takes a version that was built as complete.
    pub(crate) fn finish(&self, unfinished: Unfinished, facts: Facts) -> io::Result<Environment> {
        let Unfinished { place, version, lock } = unfinished;
        let file = place.file(FACTS);
        let mut draft = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file.with_extension("new"))?;
        draft.write_all(&serde_json::to_vec(&facts)?)?;
        draft.sync_all()?;
        fs::rename(file.with_extension("new"), file)?;
        // From now on it may be used by others, too.
        lock.lock_shared()?;
        Ok(Environment { version, place, facts, lock: Arc::new(lock) })
    }

    /// Removes what a failed attempt has made.
    pub(crate) fn give_up(&self, unfinished: &Unfinished) -> io::Result<()> {
        remove(&unfinished.place.root)
    }

    /// Removes the versions that nobody uses, but for the newest.
    ///
    /// # Errors
    /// They cannot be read or removed.
    pub fn remove_unused(&self) -> io::Result<()> {
        let mut versions = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                versions.push((entry.metadata()?.modified()?, entry.file_name().to_string_lossy().into_owned()));
            }
        }
        versions.sort();
        versions.reverse();
        for (_, version) in versions.into_iter().skip(KEPT) {
            let lock = OpenOptions::new().write(true).create(true).truncate(false).open(self.lock_file(&version))?;
            match lock.try_lock() {
                Ok(()) => remove(&self.place(&version).root)?,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn place(&self, version: &str) -> Place {
        Place { root: self.folder.join(version) }
    }

    /// It stays when its version is removed: who waits for it holds the same file.
    fn lock_file(&self, version: &str) -> PathBuf {
        self.folder.join(format!("{version}.lock"))
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(store: &Store, version: &str) -> Environment {
        let Some(Begun::Unfinished(unfinished)) = store.begin(version).expect("begun") else { panic!("it is there") };
        store.finish(unfinished, Facts::default()).expect("an environment")
    }

    #[test]
    fn what_was_not_finished_is_built_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().join("environments"));
        assert!(store.open("a").expect("an answer").is_none());
        let Some(Begun::Unfinished(unfinished)) = store.begin("a").expect("begun") else { panic!("it is there") };
        fs::write(unfinished.place.file("left"), "").expect("a file");
        assert!(store.open("a").expect("an answer").is_none(), "it is being built");
        assert!(store.begin("a").expect("an answer").is_none(), "by somebody else");
        drop(unfinished);
        let built = build(&store, "a");
        assert!(!built.place.file("left").exists());
        assert!(matches!(store.begin("a").expect("an answer"), Some(Begun::Complete(_))));
    }

    #[test]
    fn what_is_in_use_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().join("environments"));
        let used = build(&store, "a");
        for version in ["b", "c", "d"] {
            drop(build(&store, version));
        }
        store.remove_unused().expect("removed");
        assert!(used.place.file(FACTS).exists());
        drop(used);
        let there =
            || ["a", "b", "c", "d"].iter().filter(|it| folder.path().join("environments").join(it).exists()).count();
        store.remove_unused().expect("removed");
        assert_eq!(there(), KEPT);
    }
}
