//! Notices changes in a bundle by the stamps of its entries, without reading or searching it again.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::archive;
use crate::bundle::DagBundle;
use crate::discovery::{Discovery, DiscoveryRules, Searcher, Stamp};

/// A look is followed by a pause at least this many times as long, so that watching a large bundle takes half a percent
/// of one core.
const PAUSE_PER_LOOK: u32 = 200;

/// A bundle and what is known of its files.
#[derive(Debug)]
pub struct BundleWatch {
    bundle: DagBundle,
    safe_mode: bool,
    searcher: Searcher,
    known: Discovery,
    next_look: Instant,
    next_refresh: Option<Instant>,
    /// Whether the bundle was replaced since the last look.
    is_new_version: bool,
}

/// What a look at a bundle found.
#[derive(Debug, Clone)]
pub struct BundleNews {
    /// The bundle.
    pub bundle: String,
    /// All its Dag files.
    pub dag_files: BTreeMap<PathBuf, Stamp>,
    /// The paths that Dags and import errors may come from: its Dag files, the members of its archives, and the address of the
    /// whole bundle.
    pub filelocs: Vec<String>,
    /// Whether something changed that is no Dag file, but that Dag files may read.
    pub others_changed: bool,
    /// Whether Dag files have gone.
    pub files_gone: bool,
    /// Whether this was the regular search.
    pub is_refresh: bool,
    /// Whether the folder is another snapshot than that of the last search.
    pub is_new_version: bool,
}

impl BundleWatch {
    /// A watch that has seen nothing yet.
    #[must_use]
    pub fn new(bundle: DagBundle, rules: DiscoveryRules) -> Self {
        Self {
            bundle,
            safe_mode: rules.safe_mode,
            searcher: Searcher::new(rules),
            known: Discovery::default(),
            next_look: Instant::now(),
            next_refresh: None,
            is_new_version: false,
        }
    }

    /// The bundle.
    #[must_use]
    pub fn bundle(&self) -> &DagBundle {
        &self.bundle
    }

    /// Goes on with another snapshot of the bundle at the next look. What is linked into both is no change.
    pub fn replace(&mut self, bundle: DagBundle) {
        self.searcher = self.searcher.anew();
        self.bundle = bundle;
        self.is_new_version = true;
    }

    /// Asks for the regular search at the next look.
    pub fn request_refresh(&mut self) {
        self.next_refresh = None;
    }

    /// Looks at the bundle, when it is time to: `None` when there is no news. Reads folders and files: not for the
    /// thread of an executor.
    pub fn look(&mut self, now: Instant) -> Option<BundleNews> {
        let is_refresh = self.next_refresh.is_none_or(|at| at <= now);
        if now < self.next_look && !is_refresh && !self.is_new_version {
            return None;
        }
        let started = Instant::now();
        let is_to_search = is_refresh || self.is_new_version || self.is_changed();
        let news = is_to_search.then(|| self.search(now, is_refresh));
        self.next_look = now + (started.elapsed() * PAUSE_PER_LOOK).min(self.bundle.refresh_interval);
        news
    }

    fn is_changed(&self) -> bool {
        if self.bundle.origin.is_some() {
            return false;
        }
        let entries = self.known.dag_files.iter().chain(&self.known.watched);
        let mut changed = entries.map(|(path, stamp)| Stamp::read(&self.bundle.path.join(path)) != Some(*stamp));
        changed.any(|changed| changed) || (self.known.watched.is_empty() && self.bundle.path.is_dir())
    }

    fn search(&mut self, now: Instant, is_refresh: bool) -> BundleNews {
        let found = self.searcher.search(&self.bundle.path).unwrap_or_else(|error| {
            if is_refresh || error.kind() != io::ErrorKind::NotFound {
                let folder = self.bundle.path.display();
                tracing::warn!(bundle = self.bundle.name, %folder, %error, "the folder of the bundle cannot be searched");
            }
            // A snapshot that was taken away will be made again: that says nothing of its Dags.
            if self.bundle.origin.is_some() { self.known.clone() } else { Discovery::default() }
        });
        let files = |discovery: &Discovery| {
            let watched = discovery.watched.iter().filter(|(_, stamp)| !stamp.is_folder());
            watched.map(|(path, stamp)| (path.clone(), *stamp)).collect::<BTreeMap<_, _>>()
        };
        let news = BundleNews {
            bundle: self.bundle.name.clone(),
            filelocs: self.filelocs(&found),
            others_changed: files(&found) != files(&self.known),
            files_gone: self.known.dag_files.keys().any(|path| !found.dag_files.contains_key(path)),
            dag_files: found.dag_files.clone(),
            is_refresh,
            is_new_version: mem::take(&mut self.is_new_version),
        };
        self.known = found;
        if is_refresh {
            self.next_refresh = Some(now + self.bundle.refresh_interval);
        }
        news
    }

    /// `_get_observed_filelocs` of `airflow/dag_processing/manager.py`, and the archives themselves.
    fn filelocs(&self, found: &Discovery) -> Vec<String> {
        let mut filelocs: Vec<String> =
            self.bundle.origin.iter().flat_map(|origin| origin.beside.iter().chain([&origin.url]).cloned()).collect();
        for path in found.dag_files.keys() {
            let text = path.to_string_lossy();
            if path.extension().is_some_and(|extension| extension != "py") {
                match archive::members(&self.bundle.path.join(path), self.safe_mode) {
                    Ok(members) => filelocs.extend(members.iter().map(|member| format!("{text}/{member}"))),
                    Err(error) => tracing::error!(archive = %text, %error, "zip archive cannot be read"),
                }
            }
            filelocs.push(text.into_owned());
        }
        filelocs
    }
}

/// How long to wait between two looks at small bundles.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);
