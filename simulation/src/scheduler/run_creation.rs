//! `scheduler/src/run_creation.rs`.

use chrono::{DateTime, Utc};
use tradewind_model::state::DagRunType;
use tradewind_model::timetable::{AutomatedRun, DagRunInfo, next_run};

use crate::database::{DagId, Database, Lock, Result, Transaction};
use crate::metadata::dag_run;
use crate::world::{Process, World};

/// Makes the runs that are due, each with the row of its Dag held (`scheduler/queries/due_dags.sql`).
pub(super) async fn create_due_runs(process: &Process, now: DateTime<Utc>) -> Result<()> {
    let transaction = Transaction::begin(process);
    transaction.statement("due_dags.sql").await?;
    let due: Vec<(DagId, DagRunInfo)> = transaction.read(|database, id| {
        let rows = database.dags.rows(id);
        let is_open = rows.into_iter().filter(|(_, row)| !row.is_paused && !row.exceeds_max_non_backfill);
        is_open.filter_map(|(dag, row)| Some((*dag, row.next.clone().filter(|next| next.run_after <= now)?))).collect()
    });
    for (dag, info) in due {
        if transaction.try_lock(Lock::Dag(dag)) {
            create(process, &transaction, dag, &info, now).await?;
        }
    }
    transaction.commit().await
}

async fn create(
    process: &Process,
    transaction: &Transaction,
    dag: DagId,
    info: &DagRunInfo,
    now: DateTime<Utc>,
) -> Result<()> {
    let world = &process.world;
    let created = dag_run::create(world, transaction, dag, info, DagRunType::Scheduled).await?;
    world.count(if created.is_some() { "work:runs made by a timetable" } else { "work:runs that existed already" });
    transaction.statement("set_next_dagrun.sql").await?;
    let next = next_of(world, dag, info, now);
    transaction.write(|database, id| database.dags.change(id, &dag, |row| row.next = next));
    set_exceeds_max_active_runs(world, transaction, dag).await
}

/// The run after one.
pub(crate) fn next_of(world: &World, dag: DagId, last: &DagRunInfo, now: DateTime<Utc>) -> Option<DagRunInfo> {
    let plan = &world.scenario().dags[dag];
    let last = AutomatedRun { run_after: last.run_after, data_interval: last.data_interval, partition_key: None };
    let next = next_run(&plan.timetable, plan.restriction, Some(&last), now);
    next.unwrap_or_else(|error| panic!("no next run: {error}"))
}

/// Runs that count against `max_active_runs`, as a statement sees them.
pub(crate) fn active_runs(database: &Database, transaction: u64, dag: DagId) -> i64 {
    let rows = database.runs.rows(transaction);
    rows.iter().filter(|(_, row)| row.dag == dag && !row.state.is_finished()).count() as i64
}

/// `scheduler/queries/set_exceeds_max_active_runs.sql`: what is active is counted at its beginning, also when it then
/// waits for the row of the Dag.
pub(super) async fn set_exceeds_max_active_runs(world: &World, transaction: &Transaction, dag: DagId) -> Result<()> {
    transaction.statement("set_exceeds_max_active_runs.sql").await?;
    let limit = world.scenario().dags[dag].max_active_runs;
    let exceeds = transaction.read(|database, id| active_runs(database, id, dag)) >= limit;
    let differs = || {
        transaction
            .read(|database, id| database.dags.get(id, &dag).is_some_and(|row| row.exceeds_max_non_backfill != exceeds))
    };
    if differs() {
        transaction.lock(Lock::Dag(dag)).await?;
        if differs() {
            transaction
                .write(|database, id| database.dags.change(id, &dag, |row| row.exceeds_max_non_backfill = exceeds));
        }
    }
    Ok(())
}

/// `scheduler/queries/next_due.sql`.
pub(super) async fn next_due(process: &Process) -> Result<Option<DateTime<Utc>>> {
    let transaction = Transaction::begin(process);
    transaction.statement("next_due.sql").await?;
    Ok(transaction.read(|database, id| {
        let rows = database.dags.rows(id);
        let is_open = rows.into_iter().filter(|(_, row)| !row.is_paused && !row.exceeds_max_non_backfill);
        is_open.filter_map(|(_, row)| Some(row.next.as_ref()?.run_after)).min()
    }))
}
