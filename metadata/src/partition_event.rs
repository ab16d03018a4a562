//! Asset events of partitions that wait for a plugin: which partitions of a Dag they are for, only Python can say.
//!
//! The transaction that records an event leaves a row here ([`keep`]). A scheduler claims it, asks Python and adds the
//! event to the partitions that are named, in place of what official Airflow does at once.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgPool;
use sqlx::{FromRow, PgConnection, query, query_as, query_scalar};
use tradewind_airflow::evaluation::MapPartition;
use tradewind_model::partition::PartitionError;

use crate::asset_event::Source;
use crate::asset_partition::{Event, MappedEvent, Schedule, Target, lock};
use crate::evaluation::{self, AskError};
use crate::{MetadataError, Result, notify};

/// Events taken at once.
const BATCH: i64 = 100;

/// How long an event waits that nobody could be asked about.
const PAUSE: Duration = Duration::from_secs(30);

/// An event that waits.
#[derive(FromRow)]
struct Waiting {
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

/// The Dags for which events wait that nobody sees to.
///
/// # Errors
/// When the database does not answer.
pub async fn dags(pool: &PgPool) -> Result<BTreeSet<String>> {
    let statement = "SELECT DISTINCT target_dag_id FROM tradewind.partition_event \
                     WHERE claimed_until IS NULL OR claimed_until <= clock_timestamp()";
    let dag_ids: Vec<String> = query_scalar(statement).fetch_all(pool).await?;
    Ok(dag_ids.into_iter().collect())
}

/// Takes some of the events that wait for a Dag, the oldest first, asks Python about each and adds it to the partitions
/// that the mapper names; what the mapper fails at is told in the audit log. An event that nobody can be asked about, or
/// that the database refuses, is put off, and keeps the others from nothing. Returns how many were taken, which is none
/// when nothing is left to do now.
///
/// Those that were removed from Airflow's tables are forgotten.
///
/// # Errors
/// When the database does not answer, or the Dag cannot be read.
pub async fn map_some(pool: &PgPool, dag_id: &str) -> Result<usize> {
    query(include_str!("../queries/partition_event/forget.sql")).bind(dag_id).execute(pool).await?;
    let mut events: VecDeque<Waiting> = query_as(include_str!("../queries/partition_event/claim.sql"))
        .bind(dag_id)
        .bind(BATCH)
        .bind((evaluation::PATIENCE * 2).as_secs_f64())
        .fetch_all(pool)
        .await?
        .into();
    let taken = events.len();
    if taken == 0 {
        return Ok(0);
    }
    let schedule = Schedule::load(&mut *pool.acquire().await?, dag_id).await?;
    let (begun, mut put_off, mut last_error) = (Instant::now(), Vec::new(), None);
    // So the last answer comes while the events are still this scheduler's.
    while begun.elapsed() < evaluation::PATIENCE
        && let Some(event) = events.pop_front()
    {
        if let Err(error) = event.map(pool, schedule.as_ref()).await {
            put_off.push(event.asset_event_id);
            last_error = Some(error);
        }
    }
    if let Some(error) = last_error {
        let events = put_off.len();
        tracing::error!(dag_id, events, %error, "asset events have to wait for the Dag's partition mapper");
        release(pool, dag_id, &put_off, PAUSE).await?;
    }
    let left: Vec<i32> = events.iter().map(|event| event.asset_event_id).collect();
    release(pool, dag_id, &left, Duration::ZERO).await?;
    Ok(taken)
}

/// Gives claimed events back, to be taken again after a while.
async fn release(pool: &PgPool, dag_id: &str, events: &[i32], after: Duration) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    query(
        "UPDATE tradewind.partition_event SET claimed_until = clock_timestamp() + make_interval(secs => $3) \
         WHERE target_dag_id = $1 AND asset_event_id = ANY($2)",
    )
    .bind(dag_id)
    .bind(events)
    .bind(after.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}

impl Waiting {
    /// Maps the event, under the schedule of its Dag. Without one that can be read, the Dag misses the event.
    async fn map(&self, pool: &PgPool, schedule: Option<&Schedule>) -> std::result::Result<(), AskError> {
        let target = self.target();
        let mapped = match schedule {
            None => None,
            Some(schedule) => match schedule.map(&target, self.partition_date) {
                Err(PartitionError::Foreign { .. }) => Some((schedule, self.ask(pool, schedule).await?)),
                // The Dag has got a mapper of Airflow's own meanwhile.
                mapped => Some((schedule, mapped)),
            },
        };
        let mut transaction = pool.begin().await?;
        let taken = query("DELETE FROM tradewind.partition_event WHERE asset_event_id = $1 AND target_dag_id = $2")
            .bind(self.asset_event_id)
            .bind(&self.target_dag_id)
            .execute(&mut *transaction)
            .await?;
        if taken.rows_affected() == 1
            && let Some((schedule, mapped)) = mapped
        {
            let dag_ids = [self.target_dag_id.clone()];
            lock(&mut transaction, self.asset_id, &dag_ids).await?;
            let source = self.source();
            let event = Event {
                id: self.asset_event_id,
                asset_id: self.asset_id,
                partition_key: Some(&self.partition_key),
                partition_date: self.partition_date,
                source: source.as_ref(),
            };
            target.add(&mut transaction, &event, schedule, mapped).await?;
            notify::send(&mut transaction, notify::ASSET, &dag_ids).await?;
        }
        Ok(transaction.commit().await?)
    }

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
    ) -> std::result::Result<std::result::Result<MappedEvent, PartitionError>, AskError> {
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
            // It would not be another one the next time.
            Err(AskError::Metadata(MetadataError::Corrupt(detail))) => Ok(Err(PartitionError::Python(detail))),
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
