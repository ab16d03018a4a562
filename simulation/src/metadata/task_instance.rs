//! `metadata/src/task_instance.rs`.

use tradewind_model::dag::{Dag, TaskIndex};
use tradewind_model::scheduling::{Expansion, TaskInstanceFacts};
use tradewind_model::state::{TaskInstanceState, is_legal_edge};
use uuid::Uuid;

use crate::database::{DagId, Database, InstanceRow, Lock, Notification, Result, RowId, RunId, Transaction};
use crate::invariants::{Invariant, Violation};
use crate::world::World;

/// A state that may be none.
pub(crate) type State = Option<TaskInstanceState>;

/// A change of state, with what else it sets.
pub(crate) struct Transition {
    pub(crate) id: Uuid,
    /// The states it may leave; `None` when a safeguard is off and it does not look.
    pub(crate) from: Option<Vec<State>>,
    pub(crate) to: State,
    pub(crate) patch: Box<dyn Fn(&mut InstanceRow)>,
}

impl Transition {
    pub(crate) fn new(id: Uuid, from: &[State], to: State) -> Self {
        Self { id, from: Some(from.to_vec()), to, patch: Box::new(|_| {}) }
    }

    pub(crate) fn with(mut self, patch: impl Fn(&mut InstanceRow) + 'static) -> Self {
        self.patch = Box::new(patch);
        self
    }

    fn may_leave(&self, row: &InstanceRow) -> bool {
        row.facts.id == self.id && self.from.as_ref().is_none_or(|from| from.contains(&row.state()))
    }
}

/// A text for the trace and for the names of edges.
pub(crate) fn name(state: State) -> &'static str {
    state.map_or("none", TaskInstanceState::as_str)
}

/// A new `task_instance.id`, greater than those before.
pub(crate) fn new_id(world: &World) -> Uuid {
    Uuid::from_u128(u128::from(world.number()))
}

/// The compare-and-set (`metadata/queries/task_instance/transition.sql`): rows are held in the order of their ids, and
/// looked at again after each wait. Returns what really changed.
pub(crate) async fn transition_silently(
    world: &World,
    transaction: &Transaction,
    transitions: &[Transition],
) -> Result<Vec<(Uuid, RunId)>> {
    if transitions.is_empty() {
        return Ok(Vec::new());
    }
    transaction.statement("task_instance/transition.sql").await?;
    let mut found: Vec<(Uuid, RowId, &Transition)> = transaction.read(|database, id| {
        let rows = database.instances.rows(id);
        let of = |wanted| {
            rows.iter().find(|(_, row)| may_leave(wanted, row)).map(|(key, row)| (row.facts.id, **key, wanted))
        };
        transitions.iter().filter_map(of).collect()
    });
    found.sort_by_key(|(id, ..)| *id);
    let mut changed = Vec::new();
    for (id, key, wanted) in found {
        transaction.lock(Lock::Instance(key)).await?;
        let row = transaction.read(|database, id| database.instances.get(id, &key).cloned());
        let Some(row) = row.filter(|row| wanted.may_leave(row)) else { continue };
        note_edge(world, &row, wanted.to);
        transaction.write(|database, id| {
            database.instances.change(id, &key, |row| {
                (wanted.patch)(row);
                row.facts.state = wanted.to;
            });
        });
        changed.push((id, row.run));
    }
    Ok(changed)
}

fn may_leave(wanted: &Transition, row: &InstanceRow) -> bool {
    wanted.may_leave(row)
}

/// The same, telling the schedulers.
pub(crate) async fn transition(
    world: &World,
    transaction: &Transaction,
    transitions: &[Transition],
) -> Result<Vec<(Uuid, RunId)>> {
    let changed = transition_silently(world, transaction, transitions).await?;
    changed.iter().for_each(|(_, run)| transaction.notify(Notification::DagRun(*run)));
    Ok(changed)
}

/// Invariant I2, and the coverage of edges.
fn note_edge(world: &World, row: &InstanceRow, to: State) {
    let from = row.state();
    world.count(&format!("edge:{} → {}", name(from), name(to)));
    world.trace(|| format!("        {} [{}] {} → {}", row.facts.task_id, row.facts.map_index, name(from), name(to)));
    if from != to && !is_legal_edge(from, to) {
        let what = format!("{} of run {} went from {} to {}", row.facts.task_id, row.run, name(from), name(to));
        world.fail(Violation::new(Invariant::LegalEdges, what));
    }
}

/// A task instance to make.
pub(crate) struct New {
    pub(crate) task: TaskIndex,
    pub(crate) map_index: i32,
    pub(crate) state: State,
}

/// Makes task instances that do not exist (`metadata/queries/task_instance/create.sql`).
pub(crate) async fn create(
    world: &World,
    transaction: &Transaction,
    dag: DagId,
    run: RunId,
    new: &[New],
) -> Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    transaction.statement("task_instance/create.sql").await?;
    let plan = &world.scenario().dags[dag].dag;
    for new in new {
        let (key, row) = (world.number(), row(world, plan, dag, run, new));
        transaction.write(|database, id| {
            if !exists(database, id, &row) {
                database.instances.write(id, key, Some(row));
            }
        });
    }
    Ok(())
}

fn exists(database: &Database, transaction: u64, wanted: &InstanceRow) -> bool {
    database.instances.rows(transaction).iter().any(|(_, row)| {
        row.run == wanted.run
            && row.facts.task_id == wanted.facts.task_id
            && row.facts.map_index == wanted.facts.map_index
    })
}

fn row(world: &World, plan: &Dag, dag: DagId, run: RunId, new: &New) -> InstanceRow {
    let task = plan.at(new.task);
    InstanceRow {
        run,
        dag,
        facts: TaskInstanceFacts::new(new_id(world), plan, new.task, new.map_index, new.state),
        pool: world.scenario().pools.iter().position(|pool| pool.name == task.pool).unwrap_or(0),
        pool_slots: i64::from(task.pool_slots),
        priority_weight: plan.priority_weight(new.task),
        hostname: None,
        pid: None,
        last_heartbeat_at: None,
        queued_at: None,
        resumes: false,
    }
}

/// Turns unexpanded task instances into their first mapped ones.
pub(crate) async fn expand(transaction: &Transaction, expansions: &[Expansion]) -> Result<()> {
    for is_deleted in [false, true] {
        let ids: Vec<Uuid> = expansions.iter().filter(|of| of.is_deleted == is_deleted).map(|of| of.id).collect();
        if ids.is_empty() {
            continue;
        }
        transaction.statement("task_instance: expand").await?;
        let is_meant = |row: &InstanceRow| ids.contains(&row.facts.id) && row.facts.map_index == -1;
        for key in hold(transaction, is_meant).await? {
            transaction.write(|database, id| {
                if is_deleted {
                    database.instances.write(id, key, None);
                } else {
                    database.instances.change(id, &key, |row| row.facts.map_index = 0);
                }
            });
        }
    }
    Ok(())
}

/// Holds the rows that are meant, in the order of their ids, waiting for whoever holds them (`FOR UPDATE`).
pub(crate) async fn hold(transaction: &Transaction, is_meant: impl Fn(&InstanceRow) -> bool) -> Result<Vec<RowId>> {
    let mut found: Vec<(Uuid, RowId)> = transaction.read(|database, id| {
        let rows = database.instances.rows(id);
        rows.iter().filter(|(_, row)| is_meant(row)).map(|(key, row)| (row.facts.id, **key)).collect()
    });
    found.sort_unstable();
    let mut held = Vec::new();
    for (_, key) in found {
        transaction.lock(Lock::Instance(key)).await?;
        if transaction.read(|database, id| database.instances.get(id, &key).is_some_and(&is_meant)) {
            held.push(key);
        }
    }
    Ok(held)
}

/// The same, passing over what others hold (`FOR UPDATE SKIP LOCKED`).
pub(crate) fn hold_free(
    transaction: &Transaction,
    limit: usize,
    is_meant: impl Fn(&Database, u64, &InstanceRow) -> bool,
) -> Vec<RowId> {
    let mut found: Vec<(Uuid, RowId)> = transaction.read(|database, id| {
        let rows = database.instances.rows(id);
        rows.iter().filter(|(_, row)| is_meant(database, id, row)).map(|(key, row)| (row.facts.id, **key)).collect()
    });
    found.sort_unstable();
    found.into_iter().map(|(_, key)| key).filter(|key| transaction.try_lock(Lock::Instance(*key))).take(limit).collect()
}
