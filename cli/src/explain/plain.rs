//! Lines for a person.

use std::fmt::{self, Display, Formatter};

use tradewind_model::explanation::{DagExplanation, Explanation, Reason, TaskInstanceExplanation, TaskInstances};
use tradewind_model::state::TaskInstanceState;

/// A run, and what of it has not ended.
pub(super) struct Run<'a>(pub(super) &'a Explanation);

/// One task instance.
pub(super) struct TaskInstance<'a>(pub(super) &'a TaskInstanceExplanation);

/// A Dag.
pub(super) struct Dag<'a>(pub(super) &'a DagExplanation);

impl Display for Dag<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let DagExplanation { dag_id, schedule, reasons, .. } = self.0;
        write!(f, "{dag_id}: {}{}", schedule.as_deref().unwrap_or("no schedule"), Reasons(reasons))
    }
}

impl Display for Run<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Explanation { dag_id, run_id, state, reasons, remarks, task_instances, total_entries, .. } = self.0;
        write!(f, "{dag_id} {run_id}: {state}")?;
        write!(f, "{}{}", Reasons(reasons), Reasons(remarks))?;
        for group in task_instances {
            write!(f, "\n{} ({})", Name(group), state_name(group.state))?;
            write!(f, "{}", Reasons(&group.reasons))?;
        }
        match total_entries.saturating_sub(task_instances.len()) {
            _ if state.is_finished() && *total_entries == 0 => Ok(()),
            0 if *total_entries == 0 => f.write_str("\nno task instance waits: all that there are have ended"),
            0 => Ok(()),
            more => write!(f, "\nand {more} more: name a task, or raise --limit"),
        }
    }
}

impl Display for TaskInstance<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let TaskInstanceExplanation { dag_id, run_id, task_id, map_index, state, reasons, run_reasons, .. } = self.0;
        write!(f, "{dag_id} {run_id} {task_id}")?;
        if *map_index >= 0 {
            write!(f, "[{map_index}]")?;
        }
        write!(f, ": {}{}", state_name(*state), Reasons(reasons))?;
        // What keeps the run is said already where the task instance waits for the same.
        let of_run: Vec<Reason> = run_reasons.iter().filter(|reason| !reasons.contains(reason)).cloned().collect();
        if of_run.is_empty() {
            return Ok(());
        }
        write!(f, "\nthe run: {}{}", self.0.run_state, Reasons(&of_run))
    }
}

/// A line for each.
struct Reasons<'a>(&'a [Reason]);

impl Display for Reasons<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|reason| write!(f, "\n  - {reason}"))
    }
}

/// `task`, `task[3]`, or `task[0, 1, 2, …], 500 task instances`.
pub(super) struct Name<'a>(pub(super) &'a TaskInstances);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let TaskInstances { task_id, map_indexes, count, .. } = self.0;
        f.write_str(task_id)?;
        match map_indexes.as_slice() {
            [-1] => Ok(()),
            [map_index] => write!(f, "[{map_index}]"),
            indexes => {
                let shown: Vec<String> = indexes.iter().take(5).map(ToString::to_string).collect();
                let more = if *count > shown.len() { ", …" } else { "" };
                write!(f, "[{}{more}], {count} task instances", shown.join(", "))
            }
        }
    }
}

/// A state in words.
pub(super) fn state_name(state: Option<TaskInstanceState>) -> &'static str {
    state.map_or("no state", TaskInstanceState::as_str)
}
