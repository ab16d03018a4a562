//! Why a Dag run does not move.

use super::explainer::Explainer;
use super::reason::Reason;
use crate::state::DagRunState;

/// Every reason; none for a run that is on its way, whose task instances tell more.
pub(super) fn reasons(explainer: &Explainer<'_>) -> Vec<Reason> {
    let view = explainer.view();
    match view.run.state {
        DagRunState::Queued => queued(explainer),
        DagRunState::Running => running(explainer),
        state => vec![Reason::RunEnded { run_id: view.run.run_id.clone(), state }],
    }
}

/// Source: `DagRun.get_queued_dag_runs_to_set_running`, and `SchedulerJobRunner._start_queued_dagruns`.
fn queued(explainer: &Explainer<'_>) -> Vec<Reason> {
    let around = explainer.surroundings();
    let mut reasons = suspended(explainer);
    if around.run_after > explainer.view().now {
        reasons.push(Reason::RunAfter { until: around.run_after });
    }
    let place = around.queued_run;
    match around.backfill {
        Some(backfill) => {
            if backfill.is_paused {
                reasons.push(Reason::BackfillPaused { backfill_id: backfill.id });
            }
            if place.before >= backfill.max_active_runs - place.running {
                reasons.push(Reason::BackfillMaxActiveRuns {
                    backfill_id: backfill.id,
                    limit: backfill.max_active_runs,
                    running: place.running,
                    queued_before: place.before,
                });
            }
        }
        None if place.before >= around.dag.max_active_runs - place.running => {
            reasons.push(Reason::MaxActiveRuns {
                dag_id: explainer.view().dag.dag_id.clone(),
                limit: around.dag.max_active_runs,
                running: place.running,
                queued_before: place.before,
            });
        }
        None => {}
    }
    reasons.extend(no_scheduler(explainer));
    if reasons.is_empty() {
        reasons.push(Reason::Ready { before: 0 });
    }
    reasons
}

fn running(explainer: &Explainer<'_>) -> Vec<Reason> {
    let mut reasons = suspended(explainer);
    reasons.extend(no_scheduler(explainer));
    reasons.extend(weights(explainer));
    if explainer.times_out() {
        let view = explainer.view();
        let timeout = view.dag.settings.dagrun_timeout.unwrap_or_default().as_seconds_f64();
        reasons.push(Reason::RunTimedOut { run_id: view.run.run_id.clone(), timeout });
    }
    reasons
}

/// Nothing new is started while a Dag is paused, gone or unknown.
pub(super) fn suspended(explainer: &Explainer<'_>) -> Vec<Reason> {
    let dag_id = || explainer.view().dag.dag_id.clone();
    let dag = &explainer.surroundings().dag;
    let paused = dag.is_paused.then(|| Reason::DagPaused { dag_id: dag_id() });
    let stale = dag.is_stale.then(|| Reason::DagStale { dag_id: dag_id() });
    let unknown = dag.was_never_serialized.then(|| Reason::DagNotSerialized { dag_id: dag_id() });
    [paused, stale, unknown].into_iter().flatten().collect()
}

/// No step is taken in a run before its task instances have their weights.
pub(super) fn weights(explainer: &Explainer<'_>) -> Option<Reason> {
    let count = explainer.surroundings().unweighed;
    (count > 0).then(|| Reason::WeightsAwaited { run_id: explainer.view().run.run_id.clone(), count })
}

/// Without a scheduler nothing moves that is not a worker's already.
pub(super) fn no_scheduler(explainer: &Explainer<'_>) -> Option<Reason> {
    let scheduler = explainer.surroundings().scheduler;
    (!scheduler.is_alive).then_some(Reason::NoScheduler { last_heartbeat: scheduler.last_heartbeat })
}
