//! A bundle as its files are found and parsed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tradewind_bundle::store::Snapshot;

/// A folder with Dags: one of this machine, or the newest snapshot of a bundle in S3.
#[derive(Debug, Clone)]
pub struct DagBundle {
    /// `dag_bundle.name`.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// How often the folder is searched for files.
    pub refresh_interval: Duration,
    /// What it is a snapshot of, if it is one.
    pub origin: Option<Origin>,
}

/// Where the files of a bundle come from, when their folder is a snapshot.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The address of the bundle, which stands for a file in import errors of the whole bundle.
    pub url: String,
    /// Addresses of what else the bucket has, which stand for files in import errors in the same way.
    pub beside: Arc<[String]>,
    /// The snapshot, which stays as long as this.
    pub snapshot: Snapshot,
}

impl DagBundle {
    /// `dag.bundle_version` of its Dags: none for a folder whose files may change.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.origin.as_ref().map(|origin| origin.snapshot.version())
    }

    /// The same bundle in another snapshot.
    #[must_use]
    pub fn at(mut self, snapshot: Snapshot) -> Self {
        self.path = snapshot.path().to_owned();
        if let Some(origin) = &mut self.origin {
            origin.snapshot = snapshot;
        }
        self
    }
}
