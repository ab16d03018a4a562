//! Makes the Dag runs that timetables want.

use chrono::{DateTime, Utc};
use rand::distr::{Alphanumeric, SampleString};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row, query, query_scalar};
use tradewind_airflow::evaluation::CreateRun;
use tradewind_metadata::dag_run::{self, NewDagRun};
use tradewind_metadata::{Database, MetadataError, Result, failpoint, serialized_dag};
use tradewind_model::dag::Dag;
use tradewind_model::state::{DagRunState, DagRunTriggeredBy, DagRunType};
use tradewind_model::timetable::custom::CustomTimetable;
use tradewind_model::timetable::{
    AutomatedRun, DagRunInfo, DataInterval, DateRange, RANDOM_TEXT_LENGTH, RunIdParts, TimeRestriction, Timetable,
    next_run,
};

use crate::custom_timetable::Plans;

/// Dags looked at in one transaction.
const BATCH: i64 = 50;

/// Makes the runs that are due. Returns how many were made.
///
/// A Dag whose run cannot be made is logged and passed over: it never keeps others waiting.
pub(crate) async fn create_due_runs(
    database: &Database,
    dags: &serialized_dag::Cache,
    plans: &Plans,
    job_id: i32,
    now: DateTime<Utc>,
) -> Result<usize> {
    query(include_str!("../queries/reopen_dags.sql")).execute(database.pool()).await?;
    let mut created = 0;
    loop {
        let mut transaction = database.pool().begin().await?;
        let due = query(include_str!("../queries/due_dags.sql"))
            .bind(now)
            .bind(BATCH)
            .bind(plans.waiting())
            .fetch_all(&mut *transaction)
            .await?;
        failpoint::reach("run_creation: held").await?;
        for row in &due {
            let due = DueDag::read(row)?;
            created += usize::from(due.create(&mut transaction, dags, plans, job_id, now).await?);
        }
        failpoint::reach("run_creation: written").await?;
        transaction.commit().await?;
        if due.len() < usize::try_from(BATCH).unwrap_or(usize::MAX) {
            return Ok(created);
        }
    }
}

/// When the next run is due; `None` when no Dag waits for time to pass.
pub(crate) async fn next_due(database: &Database, plans: &Plans) -> Result<Option<DateTime<Utc>>> {
    Ok(query_scalar(include_str!("../queries/next_due.sql")).bind(plans.waiting()).fetch_one(database.pool()).await?)
}

struct DueDag {
    dag_id: String,
    info: DagRunInfo,
    may_be_scheduled: bool,
}

impl DueDag {
    fn read(row: &PgRow) -> Result<Self> {
        let start: Option<DateTime<Utc>> = row.try_get("next_dagrun_data_interval_start")?;
        let end: Option<DateTime<Utc>> = row.try_get("next_dagrun_data_interval_end")?;
        Ok(Self {
            dag_id: row.try_get("dag_id")?,
            info: DagRunInfo {
                run_after: row.try_get("next_dagrun_create_after")?,
                data_interval: start.zip(end).map(|(start, end)| DataInterval { start, end }),
                partition_date: row.try_get("next_dagrun_partition_date")?,
                partition_key: row.try_get("next_dagrun_partition_key")?,
            },
            may_be_scheduled: row.try_get("may_be_scheduled")?,
        })
    }

    /// Makes the run and works out the one after. Returns whether a run was made.
    async fn create(
        &self,
        connection: &mut PgConnection,
        dags: &serialized_dag::Cache,
        plans: &Plans,
        job_id: i32,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let dag = match dags.latest(connection, &self.dag_id).await {
            Ok(Some(dag)) => dag,
            Ok(None) => {
                tracing::error!(dag_id = self.dag_id, "the Dag is due but was never serialized");
                set_next_dagrun(connection, &self.dag_id, None).await?;
                return Ok(false);
            }
            Err(error @ MetadataError::Database(_)) => return Err(error),
            Err(error) => {
                tracing::error!(dag_id = self.dag_id, %error, "the Dag is due but cannot be read");
                set_next_dagrun(connection, &self.dag_id, None).await?;
                return Ok(false);
            }
        };
        let timetable = match timetable_of(&dag) {
            Ok(timetable) => timetable,
            Err(error) => {
                tracing::error!(dag_id = self.dag_id, %error, "the timetable cannot be evaluated");
                set_next_dagrun(connection, &self.dag_id, None).await?;
                return Ok(false);
            }
        };
        let Some((run_id, next)) = self.plan(&dag, &timetable, plans, now) else { return Ok(false) };
        let created = match run_id {
            Some(run_id) if self.may_be_scheduled => self.make_run(connection, &dag, run_id, job_id, now).await?,
            _ => false,
        };
        set_next_dagrun(connection, &self.dag_id, next.as_ref()).await?;
        query(include_str!("../queries/set_exceeds_max_active_runs.sql"))
            .bind(&self.dag_id)
            .execute(connection)
            .await?;
        Ok(created)
    }

    /// How the run is called, and which one comes after it; `None` while a plugin has still to say so. A timetable that
    /// fails gives no next run.
    fn plan(
        &self,
        dag: &Dag,
        timetable: &Timetable,
        plans: &Plans,
        now: DateTime<Utc>,
    ) -> Option<(Option<String>, Option<DagRunInfo>)> {
        match timetable.custom() {
            Some(custom) => self.custom_plan(dag, custom, plans),
            None => Some((Some(self.run_id(timetable)), self.next(dag, timetable, now))),
        }
    }

    fn custom_plan(
        &self,
        dag: &Dag,
        custom: &CustomTimetable,
        plans: &Plans,
    ) -> Option<(Option<String>, Option<DagRunInfo>)> {
        let question = CreateRun {
            timetable: custom.serialized(),
            due: (&self.info).into(),
            restriction: restriction_of(dag).into(),
        };
        let dag_id = &self.dag_id;
        let answer = match plans.take(dag_id, &question)? {
            Ok(answer) => answer,
            Err(error) => {
                let traceback = &error.traceback;
                tracing::error!(dag_id, %error, traceback, "no run is made, because the timetable failed");
                return Some((None, None));
            }
        };
        if let Some(error) = &answer.next.error {
            tracing::error!(dag_id, %error, traceback = error.traceback, "the timetable gives no next run");
        }
        let next = answer.next.run.map(DagRunInfo::from);
        if next
            .as_ref()
            .is_some_and(|next| next.run_after == self.info.run_after && next.data_interval == self.info.data_interval)
        {
            tracing::error!(dag_id, "the timetable gives the same run again; the Dag has no next run");
            return Some((Some(answer.run_id), None));
        }
        Some((Some(answer.run_id), next))
    }

    fn run_id(&self, timetable: &Timetable) -> String {
        let parts = RunIdParts {
            run_type: DagRunType::Scheduled,
            run_after: &self.info.run_after,
            partition_key: self.info.partition_key.as_deref(),
        };
        timetable.generate_run_id(parts, || Alphanumeric.sample_string(&mut rand::rng(), RANDOM_TEXT_LENGTH))
    }

    async fn make_run(
        &self,
        connection: &mut PgConnection,
        dag: &Dag,
        run_id: String,
        job_id: i32,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let run = NewDagRun {
            run_id,
            run_type: DagRunType::Scheduled,
            state: DagRunState::Queued,
            logical_date: self.info.logical_date(),
            data_interval: self.info.data_interval.map(|interval| (interval.start, interval.end)),
            run_after: self.info.run_after,
            conf: Value::Null,
            triggered_by: DagRunTriggeredBy::Timetable,
            triggering_user_name: None,
            creating_job_id: Some(job_id),
            backfill_id: None,
            partition_key: self.info.partition_key.clone(),
            partition_date: self.info.partition_date,
            note: None,
        };
        match dag_run::create(connection, dag, &run, now).await {
            Ok(_) => Ok(true),
            Err(MetadataError::Conflict(detail)) => {
                tracing::warn!(dag_id = self.dag_id, run_id = run.run_id, detail, "the run exists already");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The run after this one.
    fn next(&self, dag: &Dag, timetable: &Timetable, now: DateTime<Utc>) -> Option<DagRunInfo> {
        let last = AutomatedRun {
            run_after: self.info.run_after,
            data_interval: self.info.data_interval,
            partition_key: self.info.partition_key.clone(),
        };
        next_run(timetable, restriction_of(dag), Some(&last), now).unwrap_or_else(|error| {
            tracing::error!(dag_id = self.dag_id, %error, "the timetable gives no next run");
            None
        })
    }
}

async fn set_next_dagrun(connection: &mut PgConnection, dag_id: &str, next: Option<&DagRunInfo>) -> Result<()> {
    let interval = next.and_then(|next| next.data_interval);
    query(include_str!("../queries/set_next_dagrun.sql"))
        .bind(dag_id)
        .bind(next.and_then(DagRunInfo::logical_date))
        .bind(interval.map(|interval| interval.start))
        .bind(interval.map(|interval| interval.end))
        .bind(next.and_then(|next| next.partition_key.as_deref()))
        .bind(next.and_then(|next| next.partition_date))
        .bind(next.map(|next| next.run_after))
        .execute(connection)
        .await?;
    Ok(())
}

/// The timetable of a Dag.
pub(crate) fn timetable_of(dag: &Dag) -> Result<Timetable, tradewind_model::timetable::TimetableError> {
    let spec = &dag.settings.timetable;
    Timetable::from_serialized(&serde_json::json!({"__type": spec.type_name, "__var": spec.vars}))
}

/// The bounds that the Dag and its tasks set to runs.
fn restriction_of(dag: &Dag) -> TimeRestriction {
    let own = DateRange { start: dag.settings.start_date, end: dag.settings.end_date };
    let tasks = dag.tasks().map(|(_, task)| DateRange { start: task.start_date, end: task.end_date });
    TimeRestriction::of_dag(own, dag.settings.catchup, tasks)
}
