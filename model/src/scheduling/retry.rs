//! When a failed attempt is tried again.

use chrono::{DateTime, TimeDelta, Utc};
use sha1::{Digest, Sha1};

use super::facts::{RunFacts, TaskInstanceFacts};
use crate::dag::Task;
use crate::state::TaskInstanceState;

/// Whether an attempt that fails now is followed by another.
///
/// `task` is `None` when the Dag no longer has it. Source: `TaskInstance.is_eligible_to_retry`.
pub fn may_retry(task: Option<&Task>, facts: &TaskInstanceFacts) -> bool {
    if facts.state == Some(TaskInstanceState::Restarting) {
        return true;
    }
    task.is_none_or(|task| task.retries != 0) && facts.try_number <= facts.max_tries
}

/// When the next attempt may start, counted from the end of the last; `None` if that end is not known, in which
/// case nothing is waited for.
///
/// `max_delay` bounds exponential back-off (`[core] max_task_retry_delay`); the task's own `max_retry_delay`
/// bounds it further. Source: `TaskInstance.next_retry_datetime`.
pub fn retry_at(
    dag_id: &str,
    task: &Task,
    run: &RunFacts,
    facts: &TaskInstanceFacts,
    max_delay: TimeDelta,
) -> Option<DateTime<Utc>> {
    let delay = match facts.retry_delay_override {
        Some(seconds) => seconds_to_delta(seconds),
        None if backs_off(task) => back_off(dag_id, task, run, facts, max_delay),
        None => task.retry_delay,
    };
    facts.end_date?.checked_add_signed(delay)
}

fn backs_off(task: &Task) -> bool {
    let factor = task.retry_exponential_backoff;
    factor > 0.0 && factor != 1.0
}

fn back_off(dag_id: &str, task: &Task, run: &RunFacts, facts: &TaskInstanceFacts, max_delay: TimeDelta) -> TimeDelta {
    let exponent = f64::from(facts.try_number - 1);
    let seconds = task.retry_delay.as_seconds_f64() * task.retry_exponential_backoff.powf(exponent);
    let least = seconds.ceil().max(1.0);
    let limit = max_delay.num_seconds().max(0);
    // Also when `least` is infinite. The jitter below never shortens the wait.
    let delay = if least >= limit as f64 {
        max_delay
    } else {
        let least = least as u64;
        let jittered = least + jitter(dag_id, run, facts, least);
        TimeDelta::seconds(i64::try_from(jittered).unwrap_or(limit).min(limit))
    };
    match task.max_retry_delay.filter(|longest| !longest.is_zero()) {
        Some(longest) => delay.min(longest),
        None => delay,
    }
}

/// A number below `modulus` that is the same for every scheduler that asks.
fn jitter(dag_id: &str, run: &RunFacts, facts: &TaskInstanceFacts, modulus: u64) -> u64 {
    let logical_date = run.logical_date.map_or_else(|| "None".to_owned(), python_text);
    let seed = format!("{dag_id}#{}#{logical_date}#{}", facts.task_id, facts.try_number);
    let modulus = u128::from(modulus);
    let rest = Sha1::digest(seed).iter().fold(0_u128, |rest, byte| (rest << 8 | u128::from(*byte)) % modulus);
    rest as u64
}

/// A moment as Python's `str` writes it.
fn python_text(date: DateTime<Utc>) -> String {
    let format =
        if date.timestamp_subsec_micros() == 0 { "%Y-%m-%d %H:%M:%S+00:00" } else { "%Y-%m-%d %H:%M:%S%.6f+00:00" };
    date.format(format).to_string()
}

fn seconds_to_delta(seconds: f64) -> TimeDelta {
    TimeDelta::microseconds((seconds * 1e6).round() as i64)
}
