//! Asset events of partitions that wait for a plugin: which partitions of a Dag they are for, only Python can say.
//!
//! The transaction that records an event leaves a row here ([`keep`]). A scheduler asks Python and adds the event to the
//! partitions that are named, in place of what official Airflow does at once.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgPool;
use sqlx::{FromRow, PgConnection, query, query_as, query_scalar};
use tradewind_airflow::evaluation::MapPartition;
use tradewind_model::partition::PartitionError;

use crate::asset_event::Source;
use crate::asset_partition::{Event, MappedEvent, Schedule, Target, lock};
use crate::evaluation::{self, AskError};
use crate::{Result, notify};

/// Events read at once.
const BATCH: i64 = 100;

/// An event that waits.
#[derive(Debug, Clone, FromRow)]
pub struct Waiting {
    asset_event_id: i32,
    target_dag_id: String,
    partition_date: Option<DateTime<Utc>>,
    max_keys: i64,
    asset_id: i32,
    partition_key: String,
    name: String,
    uri: String,
    source_dag_id: Option<String>,
    source_run_id: Option<String>,
    source_task_id: Option<String>,
    source_map_index: Option<i32>,
}

/// Remembers an event until Python has said what it is for; schedulers are told when the transaction commits.
pub(crate) async fn keep(
    connection: &mut PgConnection,
    event: &Event<'_>,
    dag_id: &str,
    max_keys: usize,
) -> Result<()> {
    query(
        "INSERT INTO tradewind.partition_event (asset_event_id, target_dag_id, partition_date, max_keys) \
         VALUES ($1, $2, $3, $4)",
    )
    .bind(event.id)
    .bind(dag_id)
    .bind(event.partition_date)
    .bind(i64::try_from(max_keys).unwrap_or(i64::MAX))
    .execute(&mut *connection)
    .await?;
    notify::send(connection, notify::PARTITION_EVENT, &[dag_id]).await
}

/// The Dags for which events wait.
///
/// # Errors
/// When the database does not answer.
pub async fn dags(pool: &PgPool) -> Result<BTreeSet<String>> {
    let dag_ids: Vec<String> =
        query_scalar("SELECT DISTINCT target_dag_id FROM tradewind.partition_event").fetch_all(pool).await?;
    Ok(dag_ids.into_iter().collect())
}

/// The events that wait for a Dag, the oldest first: some of them at a time. Those that were removed from Airflow's tables
/// are forgotten.
///
/// # Errors
/// When the database does not answer.
pub async fn of_dag(pool: &PgPool, dag_id: &str) -> Result<Vec<Waiting>> {
    query(include_str!("../queries/partition_event/forget.sql")).bind(dag_id).execute(pool).await?;
    let waiting = query_as(include_str!("../queries/partition_event/of_dag.sql")).bind(dag_id).bind(BATCH);
    Ok(waiting.fetch_all(pool).await?)
}

/// Asks Python about an event and adds it to the partitions that the mapper names; what the mapper fails at is told in the
/// audit log. Of several schedulers that do so, one has an effect.
///
/// # Errors
/// When nobody can ask the plugin, or the database fails; the event then waits on.
pub async fn map(pool: &PgPool, waiting: &Waiting) -> Result<(), AskError> {
    let target = waiting.target();
    let schedule = Schedule::load(&mut *pool.acquire().await.map_err(sqlx_error)?, target.dag_id).await?;
    let mapped = match &schedule {
        None => None,
        Some(schedule) => match schedule.map(&target, waiting.partition_date) {
            Err(PartitionError::Foreign { .. }) => Some(waiting.ask(pool, schedule).await?),
            // The Dag has got a mapper of Airflow's own meanwhile.
            mapped => Some(mapped),
        },
    };
    let mut transaction = pool.begin().await.map_err(sqlx_error)?;
    let taken = query("DELETE FROM tradewind.partition_event WHERE asset_event_id = $1 AND target_dag_id = $2")
        .bind(waiting.asset_event_id)
        .bind(&waiting.target_dag_id)
        .execute(&mut *transaction)
        .await
        .map_err(sqlx_error)?;
    if taken.rows_affected() == 1
        && let Some((schedule, mapped)) = schedule.zip(mapped)
    {
        let dag_ids = [waiting.target_dag_id.clone()];
        lock(&mut transaction, waiting.asset_id, &dag_ids).await?;
        let source = waiting.source();
        let event = Event {
            id: waiting.asset_event_id,
            asset_id: waiting.asset_id,
            partition_key: Some(&waiting.partition_key),
            partition_date: waiting.partition_date,
            source: source.as_ref(),
        };
        target.add(&mut transaction, &event, &schedule, mapped).await?;
        notify::send(&mut transaction, notify::ASSET, &dag_ids).await?;
    }
    transaction.commit().await.map_err(sqlx_error)?;
    Ok(())
}

fn sqlx_error(error: sqlx::Error) -> AskError {
    error.into()
}

impl Waiting {
    fn target(&self) -> Target<'_> {
        Target {
            dag_id: &self.target_dag_id,
            asset_name: &self.name,
            asset_uri: &self.uri,
            partition_key: &self.partition_key,
            limit: usize::try_from(self.max_keys).unwrap_or(usize::MAX),
        }
    }

    async fn ask(
        &self,
        pool: &PgPool,
        schedule: &Schedule,
    ) -> Result<std::result::Result<MappedEvent, PartitionError>, AskError> {
        let question = MapPartition {
            mapper: schedule.mapper_form(&self.target()),
            partition_key: self.partition_key.clone(),
            partition_date: self.partition_date,
        };
        match evaluation::ask(pool, &self.target_dag_id, question, evaluation::PATIENCE).await {
            Ok(answer) => Ok(Ok(MappedEvent {
                keys: answer.keys,
                max_downstream_keys: answer.max_downstream_keys,
                partition_date: answer.partition_date,
            })),
            Err(AskError::Python(error)) if !error.was_not_asked => {
                let (dag_id, traceback) = (&self.target_dag_id, &error.traceback);
                tracing::error!(dag_id, %error, traceback, "the partition mapper of a plugin failed");
                Ok(Err(PartitionError::Python(error.message)))
            }
            Err(error) => Err(error),
        }
    }

    /// The task instance that caused the event.
    fn source(&self) -> Option<Source<'_>> {
        Some(Source {
            dag_id: self.source_dag_id.as_deref()?,
            run_id: self.source_run_id.as_deref()?,
            task_id: self.source_task_id.as_deref()?,
            map_index: self.source_map_index.unwrap_or(-1),
            partition_key: None,
            partition_date: self.partition_date,
        })
    }
}
