//! Asset events: what tasks did to assets, and which Dags wait for it.
//!
//! Source: `TaskInstance.register_asset_changes_in_db` in `airflow/models/taskinstance.py`, `airflow/assets/manager.py`
//! and `airflow/api_fastapi/execution_api/routes/asset_events.py`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use metrics::counter;
use serde_json::{Map, Value};
use sqlx::types::Json;
use sqlx::{PgConnection, query, query_as, query_scalar};
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::supervisor_protocol::to_supervisor::{AssetKey, AssetProfile, OutletEvent};

use crate::{Result, asset, asset_partition, notify};

/// Reads `[scheduler] partition_mapper_max_downstream_keys`.
///
/// # Errors
/// When it is below 0.
pub fn max_partitions(config: &Config) -> std::result::Result<usize, ConfigError> {
    let (section, key) = ("scheduler", "partition_mapper_max_downstream_keys");
    usize::try_from(config.int(section, key)?).map_err(|_| config.invalid(section, key, "a whole number, not below 0"))
}

/// The task instance that causes events.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its Dag.
    pub dag_id: &'a str,
    /// Its Dag run.
    pub run_id: &'a str,
    /// Its task.
    pub task_id: &'a str,
    /// -1 when the task is not mapped.
    pub map_index: i32,
    /// Partition of its Dag run.
    pub partition_key: Option<&'a str>,
    /// The date of that partition.
    pub partition_date: Option<DateTime<Utc>>,
}

/// An event to record.
struct NewEvent {
    asset_id: i32,
    extra: Map<String, Value>,
    partition_key: Option<String>,
    partition_date: Option<DateTime<Utc>>,
    aliases: BTreeSet<String>,
}

/// Records the events that a successful task instance causes and queues the Dags that wait for them, and partitions of
/// Dags: at most `max_partitions` for each event and Dag (`[scheduler] partition_mapper_max_downstream_keys`).
pub async fn register(
    connection: &mut PgConnection,
    source: &Source<'_>,
    outlets: &[AssetProfile],
    said: &[OutletEvent],
    max_partitions: usize,
) -> Result<()> {
    let mut events = of_assets(&mut *connection, source, outlets, said).await?;
    events.extend(of_aliases(&mut *connection, source, outlets, said).await?);
    for event in &events {
        record(&mut *connection, Some(source), event, max_partitions).await?;
    }
    Ok(())
}

/// Records an event that a person reports, queues the Dags that wait for it as [`register`] does, and returns its id.
pub async fn register_by_hand(
    connection: &mut PgConnection,
    asset_id: i32,
    extra: Map<String, Value>,
    partition_key: Option<String>,
    max_partitions: usize,
) -> Result<i32> {
    let event = NewEvent { asset_id, extra, partition_key, partition_date: None, aliases: BTreeSet::new() };
    record(connection, None, &event, max_partitions).await
}

/// Outlets that are assets or references to one: an event for each thing the task said about it, else one without
/// extra. Assets that are not active cause nothing.
async fn of_assets(
    connection: &mut PgConnection,
    source: &Source<'_>,
    outlets: &[AssetProfile],
    said: &[OutletEvent],
) -> Result<Vec<NewEvent>> {
    let of_kind = |kind: &'static str| outlets.iter().filter(move |outlet| outlet.kind == kind);
    let assets: Vec<(&str, &str)> =
        of_kind("Asset").filter_map(|o| Some((o.name.as_deref()?, o.uri.as_deref()?))).collect();
    let (names, uris): (Vec<&str>, Vec<&str>) = assets.into_iter().unzip();
    let active: Vec<(i32, String, String)> = query_as(include_str!("../queries/asset/active_outlets.sql"))
        .bind(names)
        .bind(uris)
        .bind(of_kind("AssetNameRef").filter_map(|outlet| outlet.name.as_deref()).collect::<Vec<_>>())
        .bind(of_kind("AssetUriRef").filter_map(|outlet| outlet.uri.as_deref()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let mut events = Vec::new();
    for (asset_id, name, uri) in active {
        let about = |event: &&OutletEvent| {
            event.source_alias_name.is_none() && event.dest_asset_key.name == name && event.dest_asset_key.uri == uri
        };
        let before = events.len();
        events.extend(said.iter().filter(about).map(|event| {
            let partition_key = event.partition_key.as_deref().or(source.partition_key);
            NewEvent::of_run(source, asset_id, event.extra.clone(), partition_key, BTreeSet::new())
        }));
        if events.len() == before {
            events.push(NewEvent::of_run(source, asset_id, Map::new(), source.partition_key, BTreeSet::new()));
        }
    }
    Ok(events)
}

/// What the task said through aliases: one event for each asset and extra, however many aliases lead to it. Assets
/// that do not exist yet are created.
async fn of_aliases(
    connection: &mut PgConnection,
    source: &Source<'_>,
    outlets: &[AssetProfile],
    said: &[OutletEvent],
) -> Result<Vec<NewEvent>> {
    let declared: BTreeSet<&str> = outlets
        .iter()
        .filter(|outlet| outlet.kind == "AssetAlias")
        .filter_map(|outlet| outlet.name.as_deref())
        .collect();
    let mut grouped: BTreeMap<(&AssetKey, String, String), (BTreeSet<String>, &OutletEvent)> = BTreeMap::new();
    for event in said {
        let Some(alias) = event.source_alias_name.as_deref().filter(|alias| declared.contains(alias)) else { continue };
        let key = (&event.dest_asset_key, sorted_json(&event.dest_asset_extra), sorted_json(&event.extra));
        grouped.entry(key).or_insert_with(|| (BTreeSet::new(), event)).0.insert(alias.to_owned());
    }
    let mut events = Vec::new();
    for ((key, ..), (aliases, event)) in grouped {
        let extra = Value::Object(event.dest_asset_extra.clone());
        let asset_id = asset::get_or_create(&mut *connection, &key.name, &key.uri, &extra).await?;
        events.push(NewEvent::of_run(source, asset_id, event.extra.clone(), source.partition_key, aliases));
    }
    Ok(events)
}

impl NewEvent {
    /// An event of a partition. The date of the run's partition is that of no other.
    fn of_run(
        source: &Source<'_>,
        asset_id: i32,
        extra: Map<String, Value>,
        partition_key: Option<&str>,
        aliases: BTreeSet<String>,
    ) -> Self {
        let partition_date = source.partition_date.filter(|_| partition_key == source.partition_key);
        Self { asset_id, extra, partition_key: partition_key.map(str::to_owned), partition_date, aliases }
    }
}

/// Equal objects give equal texts, whatever the order of their keys.
fn sorted_json(object: &Map<String, Value>) -> String {
    let sorted: BTreeMap<&String, &Value> = object.iter().collect();
    serde_json::to_string(&sorted).unwrap_or_default()
}

/// Writes an event and returns its id.
async fn record(
    connection: &mut PgConnection,
    source: Option<&Source<'_>>,
    event: &NewEvent,
    max_partitions: usize,
) -> Result<i32> {
    let aliases: Vec<&str> = event.aliases.iter().map(String::as_str).collect();
    let event_id: i32 = query_scalar(include_str!("../queries/asset/insert_event.sql"))
        .bind(event.asset_id)
        .bind(Json(&event.extra))
        .bind(source.map(|source| source.task_id))
        .bind(source.map(|source| source.dag_id))
        .bind(source.map(|source| source.run_id))
        .bind(source.map_or(-1, |source| source.map_index))
        .bind(event.partition_key.as_deref())
        .fetch_one(&mut *connection)
        .await?;
    counter!("asset.updates").increment(1);
    if !aliases.is_empty() {
        query(include_str!("../queries/asset/link_aliases.sql"))
            .bind(&aliases)
            .bind(event.asset_id)
            .bind(event_id)
            .execute(&mut *connection)
            .await?;
    }
    let listening: Vec<(String, bool)> = query_as(include_str!("../queries/asset/queue_dag_runs.sql"))
        .bind(event.asset_id)
        .bind(&aliases)
        .bind(event.partition_key.as_deref())
        .fetch_all(&mut *connection)
        .await?;
    let partitioned: Vec<String> =
        listening.iter().filter(|(_, is_partitioned)| *is_partitioned).map(|(dag_id, _)| dag_id.clone()).collect();
    let recorded = asset_partition::Event {
        id: event_id,
        asset_id: event.asset_id,
        partition_key: event.partition_key.as_deref(),
        partition_date: event.partition_date,
        source,
    };
    asset_partition::queue(&mut *connection, &recorded, &partitioned, max_partitions).await?;
    let dag_ids: Vec<String> = listening.into_iter().map(|(dag_id, _)| dag_id).collect();
    notify::send(connection, notify::ASSET, &dag_ids).await?;
    Ok(event_id)
}

/// Which events to look up.
#[derive(Debug, Clone, Default)]
pub struct EventFilter<'a> {
    /// Asset name; with a URI the asset need not be active.
    pub name: Option<&'a str>,
    /// Asset URI.
    pub uri: Option<&'a str>,
    /// Alias the events came through, in place of name and URI.
    pub alias: Option<&'a str>,
    /// Not before.
    pub after: Option<DateTime<Utc>>,
    /// Not after.
    pub before: Option<DateTime<Utc>>,
    /// How many at most.
    pub limit: Option<i64>,
    /// Whether the oldest comes first.
    pub ascending: bool,
}

/// Events in the form of `AssetEventResponse`, fields without a value left out.
pub async fn find(connection: &mut PgConnection, filter: &EventFilter<'_>) -> Result<Vec<Value>> {
    let events = query_scalar(include_str!("../queries/asset/find_events.sql"))
        .bind(filter.name)
        .bind(filter.uri)
        .bind(filter.alias)
        .bind(filter.after)
        .bind(filter.before)
        .bind(filter.ascending)
        .bind(filter.limit.filter(|limit| *limit != 0))
        .fetch_all(connection)
        .await?;
    Ok(events)
}
