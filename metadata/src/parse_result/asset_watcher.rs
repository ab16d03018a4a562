//! Rows of `trigger` and `asset_watcher`: the triggers that make events of assets.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, query, query_as};
use tradewind_airflow::fernet::Fernet;
use tradewind_airflow::python_json;

use super::asset::AssetIds;
use super::{Asset, AssetWatcher, ParsedDag};
use crate::Result;

#[derive(FromRow)]
struct StoredWatcher {
    asset_id: i32,
    trigger_id: i32,
    classpath: String,
    kwargs: String,
}

#[derive(FromRow)]
struct WatchedAsset {
    id: i32,
    /// Whether a Dag that runs is scheduled by the asset; else nobody watches it.
    is_watched: bool,
}

/// Makes the watchers of the Dags' assets what the file says (`AssetModelOperation.add_asset_trigger_references`), and
/// takes the watchers from assets that schedule no Dag any more.
pub(super) async fn sync(
    connection: &mut PgConnection,
    dags: &[ParsedDag],
    ids: &AssetIds,
    fernet: &Fernet,
    now: DateTime<Utc>,
) -> Result<()> {
    let declared: BTreeMap<i32, &Asset> =
        dags.iter().flat_map(ParsedDag::assets).filter_map(|asset| Some((ids.asset(asset)?, asset))).collect();
    if declared.is_empty() {
        return Ok(());
    }
    let asset_ids: Vec<i32> = declared.keys().copied().collect();
    let stored: Vec<StoredWatcher> = query_as(
        "SELECT w.asset_id, w.trigger_id, t.classpath, t.kwargs FROM asset_watcher AS w \
         JOIN trigger AS t ON t.id = w.trigger_id WHERE w.asset_id = ANY($1) ORDER BY w.asset_id, w.trigger_id",
    )
    .bind(&asset_ids)
    .fetch_all(&mut *connection)
    .await?;
    if !stored.is_empty() || declared.values().any(|asset| !asset.watchers.is_empty()) {
        let watched: Vec<WatchedAsset> = query_as(include_str!("../../queries/parse_result/watched_assets.sql"))
            .bind(&asset_ids)
            .fetch_all(&mut *connection)
            .await?;
        let plan = Plan::of(&declared, &watched, &stored, fernet);
        plan.carry_out(connection, fernet, now).await?;
    }
    query(include_str!("../../queries/parse_result/remove_orphaned_watchers.sql"))
        .bind(&asset_ids)
        .execute(connection)
        .await?;
    Ok(())
}

/// What has to change.
#[derive(Default)]
struct Plan<'a> {
    removed: Vec<&'a StoredWatcher>,
    added: Vec<(i32, &'a AssetWatcher)>,
}

impl<'a> Plan<'a> {
    fn of(
        declared: &BTreeMap<i32, &'a Asset>,
        watched: &[WatchedAsset],
        stored: &'a [StoredWatcher],
        fernet: &Fernet,
    ) -> Self {
        let mut plan = Self::default();
        for asset in watched {
            let wanted: &[AssetWatcher] = match declared.get(&asset.id) {
                Some(declared) if asset.is_watched => &declared.watchers,
                _ => &[],
            };
            let existing: Vec<&StoredWatcher> = stored.iter().filter(|watcher| watcher.asset_id == asset.id).collect();
            plan.removed.extend(
                existing.iter().filter(|watcher| !wanted.iter().any(|wanted| watcher.is(wanted, fernet))).copied(),
            );
            plan.added.extend(
                wanted
                    .iter()
                    .filter(|wanted| !existing.iter().any(|watcher| watcher.is(wanted, fernet)))
                    .map(|wanted| (asset.id, wanted)),
            );
        }
        plan
    }

    async fn carry_out(&self, connection: &mut PgConnection, fernet: &Fernet, now: DateTime<Utc>) -> Result<()> {
        if !self.removed.is_empty() {
            query(
                "DELETE FROM asset_watcher AS w USING unnest($1::integer[], $2::integer[]) AS gone (asset_id, trigger_id) \
                 WHERE w.asset_id = gone.asset_id AND w.trigger_id = gone.trigger_id",
            )
            .bind(self.removed.iter().map(|watcher| watcher.asset_id).collect::<Vec<_>>())
            .bind(self.removed.iter().map(|watcher| watcher.trigger_id).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        }
        if !self.added.is_empty() {
            query(include_str!("../../queries/parse_result/insert_watchers.sql"))
                .bind(self.added.iter().map(|(asset, _)| *asset).collect::<Vec<_>>())
                .bind(self.added.iter().map(|(_, watcher)| watcher.name.as_str()).collect::<Vec<_>>())
                .bind(self.added.iter().map(|(_, watcher)| watcher.classpath.as_str()).collect::<Vec<_>>())
                .bind(self.added.iter().map(|(_, watcher)| encrypted(&watcher.kwargs, fernet)).collect::<Vec<_>>())
                .bind(now)
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}

/// `Trigger.encrypt_kwargs`.
fn encrypted(kwargs: &Value, fernet: &Fernet) -> String {
    fernet.encrypt(&python_json::dumps(kwargs))
}

impl StoredWatcher {
    /// Triggers are the same when class and arguments are (`BaseEventTrigger.hash`).
    fn is(&self, watcher: &AssetWatcher, fernet: &Fernet) -> bool {
        self.classpath == watcher.classpath && self.kwargs(fernet).as_ref() == Some(&watcher.kwargs)
    }

    fn kwargs(&self, fernet: &Fernet) -> Option<Value> {
        // Not all migrations of Airflow could encrypt the arguments.
        if self.kwargs.starts_with('{') {
            return serde_json::from_str(&self.kwargs).ok();
        }
        let text = fernet
            .decrypt(&self.kwargs)
            .inspect_err(|error| tracing::warn!(trigger_id = self.trigger_id, %error, "arguments of a trigger"))
            .ok()?;
        serde_json::from_str(&text).ok()
    }
}
