//! Why a Dag run or a task instance waits, and why no run is made of a Dag.
//!
//! [`Explainer`] takes the facts of a run, as the scheduling step does, and the facts around it (limits, pools, queues,
//! who lives), and gives every reason that keeps something from moving, or says that nothing does. A [`Reason`] is data;
//! its words are in one place (`wording`), and its code never changes.
//!
//! The judgement is the scheduler's own: of the scheduling step ([`crate::scheduling::Prospects`]), and of the critical
//! section ([`crate::limits::Room::obstacles`]).

mod dag;
mod explainer;
mod partition;
mod reason;
mod run;
mod surroundings;
mod task_instance;
mod wording;

pub use dag::{DagExplanation, Schedule, TimetableQuestion, UnmappedEvents};
pub use explainer::{Explainer, Explanation, TaskInstanceExplanation, TaskInstances};
pub use partition::{PartitionSchedule, WaitingPartition};
pub use reason::{AssetOfPartition, AwaitedAsset, AwaitedPartition, AwaitedTask, Reason, StateCount};
pub use surroundings::{
    Active, Attempt, Backfill, Component, DagFacts, Holder, Pool, Question, Queue, QueuedRun, Surroundings, Trigger,
};

#[cfg(test)]
mod tests;
