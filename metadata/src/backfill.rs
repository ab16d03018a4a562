//! Backfills: runs of a Dag for dates in the past.
//!
//! Source: `airflow/models/backfill.py`.

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::{DateTime, FixedOffset, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, FromRow, PgConnection, PgPool, query, query_as, query_scalar};
use tradewind_airflow::evaluation::BackfillRuns;
use tradewind_model::dag::Dag;
use tradewind_model::state::{DagRunState, DagRunTriggeredBy, DagRunType};
use tradewind_model::timetable::custom::CustomTimetable;
use tradewind_model::timetable::{DagRunInfo, RunIdParts, TimeRestriction, Timetable, generate_run_id, isoformat};

use crate::clear::{Clearing, clear};
use crate::dag_run::{self, NewDagRun};
use crate::dag_run_trigger::timetable_of;
use crate::serialized_dag::Cache;
use crate::{MetadataError, Result, evaluation};

/// The runs of a backfill at most: they are made in one transaction, while the user waits. More are a mistake, such as a
/// date in the wrong century. A timetable is asked for one more, which tells that there are too many.
const MAX_RUNS: usize = 10_000;

/// What to do with dates that have a run. A partition's run stays as it is; where a date's run would be cleared, the
/// partition gets another one.
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
    /// The first logical date or date of a partition. Of the latter, the clock on the wall counts, not the offset.
    pub from_date: DateTime<FixedOffset>,
    /// The last one.
    pub to_date: DateTime<FixedOffset>,
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

/// A run that the backfill wants.
struct Planned {
    info: DagRunInfo,
    /// The id that a plugin's timetable gives it; none: it is made up here.
    run_id: Option<String>,
}

impl Planned {
    /// Whether the run is that of a partition.
    fn has_partition(&self) -> bool {
        self.info.partition_key.as_deref().is_some_and(|key| !key.is_empty())
    }

    /// By what the run is known among those that exist: a partition by its date, which stays when keys are written in
    /// another way.
    fn identity(&self) -> Option<Identity> {
        let DagRunInfo { partition_date, partition_key, .. } = &self.info;
        let of_partition = partition_date.map(Identity::PartitionDate);
        let of_date = self.info.logical_date().map(Identity::LogicalDate);
        of_partition.or(of_date).or_else(|| partition_key.clone().map(Identity::PartitionKey))
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Identity {
    LogicalDate(DateTime<Utc>),
    PartitionDate(DateTime<Utc>),
    PartitionKey(String),
}

/// A run of the Dag that exists.
#[derive(FromRow)]
struct Existing {
    id: i32,
    run_id: String,
    logical_date: Option<DateTime<Utc>>,
    partition_date: Option<DateTime<Utc>>,
    partition_key: Option<String>,
    start_date: Option<DateTime<Utc>>,
    state: String,
}

impl Existing {
    /// Why the run stays as it is; none: it is cleared, or another one of its partition is made.
    fn stays(&self, reprocess: Reprocess) -> Option<&'static str> {
        match (self.state.as_str(), reprocess) {
            ("success" | "failed", Reprocess::Completed) | ("failed", Reprocess::Failed) => None,
            ("success" | "failed", _) => Some("already exists"),
            _ => Some("in flight"),
        }
    }
}

/// The runs that exist, of each date or partition the one that started last.
struct ExistingRuns {
    runs: Vec<Existing>,
    places: HashMap<Identity, usize>,
}

impl ExistingRuns {
    /// Reads them.
    async fn load(connection: &mut PgConnection, dag: &Dag, planned: &[Planned]) -> Result<Self> {
        Self::select(connection, include_str!("../queries/backfill/existing.sql"), dag, planned).await
    }

    /// Holds them so that nobody else changes them meanwhile. This comes before the Dag is held: a scheduler holds a run
    /// when it ends it, and changes the Dag then.
    async fn lock(connection: &mut PgConnection, dag: &Dag, planned: &[Planned]) -> Result<Self> {
        let statement = concat!(include_str!("../queries/backfill/existing.sql"), "FOR NO KEY UPDATE");
        Self::select(connection, statement, dag, planned).await
    }

    async fn select(
        connection: &mut PgConnection,
        statement: &'static str,
        dag: &Dag,
        planned: &[Planned],
    ) -> Result<Self> {
        let (mut dates, mut partition_dates, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for identity in planned.iter().filter_map(Planned::identity) {
            match identity {
                Identity::LogicalDate(date) => dates.push(date),
                Identity::PartitionDate(date) => partition_dates.push(date),
                Identity::PartitionKey(key) => keys.push(key),
            }
        }
        let mut runs: Vec<Existing> = query_as(statement)
            .bind(&dag.dag_id)
            .bind(dates)
            .bind(partition_dates)
            .bind(keys)
            .fetch_all(connection)
            .await?;
        runs.sort_by_key(|run| (run.start_date.is_none(), Reverse(run.start_date), Reverse(run.id)));
        let mut places = HashMap::new();
        for (place, run) in runs.iter().enumerate() {
            let of_date = run.logical_date.map(Identity::LogicalDate);
            let of_partition = run.partition_date.map(Identity::PartitionDate);
            let of_key = run.partition_key.clone().map(Identity::PartitionKey);
            for identity in [of_date, of_partition, of_key].into_iter().flatten() {
                places.entry(identity).or_insert(place);
            }
        }
        Ok(Self { runs, places })
    }

    fn of(&self, planned: &Planned) -> Option<&Existing> {
        self.places.get(&planned.identity()?).map(|place| &self.runs[*place])
    }
}

/// The dates or partitions that the backfill would run.
///
/// # Errors
/// [`MetadataError::Invalid`] when the Dag or the dates do not allow it.
pub async fn preview(pool: &PgPool, dag: &Dag, wanted: &NewBackfill, now: DateTime<Utc>) -> Result<Vec<DagRunInfo>> {
    let mut planned = plan(pool, dag, wanted, now).await?;
    let existing = ExistingRuns::load(&mut *pool.acquire().await?, dag, &planned).await?;
    planned.retain(|planned| existing.of(planned).is_none_or(|run| run.stays(wanted.reprocess).is_none()));
    Ok(planned.into_iter().map(|planned| planned.info).collect())
}

/// Makes the backfill with its runs and returns its id. `dag` is the newest version.
///
/// # Errors
/// [`MetadataError::Invalid`] when the Dag or the dates do not allow it, [`MetadataError::Conflict`] when a backfill of
/// the Dag is going on.
pub async fn create(pool: &PgPool, dags: &Cache, dag: &Dag, wanted: &NewBackfill, now: DateTime<Utc>) -> Result<i32> {
    refuse_second(&mut *pool.acquire().await?, dag).await?;
    let planned = plan(pool, dag, wanted, now).await?;
    let mut transaction = pool.begin().await?;
    let existing = ExistingRuns::lock(&mut transaction, dag, &planned).await?;
    refuse_second(&mut transaction, dag).await?;
    if planned.is_empty() {
        return Err(MetadataError::Invalid(format!(
            "No runs to create for Dag {} in the range [{}, {}]",
            dag.dag_id,
            isoformat(&wanted.from_date).replace('T', " "),
            isoformat(&wanted.to_date).replace('T', " ")
        )));
    }
    let backfill_id: i32 = query_scalar(include_str!("../queries/backfill/insert.sql"))
        .bind(&dag.dag_id)
        .bind(wanted.from_date.to_utc())
        .bind(wanted.to_date.to_utc())
        .bind(wanted.conf.as_ref().unwrap_or(&Value::Null))
        .bind(wanted.reprocess.as_str())
        .bind(wanted.max_active_runs)
        .bind(now)
        .bind(&wanted.triggering_user_name)
        .fetch_one(&mut *transaction)
        .await?;
    let backfill = Backfill { id: backfill_id, dag, timetable: timetable_of(dag)?, wanted, now };
    for (planned, ordinal) in planned.iter().zip(1..) {
        let run = existing.of(planned);
        let outcome = match run.map(|run| (run, run.stays(wanted.reprocess))) {
            Some((_, Some(reason))) => Err(reason),
            Some((run, None)) if !planned.has_partition() => backfill.rerun(&mut transaction, dags, run).await?,
            _ => backfill.add(&mut transaction, planned).await?,
        };
        query(
            "INSERT INTO backfill_dag_run \
             (backfill_id, dag_run_id, exception_reason, logical_date, partition_key, sort_ordinal) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(backfill_id)
        .bind(outcome.ok())
        .bind(outcome.err())
        .bind(planned.info.logical_date())
        .bind(&planned.info.partition_key)
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
async fn plan(pool: &PgPool, dag: &Dag, wanted: &NewBackfill, now: DateTime<Utc>) -> Result<Vec<Planned>> {
    let timetable = timetable_of(dag)?;
    check(dag, &timetable, wanted, now)?;
    let (mut planned, partitioned) = match timetable.custom() {
        Some(custom) => custom_runs(pool, dag, custom, wanted).await?,
        None => (own_runs(dag, &timetable, wanted, now)?, timetable.partitioned()),
    };
    if planned.len() > MAX_RUNS {
        let message = format!("A backfill of {} cannot have more than {MAX_RUNS} runs.", dag.dag_id);
        return Err(MetadataError::Invalid(message));
    }
    if !partitioned {
        planned.retain(|run| run.info.data_interval.is_some_and(|interval| interval.end < now));
    }
    let by_partition = planned.first().is_some_and(Planned::has_partition);
    let fits =
        |run: &Planned| run.has_partition() == by_partition && (by_partition || run.info.data_interval.is_some());
    if !planned.iter().all(fits) {
        let message =
            format!("The timetable of {} does not say of every run which date or partition it is", dag.dag_id);
        return Err(MetadataError::Invalid(message));
    }
    if wanted.reverse {
        planned.reverse();
    }
    Ok(planned)
}

/// The runs that a timetable of Airflow's own has within the bounds: all, or one more than there may be.
fn own_runs(dag: &Dag, timetable: &Timetable, wanted: &NewBackfill, now: DateTime<Utc>) -> Result<Vec<Planned>> {
    let failed = |error| MetadataError::Invalid(format!("Dag {}: {error}", dag.dag_id));
    let infos = if timetable.partitioned() {
        timetable.partition_runs_between(wanted.from_date, wanted.to_date, MAX_RUNS + 1).map_err(failed)?
    } else {
        let (earliest, latest) = (Some(wanted.from_date.to_utc()), Some(wanted.to_date.to_utc()));
        let restriction = TimeRestriction { earliest, latest, catchup: true };
        let mut infos: Vec<DagRunInfo> = Vec::new();
        while infos.len() <= MAX_RUNS
            && let Some(info) = timetable.next_dagrun_info(infos.last(), restriction, now).map_err(failed)?
        {
            infos.push(info);
        }
        infos
    };
    Ok(infos.into_iter().map(|info| Planned { info, run_id: None }).collect())
}

/// The same of a plugin's timetable, and whether they are partitions. As in Airflow dates before an error count, of
/// partitions none does.
async fn custom_runs(
    pool: &PgPool,
    dag: &Dag,
    custom: &CustomTimetable,
    wanted: &NewBackfill,
) -> Result<(Vec<Planned>, bool)> {
    let question = BackfillRuns {
        timetable: custom.serialized(),
        earliest: wanted.from_date,
        latest: wanted.to_date,
        limit: MAX_RUNS + 1,
    };
    let answer = evaluation::ask(pool, &dag.dag_id, question, evaluation::PATIENCE).await?;
    if !answer.periodic {
        return Err(not_periodic(dag));
    }
    if let Some(error) = answer.error {
        tracing::error!(dag_id = dag.dag_id, %error, traceback = error.traceback, "the timetable failed");
    }
    let mut run_ids = answer.run_ids.into_iter();
    let infos = answer.runs.into_iter().map(DagRunInfo::from);
    Ok((infos.map(|info| Planned { info, run_id: run_ids.next() }).collect(), answer.partitioned))
}

fn not_periodic(dag: &Dag) -> MetadataError {
    MetadataError::Invalid(format!("{} has a non-periodic schedule that does not support backfills", dag.dag_id))
}

fn check(dag: &Dag, timetable: &Timetable, wanted: &NewBackfill, now: DateTime<Utc>) -> Result<()> {
    let refuse = |message: String| Err(MetadataError::Invalid(message));
    if !timetable.periodic() {
        return Err(not_periodic(dag));
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

/// A backfill that is being made.
struct Backfill<'a> {
    id: i32,
    dag: &'a Dag,
    timetable: Timetable,
    wanted: &'a NewBackfill,
    now: DateTime<Utc>,
}

/// `dag_run.id`, or why there is no run.
type Outcome = std::result::Result<i32, &'static str>;

impl Backfill<'_> {
    /// Makes a run.
    async fn add(&self, connection: &mut PgConnection, planned: &Planned) -> Result<Outcome> {
        let info = &planned.info;
        let logical_date = info.logical_date();
        let run = NewDagRun {
            run_id: planned.run_id.clone().unwrap_or_else(|| self.run_id(planned)),
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
            partition_key: info.partition_key.clone(),
            partition_date: info.partition_date,
            note: None,
        };
        match dag_run::create(connection, self.dag, &run, self.now).await {
            Ok(created) => Ok(Ok(created.id)),
            Err(MetadataError::Conflict(_)) => Ok(Err("in flight")),
            Err(error) => Err(error),
        }
    }

    fn run_id(&self, planned: &Planned) -> String {
        let DagRunInfo { run_after, partition_key, .. } = &planned.info;
        let random = || uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        if planned.has_partition() {
            let parts =
                RunIdParts { run_type: DagRunType::Backfill, run_after, partition_key: partition_key.as_deref() };
            return self.timetable.generate_run_id(parts, random);
        }
        generate_run_id(DagRunType::Backfill, planned.info.logical_date().is_some(), run_after, random)
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
