//! What all attempts of a worker share.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tradewind_airflow::log_path::LogPaths;
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_bundle::provider::SnapshotProvider;
use tradewind_metadata::queue::Claimant;
use tradewind_metadata::{Database, serialized_dag};
use tradewind_remote_log::Shipping;
use tradewind_supervisor::pyhost::PyHost;
use tradewind_supervisor::requests::Answers;

use crate::heartbeat::Heartbeats;

/// What all attempts of a worker share.
pub(crate) struct Resources {
    pub(crate) database: Database,
    pub(crate) pyhost: PyHost,
    pub(crate) answers: Answers,
    pub(crate) dags: serialized_dag::Cache,
    pub(crate) claimant: Claimant,
    pub(crate) heartbeats: Heartbeats,
    /// Dag files whose modules pyhost has been told to import; of which generation of it.
    pub(crate) preloaded: Mutex<(u64, HashSet<PathBuf>)>,
    /// The files of Dags that lie in S3.
    pub(crate) snapshots: SnapshotProvider,
    pub(crate) log_paths: LogPaths,
    /// Sends logs to where they go besides files, if they go anywhere.
    pub(crate) shipping: Option<Shipping>,
    /// Has the rules for names only; each attempt has its own secrets.
    pub(crate) masker: SecretsMasker,
    /// `[workers] socket_cleanup_timeout`.
    pub(crate) socket_cleanup_timeout: Duration,
    /// `[core] task_success_overtime`.
    pub(crate) task_success_overtime: Duration,
}

impl Resources {
    /// Has the modules of a Dag file imported for the attempts after its first one, so that none of them pays for it.
    pub(crate) async fn preload(&self, file: &Path) {
        let is_new = {
            let mut preloaded = self.preloaded.lock().unwrap_or_else(PoisonError::into_inner);
            let generation = self.pyhost.generation();
            if preloaded.0 != generation {
                *preloaded = (generation, HashSet::new());
            }
            !preloaded.1.contains(file) && preloaded.1.insert(file.to_owned())
        };
        if is_new {
            self.pyhost.preload(file).await;
        }
    }
}
