//! A bundle in S3 as the Dag processor keeps it: looks at the bucket, makes a snapshot when it has changed, removes old ones.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tradewind_aws::Account;
use tradewind_aws::s3::{Bucket, S3Error};
use tradewind_metadata::bundle_snapshot::{self, StoredSnapshot};
use tradewind_metadata::{Database, MetadataError};

use crate::build::{BuildError, Source, build};
use crate::configuration::S3Place;
use crate::health::{BundleHealth, BundleState};
use crate::manifest::{Manifest, ManifestError};
use crate::retention::{Retention, RetentionError};
use crate::store::{Snapshot, SnapshotStore};

/// How often a bucket that changes while it is read is read anew before that counts as a failure.
const TRIES: usize = 3;

/// Why the newest state of a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A snapshot cannot be made of it.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Its objects cannot be the files of a folder.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The database cannot be written.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl From<S3Error> for SyncError {
    fn from(error: S3Error) -> Self {
        Self::Build(error.into())
    }
}

/// A bundle in S3.
#[derive(Debug)]
pub struct S3Bundle {
    name: String,
    place: S3Place,
    bucket: Bucket,
    store: SnapshotStore,
    retention: Retention,
    database: Database,
    current: Option<(Manifest, Snapshot)>,
    state: BundleState,
    health: BundleHealth,
    /// Whether the row that tells of a failure may be there; one may have been left by an earlier process.
    is_failure_shown: bool,
}

impl S3Bundle {
    /// The bundle `name`; nothing is asked of S3 yet.
    #[must_use]
    pub fn new(
        name: &str,
        place: S3Place,
        account: &Account,
        store: SnapshotStore,
        retention: Retention,
        database: Database,
        health: BundleHealth,
    ) -> Self {
        let state = BundleState { name: name.to_owned(), url: place.url(), ..BundleState::default() };
        Self {
            name: name.to_owned(),
            bucket: Bucket::new(account, &place.bucket),
            place,
            store,
            retention,
            database,
            current: None,
            state,
            health,
            is_failure_shown: true,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes up the snapshot that was last in use, which serves while the bucket cannot be read.
    pub async fn take_up(&mut self) -> Option<Snapshot> {
        if let Err(error) = self.store.clear_staging() {
            tracing::warn!(bundle = self.name, %error, "unfinished snapshots cannot be removed");
        }
        match self.last_used().await {
            Ok(last) => {
                self.current = last;
                self.note_version();
                self.current.as_ref().map(|(_, snapshot)| snapshot.clone())
            }
            Err(error) => {
                tracing::warn!(bundle = self.name, %error, "the snapshot that was last in use cannot be taken up");
                None
            }
        }
    }

    async fn last_used(&self) -> Result<Option<(Manifest, Snapshot)>, SyncError> {
        let pool = self.database.pool();
        let Some(version) = bundle_snapshot::current(pool, &self.name).await? else { return Ok(None) };
        let Some(stored) = bundle_snapshot::find::<Manifest>(pool, &self.name, &version).await? else {
            return Ok(None);
        };
        let is_elsewhere = stored.bucket != self.place.bucket || stored.prefix != self.place.prefix;
        if is_elsewhere {
            return Ok(None);
        }
        let snapshot = self.store.open(&version).map_err(BuildError::from)?;
        Ok(snapshot.map(|snapshot| (stored.manifest, snapshot)))
    }

    async fn warn_unless_versioned(&self) {
        let url = self.place.url();
        match self.bucket.keeps_versions().await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                bundle = self.name,
                url,
                "the bucket keeps no versions of its objects: a worker on another machine cannot make the snapshot of a run once \
                 an object has changed\nhint: enable versioning of the bucket"
            ),
            Err(error) => {
                tracing::warn!(bundle = self.name, url, %error, "whether the bucket keeps versions is not known");
            }
        }
    }

    /// Looks at the bucket, and makes a snapshot when it has changed; `None` when it has not. What is wrong is shown where users
    /// look for it, and the last good snapshot stays in use.
    ///
    /// # Errors
    /// The newest state cannot be used.
    pub async fn sync(&mut self) -> Result<Option<Snapshot>, SyncError> {
        let outcome = self.try_sync().await;
        match &outcome {
            Ok(_) => self.note_success().await,
            Err(error) => self.note_failure(error).await,
        }
        outcome
    }

    async fn try_sync(&mut self) -> Result<Option<Snapshot>, SyncError> {
        let mut tries = 1;
        loop {
            match self.take_over().await {
                Err(SyncError::Build(BuildError::S3(S3Error::Changed { key, .. }))) if tries < TRIES => {
                    tracing::debug!(bundle = self.name, key, "the bucket changes while it is read; it is read anew");
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn take_over(&mut self) -> Result<Option<Snapshot>, SyncError> {
        let listing = self.bucket.list(&self.place.prefix).await?;
        let mut manifest = Manifest::of_listing(&self.place.prefix, listing)?;
        let version = manifest.version();
        if self.current.as_ref().is_some_and(|(_, current)| current.version() == version && current.is_there()) {
            return Ok(None);
        }
        let started = Instant::now();
        let pool = self.database.pool();
        if let Some(known) = bundle_snapshot::find::<Manifest>(pool, &self.name, &version).await? {
            manifest = manifest.with_versions_of(&known.manifest);
        }
        let snapshot = match self.store.open(&version).map_err(BuildError::from)? {
            Some(snapshot) => {
                if let Some((current, _)) = &self.current {
                    manifest = manifest.with_versions_of(current);
                }
                snapshot
            }
            None => {
                let like = self.current.as_ref().map(|(manifest, snapshot)| (manifest, snapshot));
                build(&self.store, Source { bucket: &self.bucket, prefix: &self.place.prefix, like }, &mut manifest)
                    .await?
            }
        };
        let stored = StoredSnapshot {
            bucket: self.place.bucket.clone(),
            prefix: self.place.prefix.clone(),
            manifest: &manifest,
        };
        bundle_snapshot::make_current(pool, &self.name, &version, &stored).await?;
        let objects = manifest.objects.len();
        tracing::info!(bundle = self.name, version, objects, took = ?started.elapsed(), "the bucket has a new version");
        self.current = Some((manifest, snapshot.clone()));
        Ok(Some(snapshot))
    }

    async fn note_success(&mut self) {
        if self.is_failure_shown {
            let cleared = bundle_snapshot::clear_failure(self.database.pool(), &self.name, &self.place.url()).await;
            self.is_failure_shown = cleared.is_err();
        }
        if self.state.error.take().is_some() {
            tracing::info!(bundle = self.name, "the bucket can be used again");
        }
        self.state.last_synced = Some(Utc::now());
        self.note_version();
    }

    fn note_version(&mut self) {
        self.state.version = self.current.as_ref().map(|(_, snapshot)| snapshot.version().to_owned());
        self.health.set(&self.state);
    }

    async fn note_failure(&mut self, error: &SyncError) {
        let error = error.to_string();
        if self.state.error.as_ref() == Some(&error) {
            return;
        }
        let url = self.place.url();
        tracing::error!(
            bundle = self.name,
            url,
            error,
            "the bucket cannot be used as it is; the last good snapshot stays"
        );
        let text = self.failure_text(&error);
        let shown = bundle_snapshot::set_failure(self.database.pool(), &self.name, &url, &text).await;
        self.is_failure_shown = true;
        match shown {
            Ok(()) => self.state.error = Some(error),
            // Told anew by the next look.
            Err(error) => {
                tracing::error!(bundle = self.name, %error, "the failure cannot be shown among the import errors");
            }
        }
        self.health.set(&self.state);
    }

    fn failure_text(&self, error: &str) -> String {
        let url = self.place.url();
        let stays = match &self.current {
            Some((_, snapshot)) => format!("Version {} of its Dags stays in use.", snapshot.version()),
            None => "It has no Dags yet.".to_owned(),
        };
        let (problem, hint) = error.split_once("\nhint: ").unwrap_or((error, ""));
        let hint = if hint.is_empty() { String::new() } else { format!("\nHint: {hint}.") };
        format!("The Dags in {url} (bundle {}) cannot be brought up to date: {problem}.\n{stays}{hint}", self.name)
    }

    /// Looks at the bucket every `interval`, and at once when `look` asks for it, until `shutdown`; new snapshots go to
    /// `snapshots`.
    pub async fn keep(
        mut self,
        interval: Duration,
        look: Arc<Notify>,
        snapshots: mpsc::Sender<(String, Snapshot)>,
        shutdown: CancellationToken,
    ) {
        if let Some(last) = self.take_up().await {
            // An error means that the Dag processor ends, as below.
            let _ = snapshots.send((self.name.clone(), last)).await;
        }
        self.warn_unless_versioned().await;
        let mut next_clean_up = Instant::now();
        loop {
            let next = Instant::now() + interval;
            // An error has been told.
            if let Ok(Some(snapshot)) = self.sync().await {
                let _ = snapshots.send((self.name.clone(), snapshot)).await;
            }
            if next_clean_up <= Instant::now() {
                next_clean_up = Instant::now() + self.retention.interval;
                self.clean_up().await;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep_until(next) => {}
                () = look.notified() => {}
            }
        }
    }

    async fn clean_up(&self) {
        let forgotten = self.retention.forget(&self.database, &self.name).await.map_err(RetentionError::from);
        let removed = self.retention.remove_old(&self.database, &self.name, &self.store).await;
        if let Err(error) = forgotten.and(removed) {
            tracing::warn!(bundle = self.name, %error, "old snapshots cannot be removed");
        }
    }
}
