//! Which old snapshots are removed.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, SystemTime};

use tradewind_airflow::config::{Config, ConfigError};
use tradewind_metadata::{Database, MetadataError, bundle_snapshot};

use crate::store::SnapshotStore;

/// How long snapshots are kept: Airflow's options for its versioned bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// `[dag_processor] stale_bundle_cleanup_min_versions`: the newest ones stay.
    pub min_versions: i64,
    /// `[dag_processor] stale_bundle_cleanup_age_threshold`: younger ones stay.
    pub age_threshold: Duration,
    /// `[dag_processor] stale_bundle_cleanup_interval`: how often it is looked for older ones.
    pub interval: Duration,
}

/// Why old snapshots cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// What is needed is not known.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A folder cannot be removed.
    #[error(transparent)]
    Folder(#[from] io::Error),
}

impl Retention {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When a value cannot be used.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let min_versions = config.int("dag_processor", "stale_bundle_cleanup_min_versions")?;
        Ok(Self {
            // The one in use is always among them.
            min_versions: min_versions.max(1),
            age_threshold: config.seconds("dag_processor", "stale_bundle_cleanup_age_threshold")?,
            interval: config.seconds("dag_processor", "stale_bundle_cleanup_interval")?.max(Duration::from_secs(1)),
        })
    }

    /// Forgets what versions consisted of that nothing names any more. As long as a run names one, also one that has ended, it can
    /// be made again.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget(&self, database: &Database, bundle: &str) -> Result<(), MetadataError> {
        let forgotten = bundle_snapshot::forget_unnamed(database.pool(), bundle, self.min_versions).await?;
        if forgotten > 0 {
            tracing::debug!(bundle, forgotten, "versions that nothing names were forgotten");
        }
        Ok(())
    }

    /// Removes the snapshots of a bundle from this machine that are old and that no work needs: no unfinished run is pinned to them,
    /// no Dag was last parsed in them, nobody uses them.
    ///
    /// # Errors
    /// The database or the folders cannot be read.
    pub async fn remove_old(
        &self,
        database: &Database,
        bundle: &str,
        store: &SnapshotStore,
    ) -> Result<(), RetentionError> {
        let versions = store.versions()?;
        let oldest_kept = SystemTime::now().checked_sub(self.age_threshold).unwrap_or(SystemTime::UNIX_EPOCH);
        if !versions.iter().any(|(_, made)| *made < oldest_kept) {
            return Ok(());
        }
        let needed = bundle_snapshot::needed(database.pool(), bundle, self.min_versions).await?;
        let needed: HashSet<String> = needed.into_iter().collect();
        for (version, made) in versions {
            if made < oldest_kept && !needed.contains(&version) && store.remove(&version)? {
                tracing::info!(bundle, version, "an old snapshot was removed");
            }
        }
        Ok(())
    }
}
