//! `scheduler/src/dispatch.rs`: `scheduled → queued` in one critical section, within [`tradewind_model::limits`].

use std::collections::{BTreeMap, BTreeSet};

use tradewind_model::limits::{Candidate, Next, Room, Selection};
use tradewind_model::state::{DagRunState, TaskInstanceState};
use uuid::Uuid;

use crate::database::{Database, InstanceRow, Lock, Result, RowId, RunId, Transaction};
use crate::metadata::queue;
use crate::metadata::task_instance::{Transition, transition_silently};
use crate::world::{Process, World};

/// Candidates looked at in one query; few, so that pages matter.
const PAGE: usize = 4;

/// Tasks that ran into a limit of their own.
type Starved = BTreeSet<(RunId, String)>;

/// Queues a page of task instances. Returns whether another page may find room.
pub(super) async fn dispatch(process: &Process) -> Result<bool> {
    let (world, now) = (&process.world, process.now());
    let transaction = Transaction::begin(process);
    transaction.statement("dispatch: is anything scheduled?").await?;
    let is_scheduled = |row: &InstanceRow| row.state() == Some(TaskInstanceState::Scheduled);
    if !transaction.read(|database, id| database.instances.rows(id).iter().any(|(_, row)| is_scheduled(row))) {
        return Ok(false);
    }
    let mut stale = None;
    if !world.safeguards().counts_are_fresh {
        stale = Some(transaction.read(|database, id| room(world, database, id)));
    }
    if world.safeguards().critical_section {
        transaction.statement("dispatch: pg_advisory_xact_lock").await?;
        transaction.lock(Lock::CriticalSection).await?;
    }
    let counted = count(world, &transaction).await?;
    let (chosen, may_go_on) = choose(world, &transaction, stale.unwrap_or(counted)).await?;
    let transitions: Vec<Transition> = chosen
        .iter()
        .map(|(id, _)| {
            let from = [Some(TaskInstanceState::Scheduled)];
            Transition::new(*id, &from, Some(TaskInstanceState::Queued))
                .with(move |row: &mut InstanceRow| row.queued_at = Some(now))
        })
        .collect();
    let changed = transition_silently(world, &transaction, &transitions).await?;
    let messages: Vec<(Uuid, i32)> =
        chosen.into_iter().filter(|(id, _)| changed.iter().any(|(changed, _)| changed == id)).collect();
    if world.safeguards().outbox {
        queue::send(&transaction, &messages).await?;
        transaction.commit().await?;
        return Ok(may_go_on);
    }
    transaction.commit().await?;
    let transaction = Transaction::begin(process);
    queue::send(&transaction, &messages).await?;
    transaction.commit().await?;
    Ok(may_go_on)
}

/// `scheduler/queries/lock_pools.sql`, which counts as of its beginning, and the count for `parallelism`.
async fn count(world: &World, transaction: &Transaction) -> Result<Room> {
    transaction.statement("lock_pools.sql").await?;
    let counted = transaction.read(|database, id| room(world, database, id));
    let wanted: BTreeSet<usize> = transaction.read(|database, id| {
        let rows = database.instances.rows(id);
        let waiting = rows.iter().filter(|(_, row)| row.state() == Some(TaskInstanceState::Scheduled));
        waiting.map(|(_, row)| row.pool).collect()
    });
    for pool in wanted {
        transaction.lock(Lock::Pool(pool)).await?;
    }
    transaction.statement("dispatch: count for parallelism").await?;
    let parallelism = transaction.read(|database, id| room(world, database, id).parallelism);
    Ok(Room { parallelism, ..counted })
}

/// What is left of pools and `parallelism`.
pub(crate) fn room(world: &World, database: &Database, transaction: u64) -> Room {
    let rows = database.instances.rows(transaction);
    let taken = |pool: usize, include_deferred: bool| -> i64 {
        let is_taken = |row: &InstanceRow| {
            row.pool == pool
                && (row.is_active() || include_deferred && row.state() == Some(TaskInstanceState::Deferred))
        };
        rows.iter().filter(|(_, row)| is_taken(row)).map(|(_, row)| row.pool_slots).sum()
    };
    let scenario = world.scenario();
    let pools = scenario.pools.iter().enumerate();
    let active = rows.iter().filter(|(_, row)| row.is_active()).count() as i64;
    Room {
        parallelism: scenario.parallelism - active,
        pools: pools.map(|(id, pool)| (pool.name.clone(), pool.slots - taken(id, pool.include_deferred))).collect(),
        ..Room::default()
    }
}

/// Fills the room from one page of candidates, or from the first page that has somebody for it.
async fn choose(world: &World, transaction: &Transaction, mut room: Room) -> Result<(Vec<(Uuid, i32)>, bool)> {
    let mut starved = Starved::new();
    loop {
        transaction.statement("candidates.sql").await?;
        let page = transaction.read(|database, id| candidates(world, database, id, &mut room, &starved));
        transaction.statement("active_tasks.sql").await?;
        transaction.read(|database, id| load_task_limits(world, database, id, &page, &mut room));
        let is_full = page.len() == PAGE;
        let Selection { chosen, starved: more, next } =
            room.select(page.iter().map(|(candidate, _)| candidate), is_full);
        let chosen = chosen.into_iter().map(|place| (page[place].0.id, page[place].1)).collect();
        let steps_aside = world.safeguards().starved_step_aside || is_full;
        match next {
            Next::LookFurther if steps_aside => starved.extend(more),
            next => return Ok((chosen, next == Next::LookAgain && steps_aside)),
        }
    }
}

/// `scheduler/queries/candidates.sql`.
fn candidates(
    world: &World,
    database: &Database,
    transaction: u64,
    room: &mut Room,
    starved: &Starved,
) -> Vec<(Candidate, i32)> {
    let scenario = world.scenario();
    let rows = database.instances.rows(transaction);
    let run_room = |row: &InstanceRow| {
        let active = rows.iter().filter(|(_, other)| other.run == row.run && other.is_active()).count() as i64;
        scenario.dags[row.dag].max_active_tasks - active
    };
    let may_be_queued = |row: &InstanceRow| {
        let is_running = database.runs.get(transaction, &row.run).is_some_and(|run| run.state == DagRunState::Running);
        let is_paused = database.dags.get(transaction, &row.dag).is_some_and(|dag| dag.is_paused);
        let open = room.pools.get(&scenario.pools[row.pool].name).copied().unwrap_or(0);
        row.state() == Some(TaskInstanceState::Scheduled)
            && is_running
            && !is_paused
            && open > 0
            && open >= row.pool_slots
            && !starved.contains(&(row.run, row.facts.task_id.clone()))
    };
    let mut waiting: Vec<&InstanceRow> =
        rows.iter().map(|(_, row)| *row).filter(|row| may_be_queued(row) && run_room(row) > 0).collect();
    waiting.sort_by_key(|row| (-row.priority_weight, row.facts.map_index, row.facts.id));
    let mut places: BTreeMap<RunId, i64> = BTreeMap::new();
    waiting.retain(|row| {
        let place = places.entry(row.run).or_default();
        *place += 1;
        *place <= run_room(row)
    });
    let logical_date = |row: &InstanceRow| database.runs.get(transaction, &row.run).and_then(|run| run.logical_date);
    waiting.sort_by_key(|row| (-row.priority_weight, logical_date(row), row.facts.map_index, row.facts.id));
    waiting.truncate(PAGE);
    for row in &waiting {
        room.runs.entry(row.run).or_insert_with(|| run_room(row));
    }
    waiting.into_iter().map(|row| (candidate(world, row), row.priority_weight)).collect()
}

pub(crate) fn candidate(world: &World, row: &InstanceRow) -> Candidate {
    Candidate {
        id: row.facts.id,
        run: row.run,
        dag_id: world.scenario().dags[row.dag].dag.dag_id.clone(),
        task_id: row.facts.task_id.clone(),
        pool: world.scenario().pools[row.pool].name.clone(),
        pool_slots: row.pool_slots,
    }
}

/// `scheduler/queries/active_tasks.sql`, for Dags whose tasks limit themselves.
fn load_task_limits(world: &World, database: &Database, transaction: u64, page: &[(Candidate, i32)], room: &mut Room) {
    let rows = database.instances.rows(transaction);
    for (candidate, _) in page {
        let plan = world.scenario().dags.iter().find(|plan| plan.dag.dag_id == candidate.dag_id);
        let Some(plan) = plan.filter(|plan| plan.has_task_limits) else { continue };
        let Some(task) = plan.dag.task(&candidate.task_id) else { continue };
        let active = |run: Option<RunId>| {
            let counts = |row: &InstanceRow| {
                row.is_active()
                    && row.facts.task_id == candidate.task_id
                    && world.scenario().dags[row.dag].dag.dag_id == candidate.dag_id
                    && run.is_none_or(|run| row.run == run)
            };
            rows.iter().filter(|(_, row)| counts(row)).count() as i64
        };
        if let Some(limit) = task.max_active_tis_per_dag {
            let key = (candidate.dag_id.clone(), candidate.task_id.clone());
            room.tasks.insert(key, i64::from(limit) - active(None));
        }
        if let Some(limit) = task.max_active_tis_per_dagrun {
            let key = (candidate.run, candidate.task_id.clone());
            room.run_tasks.insert(key, i64::from(limit) - active(Some(candidate.run)));
        }
    }
}

/// Scheduled task instances that could be queued, each as if it were alone (invariant I4).
pub(super) fn ready(world: &World, database: &Database, transaction: u64) -> BTreeMap<RowId, String> {
    let scenario = world.scenario();
    let rows = database.instances.rows(transaction);
    let could_be_queued = |row: &InstanceRow| {
        let runs = database.runs.get(transaction, &row.run).is_some_and(|run| run.state == DagRunState::Running);
        let is_paused = database.dags.get(transaction, &row.dag).is_some_and(|dag| dag.is_paused);
        if row.state() != Some(TaskInstanceState::Scheduled) || !runs || is_paused {
            return false;
        }
        let mut room = room(world, database, transaction);
        let active = rows.iter().filter(|(_, other)| other.run == row.run && other.is_active()).count() as i64;
        room.runs.insert(row.run, scenario.dags[row.dag].max_active_tasks - active);
        let page = [(candidate(world, row), 0)];
        load_task_limits(world, database, transaction, &page, &mut room);
        room.take(&page[0].0).is_ok()
    };
    let name = |row: &InstanceRow| format!("{} [{}] of run {}", row.facts.task_id, row.facts.map_index, row.run);
    rows.iter().filter(|(_, row)| could_be_queued(row)).map(|(key, row)| (**key, name(row))).collect()
}
