//! Backfills: runs of a Dag for dates in the past.
//!
//! Source: `airflow/models/backfill.py`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, FromRow, PgConnection, PgPool, query, query_as, query_scalar};
use tradewind_airflow::evaluation::RunsBetween;
use tradewind_model::dag::Dag;
use tradewind_model::state::{DagRunState, DagRunTriggeredBy, DagRunType};
use tradewind_model::timetable::custom::CustomTimetable;
use tradewind_model::timetable::{DagRunInfo, TimeRestriction, Timetable, generate_run_id, isoformat};

use crate::clear::{Clearing, clear};
use crate::dag_run::{self, NewDagRun};
use crate::dag_run_trigger::timetable_of;
use crate::serialized_dag::Cache;
use crate::{MetadataError, Result, evaluation};

/// The runs of a backfill at most: they are made in one transaction, while the user waits. More are a mistake, such as a
/// date in the wrong century; of a plugin's timetable no more are asked for.
const MAX_RUNS: usize = 10_000;

/// What to do with dates that have a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reprocess {
    /// Leave them alone.
    None,
    /// Clear failed runs.
    Failed,
    /// Clear all runs that have ended.
    Completed,
}

impl Reprocess {
    /// The word in the database and in the REST API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Failed => "failed",
            Self::Completed => "completed",
        }
    }
}

/// A backfill asked for.
#[derive(Debug, Clone)]
pub struct NewBackfill {
    /// The first logical date.
    pub from_date: DateTime<Utc>,
    /// The last logical date.
    pub to_date: DateTime<Utc>,
    /// Whether the newest date runs first.
    pub reverse: bool,
    /// The parameters of all runs, an object; the caller has validated it.
    pub conf: Option<Value>,
    /// What to do with dates that have a run.
    pub reprocess: Reprocess,
    /// Runs at the same time.
    pub max_active_runs: i32,
    /// The user who asks.
    pub triggering_user_name: Option<String>,
    /// Whether cleared runs move to the newest version of the Dag.
    pub run_on_latest_version: bool,
}

/// A run of the Dag that exists.
#[derive(FromRow)]
struct Existing {
    id: i32,
    run_id: String,
    logical_date: DateTime<Utc>,
    state: String,
}

impl Existing {
    /// Why the run stays as it is; none: it is cleared.
    fn stays(&self, reprocess: Reprocess) -> Option<&'static str> {
        match (self.state.as_str(), reprocess) {
            ("success" | "failed", Reprocess::Completed) | ("failed", Reprocess::Failed) => None,
            ("success" | "failed", _) => Some("already exists"),
            _ => Some("in flight"),
        }
    }
}

/// The dates that the backfill would run.
///
/// # Errors
/// [`MetadataError::Invalid`] when the Dag or the dates do not allow it.
pub async fn preview(pool: &PgPool, dag: &Dag, wanted: &NewBackfill, now: DateTime<Utc>) -> Result<Vec<DagRunInfo>> {
    let mut infos = infos(pool, dag, wanted, now).await?;
    let existing = existing(&mut *pool.acquire().await?, dag, &infos).await?;
    infos.retain(|info| {
        let run = info.logical_date().and_then(|date| existing.get(&date));
        run.is_none_or(|run| run.stays(wanted.reprocess).is_none())
    });
    Ok(infos)
}

/// Makes the backfill with its runs and returns its id. `dag` is the newest version.
///
/// # Errors
/// [`MetadataError::Invalid`] when the Dag or the dates do not allow it, [`MetadataError::Conflict`] when a backfill of
/// the Dag is going on.
pub async fn create(pool: &PgPool, dags: &Cache, dag: &Dag, wanted: &NewBackfill, now: DateTime<Utc>) -> Result<i32> {
    refuse_second(&mut *pool.acquire().await?, dag).await?;
    let infos = infos(pool, dag, wanted, now).await?;
    let mut transaction = pool.begin().await?;
    refuse_second(&mut transaction, dag).await?;
    if infos.is_empty() {
        return Err(MetadataError::Invalid(format!(
            "No runs to create for Dag {} in the range [{}, {}]",
            dag.dag_id,
            isoformat(&wanted.from_date).replace('T', " "),
            isoformat(&wanted.to_date).replace('T', " ")
        )));
    }
    let backfill_id: i32 = query_scalar(include_str!("../queries/backfill/insert.sql"))
        .bind(&dag.dag_id)
        .bind(wanted.from_date)
        .bind(wanted.to_date)
        .bind(wanted.conf.as_ref().unwrap_or(&Value::Null))
        .bind(wanted.reprocess.as_str())
        .bind(wanted.max_active_runs)
        .bind(now)
        .bind(&wanted.triggering_user_name)
        .fetch_one(&mut *transaction)
        .await?;
    let existing = existing(&mut transaction, dag, &infos).await?;
    let backfill = Backfill { id: backfill_id, dag, wanted, now };
    for (info, ordinal) in infos.iter().zip(1..) {
        let run = info.logical_date().and_then(|date| existing.get(&date));
        let outcome = match run.map(|run| (run, run.stays(wanted.reprocess))) {
            None => backfill.add(&mut transaction, info).await?,
            Some((_, Some(reason))) => Err(reason),
            Some((run, None)) => backfill.rerun(&mut transaction, dags, run).await?,
        };
        query(
            "INSERT INTO backfill_dag_run (backfill_id, dag_run_id, exception_reason, logical_date, sort_ordinal) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(backfill_id)
        .bind(outcome.ok())
        .bind(outcome.err())
        .bind(info.logical_date())
        .bind(ordinal)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(backfill_id)
}

/// Ends a backfill: no more of its runs start, and those that are queued fail. Runs that are running go on.
pub async fn cancel(connection: &mut PgConnection, id: i32, now: DateTime<Utc>) -> Result<()> {
    let mut transaction = connection.begin().await?;
    query("UPDATE backfill SET is_paused = true, completed_at = $2, updated_at = $2 WHERE id = $1")
        .bind(id)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
    let runs: Vec<i32> =
        query_scalar("SELECT dag_run_id FROM backfill_dag_run WHERE backfill_id = $1 AND dag_run_id IS NOT NULL")
            .bind(id)
            .fetch_all(&mut *transaction)
            .await?;
    dag_run::set_state_of_cancelled(&mut transaction, &runs, now).await?;
    Ok(transaction.commit().await?)
}

/// A Dag has one backfill at a time; its row is locked so that two requests cannot both make one.
async fn refuse_second(connection: &mut PgConnection, dag: &Dag) -> Result<()> {
    query("SELECT FROM dag WHERE dag_id = $1 FOR NO KEY UPDATE").bind(&dag.dag_id).execute(&mut *connection).await?;
    let running: bool = query_scalar("SELECT EXISTS (SELECT FROM backfill WHERE dag_id = $1 AND completed_at IS NULL)")
        .bind(&dag.dag_id)
        .fetch_one(connection)
        .await?;
    if running {
        let message = format!("There is already a running backfill for dag {}", dag.dag_id);
        return Err(MetadataError::Conflict(message));
    }
    Ok(())
}

/// The runs that the Dag's timetable has between the dates, in the order in which they shall run.
async fn infos(pool: &PgPool, dag: &Dag, wanted: &NewBackfill, now: DateTime<Utc>) -> Result<Vec<DagRunInfo>> {
    let timetable = timetable_of(dag)?;
    check(dag, &timetable, wanted, now)?;
    let restriction = TimeRestriction { earliest: Some(wanted.from_date), latest: Some(wanted.to_date), catchup: true };
    let mut infos = match timetable.custom() {
        Some(custom) => custom_infos(pool, dag, custom, restriction).await?,
        None => own_infos(dag, &timetable, restriction, now)?,
    };
    infos.retain(|info| info.data_interval.is_some_and(|interval| interval.end < now));
    if wanted.reverse {
        infos.reverse();
    }
    Ok(infos)
}

/// All runs that a timetable of Airflow's own has within the bounds.
fn own_infos(
    dag: &Dag,
    timetable: &Timetable,
    restriction: TimeRestriction,
    now: DateTime<Utc>,
) -> Result<Vec<DagRunInfo>> {
    let mut infos: Vec<DagRunInfo> = Vec::new();
    let next = |last: Option<&DagRunInfo>| {
        let next = timetable.next_dagrun_info(last, restriction, now);
        next.map_err(|error| MetadataError::Invalid(format!("Dag {}: {error}", dag.dag_id)))
    };
    while let Some(info) = next(infos.last())? {
        if infos.len() == MAX_RUNS {
            let message = format!("A backfill of {} cannot have more than {MAX_RUNS} runs.", dag.dag_id);
            return Err(MetadataError::Invalid(message));
        }
        infos.push(info);
    }
    Ok(infos)
}

/// The same of a plugin's timetable. As in Airflow the runs before an error count.
async fn custom_infos(
    pool: &PgPool,
    dag: &Dag,
    custom: &CustomTimetable,
    restriction: TimeRestriction,
) -> Result<Vec<DagRunInfo>> {
    let question =
        RunsBetween { timetable: custom.serialized(), last: None, restriction: restriction.into(), limit: MAX_RUNS };
    let answer = evaluation::ask(pool, &dag.dag_id, question, evaluation::PATIENCE).await?;
    if let Some(error) = answer.error {
        tracing::error!(dag_id = dag.dag_id, %error, traceback = error.traceback, "the timetable failed");
    }
    Ok(answer.runs.into_iter().map(DagRunInfo::from).collect())
}

fn check(dag: &Dag, timetable: &Timetable, wanted: &NewBackfill, now: DateTime<Utc>) -> Result<()> {
    let dag_id = &dag.dag_id;
    let refuse = |message: String| Err(MetadataError::Invalid(message));
    if !timetable.periodic() {
        return refuse(format!("{dag_id} has a non-periodic schedule that does not support backfills"));
    }
    if timetable.partitioned() {
        return refuse(format!("{dag_id} runs by partition, which Tradewind cannot backfill yet"));
    }
    if wanted.from_date > wanted.to_date {
        let (from, to) = (isoformat(&wanted.from_date), isoformat(&wanted.to_date));
        return refuse(format!("from_date ({from}) must not be after to_date ({to})."));
    }
    if wanted.from_date >= now {
        return refuse("Backfill cannot be executed for future dates.".to_owned());
    }
    if dag.depends_on_past() && wanted.reverse {
        let message = "Backfill cannot be run in reverse when the Dag has tasks where depends_on_past=True.";
        return refuse(message.to_owned());
    }
    if dag.depends_on_past() && wanted.reprocess == Reprocess::None {
        let message = "Dag has tasks for which depends_on_past=True. You must set reprocess behavior to reprocess \
                       completed or reprocess failed.";
        return refuse(message.to_owned());
    }
    Ok(())
}

async fn existing(
    connection: &mut PgConnection,
    dag: &Dag,
    infos: &[DagRunInfo],
) -> Result<HashMap<DateTime<Utc>, Existing>> {
    let dates: Vec<DateTime<Utc>> = infos.iter().filter_map(DagRunInfo::logical_date).collect();
    let statement = "SELECT id, run_id, logical_date, state FROM dag_run \
                     WHERE dag_id = $1 AND logical_date = ANY ($2) FOR NO KEY UPDATE";
    let runs: Vec<Existing> = query_as(statement).bind(&dag.dag_id).bind(dates).fetch_all(connection).await?;
    Ok(runs.into_iter().map(|run| (run.logical_date, run)).collect())
}

/// A backfill that is being made.
struct Backfill<'a> {
    id: i32,
    dag: &'a Dag,
    wanted: &'a NewBackfill,
    now: DateTime<Utc>,
}

/// `dag_run.id`, or why there is no run.
type Outcome = std::result::Result<i32, &'static str>;

impl Backfill<'_> {
    /// Makes a run.
    async fn add(&self, connection: &mut PgConnection, info: &DagRunInfo) -> Result<Outcome> {
        let logical_date = info.logical_date();
        let random = || uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let run = NewDagRun {
            run_id: generate_run_id(DagRunType::Backfill, logical_date.is_some(), &info.run_after, random),
            run_type: DagRunType::Backfill,
            state: DagRunState::Queued,
            logical_date,
            data_interval: info.data_interval.map(|interval| (interval.start, interval.end)),
            run_after: info.run_after,
            conf: self.wanted.conf.clone().unwrap_or_else(|| json!({})),
            triggered_by: DagRunTriggeredBy::Backfill,
            triggering_user_name: self.wanted.triggering_user_name.clone(),
            creating_job_id: None,
            backfill_id: Some(self.id),
            partition_key: None,
            partition_date: None,
            note: None,
        };
        match dag_run::create(connection, self.dag, &run, self.now).await {
            Ok(created) => Ok(Ok(created.id)),
            Err(MetadataError::Conflict(_)) => Ok(Err("in flight")),
            Err(error) => Err(error),
        }
    }

    /// Clears a run, which then belongs to the backfill.
    async fn rerun(&self, connection: &mut PgConnection, dags: &Cache, run: &Existing) -> Result<Outcome> {
        let clearing = Clearing {
            dag_id: &self.dag.dag_id,
            run_id: &run.run_id,
            ids: None,
            run_on_latest_version: self.wanted.run_on_latest_version,
            reset_dag_run: true,
        };
        clear(&mut *connection, dags, clearing).await?;
        query(
            "UPDATE dag_run SET backfill_id = $2, run_type = 'backfill', triggered_by = 'BACKFILL', \
             conf = coalesce($3, conf) WHERE id = $1",
        )
        .bind(run.id)
        .bind(self.id)
        .bind(&self.wanted.conf)
        .execute(connection)
        .await?;
        Ok(Ok(run.id))
    }
}
