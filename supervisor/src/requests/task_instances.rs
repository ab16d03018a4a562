//! Task instances: the asking one and others.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use tradewind_airflow::supervisor_protocol::response::ErrorResponse;
use tradewind_airflow::supervisor_protocol::to_supervisor::{
    GetPreviousTI, GetTICount, GetTaskBreadcrumbs, GetTaskStates, SetRenderedFields, SetRenderedMapIndex,
};
use tradewind_metadata::attempt::{self, AttemptError};
use tradewind_metadata::rendered_fields;
use tradewind_metadata::task_instance_lookup::{self, TaskInstanceFilter};
use uuid::Uuid;

use super::refusal::{of_attempt, of_metadata};
use super::{Answer, body};

macro_rules! filter_of {
    ($asked:expr) => {
        TaskInstanceFilter {
            dag_id: &$asked.dag_id,
            // The official client leaves a negative index out.
            map_index: $asked.map_index.filter(|index| *index >= 0),
            task_ids: $asked.task_ids.as_deref().unwrap_or_default(),
            task_group_id: $asked.task_group_id.as_deref().filter(|group| !group.is_empty()),
            logical_dates: $asked.logical_dates.as_deref().unwrap_or_default(),
            run_ids: $asked.run_ids.as_deref().unwrap_or_default(),
        }
    };
}

pub(super) async fn previous(connection: &mut PgConnection, asked: GetPreviousTI) -> Answer {
    let found = task_instance_lookup::previous(
        connection,
        &asked.dag_id,
        &asked.task_id,
        asked.map_index,
        asked.logical_date,
        asked.state.as_deref(),
    )
    .await
    .map_err(of_metadata)?;
    body("PreviousTIResult", json!({"task_instance": found}))
}

pub(super) async fn count(connection: &mut PgConnection, asked: GetTICount) -> Answer {
    let states = asked.states.as_deref().unwrap_or_default();
    let count = task_instance_lookup::count(connection, filter_of!(asked), states).await.map_err(of_metadata)?;
    body("TICount", json!({"count": count}))
}

/// States by run, then by task; a mapped task instance goes by task id and index.
pub(super) async fn states(connection: &mut PgConnection, asked: GetTaskStates) -> Answer {
    let found = task_instance_lookup::states(connection, filter_of!(asked)).await.map_err(of_metadata)?;
    let mut runs: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for found in found {
        let name = if found.map_index < 0 { found.task_id } else { format!("{}_{}", found.task_id, found.map_index) };
        runs.entry(found.run_id).or_default().insert(name, json!(found.state));
    }
    body("TaskStatesResult", json!({"task_states": runs}))
}

pub(super) async fn breadcrumbs(connection: &mut PgConnection, asked: GetTaskBreadcrumbs) -> Answer {
    let breadcrumbs =
        task_instance_lookup::breadcrumbs(connection, &asked.dag_id, &asked.run_id).await.map_err(of_metadata)?;
    body("TaskBreadcrumbsResult", json!({"breadcrumbs": breadcrumbs}))
}

pub(super) async fn first_reschedule(connection: &mut PgConnection, id: Uuid) -> Answer {
    let date = task_instance_lookup::first_reschedule(connection, id).await.map_err(of_metadata)?;
    body("TaskRescheduleStartDate", json!({"start_date": date}))
}

/// An attempt that was retried or cleared meanwhile may still send its fields; they are dropped.
pub(super) async fn set_rendered_fields(
    connection: &mut PgConnection,
    id: Uuid,
    asked: SetRenderedFields,
    runs_to_keep: i64,
) -> Answer {
    let fields = Value::Object(asked.rendered_fields);
    if rendered_fields::set(connection, id, &fields, runs_to_keep).await.map_err(of_metadata)?
        || attempt::is_archived(connection, id).await.map_err(of_attempt)?
    {
        return Ok(None);
    }
    Err(of_attempt(AttemptError::NotFound))
}

pub(super) async fn set_rendered_map_index(
    connection: &mut PgConnection,
    id: Uuid,
    asked: SetRenderedMapIndex,
) -> Answer {
    if asked.rendered_map_index.is_empty() {
        return Err(ErrorResponse::refused(422, "invalid_request", "rendered_map_index cannot be empty"));
    }
    if rendered_fields::set_map_index_label(connection, id, &asked.rendered_map_index).await.map_err(of_metadata)? {
        return Ok(None);
    }
    Err(of_attempt(AttemptError::NotFound))
}
