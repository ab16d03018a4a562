//! What the scheduling step must know of a Dag run: a handful of statements, whatever the run's size.
//!
//! The scheduler holds the run meanwhile; who only explains why it waits does not.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row, query, query_scalar};
use tradewind_model::dag::Dag;
use tradewind_model::scheduling::{
    PreviousRunFacts, PreviousTask, RunFacts, SkipDecision, TaskInstanceFacts, XComFacts, xcom_needs,
};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use crate::task_instance::RunIdentity;
use crate::{MetadataError, Result};

/// The part that both ways of reading a run share.
macro_rules! run_where {
    ($condition:literal) => {
        concat!(include_str!("../queries/run_facts/run.sql"), $condition)
    };
}

/// A Dag run as the database has it, with what its Dag adds.
#[derive(Debug)]
pub struct StoredRun {
    /// `dag_run.id`.
    pub id: i32,
    /// Its Dag.
    pub dag_id: String,
    /// What the step must know.
    pub facts: RunFacts,
    /// It does not start before.
    pub run_after: DateTime<Utc>,
    /// The bundle version that it is pinned to.
    pub bundle_version: Option<String>,
    /// The version of the Dag that it was made with, and the hash of its document, where there is one.
    created: Option<(Uuid, Option<String>)>,
    /// The same of the newest version.
    latest: Option<(Uuid, Option<String>)>,
    /// Its OpenTelemetry context.
    pub context_carrier: Option<Value>,
    /// The backfill that it belongs to.
    pub backfill_id: Option<i32>,
    /// When a scheduler last decided on it.
    pub last_decision_at: Option<DateTime<Utc>>,
    /// A user stopped the Dag.
    pub is_paused: bool,
    /// The Dag is gone from its file.
    pub is_stale: bool,
}

impl StoredRun {
    /// Takes hold of a running run for the transaction; `None` when it is not running, another scheduler holds it, or one
    /// has decided on it since.
    pub async fn take(connection: &mut PgConnection, id: i32, since: Option<DateTime<Utc>>) -> Result<Option<Self>> {
        let statement = run_where!(
            " WHERE dag_run.id = $1 AND dag_run.state = 'running' \
             AND ($2::timestamptz IS NULL OR dag_run.last_scheduling_decision IS NULL \
                 OR dag_run.last_scheduling_decision < $2) \
             FOR NO KEY UPDATE OF dag_run SKIP LOCKED"
        );
        let row = query(statement).bind(id).bind(since).fetch_optional(connection).await?;
        row.map(|row| Self::read(&row)).transpose()
    }

    /// Reads a run in any state, without holding it; `None` when there is no such run.
    pub async fn find(connection: &mut PgConnection, dag_id: &str, run_id: &str) -> Result<Option<Self>> {
        let statement = run_where!(" WHERE dag_run.dag_id = $1 AND dag_run.run_id = $2");
        let row = query(statement).bind(dag_id).bind(run_id).fetch_optional(connection).await?;
        row.map(|row| Self::read(&row)).transpose()
    }

    fn read(row: &PgRow) -> Result<Self> {
        let facts = RunFacts {
            run_id: row.try_get("run_id")?,
            run_type: parse(row, "run_type")?,
            state: parse(row, "state")?,
            logical_date: row.try_get("logical_date")?,
            start_date: row.try_get("start_date")?,
            is_first_of_backfill: row.try_get("is_first_of_backfill")?,
        };
        Ok(Self {
            id: row.try_get("id")?,
            dag_id: row.try_get("dag_id")?,
            facts,
            bundle_version: row.try_get("bundle_version")?,
            created: version(row, "created_dag_version_id", "created_dag_hash")?,
            latest: version(row, "latest_dag_version_id", "latest_dag_hash")?,
            context_carrier: row.try_get("context_carrier")?,
            backfill_id: row.try_get("backfill_id")?,
            run_after: row.try_get("run_after")?,
            last_decision_at: row.try_get("last_scheduling_decision")?,
            is_paused: row.try_get("is_paused")?,
            is_stale: row.try_get("is_stale")?,
        })
    }

    /// Nothing new is started while the Dag is paused or gone from its file.
    pub fn is_suspended(&self) -> bool {
        self.is_paused || self.is_stale
    }

    /// The version of the Dag that the run is scheduled by, with the hash of its document: the one it was made with when it
    /// is pinned to a bundle version, the newest otherwise.
    pub fn dag_version(&self) -> Option<(Uuid, Option<&str>)> {
        let version = if self.bundle_version.is_some() {
            self.created.as_ref().or(self.latest.as_ref())
        } else {
            self.latest.as_ref()
        };
        version.map(|(id, hash)| (*id, hash.as_deref()))
    }

    /// The run as its task instances name it.
    pub fn identity(&self, dag_version_id: Uuid) -> RunIdentity<'_> {
        RunIdentity {
            run_id: &self.facts.run_id,
            dag_version_id: Some(dag_version_id),
            context_carrier: self.context_carrier.as_ref(),
        }
    }

    /// Every task instance of the run, and the Dag versions they belong to.
    pub async fn task_instances(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(Vec<TaskInstanceFacts>, HashSet<Option<Uuid>>)> {
        // Row by row: there may be tens of thousands.
        let mut rows = query(include_str!("../queries/run_facts/task_instances.sql"))
            .bind(&self.dag_id)
            .bind(&self.facts.run_id)
            .fetch(connection);
        let (mut facts, mut versions) = (Vec::new(), HashSet::new());
        while let Some(row) = rows.try_next().await? {
            versions.insert(row.try_get("dag_version_id")?);
            facts.push(task_instance(&row)?);
        }
        Ok((facts, versions))
    }

    /// What the step asks for of XComs: nothing at all for most runs.
    pub async fn xcoms(
        &self,
        connection: &mut PgConnection,
        dag: &Dag,
        task_instances: &[TaskInstanceFacts],
    ) -> Result<XComFacts> {
        let needs = xcom_needs(dag, task_instances);
        let mut facts = XComFacts::default();
        if !needs.task_map_lengths.is_empty() {
            let rows = query(include_str!("../queries/run_facts/task_map_lengths.sql"))
                .bind(&self.dag_id)
                .bind(&self.facts.run_id)
                .bind(&needs.task_map_lengths)
                .fetch_all(&mut *connection)
                .await?;
            facts.task_map_lengths = lengths(&rows)?;
        }
        if !needs.return_value_counts.is_empty() {
            let rows = query(include_str!("../queries/run_facts/return_value_counts.sql"))
                .bind(self.id)
                .bind(&needs.return_value_counts)
                .fetch_all(&mut *connection)
                .await?;
            facts.return_value_counts = lengths(&rows)?;
        }
        if !needs.skip_decisions.is_empty() {
            let rows = query(include_str!("../queries/run_facts/skip_decisions.sql"))
                .bind(self.id)
                .bind(&needs.skip_decisions)
                .fetch_all(connection)
                .await?;
            facts.skip_decisions =
                rows.iter().filter_map(|row| skip_decision(row).transpose()).collect::<Result<_>>()?;
        }
        Ok(facts)
    }

    /// The run before, when a task depends on it.
    pub async fn previous(&self, connection: &mut PgConnection, dag: &Dag) -> Result<Option<PreviousRunFacts>> {
        let Some(logical_date) = self.facts.logical_date.filter(|_| dag.depends_on_past()) else { return Ok(None) };
        let row = query(include_str!("../queries/run_facts/previous_run.sql"))
            .bind(&self.dag_id)
            .bind(logical_date)
            .bind(!dag.settings.catchup)
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let run_id: String = row.try_get("run_id")?;
        let tasks = query(include_str!("../queries/run_facts/previous_tasks.sql"))
            .bind(&self.dag_id)
            .bind(&run_id)
            .fetch_all(&mut *connection)
            .await?;
        let tasks = tasks.iter().map(previous_task).collect::<Result<HashMap<_, _>>>()?;
        let unsure: Vec<&str> = dag
            .tasks()
            .filter(|(_, task)| task.ignore_first_depends_on_past && !tasks.contains_key(&task.task_id))
            .map(|(_, task)| task.task_id.as_str())
            .collect();
        let seen_before = if unsure.is_empty() {
            HashSet::new()
        } else {
            let seen: Vec<String> = query_scalar(include_str!("../queries/run_facts/seen_before.sql"))
                .bind(&self.dag_id)
                .bind(logical_date)
                .bind(&unsure)
                .fetch_all(connection)
                .await?;
            seen.into_iter().collect()
        };
        Ok(Some(PreviousRunFacts { run_id, logical_date: row.try_get("logical_date")?, tasks, seen_before }))
    }
}

fn version(row: &PgRow, id: &str, hash: &str) -> Result<Option<(Uuid, Option<String>)>> {
    let id: Option<Uuid> = row.try_get(id)?;
    let hash: Option<String> = row.try_get(hash)?;
    Ok(id.map(|id| (id, hash)))
}

fn task_instance(row: &PgRow) -> Result<TaskInstanceFacts> {
    Ok(TaskInstanceFacts {
        id: row.try_get("id")?,
        task_id: row.try_get("task_id")?,
        map_index: row.try_get("map_index")?,
        state: state(row)?,
        try_number: row.try_get("try_number")?,
        max_tries: row.try_get("max_tries")?,
        start_date: row.try_get("start_date")?,
        end_date: row.try_get("end_date")?,
        next_reschedule_at: row.try_get::<Option<DateTime<Utc>>, _>("next_reschedule_at")?,
        retry_delay_override: row.try_get("retry_delay_override")?,
    })
}

fn state(row: &PgRow) -> Result<Option<TaskInstanceState>> {
    let text: Option<String> = row.try_get("state")?;
    text.map(|text| text.parse().map_err(corrupt)).transpose()
}

fn parse<T: std::str::FromStr<Err: ToString>>(row: &PgRow, column: &str) -> Result<T> {
    row.try_get::<String, _>(column)?.parse().map_err(corrupt)
}

fn corrupt(error: impl ToString) -> MetadataError {
    MetadataError::Corrupt(error.to_string())
}

fn lengths(rows: &[PgRow]) -> Result<HashMap<String, u64>> {
    rows.iter()
        .map(|row| {
            let length: i64 = row.try_get("length")?;
            Ok((row.try_get("task_id")?, u64::try_from(length).map_err(corrupt)?))
        })
        .collect()
}

fn previous_task(row: &PgRow) -> Result<(String, PreviousTask)> {
    let count = |column: &str| u64::try_from(row.try_get::<i64, _>(column)?).map_err(corrupt);
    Ok((row.try_get("task_id")?, PreviousTask { total: count("total")?, unsuccessful: count("unsuccessful")? }))
}

/// Reads the XCom in which an operator says what it skips: `{"followed": […]}` or `{"skipped": […]}`, as JSON text or
/// as JSON (`airflow/sdk/bases/skipmixin.py`).
fn skip_decision(row: &PgRow) -> Result<Option<((String, i32), SkipDecision)>> {
    let value: Option<Value> = row.try_get("value")?;
    let value = match value {
        Some(Value::String(text)) => serde_json::from_str(&text).map_err(corrupt)?,
        Some(value) => value,
        None => return Ok(None),
    };
    let tasks = |key: &str| -> Option<HashSet<String>> {
        Some(value.get(key)?.as_array()?.iter().filter_map(|task| task.as_str().map(str::to_owned)).collect())
    };
    let decision = match (tasks("followed"), tasks("skipped")) {
        (Some(followed), _) => SkipDecision::Followed(followed),
        (None, Some(skipped)) => SkipDecision::Skipped(skipped),
        (None, None) => return Ok(None),
    };
    Ok(Some(((row.try_get("task_id")?, row.try_get("map_index")?), decision)))
}
