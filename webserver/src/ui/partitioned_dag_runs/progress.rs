//! How much of what a partition needs has arrived.

use crate::error::ApiResult;
use crate::state::App;
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tradewind_model::partition::{AssetIdentity, PartitionMappers};

/// Per asset the partitions whose events arrived.
pub(in crate::ui) type Received = HashMap<i32, BTreeSet<String>>;

/// What decides about the partitions of a Dag.
#[derive(Debug, Default)]
pub(in crate::ui) struct PartitionedDag {
    /// `dag.asset_expression`.
    pub(super) asset_expression: Option<Value>,
    assets: Vec<Asset>,
    mapper_info: Vec<Value>,
    mappers: Option<PartitionMappers>,
}

#[derive(Debug, FromRow)]
struct Asset {
    dag_id: String,
    id: i32,
    name: String,
    uri: String,
    is_inactive: bool,
}

#[derive(FromRow)]
struct DagRow {
    dag_id: String,
    asset_expression: Option<Value>,
    partition_mapper_info: Option<Value>,
}

/// What a partition needs of an asset.
enum Requirement {
    /// An event of any partition.
    AnyEvent,
    /// Events of these partitions, gathered into one.
    Keys(BTreeSet<String>),
    /// What cannot be said: the mapper fails. The scheduler makes no run then, so nothing counts as received.
    Unknown,
}

/// An asset of a waiting partition.
#[derive(Debug, Serialize)]
pub(in crate::ui) struct AssetProgress {
    pub(in crate::ui) asset_id: i32,
    asset_name: String,
    asset_uri: String,
    received: bool,
    pub(super) received_count: usize,
    pub(in crate::ui) required_count: usize,
    pub(in crate::ui) received_keys: BTreeSet<String>,
    pub(in crate::ui) required_keys: BTreeSet<String>,
    pub(in crate::ui) is_rollup: bool,
    pub(in crate::ui) mapper_error: bool,
    asset_inactive: bool,
}

/// What the partitions of these ids have received.
pub(in crate::ui) async fn received(app: &App, partition_ids: Vec<i32>) -> ApiResult<HashMap<i32, Received>> {
    let rows: Vec<(i32, i32, Vec<String>)> = sqlx::query_as(
        "SELECT asset_partition_dag_run_id, asset_id, array_agg(DISTINCT source_partition_key) \
         FROM partitioned_asset_key_log WHERE asset_partition_dag_run_id = ANY($1) GROUP BY 1, 2",
    )
    .bind(partition_ids)
    .fetch_all(&app.pool)
    .await?;
    let mut received: HashMap<i32, Received> = HashMap::new();
    for (partition_id, asset_id, keys) in rows {
        received.entry(partition_id).or_default().insert(asset_id, keys.into_iter().collect());
    }
    Ok(received)
}

impl PartitionedDag {
    /// These Dags, as far as they exist.
    pub(in crate::ui) async fn load(app: &App, dag_ids: BTreeSet<String>) -> ApiResult<BTreeMap<String, Self>> {
        let dag_ids: Vec<String> = dag_ids.into_iter().collect();
        let rows: Vec<DagRow> = sqlx::query_as(
            "SELECT dag_id, asset_expression::jsonb, partition_mapper_info::jsonb FROM dag WHERE dag_id = ANY($1)",
        )
        .bind(&dag_ids)
        .fetch_all(&app.pool)
        .await?;
        let assets: Vec<Asset> = sqlx::query_as(include_str!("assets.sql")).bind(&dag_ids).fetch_all(&app.pool).await?;
        let mut dags = BTreeMap::new();
        for row in rows {
            let mapper_info = row.partition_mapper_info.and_then(|info| info.as_array().cloned()).unwrap_or_default();
            // Only a mapper that gathers partitions has something to say; few Dags have one.
            let mappers = if mapper_info.iter().any(is_rollup) { mappers(app, &row.dag_id).await? } else { None };
            let dag = Self { asset_expression: row.asset_expression, assets: Vec::new(), mapper_info, mappers };
            dags.insert(row.dag_id, dag);
        }
        for asset in assets {
            if let Some(dag) = dags.get_mut(&asset.dag_id) {
                dag.assets.push(asset);
            }
        }
        Ok(dags)
    }

    /// How many events have arrived, and how many are needed.
    pub(super) fn totals(&self, key: &str, received: &Received) -> (usize, usize) {
        let of_asset = |asset: &Asset| {
            let keys = received.get(&asset.id);
            match self.requirement(asset, key) {
                Requirement::AnyEvent => (keys.map_or(0, |keys| keys.len().min(1)), 1),
                Requirement::Keys(needed) => (keys.map_or(0, |keys| keys.intersection(&needed).count()), needed.len()),
                Requirement::Unknown => (0, 1),
            }
        };
        let add = |sum: (usize, usize), one: (usize, usize)| (sum.0 + one.0, sum.1 + one.1);
        self.assets.iter().map(of_asset).fold((0, 0), add)
    }

    /// How far each asset is.
    ///
    /// As in Airflow, keys that the partition does not need count here, and do not in [`Self::totals`].
    pub(in crate::ui) fn progress(&self, key: &str, received: &Received) -> Vec<AssetProgress> {
        let of_asset = |asset: &Asset| {
            let requirement = self.requirement(asset, key);
            let received_keys = received.get(&asset.id).cloned().unwrap_or_default();
            let mapper_error = matches!(requirement, Requirement::Unknown);
            let is_rollup = self.is_rollup(asset);
            let (received_keys, required_keys) = match requirement {
                Requirement::AnyEvent => (received_keys, BTreeSet::from([key.to_owned()])),
                Requirement::Keys(needed) => (received_keys, needed),
                Requirement::Unknown => (BTreeSet::new(), BTreeSet::new()),
            };
            let received_count = if is_rollup { received_keys.len() } else { received_keys.len().min(1) };
            let required_count = if mapper_error { 1 } else { required_keys.len() };
            AssetProgress {
                asset_id: asset.id,
                asset_name: asset.name.clone(),
                asset_uri: asset.uri.clone(),
                received: received_count >= required_count && required_count > 0,
                received_count,
                required_count,
                received_keys,
                required_keys,
                is_rollup,
                mapper_error,
                asset_inactive: asset.is_inactive,
            }
        };
        self.assets.iter().map(of_asset).collect()
    }

    /// Per asset whether several of its partitions make one of the Dag.
    pub(in crate::ui) fn rollups(&self) -> HashMap<i32, bool> {
        self.assets.iter().map(|asset| (asset.id, self.is_rollup(asset))).collect()
    }

    fn requirement(&self, asset: &Asset, key: &str) -> Requirement {
        let Some(mappers) = self.mappers.as_ref().filter(|_| self.is_rollup(asset)) else {
            return Requirement::AnyEvent;
        };
        let mapper = mappers.of(AssetIdentity::Asset(&asset.name, &asset.uri));
        match mapper.to_upstream(key) {
            Ok(keys) if mapper.is_rollup() => Requirement::Keys(keys),
            Ok(_) => Requirement::Unknown,
            Err(error) => {
                let (dag_id, asset) = (&asset.dag_id, &asset.name);
                tracing::warn!(dag_id, asset, partition_key = key, %error, "what the partition needs cannot be said");
                Requirement::Unknown
            }
        }
    }

    /// Whether several partitions of the asset make one of the Dag (`DagModel.is_rollup_asset`): a name that is known
    /// goes before a URI.
    fn is_rollup(&self, asset: &Asset) -> bool {
        let named = |field: &str, value: &str| {
            self.mapper_info.iter().find(|entry| entry.get(field).and_then(Value::as_str) == Some(value))
        };
        named("name", &asset.name).or_else(|| named("uri", &asset.uri)).is_some_and(is_rollup)
    }
}

fn is_rollup(entry: &Value) -> bool {
    entry.get("is_rollup").and_then(Value::as_bool).unwrap_or_default()
}

/// The mappers of a Dag's schedule; none when it has another kind of schedule now.
async fn mappers(app: &App, dag_id: &str) -> ApiResult<Option<PartitionMappers>> {
    let Some(dag) = app.dags.find_latest(&app.pool, dag_id).await? else { return Ok(None) };
    let arguments = dag.field("timetable").and_then(|timetable| timetable.get("__var"));
    Ok(arguments.and_then(|arguments| PartitionMappers::from_serialized(arguments).ok()))
}
