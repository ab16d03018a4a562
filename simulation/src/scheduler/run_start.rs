//! `scheduler/src/run_start.rs`.

use std::collections::BTreeMap;

use tradewind_model::state::DagRunState;

use crate::database::{DagId, Lock, Result, RunId, Transaction};
use crate::metadata::dag_run::set_state_silently;
use crate::world::Process;

/// Starts every queued run that `max_active_runs` has room for.
pub(super) async fn start_queued_runs(process: &Process) -> Result<Vec<RunId>> {
    let (world, now) = (&process.world, process.now());
    let transaction = Transaction::begin(process);
    transaction.statement("lock_dags_with_queued_runs.sql").await?;
    let mut dags: Vec<DagId> = transaction.read(|database, id| {
        let runs = database.runs.rows(id);
        let waits = |dag: DagId| {
            runs.iter().any(|(_, run)| run.dag == dag && run.state == DagRunState::Queued && run.run_after <= now)
        };
        database
            .dags
            .rows(id)
            .into_iter()
            .filter(|(dag, row)| !row.is_paused && waits(**dag))
            .map(|(dag, _)| *dag)
            .collect()
    });
    let holds = world.safeguards().run_start_holds_dags;
    if holds {
        dags.retain(|dag| transaction.try_lock(Lock::Dag(*dag)));
    }
    if dags.is_empty() {
        return Ok(Vec::new());
    }
    transaction.statement("startable_runs.sql").await?;
    let startable: Vec<RunId> = transaction.read(|database, id| {
        let rows = database.runs.rows(id);
        let mut room: BTreeMap<DagId, i64> =
            dags.iter().map(|dag| (*dag, world.scenario().dags[*dag].max_active_runs)).collect();
        for (_, run) in rows.iter().filter(|(_, run)| run.state == DagRunState::Running) {
            room.entry(run.dag).and_modify(|room| *room -= 1);
        }
        let mut queued: Vec<_> =
            rows.iter().filter(|(_, run)| run.state == DagRunState::Queued && run.run_after <= now).collect();
        queued.sort_by_key(|(id, run)| (run.run_after, **id));
        queued.retain(|(_, run)| {
            let room = room.get_mut(&run.dag).filter(|room| **room > 0);
            room.map(|room| *room -= 1).is_some()
        });
        queued.into_iter().map(|(id, _)| **id).collect()
    });
    if !holds {
        // Whatever else happens to the Dag meanwhile.
        world.dawdle(0, 8_000).await;
    }
    let to = (DagRunState::Running, None);
    let started = set_state_silently(&transaction, &startable, &[DagRunState::Queued], to, now).await?;
    transaction.commit().await?;
    Ok(started)
}
