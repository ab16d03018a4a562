//! The version of its Dag that a run follows, and the task instances that it must have for that.
//!
//! Source: `DagRun.verify_integrity`, `_verify_integrity_if_dag_changed` of the scheduler and
//! `_update_dagrun_to_latest_version` in `airflow/models/taskinstance.py`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, query, query_as, query_scalar};
use tradewind_model::dag::Dag;
use tradewind_model::scheduling::{RunFacts, TaskInstanceFacts, verify_integrity};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use crate::task_instance::{self, New, RunIdentity, Transition, transition_silently};
use crate::{MetadataError, Result, output_length};

const REMOVED: Option<TaskInstanceState> = Some(TaskInstanceState::Removed);

/// A run whose task instances are brought to a version of its Dag.
#[derive(Debug)]
pub struct VersionedRun<'a> {
    /// `dag_run.id`.
    pub id: i32,
    /// What the model must know of it.
    pub facts: &'a RunFacts,
    /// Its OpenTelemetry context, which new task instances share.
    pub context_carrier: Option<&'a Value>,
}

#[derive(FromRow)]
struct Instance {
    id: Uuid,
    task_id: String,
    map_index: i32,
    state: Option<String>,
}

/// The newest version of a Dag; none when it was never serialized.
pub async fn latest(connection: &mut PgConnection, dag_id: &str) -> Result<Option<Uuid>> {
    let statement = "SELECT id FROM dag_version WHERE dag_id = $1 ORDER BY version_number DESC LIMIT 1";
    Ok(query_scalar(statement).bind(dag_id).fetch_optional(connection).await?)
}

/// Whether a task instance of the run, or one of its earlier attempts, belongs to the version: then the run is up to
/// date with it.
pub async fn is_known(connection: &mut PgConnection, dag_id: &str, run_id: &str, version: Uuid) -> Result<bool> {
    let known = query_scalar(include_str!("../queries/dag_run_version/is_known.sql"))
        .bind(dag_id)
        .bind(run_id)
        .bind(version)
        .fetch_one(connection)
        .await?;
    Ok(known)
}

/// Lets the attempts that are under way belong to the version. Task instances that have no state keep theirs, as in
/// Airflow: they move when they are looked at for the first time.
pub async fn move_unfinished(connection: &mut PgConnection, dag_id: &str, run_id: &str, version: Uuid) -> Result<()> {
    query(include_str!("../queries/dag_run_version/move_unfinished.sql"))
        .bind(dag_id)
        .bind(run_id)
        .bind(version)
        .bind(TaskInstanceState::FINISHED.iter().map(|state| state.as_str()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes the task instances that are new in the version of the Dag, restores those that are back and removes those that
/// are gone; what is gone stays while the run is running.
pub async fn verify(
    connection: &mut PgConnection,
    dag: &Dag,
    run: &VersionedRun<'_>,
    version: Uuid,
    now: DateTime<Utc>,
) -> Result<()> {
    let instances: Vec<Instance> =
        query_as("SELECT id, task_id, map_index, state FROM task_instance WHERE dag_id = $1 AND run_id = $2")
            .bind(&dag.dag_id)
            .bind(&run.facts.run_id)
            .fetch_all(&mut *connection)
            .await?;
    let instances = instances.into_iter().map(Instance::facts).collect::<Result<Vec<_>>>()?;
    let xcoms = output_length::facts(connection, dag, run.id, &run.facts.run_id).await?;
    let integrity = verify_integrity(dag, run.facts, &instances, &xcoms);
    let remove = integrity.remove.iter().map(|(id, from)| Transition::new(*id, &[*from], REMOVED));
    let restore = integrity.restore.iter().map(|id| Transition::new(*id, &[REMOVED], None));
    transition_silently(connection, &remove.chain(restore).collect::<Vec<_>>()).await?;
    let identity =
        RunIdentity { run_id: &run.facts.run_id, dag_version_id: Some(version), context_carrier: run.context_carrier };
    let new: Vec<New> = integrity.create.into_iter().map(New::from).collect();
    task_instance::create(connection, dag, &identity, &new, now).await
}

impl Instance {
    fn facts(self) -> Result<TaskInstanceFacts> {
        let state = self.state.as_deref().map(str::parse).transpose();
        Ok(TaskInstanceFacts {
            id: self.id,
            task_id: self.task_id,
            map_index: self.map_index,
            state: state.map_err(|error| MetadataError::Corrupt(format!("task_instance {}: {error}", self.id)))?,
            try_number: 0,
            max_tries: 0,
            start_date: None,
            end_date: None,
            next_reschedule_at: None,
            retry_delay_override: None,
        })
    }
}
