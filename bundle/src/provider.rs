//! Snapshots for workers: the one an attempt is pinned to, from this machine or made anew.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_aws::Account;
use tradewind_aws::s3::{Bucket, S3Error};
use tradewind_metadata::bundle_snapshot::{self, StoredSnapshot};
use tradewind_metadata::{Database, MetadataError};

use crate::build::{BuildError, Source, build};
use crate::configuration::{self, Place};
use crate::manifest::Manifest;
use crate::retention::Retention;
use crate::store::{Snapshot, SnapshotStore};

/// How long making a snapshot may take: an attempt has no heartbeat before it starts.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why there is no snapshot for an attempt.
#[derive(Debug, thiserror::Error)]
pub enum ProvideError {
    /// Nothing of the bundle has been seen yet.
    #[error("bundle {bundle:?} has no version yet\nhint: look whether a Dag processor runs, and at the import errors")]
    NoVersion {
        /// The bundle.
        bundle: String,
    },
    /// The version is not known.
    #[error(
        "version {version} of bundle {bundle:?} is not known any more\nhint: clear the run with its latest Dag version, or make \
         a new one"
    )]
    Unknown {
        /// The bundle.
        bundle: String,
        /// The version.
        version: String,
    },
    /// An object of the version is gone.
    #[error(
        "version {version} of bundle {bundle:?} is not on this machine, and cannot be made again: object \"{key}\" of bucket \
         \"{bucket}\" was changed or deleted, and the bucket kept no version of it\nhint: enable versioning of the bucket \
         (`aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled`), or keep \
         [dag_processor] dag_bundle_storage_path on a file system that all workers share; a new run takes the latest version"
    )]
    Gone {
        /// The bundle.
        bundle: String,
        /// The version.
        version: String,
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
    },
    /// It takes too long.
    #[error("version {version} of bundle {bundle:?} could not be fetched within {PATIENCE:?}")]
    Slow {
        /// The bundle.
        bundle: String,
        /// The version.
        version: String,
    },
    /// It cannot be made.
    #[error("version {version} of bundle {bundle:?} is not on this machine, and cannot be made again: {source}")]
    Build {
        /// The bundle.
        bundle: String,
        /// The version.
        version: String,
        /// Why not.
        source: Box<BuildError>,
    },
    /// The database cannot be asked.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// Gives out snapshots.
#[derive(Debug)]
pub struct SnapshotProvider {
    database: Database,
    account: OnceCell<Account>,
    bundles: HashMap<String, Bundle>,
}

#[derive(Debug)]
struct Bundle {
    store: SnapshotStore,
    /// Held while a snapshot is made, so that attempts that want the same wait for it.
    making: Mutex<()>,
}

impl SnapshotProvider {
    /// A provider for the configured bundles.
    ///
    /// # Errors
    /// When the bundles cannot be read.
    pub fn from_config(config: &Config, database: Database) -> Result<Self, ConfigError> {
        let storage = configuration::storage(config)?;
        let in_s3 = configuration::declared(config)?.into_iter().filter(|bundle| matches!(bundle.place, Place::S3(_)));
        let bundles = in_s3.map(|bundle| {
            let store = SnapshotStore::new(&storage, &bundle.name);
            (bundle.name, Bundle { store, making: Mutex::default() })
        });
        Ok(Self { database, account: OnceCell::new(), bundles: bundles.collect() })
    }

    /// The snapshot of a version, the current one when none is named; `None` for a bundle that has no snapshots, being a folder
    /// of this machine.
    ///
    /// # Errors
    /// There is none, and it cannot be made.
    pub async fn provide(&self, name: &str, version: Option<&str>) -> Result<Option<Snapshot>, ProvideError> {
        let Some(bundle) = self.bundles.get(name) else { return Ok(None) };
        let version = match version {
            Some(version) => version.to_owned(),
            None => bundle_snapshot::current(self.database.pool(), name)
                .await?
                .ok_or_else(|| ProvideError::NoVersion { bundle: name.to_owned() })?,
        };
        if let Some(snapshot) = bundle.open(name, &version)? {
            return Ok(Some(snapshot));
        }
        let _making = bundle.making.lock().await;
        if let Some(snapshot) = bundle.open(name, &version)? {
            return Ok(Some(snapshot));
        }
        let made = timeout(PATIENCE, self.make(name, bundle, &version)).await;
        made.map_err(|_| ProvideError::Slow { bundle: name.to_owned(), version })?.map(Some)
    }

    async fn make(&self, name: &str, bundle: &Bundle, version: &str) -> Result<Snapshot, ProvideError> {
        let pool = self.database.pool();
        let unknown = || ProvideError::Unknown { bundle: name.to_owned(), version: version.to_owned() };
        let stored = bundle_snapshot::find::<Manifest>(pool, name, version).await?.ok_or_else(unknown)?;
        let StoredSnapshot { bucket, prefix, mut manifest } = stored;
        let account = self.account.get_or_init(Account::from_environment).await;
        let neighbour = self.neighbour(name, bundle).await;
        let like = neighbour.as_ref().map(|(manifest, snapshot)| (manifest, snapshot));
        let source = Source { bucket: &Bucket::new(account, &bucket), prefix: &prefix, like };
        let made = build(&bundle.store, source, &mut manifest).await;
        made.map_err(|source| match source {
            BuildError::S3(S3Error::Changed { key, bucket }) => {
                ProvideError::Gone { bundle: name.to_owned(), version: version.to_owned(), bucket, key }
            }
            source => {
                ProvideError::Build { bundle: name.to_owned(), version: version.to_owned(), source: source.into() }
            }
        })
    }

    /// The newest snapshot of this machine, which will share most files with the next.
    async fn neighbour(&self, name: &str, bundle: &Bundle) -> Option<(Manifest, Snapshot)> {
        let (version, _) = bundle.store.versions().ok()?.pop()?;
        let snapshot = bundle.store.open(&version).ok()??;
        let stored = bundle_snapshot::find::<Manifest>(self.database.pool(), name, &version).await.ok()??;
        Some((stored.manifest, snapshot))
    }

    /// Removes old snapshots from this machine from time to time, until `shutdown`.
    pub async fn keep_clean(&self, retention: Retention, shutdown: CancellationToken) {
        if self.bundles.is_empty() {
            return;
        }
        for (name, bundle) in &self.bundles {
            if let Err(error) = bundle.store.clear_staging() {
                tracing::warn!(bundle = name, %error, "unfinished snapshots cannot be removed");
            }
        }
        let mut ticks = interval(retention.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            for (name, bundle) in &self.bundles {
                if let Err(error) = retention.remove_old(&self.database, name, &bundle.store).await {
                    tracing::warn!(bundle = name, %error, "old snapshots cannot be removed");
                }
            }
        }
    }
}

impl Bundle {
    fn open(&self, name: &str, version: &str) -> Result<Option<Snapshot>, ProvideError> {
        self.store.open(version).map_err(|source| ProvideError::Build {
            bundle: name.to_owned(),
            version: version.to_owned(),
            source: Box::new(source.into()),
        })
    }
}
