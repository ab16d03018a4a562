//! Makes the Dag runs that asset events want.
//!
//! An event queues the Dags that listen to its asset (`metadata::asset_event`) and names them to the schedulers. When
//! what is queued for a Dag fulfils its condition, it is taken from the queue and the Dag gets one run, which consumes
//! the events. Source: `DagModel.dags_needing_dagruns` and `SchedulerJobRunner._create_dag_runs_asset_triggered`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use metrics::counter;
use rand::distr::{Alphanumeric, SampleString};
use serde_json::Value;
use sqlx::{PgConnection, Row, query, query_as, query_scalar};
use tradewind_metadata::dag_run::{self, NewDagRun};
use tradewind_metadata::{Database, MetadataError, Result, asset, serialized_dag};
use tradewind_model::asset::{AssetCondition, AssetKey};
use tradewind_model::dag::Dag;
use tradewind_model::state::{DagRunState, DagRunTriggeredBy, DagRunType};
use tradewind_model::timetable::{RANDOM_TEXT_LENGTH, generate_run_id};

use crate::run_creation::timetable_of;

/// What came of looking for runs that assets want.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// How many runs were made.
    pub(crate) runs: usize,
    /// Dags that want a run, but that somebody else holds: to be looked at again soon.
    pub(crate) held_elsewhere: BTreeSet<String>,
}

/// Makes the runs that asset events want, of the Dags given or of any.
pub(crate) async fn create(
    database: &Database,
    dags: &serialized_dag::Cache,
    job_id: i32,
    of: Option<&BTreeSet<String>>,
    now: DateTime<Utc>,
) -> Result<Made> {
    let mut made = Made::default();
    for dag_id in with_fulfilled_condition(&mut *database.pool().acquire().await?, of).await? {
        // A transaction each: no Dag keeps another one's events from being consumed.
        let mut transaction = database.pool().begin().await?;
        let held: Option<String> = query_scalar(include_str!("../queries/hold_dag.sql"))
            .bind(&dag_id)
            .fetch_optional(&mut *transaction)
            .await?;
        if held.is_none() {
            made.held_elsewhere.insert(dag_id);
            continue;
        }
        match create_run(&mut transaction, dags, job_id, &dag_id, now).await {
            Ok(false) => {}
            Ok(true) => {
                transaction.commit().await?;
                made.runs += 1;
                counter!("asset.triggered_dagruns").increment(1);
            }
            Err(error @ MetadataError::Database(_)) => return Err(error),
            Err(error) => tracing::error!(dag_id, %error, "assets trigger a run that cannot be made"),
        }
    }
    Ok(made)
}

/// The Dags of these runs for which asset events are queued.
pub(crate) async fn waiting_behind(database: &Database, runs: &[i32]) -> Result<BTreeSet<String>> {
    let dag_ids: Vec<String> = query_scalar(
        "SELECT DISTINCT dag_run.dag_id FROM dag_run \
         JOIN asset_dag_run_queue AS queue ON queue.target_dag_id = dag_run.dag_id WHERE dag_run.id = ANY ($1)",
    )
    .bind(runs)
    .fetch_all(database.pool())
    .await?;
    Ok(dag_ids.into_iter().collect())
}

/// Dags whose condition the queue fulfils. Nothing is held yet, so whoever makes a run of one looks again.
async fn with_fulfilled_condition(connection: &mut PgConnection, of: Option<&BTreeSet<String>>) -> Result<Vec<String>> {
    let of: Option<Vec<&String>> = of.map(|dag_ids| dag_ids.iter().collect());
    if of.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let rows =
        query(include_str!("../queries/dags_with_asset_events.sql")).bind(of).fetch_all(&mut *connection).await?;
    let mut candidates = Vec::with_capacity(rows.len());
    for row in &rows {
        let dag_id: String = row.try_get("dag_id")?;
        let expression: Option<Value> = row.try_get("asset_expression")?;
        // A Dag that no longer waits for assets may still be queued.
        let Some(expression) = expression.filter(|expression| !expression.is_null()) else { continue };
        match AssetCondition::from_expression(&expression) {
            Ok(condition) => {
                let (names, uris): (Vec<String>, Vec<String>) = (row.try_get("names")?, row.try_get("uris")?);
                let queued = names.into_iter().zip(uris).map(|(name, uri)| AssetKey { name, uri });
                candidates.push((dag_id, condition, queued.collect::<BTreeSet<_>>()));
            }
            Err(error) => tracing::error!(dag_id, %error, "the Dag's asset expression cannot be read"),
        }
    }
    let known = asset::known(connection, candidates.iter().map(|(_, condition, _)| condition)).await?;
    candidates.retain(|(_, condition, queued)| condition.is_fulfilled(queued, &known));
    Ok(candidates.into_iter().map(|(dag_id, ..)| dag_id).collect())
}

/// Makes the run of a Dag that is held, if the queue still fulfils its condition. When it returns `false`, the
/// transaction must be rolled back.
async fn create_run(
    connection: &mut PgConnection,
    dags: &serialized_dag::Cache,
    job_id: i32,
    dag_id: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let has_room: Option<bool> = query_scalar(include_str!("../queries/has_room_for_run.sql"))
        .bind(dag_id)
        .fetch_optional(&mut *connection)
        .await?;
    if has_room != Some(true) {
        return Ok(false);
    }
    let Some(dag) = dags.latest(connection, dag_id).await? else {
        tracing::info!(dag_id, "asset events wait for a Dag that was not serialized yet");
        return Ok(false);
    };
    let Some(condition) = condition_of(&dag) else { return Ok(false) };
    let taken: Vec<(String, String, DateTime<Utc>)> =
        query_as(include_str!("../queries/take_queued_assets.sql")).bind(dag_id).fetch_all(&mut *connection).await?;
    let known = asset::known(connection, std::iter::once(&condition)).await?;
    let Some(run_after) = taken.iter().map(|(.., queued_at)| *queued_at).max() else { return Ok(false) };
    let queued = taken.into_iter().map(|(name, uri, _)| AssetKey { name, uri }).collect();
    if !condition.is_fulfilled(&queued, &known) {
        return Ok(false);
    }
    let run = new_run(run_after, job_id, None);
    let created = dag_run::create(connection, &dag, &run, now).await?;
    let consumed = query(include_str!("../queries/consume_asset_events.sql"))
        .bind(created.id)
        .bind(dag_id)
        .bind(run_after)
        .bind(dag.settings.catchup)
        .execute(&mut *connection)
        .await?;
    query(include_str!("../queries/set_exceeds_max_active_runs.sql")).bind(dag_id).execute(connection).await?;
    tracing::info!(dag_id, run_id = run.run_id, events = consumed.rows_affected(), "assets triggered a run");
    Ok(true)
}

/// The condition over assets of a Dag's schedule; `None`, and a line in the log, when it has none that can be read.
pub(crate) fn condition_of(dag: &Dag) -> Option<AssetCondition> {
    let timetable = match timetable_of(dag) {
        Ok(timetable) => timetable,
        Err(error) => {
            tracing::error!(dag_id = dag.dag_id, %error, "the timetable cannot be evaluated");
            return None;
        }
    };
    match AssetCondition::from_serialized(timetable.asset_condition()?) {
        Ok(condition) => Some(condition),
        Err(error) => {
            tracing::error!(dag_id = dag.dag_id, %error, "the asset condition cannot be read");
            None
        }
    }
}

/// A run that assets trigger: it has neither logical date nor interval.
pub(crate) fn new_run(
    run_after: DateTime<Utc>,
    job_id: i32,
    partition: Option<(String, Option<DateTime<Utc>>)>,
) -> NewDagRun {
    let (partition_key, partition_date) = partition.map_or((None, None), |(key, date)| (Some(key), date));
    let random = || Alphanumeric.sample_string(&mut rand::rng(), RANDOM_TEXT_LENGTH);
    NewDagRun {
        run_id: generate_run_id(DagRunType::AssetTriggered, false, &run_after, random),
        run_type: DagRunType::AssetTriggered,
        state: DagRunState::Queued,
        logical_date: None,
        data_interval: None,
        run_after,
        conf: Value::Null,
        triggered_by: DagRunTriggeredBy::Asset,
        triggering_user_name: None,
        creating_job_id: Some(job_id),
        backfill_id: None,
        partition_key,
        partition_date,
        note: None,
    }
}
