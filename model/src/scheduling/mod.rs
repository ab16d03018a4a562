//! One scheduling step of one Dag run: from the facts of the run to what should happen next.
//!
//! [`step`] is a pure function. It gives what `DagRun.update_state` and `DagRun.schedule_tis` of
//! `airflow/models/dagrun.py` decide, called again and again until nothing changes any more: Airflow's loop is
//! repeated here in rounds, each of which sees the states at the end of the round before. The properties that
//! hold are told in this crate's `README.md`.

mod apply;
mod board;
mod dependency;
mod effect;
mod expansion;
mod facts;
mod integrity;
mod prospect;
#[cfg(any(test, feature = "testing"))]
pub mod random_dag;
mod retry;
mod round;
mod run_state;
mod unmet;

pub use effect::{Creation, Expansion, RunEnd, RunEndReason, Start, StateChange, Step};
pub use facts::{PreviousRunFacts, PreviousTask, RunFacts, RunView, SkipDecision, TaskInstanceFacts, XComFacts};
pub use facts::{XComNeeds, xcom_needs};
pub use integrity::{Integrity, NewTaskInstance, initial_task_instances, integrity_needs, verify_integrity};
pub use prospect::{Awaited, Prospect, Prospects};
pub use retry::{may_retry, retry_at};
pub use round::{explain, step};
pub use unmet::{PreviousRunUnmet, Unmet};

#[cfg(test)]
mod tests;
