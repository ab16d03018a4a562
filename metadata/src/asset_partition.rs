//! Partitions of Dags that wait for asset events.
//!
//! An event of a partition is for partitions of the Dags that listen: which ones, the mappers of their schedules say.
//! Each is a row of `asset_partition_dag_run`, until the scheduler finds that it has all the events it needs.
//!
//! Source: `AssetManager._queue_partitioned_dags` in `airflow/assets/manager.py`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, query, query_as};
use tradewind_model::asset::AssetCondition;
use tradewind_model::partition::{AssetIdentity, PartitionError, PartitionMappers};

use crate::asset_event::Source;
use crate::{MetadataError, Result, dag_document, partition_event};

/// Characters of a partition's key at most (`StringID`).
const MAX_KEY: usize = 250;

/// An event that was recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    /// `asset_event.id`.
    pub(crate) id: i32,
    /// `asset.id`.
    pub(crate) asset_id: i32,
    /// Its partition.
    pub(crate) partition_key: Option<&'a str>,
    /// The date of that partition, where the producing run has one.
    pub(crate) partition_date: Option<DateTime<Utc>>,
    /// The task instance that caused it.
    pub(crate) source: Option<&'a Source<'a>>,
}

/// Queues partitions of the Dags, which all have a partitioned schedule. What cannot be mapped is told in the audit log
/// and keeps no other Dag from its event.
///
/// `limit` is `[scheduler] partition_mapper_max_downstream_keys`.
pub(crate) async fn queue(
    connection: &mut PgConnection,
    event: &Event<'_>,
    dag_ids: &[String],
    limit: usize,
) -> Result<()> {
    if dag_ids.is_empty() {
        return Ok(());
    }
    let Some(key) = event.partition_key.filter(|key| !key.is_empty()) else {
        return complain(connection, event, "missing partition key", &missing_key(event, dag_ids)).await;
    };
    let (name, uri) = lock(connection, event.asset_id, dag_ids).await?;
    for dag_id in dag_ids {
        let Some(schedule) = Schedule::load(connection, dag_id).await? else { continue };
        let target = Target { dag_id, asset_name: &name, asset_uri: &uri, partition_key: key, limit };
        match schedule.map(&target, event.partition_date) {
            Err(PartitionError::Foreign { .. }) => partition_event::keep(connection, event, dag_id, limit).await?,
            mapped => target.add(connection, event, &schedule, mapped).await?,
        }
    }
    Ok(())
}

/// What a mapper makes of an event.
pub(crate) struct MappedEvent {
    pub(crate) keys: Vec<String>,
    /// The limit that the mapper sets to itself.
    pub(crate) max_downstream_keys: Option<usize>,
    /// The date that the partitions take over.
    pub(crate) partition_date: Option<DateTime<Utc>>,
}

impl MappedEvent {
    /// Refuses keys that the database would refuse: one of them must not keep other Dags from the event.
    fn checked(self) -> std::result::Result<Self, PartitionError> {
        for key in &self.keys {
            let length = key.chars().count();
            if length > MAX_KEY {
                let message = format!("a key of {length} characters is too long; {MAX_KEY} are allowed");
                return Err(PartitionError::Value(message));
            }
            if key.contains('\0') {
                return Err(PartitionError::Value(format!("the key {key:?} holds a NUL character")));
            }
        }
        Ok(self)
    }
}

/// A Dag for whose partitions an event is.
pub(crate) struct Target<'a> {
    pub(crate) dag_id: &'a str,
    pub(crate) asset_name: &'a str,
    pub(crate) asset_uri: &'a str,
    /// The partition of the event.
    pub(crate) partition_key: &'a str,
    /// `[scheduler] partition_mapper_max_downstream_keys`.
    pub(crate) limit: usize,
}

impl Target<'_> {
    fn asset(&self) -> AssetIdentity<'_> {
        AssetIdentity::Asset(self.asset_name, self.asset_uri)
    }

    /// Adds the event to the partitions that it was mapped to, or complains about the mapper.
    pub(crate) async fn add(
        &self,
        connection: &mut PgConnection,
        event: &Event<'_>,
        schedule: &Schedule,
        mapped: std::result::Result<MappedEvent, PartitionError>,
    ) -> Result<()> {
        let Self { dag_id, asset_name: asset, asset_uri: uri, partition_key: key, limit } = *self;
        let about = format!("asset (name='{asset}', uri='{uri}') in target Dag '{dag_id}'");
        let mapped = match mapped.and_then(MappedEvent::checked) {
            Ok(mapped) => mapped,
            Err(error) => {
                tracing::error!(dag_id, asset, partition_key = key, %error, "the partition cannot be mapped");
                let extra = could_not_map(key, &about, &error);
                return complain(connection, event, "failed to map partition_key", &extra).await;
            }
        };
        let keys = mapped.keys.len();
        if keys > mapped.max_downstream_keys.unwrap_or(limit) {
            tracing::error!(dag_id, asset, partition_key = key, keys, "mapped to too many partitions");
            let extra = too_many(key, &about, keys, mapped.max_downstream_keys, limit);
            return complain(connection, event, "partition fan-out exceeded", &extra).await;
        }
        query(include_str!("../queries/asset/queue_partitions.sql"))
            .bind(dag_id)
            .bind(&mapped.keys)
            .bind(mapped.partition_date)
            .bind(schedule.mappers.fingerprint(&schedule.condition))
            .bind(event.asset_id)
            .bind(event.id)
            .bind(key)
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// Makes everybody wait who would queue partitions of these Dags: two must not make the same partition twice.
///
/// Official components hold the asset's row for this, which leaves out events of different assets; so there is a lock for
/// the Dag, too. It comes first: who holds an asset's row never waits for somebody who wants the row. Returns name and URI
/// of the asset.
pub(crate) async fn lock(connection: &mut PgConnection, asset_id: i32, dag_ids: &[String]) -> Result<(String, String)> {
    query(
        "SELECT pg_advisory_xact_lock(hashtextextended('partitions of ' || dag_id, 0)) \
         FROM (SELECT dag_id FROM unnest($1::text[]) AS dag_id ORDER BY dag_id) AS ordered",
    )
    .bind(dag_ids)
    .execute(&mut *connection)
    .await?;
    let asset: Option<(String, String)> = query_as("SELECT name, uri FROM asset WHERE id = $1 FOR NO KEY UPDATE")
        .bind(asset_id)
        .fetch_optional(connection)
        .await?;
    asset.ok_or_else(|| MetadataError::NotFound(format!("asset {asset_id} is not in the table asset")))
}

/// The partitioned schedule of a Dag.
pub(crate) struct Schedule {
    condition: AssetCondition,
    mappers: PartitionMappers,
}

impl Schedule {
    /// `None` when the Dag has none that can be read; that is logged.
    pub(crate) async fn load(connection: &mut PgConnection, dag_id: &str) -> Result<Option<Self>> {
        let Some(document) = dag_document::latest(connection, dag_id).await? else {
            tracing::error!(dag_id, "the Dag listens to an asset but was never serialized; it misses an event");
            return Ok(None);
        };
        let arguments = document.as_value().pointer("/dag/timetable/__var").unwrap_or(&Value::Null);
        match Self::read(arguments) {
            Ok(schedule) => Ok(Some(schedule)),
            Err(error) => {
                tracing::error!(dag_id, error, "the partitioned schedule cannot be read; the Dag misses an event");
                Ok(None)
            }
        }
    }

    /// What the mapper of the asset makes of the event, as far as it is Airflow's own.
    pub(crate) fn map(
        &self,
        target: &Target<'_>,
        of_producer: Option<DateTime<Utc>>,
    ) -> std::result::Result<MappedEvent, PartitionError> {
        let mapper = self.mappers.of(target.asset());
        Ok(MappedEvent {
            keys: mapper.to_downstream(target.partition_key)?.into_keys(),
            max_downstream_keys: mapper.max_downstream_keys,
            partition_date: mapper.carry_partition_date(of_producer),
        })
    }

    /// The serialised mapper of the asset.
    pub(crate) fn mapper_form(&self, target: &Target<'_>) -> Value {
        self.mappers.form_of(target.asset()).clone()
    }

    fn read(arguments: &Value) -> std::result::Result<Self, String> {
        let condition = arguments.get("asset_condition").unwrap_or(&Value::Null);
        Ok(Self {
            condition: AssetCondition::from_serialized(condition).map_err(|error| error.to_string())?,
            mappers: PartitionMappers::from_serialized(arguments).map_err(|error| error.to_string())?,
        })
    }
}

fn missing_key(event: &Event<'_>, dag_ids: &[String]) -> String {
    let or_none = |text: Option<&str>| text.unwrap_or("None").to_owned();
    format!(
        "Listening Dags are partition-aware but the run has no partition key (listening_dags=['{}'], asset_id={}, \
         run_id={}, dag_id={}, task_id={})",
        dag_ids.join("', '"),
        event.asset_id,
        or_none(event.source.map(|source| source.run_id)),
        or_none(event.source.map(|source| source.dag_id)),
        or_none(event.source.map(|source| source.task_id)),
    )
}

fn could_not_map(key: &str, about: &str, error: &PartitionError) -> String {
    format!(
        "Could not map partition_key '{key}' for {about}. This likely indicates that the partition mapper in the target \
         Dag is misconfigured or does not support this partition key.\n{error}"
    )
}

fn too_many(key: &str, about: &str, keys: usize, of_mapper: Option<usize>, limit: usize) -> String {
    let cap = of_mapper.map_or_else(
        || format!("[scheduler] partition_mapper_max_downstream_keys={limit}"),
        |limit| format!("max_downstream_keys={limit}"),
    );
    format!(
        "Partition mapper for {about} produced {keys} downstream keys from partition_key='{key}', exceeding {cap}. \
         No Dag runs were queued for this event."
    )
}

/// Writes to the audit log, on behalf of the task instance that caused the event.
async fn complain(connection: &mut PgConnection, event: &Event<'_>, what: &str, extra: &str) -> Result<()> {
    query(
        "INSERT INTO log (dttm, event, extra, dag_id, run_id, task_id, map_index, try_number, logical_date) \
         VALUES (clock_timestamp(), $1, $2, $3, $4, $5, $6, \
         (SELECT try_number FROM task_instance ti WHERE (ti.dag_id, ti.run_id, ti.task_id, ti.map_index) = ($3, $4, $5, $6)), \
         (SELECT logical_date FROM dag_run dr WHERE (dr.dag_id, dr.run_id) = ($3, $4)))",
    )
    .bind(what)
    .bind(extra.replace('\0', "\\x00"))
    .bind(event.source.map(|source| source.dag_id))
    .bind(event.source.map(|source| source.run_id))
    .bind(event.source.map(|source| source.task_id))
    .bind(event.source.map(|source| source.map_index))
    .execute(connection)
    .await?;
    Ok(())
}
