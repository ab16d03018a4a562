//! The names of states and run types, for filters.

use tradewind_model::state::{DagRunState, DagRunType, TaskInstanceState};

/// The states of Dag runs.
pub(crate) fn dag_run_states() -> Vec<&'static str> {
    DagRunState::ALL.iter().map(|state| state.as_str()).collect()
}

/// The types of Dag runs.
pub(crate) fn dag_run_types() -> Vec<&'static str> {
    DagRunType::ALL.iter().map(|kind| kind.as_str()).collect()
}

/// The states of task instances.
pub(crate) fn task_instance_states() -> Vec<&'static str> {
    TaskInstanceState::ALL.iter().map(|state| state.as_str()).collect()
}
