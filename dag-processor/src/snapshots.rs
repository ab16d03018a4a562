//! The bundles in S3: has their buckets looked at, and tells of the snapshots that come of it.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tradewind_aws::Account;
use tradewind_bundle::configuration::{DagBundle as ConfiguredBundle, Place, S3Place};
use tradewind_bundle::health::BundleHealth;
use tradewind_bundle::s3::S3Bundle;
use tradewind_bundle::store::{Snapshot, SnapshotStore};
use tradewind_metadata::Database;

use crate::bundle::{DagBundle, Origin};
use crate::options::Options;

/// The bundles in S3 of a Dag processor.
#[derive(Debug)]
pub(crate) struct Snapshots {
    options: Arc<Options>,
    news: mpsc::Receiver<(String, Snapshot)>,
    /// With what each is asked to look at its bucket at once.
    looks: HashMap<String, Arc<Notify>>,
}

impl Snapshots {
    /// Has all buckets looked at until `shutdown`.
    pub(crate) async fn keep(
        options: Arc<Options>,
        database: &Database,
        health: &BundleHealth,
        shutdown: &CancellationToken,
    ) -> Self {
        let (sender, news) = mpsc::channel(1);
        let mut looks = HashMap::new();
        for (configured, bundle) in bundles(&options, database, health).await {
            let look = Arc::new(Notify::new());
            looks.insert(configured.name.clone(), Arc::clone(&look));
            tokio::spawn(bundle.keep(configured.refresh_interval, look, sender.clone(), shutdown.clone()));
        }
        Self { options, news, looks }
    }

    /// Looks at all buckets once.
    pub(crate) async fn once(options: &Options, database: &Database, health: &BundleHealth) -> Vec<DagBundle> {
        let mut newest = Vec::new();
        for (configured, mut bundle) in bundles(options, database, health).await {
            let last = bundle.take_up().await;
            // An error has been told.
            let snapshot = bundle.sync().await.ok().flatten().or(last);
            newest.extend(snapshot.and_then(|snapshot| in_snapshot(options, &configured.name, snapshot)));
        }
        newest
    }

    /// The next bundle that has changed, in its new snapshot; `None` when there will be none.
    pub(crate) async fn next(&mut self) -> Option<DagBundle> {
        let (name, snapshot) = self.news.recv().await?;
        in_snapshot(&self.options, &name, snapshot)
    }

    /// Has the bucket of a bundle looked at now.
    pub(crate) fn look_at(&self, bundle: &str) {
        if let Some(look) = self.looks.get(bundle) {
            look.notify_one();
        }
    }
}

/// Credentials are looked for only where there are such bundles.
async fn bundles<'a>(
    options: &'a Options,
    database: &Database,
    health: &BundleHealth,
) -> Vec<(&'a ConfiguredBundle, S3Bundle)> {
    let places: Vec<_> = options.bundles.iter().filter_map(|bundle| Some((bundle, place(bundle)?))).collect();
    if places.is_empty() {
        return Vec::new();
    }
    let account = Account::from_environment().await;
    let made = places.into_iter().map(|(configured, place)| {
        let store = SnapshotStore::new(&options.storage, &configured.name);
        let (database, health) = (database.clone(), health.clone());
        let bundle =
            S3Bundle::new(&configured.name, place.clone(), &account, store, options.retention, database, health);
        (configured, bundle)
    });
    made.collect()
}

fn place(bundle: &ConfiguredBundle) -> Option<&S3Place> {
    match &bundle.place {
        Place::S3(place) => Some(place),
        Place::Folder(_) => None,
    }
}

fn in_snapshot(options: &Options, name: &str, snapshot: Snapshot) -> Option<DagBundle> {
    let place = options.bundles.iter().find(|bundle| bundle.name == name).and_then(place)?;
    Some(DagBundle {
        name: name.to_owned(),
        path: snapshot.path().to_owned(),
        refresh_interval: options.refresh_interval,
        origin: Some(Origin { url: place.url(), beside: Arc::clone(&options.beside), snapshot }),
    })
}
