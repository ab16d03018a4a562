//! `metadata/src/dag_run.rs`.

use chrono::{DateTime, Utc};
use tradewind_model::scheduling::{RunFacts, initial_task_instances};
use tradewind_model::state::{DagRunState, DagRunType};
use tradewind_model::timetable::DagRunInfo;

use super::task_instance::{self, New};
use crate::database::{DagId, EndedBy, Lock, Notification, Result, RunId, RunRow, Transaction};
use crate::world::World;

/// The run as the scheduling step sees it.
pub(crate) fn facts(row: &RunRow) -> RunFacts {
    RunFacts {
        run_id: row.run_id.clone(),
        run_type: row.run_type,
        state: row.state,
        logical_date: row.logical_date,
        start_date: row.start_date,
        is_first_of_backfill: false,
    }
}

/// Makes a run with its task instances (`metadata/queries/dag_run/insert.sql`); `None` when the Dag has a run of that
/// name or logical date. Two that make the same at once are kept apart by the row of the Dag, which both hold, or by a
/// run id of their own.
pub(crate) async fn create(
    world: &World,
    transaction: &Transaction,
    dag: DagId,
    info: &DagRunInfo,
    run_type: DagRunType,
) -> Result<Option<RunId>> {
    transaction.statement("dag_run/insert.sql").await?;
    let run = i32::try_from(world.number()).unwrap_or(i32::MAX);
    let row = RunRow {
        dag,
        run_id: match run_type {
            DagRunType::Manual => format!("manual__{run}"),
            _ => format!("scheduled__{}", info.run_after),
        },
        run_type,
        state: DagRunState::Queued,
        logical_date: info.logical_date(),
        data_interval: info.data_interval,
        run_after: info.run_after,
        start_date: None,
        last_scheduling_decision: None,
        ended_by: None,
    };
    let facts = facts(&row);
    let is_new = transaction.write(|database, id| {
        let is_taken = database.runs.rows(id).iter().any(|(_, other)| {
            other.dag == dag
                && (other.run_id == row.run_id || row.logical_date.is_some() && other.logical_date == row.logical_date)
        });
        let is_made = !is_taken || !world.safeguards().runs_are_unique;
        if is_made {
            database.runs.write(id, run, Some(row));
        }
        is_made
    });
    if !is_new {
        return Ok(None);
    }
    let new = initial_task_instances(&world.scenario().dags[dag].dag, &facts);
    let new: Vec<New> =
        new.into_iter().map(|new| New { task: new.task, map_index: new.map_index, state: None }).collect();
    task_instance::create(world, transaction, dag, run, &new).await?;
    transaction.notify(Notification::DagRun(run));
    Ok(Some(run))
}

/// The compare-and-set (`metadata/queries/dag_run/set_state.sql`). Returns the runs that changed.
pub(crate) async fn set_state_silently(
    transaction: &Transaction,
    runs: &[RunId],
    from: &[DagRunState],
    (to, ended_by): (DagRunState, Option<EndedBy>),
    now: DateTime<Utc>,
) -> Result<Vec<RunId>> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    transaction.statement("dag_run/set_state.sql").await?;
    let mut changed = Vec::new();
    for run in runs {
        let may_leave =
            || transaction.read(|database, id| database.runs.get(id, run).is_some_and(|row| from.contains(&row.state)));
        if !may_leave() {
            continue;
        }
        transaction.lock(Lock::Run(*run)).await?;
        if !may_leave() {
            continue;
        }
        transaction.write(|database, id| {
            database.runs.change(id, run, |row| {
                row.start_date = match (to, row.state) {
                    (to, state) if to == state => row.start_date,
                    (DagRunState::Queued, _) => None,
                    (DagRunState::Running, DagRunState::Success | DagRunState::Failed) => Some(now),
                    (DagRunState::Running, _) => row.start_date.or(Some(now)),
                    _ => row.start_date,
                };
                row.state = to;
                row.ended_by = ended_by;
            });
        });
        changed.push(*run);
    }
    Ok(changed)
}
