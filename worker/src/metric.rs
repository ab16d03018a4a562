//! Metrics of attempts under Airflow's names, which official Airflow counts in the process of the task. Times are in
//! seconds.
//!
//! Source: `run` and `finalize` in `airflow/sdk/execution_time/task_runner.py`, `emit_state_change_metric` in
//! `airflow/models/taskinstance.py`.

use chrono::{DateTime, Utc};
use metrics::{Label, counter, histogram};
use tradewind_metadata::queue::Claim;
use tradewind_model::state::TaskInstanceState;

fn labels(claim: &Claim) -> Vec<Label> {
    vec![Label::new("dag_id", claim.dag_id.clone()), Label::new("task_id", claim.task_id.clone())]
}

/// An attempt starts. How long it was scheduled and queued is told of first attempts alone, as in Airflow.
pub(crate) fn started(claim: &Claim, now: DateTime<Utc>) {
    counter!("ti.start", labels(claim)).increment(1);
    if claim.try_number != 1 {
        return;
    }
    let Some(queued_dttm) = claim.queued_dttm else { return };
    let mut labels = labels(claim);
    labels.extend(claim.queue.clone().map(|queue| Label::new("queue", queue)));
    histogram!("task.queued_duration", labels.clone()).record((now - queued_dttm).as_seconds_f64());
    if let Some(scheduled_dttm) = claim.scheduled_dttm {
        histogram!("task.scheduled_duration", labels).record((queued_dttm - scheduled_dttm).as_seconds_f64());
    }
}

/// An attempt ended, or pauses, in a state that is written.
pub(crate) fn finished(claim: &Claim, state: TaskInstanceState, now: DateTime<Utc>) {
    let with = |name: &'static str, value: String| {
        let mut labels = labels(claim);
        labels.push(Label::new(name, value));
        labels
    };
    counter!("ti.finish", with("state", state.as_str().to_owned())).increment(1);
    let operator = || with("operator_name", claim.operator.clone().unwrap_or_default());
    match state {
        TaskInstanceState::Success => {
            counter!("operator_successes", operator()).increment(1);
            counter!("ti_successes", labels(claim)).increment(1);
        }
        TaskInstanceState::Failed | TaskInstanceState::UpForRetry => {
            counter!("operator_failures", operator()).increment(1);
            counter!("ti_failures", labels(claim)).increment(1);
        }
        TaskInstanceState::Skipped => {}
        // It pauses only.
        _ => return,
    }
    if let Some(start_date) = claim.start_date {
        histogram!("task.duration", labels(claim)).record((now - start_date).as_seconds_f64());
    }
}
