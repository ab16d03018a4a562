//! `metadata/src/clear.rs`.

use tradewind_model::state::{DagRunState, TaskInstanceState};
use uuid::Uuid;

use super::dag_run::set_state_silently;
use super::task_instance::{State, Transition, hold, new_id, transition};
use crate::database::{InstanceRow, Lock, Notification, Result, RunId, Transaction};
use crate::world::Process;

/// Makes task instances of a run ready for their next attempt; what runs is asked to end first. A finished run is queued
/// again.
pub(crate) async fn clear(process: &Process, run: RunId, ids: &[Uuid]) -> Result<()> {
    let world = &process.world;
    let transaction = Transaction::begin(process);
    transaction.statement("clear: hold the run").await?;
    transaction.lock(Lock::Run(run)).await?;
    transaction.statement("clear/hold.sql").await?;
    let keys = hold(&transaction, |row| row.run == run && ids.contains(&row.facts.id)).await?;
    let cleared: Vec<InstanceRow> = transaction
        .read(|database, id| keys.iter().filter_map(|key| database.instances.get(id, key).cloned()).collect());
    if cleared.is_empty() {
        return Ok(());
    }
    transaction.statement("clear/archive.sql").await?;
    let transitions: Vec<Transition> = cleared.iter().map(|row| next(process, row)).collect();
    transition(world, &transaction, &transitions).await?;
    transaction.statement("clear: renew the ids").await?;
    let renewed: Vec<Uuid> = keys.iter().map(|_| new_id(world)).collect();
    transaction.write(|database, id| {
        for (key, next) in keys.iter().zip(renewed) {
            database.instances.change(id, key, |row| row.facts.id = next);
        }
    });
    let finished = [DagRunState::Success, DagRunState::Failed];
    set_state_silently(&transaction, &[run], &finished, (DagRunState::Queued, None), process.now()).await?;
    transaction.notify(Notification::DagRun(run));
    transaction.commit().await
}

fn next(process: &Process, row: &InstanceRow) -> Transition {
    let state: State = row.state();
    let now = process.now();
    let has_ended = row.facts.end_date.is_some() || row.is_finished();
    let date = move |row: &mut InstanceRow| {
        if !has_ended {
            row.facts.end_date = Some(now);
        }
    };
    if state == Some(TaskInstanceState::Running) {
        return Transition::new(row.facts.id, &[state], Some(TaskInstanceState::Restarting)).with(date);
    }
    let dag = &process.world.scenario().dags[row.dag].dag;
    let retries = dag.task(&row.facts.task_id).map_or(0, |task| task.retries);
    Transition::new(row.facts.id, &[state], None).with(move |row| {
        date(row);
        row.facts.max_tries = row.facts.try_number + retries;
        row.resumes = false;
    })
}
