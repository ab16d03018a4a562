//! Finds the Dag files of a bundle, and everything else in it whose change may concern them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::archive;
use crate::ignore::{IGNORE_FILE, IgnoreRules, IgnoreSyntax};

/// What tells that an entry was changed, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
    is_folder: bool,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            // The size of a folder says nothing that its time does not.
            size: if metadata.is_dir() { 0 } else { metadata.len() },
            inode: metadata.ino(),
            is_folder: metadata.is_dir(),
        }
    }

    /// The stamp of a file changed so many seconds after the epoch.
    #[cfg(test)]
    pub(crate) fn at(seconds: i64) -> Self {
        Self { modified: (seconds, 0), size: 0, inode: 0, is_folder: false }
    }

    /// Reads the stamp of an entry; `None` when it is gone or out of reach.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }

    /// Whether it is that of a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// Time of the last change.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        let (seconds, nanoseconds) = self.modified;
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let base = if seconds < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
        base + Duration::from_nanos(nanoseconds.unsigned_abs())
    }
}

/// How files are searched.
#[derive(Debug, Clone, Copy)]
pub struct DiscoveryRules {
    /// `[core] dag_ignore_file_syntax`.
    pub syntax: IgnoreSyntax,
    /// `[core] dag_discovery_safe_mode`: leave out files that do not speak of Airflow and Dags.
    pub safe_mode: bool,
}

/// What one search of a bundle found.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    /// Dag files, relative to the bundle.
    pub dag_files: BTreeMap<PathBuf, Stamp>,
    /// Everything else worth watching, relative to the bundle: folders (a new file changes them), ignore files,
    /// modules and data that Dag files may read. The bundle itself is the empty path.
    pub watched: BTreeMap<PathBuf, Stamp>,
}

/// Searches bundles; remembers what it found out about unchanged files, so that a second search reads only what is new.
#[derive(Debug)]
pub struct Searcher {
    rules: DiscoveryRules,
    verdicts: HashMap<PathBuf, (Stamp, bool)>,
}

impl Searcher {
    /// A searcher that knows nothing yet.
    #[must_use]
    pub fn new(rules: DiscoveryRules) -> Self {
        Self { rules, verdicts: HashMap::new() }
    }

    /// One with the same rules that knows nothing.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.rules)
    }

    /// Searches the bundle at `bundle`, following symbolic links; a folder reached a second time is not entered again.
    ///
    /// # Errors
    /// When the folder itself cannot be read; trouble further down is logged and skipped, as in Airflow.
    pub fn search(&mut self, bundle: &Path) -> io::Result<Discovery> {
        let mut walk = Walk {
            bundle,
            syntax: self.rules.syntax,
            seen: HashSet::from([fs::canonicalize(bundle)?]),
            ignored_folders: Vec::new(),
            candidates: Vec::new(),
            found: Discovery::default(),
        };
        fs::read_dir(bundle)?;
        walk.folder(Path::new(""), &IgnoreRules::default(), false);
        while let Some(folder) = walk.ignored_folders.pop() {
            walk.folder(&folder, &IgnoreRules::default(), true);
        }
        let Walk { candidates, mut found, .. } = walk;
        let mut verdicts = HashMap::with_capacity(candidates.len());
        for (path, stamp) in candidates {
            let is_dag_file = self.verdict(bundle, &path, stamp);
            verdicts.insert(bundle.join(&path), (stamp, is_dag_file));
            if is_dag_file {
                found.dag_files.insert(path, stamp);
            } else {
                found.watched.insert(path, stamp);
            }
        }
        self.verdicts.retain(|path, _| !path.starts_with(bundle));
        self.verdicts.extend(verdicts);
        Ok(found)
    }

    fn verdict(&self, bundle: &Path, path: &Path, stamp: Stamp) -> bool {
        let path = bundle.join(path);
        if let Some((known, verdict)) = self.verdicts.get(&path)
            && *known == stamp
        {
            return *verdict;
        }
        may_hold_dags(&path, self.rules.safe_mode).unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), %error, "file left out of the search for Dags");
            false
        })
    }
}

/// Whether a file is to be parsed: Python source that passes the guess of safe mode, or a zip archive.
fn may_hold_dags(path: &Path, safe_mode: bool) -> io::Result<bool> {
    if path.extension() == Some(OsStr::new("py")) {
        return Ok(!safe_mode || archive::mentions_dag(&fs::read(path)?));
    }
    archive::is_archive(path)
}

/// Only these two kinds reach an importer of `airflow/dag_processing/importers`.
fn is_candidate(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py" || extension.eq_ignore_ascii_case("zip"))
}

/// Caches and version control change on their own and hold nothing a Dag file reads.
fn is_of_no_interest(name: &OsStr, is_folder: bool) -> bool {
    let name = name.to_string_lossy();
    if is_folder { name == "__pycache__" || name == ".git" } else { name.ends_with(".pyc") }
}

struct Walk<'a> {
    bundle: &'a Path,
    syntax: IgnoreSyntax,
    seen: HashSet<PathBuf>,
    /// Folders to watch, but not to search. Walked last, so that a link to one of them can still be searched.
    ignored_folders: Vec<PathBuf>,
    candidates: Vec<(PathBuf, Stamp)>,
    found: Discovery,
}

impl Walk<'_> {
    /// Walks one folder. Below an ignored folder (`ignored`) nothing is a Dag file, but helper modules that Dag files
    /// import often lie there.
    fn folder(&mut self, relative: &Path, above: &IgnoreRules, ignored: bool) {
        let folder = self.bundle.join(relative);
        if let Some(stamp) = Stamp::read(&folder) {
            self.found.watched.insert(relative.to_owned(), stamp);
        }
        let mut rules = above.clone();
        match fs::read(folder.join(IGNORE_FILE)) {
            Ok(content) => rules.extend(self.syntax, &String::from_utf8_lossy(&content), &folder, self.bundle),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(folder = %folder.display(), %error, "ignore file cannot be read"),
        }
        match fs::read_dir(&folder) {
            Ok(entries) => {
                let mut names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
                names.sort();
                names.iter().for_each(|name| self.entry(relative, name, &rules, ignored));
            }
            Err(error) => tracing::warn!(folder = %folder.display(), %error, "folder cannot be searched"),
        }
    }

    fn entry(&mut self, folder: &Path, name: &OsStr, rules: &IgnoreRules, ignored: bool) {
        let relative = folder.join(name);
        let path = self.bundle.join(&relative);
        // A link to nowhere is no file.
        let Ok(metadata) = fs::metadata(&path) else { return };
        if is_of_no_interest(name, metadata.is_dir()) {
            return;
        }
        let ignored = ignored || rules.matches(&path, metadata.is_dir());
        if metadata.is_dir() {
            self.subfolder(relative, rules, ignored);
        } else if metadata.is_file() {
            let stamp = Stamp::of(&metadata);
            if !ignored && name != IGNORE_FILE && is_candidate(&relative) {
                self.candidates.push((relative, stamp));
            } else {
                self.found.watched.insert(relative, stamp);
            }
        }
    }

    fn subfolder(&mut self, relative: PathBuf, rules: &IgnoreRules, ignored: bool) {
        let path = self.bundle.join(&relative);
        if !ignored {
            if self.enter(&path) {
                self.folder(&relative, rules, false);
            }
        } else if !path.is_symlink() && self.enter(&path) {
            self.ignored_folders.push(relative);
        }
    }

    /// Whether the folder is met for the first time; links may lead in circles.
    fn enter(&mut self, path: &Path) -> bool {
        let Ok(target) = fs::canonicalize(path) else { return false };
        let first = self.seen.insert(target);
        if !first {
            tracing::warn!(folder = %path.display(), "folder reached by more than one way; searched once");
        }
        first
    }
}
