//! The life of an attempt as its worker reports it: start, heartbeats, and the way it ends or pauses.
//!
//! Every report is one transaction: it locks the attempt's row, checks that the attempt still may report, writes all
//! that belongs to the report, changes the state through the guarded transition, and adds the entry of the audit log
//! (invariant I6: when the call returns, everything is committed, unless the caller has a transaction open around it).
//!
//! Source: `airflow/api_fastapi/execution_api/routes/task_instances.py`.

mod fail_fast;
mod finish;
mod pause;
mod retry;
mod skip;
mod start;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use sqlx::{FromRow, PgConnection, query_as, query_scalar};
use tradewind_airflow::python_json;
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

pub use finish::{Finish, Success, fail, finish, succeed};
pub use pause::{AwaitInput, Deferral, await_input, defer, reschedule};
pub use retry::{Retry, retry};
pub use skip::skip_downstream;
pub use start::{Start, heartbeat, heartbeats, start};

use crate::MetadataError;
use crate::audit_log::{self, Entry};
use crate::failpoint;
use crate::task_instance::{Transition, transition};

/// A task instance that was cleared while it ran starts anew after this time: its worker finds out at its next heartbeat
/// and needs seconds to end the process.
pub const RESTART_GRACE: TimeDelta = TimeDelta::seconds(30);

/// Why a report about an attempt was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// There is no such attempt.
    #[error("Task Instance not found")]
    NotFound,
    /// The attempt was retried or cleared meanwhile; its record is in the history.
    #[error("Task Instance not found, it may have been moved to the Task Instance History table")]
    Archived,
    /// The attempt is not in a state from which it may do what it reports.
    #[error("the task instance is {}, so it cannot become {wanted}", previous_state.map_or("without state", TaskInstanceState::as_str))]
    InvalidState {
        /// The state it is in.
        previous_state: Option<TaskInstanceState>,
        /// The state it should get.
        wanted: TaskInstanceState,
    },
    /// Another process runs the attempt.
    #[error("TI is already running elsewhere")]
    RunningElsewhere {
        /// Its host.
        hostname: Option<String>,
        /// Its process id.
        pid: Option<i32>,
    },
    /// The report breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The database failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl From<sqlx::Error> for AttemptError {
    fn from(error: sqlx::Error) -> Self {
        Self::Metadata(error.into())
    }
}

/// What became of an accepted report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It was written.
    Written,
    /// The attempt was in the reported state already, for example because an answer got lost; nothing was written.
    Duplicate,
}

/// An attempt whose row is locked, with what reports need to know about it.
#[derive(Debug, FromRow)]
struct Held {
    id: Uuid,
    state: Option<String>,
    dag_id: String,
    run_id: String,
    task_id: String,
    map_index: i32,
    try_number: i32,
    max_tries: i32,
    hostname: Option<String>,
    unixname: Option<String>,
    pid: Option<i32>,
    start_date: Option<DateTime<Utc>>,
    next_method: Option<String>,
    next_kwargs: Option<Value>,
    dag_run_id: i32,
    logical_date: Option<DateTime<Utc>>,
    partition_key: Option<String>,
    partition_date: Option<DateTime<Utc>>,
    owners: Option<String>,
    fail_fast: bool,
}

impl Held {
    async fn lock(connection: &mut PgConnection, id: Uuid) -> Result<Self, AttemptError> {
        query_as(include_str!("../../queries/attempt/hold.sql"))
            .bind(id)
            .fetch_optional(connection)
            .await?
            .ok_or(AttemptError::NotFound)
    }

    fn state(&self) -> Result<Option<TaskInstanceState>, AttemptError> {
        let parsed = self.state.as_deref().map(str::parse).transpose();
        parsed.map_err(|error| MetadataError::Corrupt(format!("task_instance {}: {error}", self.id)).into())
    }

    /// Locks an attempt that reports a state. `None` when it is in that state already.
    async fn reporting(
        connection: &mut PgConnection,
        id: Uuid,
        wanted: TaskInstanceState,
    ) -> Result<Option<Self>, AttemptError> {
        let held = Self::lock(connection, id).await?;
        let previous_state = held.state()?;
        if previous_state == Some(wanted) {
            tracing::info!(%id, state = %wanted, "duplicate report; the state is set already");
            return Ok(None);
        }
        if previous_state != Some(TaskInstanceState::Running) {
            return Err(AttemptError::InvalidState { previous_state, wanted });
        }
        failpoint::reach("report: held").await?;
        Ok(Some(held))
    }

    /// Leaves `running` and writes the audit log.
    async fn leave_running(
        &self,
        connection: &mut PgConnection,
        to: TaskInstanceState,
        patch: Map<String, Value>,
    ) -> Result<(), AttemptError> {
        let from = vec![Some(TaskInstanceState::Running)];
        let wanted = Transition { id: self.id, from, to: Some(to), patch };
        if transition(&mut *connection, &[wanted]).await?.is_empty() {
            return Err(AttemptError::InvalidState { previous_state: self.state()?, wanted: to });
        }
        self.log(connection, to, self.hostname.as_deref()).await?;
        Ok(failpoint::reach("report: written").await?)
    }

    async fn log(
        &self,
        connection: &mut PgConnection,
        state: TaskInstanceState,
        hostname: Option<&str>,
    ) -> Result<(), AttemptError> {
        let extra = hostname
            .filter(|hostname| !hostname.is_empty())
            .map(|hostname| python_json::dumps(&json!({"host_name": hostname})));
        let entry = Entry {
            event: state.as_str(),
            dag_id: &self.dag_id,
            run_id: &self.run_id,
            task_id: &self.task_id,
            map_index: self.map_index,
            try_number: self.try_number,
            logical_date: self.logical_date,
            owner: self.owners.as_deref(),
            extra,
        };
        Ok(audit_log::write(connection, &[entry]).await?)
    }
}

/// Whether an attempt that is no longer in `task_instance` was moved to the history.
pub async fn is_archived(connection: &mut PgConnection, id: Uuid) -> Result<bool, AttemptError> {
    let statement = "SELECT EXISTS (SELECT FROM task_instance_history WHERE task_instance_id = $1)";
    Ok(query_scalar(statement).bind(id).fetch_one(connection).await?)
}

/// A patch of columns from a JSON object literal.
fn patch(columns: Value) -> Map<String, Value> {
    match columns {
        Value::Object(columns) => columns,
        _ => Map::new(),
    }
}
