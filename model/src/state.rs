//! States of task instances and Dag runs, and the edges between them that exist.
//!
//! Source of the names: `airflow/utils/state.py` and `airflow/utils/types.py`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that names no known state, run type or trigger source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is not known to Airflow 3.3")]
pub struct UnknownName {
    kind: &'static str,
    text: String,
}

macro_rules! names {
    ($(#[$meta:meta])* $name:ident, $kind:literal, { $($(#[$vmeta:meta])* $variant:ident => $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vmeta])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value, in Airflow's own order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text stored in the metadata database and sent over the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownName { kind: $kind, text: text.to_owned() }),
                }
            }
        }
    };
}

names!(
    /// Where a task instance stands. A new task instance has no state: use `Option<TaskInstanceState>`.
    TaskInstanceState, "task instance state", {
        /// The task left the Dag before it ran.
        Removed => "removed",
        /// Ready to run; waits for room in the limits.
        Scheduled => "scheduled",
        /// Handed to the queue.
        Queued => "queued",
        /// A worker runs it.
        Running => "running",
        /// Ended well.
        Success => "success",
        /// Asked to start again while it ran (cleared by a user).
        Restarting => "restarting",
        /// Ended badly, no attempt left.
        Failed => "failed",
        /// Ended badly, waits for the next attempt.
        UpForRetry => "up_for_retry",
        /// A sensor in `reschedule` mode that waits for its next poke.
        UpForReschedule => "up_for_reschedule",
        /// Will not run because of an upstream failure.
        UpstreamFailed => "upstream_failed",
        /// Will not run because of a branch, a short circuit or its own choice.
        Skipped => "skipped",
        /// Waits for a trigger.
        Deferred => "deferred",
        /// Waits for a person (human in the loop).
        AwaitingInput => "awaiting_input",
    }
);

names!(
    /// Where a Dag run stands.
    DagRunState, "Dag run state", {
        /// Created; waits for room under `max_active_runs`.
        Queued => "queued",
        /// Its tasks are being scheduled.
        Running => "running",
        /// All leaves ended well.
        Success => "success",
        /// Some leaf failed, or the run timed out.
        Failed => "failed",
    }
);

names!(
    /// What made a Dag run.
    DagRunType, "Dag run type", {
        /// A backfill.
        Backfill => "backfill",
        /// The Dag's timetable.
        Scheduled => "scheduled",
        /// A user.
        Manual => "manual",
        /// Another Dag's task.
        OperatorTriggered => "operator_triggered",
        /// Asset events.
        AssetTriggered => "asset_triggered",
        /// An asset materialisation asked for by a user.
        AssetMaterialization => "asset_materialization",
    }
);

names!(
    /// Who asked for a Dag run.
    DagRunTriggeredBy, "trigger source", {
        /// `tradewind dags trigger` or `airflow dags trigger`.
        Cli => "cli",
        /// `TriggerDagRunOperator`.
        Operator => "operator",
        /// The REST API.
        RestApi => "rest_api",
        /// The button in the UI.
        Ui => "ui",
        /// `dag.test()`.
        Test => "test",
        /// The Dag's timetable.
        Timetable => "timetable",
        /// Asset events.
        Asset => "asset",
        /// A backfill.
        Backfill => "backfill",
    }
);

impl TaskInstanceState {
    /// States an attempt never leaves by itself.
    pub const FINISHED: &'static [Self] =
        &[Self::Success, Self::Failed, Self::Skipped, Self::UpstreamFailed, Self::Removed];

    /// States from which the scheduler may set `scheduled` (`None` belongs to them too).
    pub const SCHEDULEABLE: &'static [Option<Self>] = &[None, Some(Self::UpForRetry), Some(Self::UpForReschedule)];

    /// Whether the attempt has ended.
    pub fn is_finished(self) -> bool {
        Self::FINISHED.contains(&self)
    }
}

impl DagRunState {
    /// Whether the run has ended.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }
}

/// Whether a task instance may go from one state to another (invariant I2).
///
/// Two edges lead from everywhere, because a user asks for them: back to no state (clear) and to a finished
/// state (mark as success, failed or skipped). Everything else follows the life of an attempt.
pub fn is_legal_edge(from: Option<TaskInstanceState>, to: Option<TaskInstanceState>) -> bool {
    use TaskInstanceState::*;
    let Some(to) = to else { return true };
    if to.is_finished() {
        return true;
    }
    match to {
        Scheduled => {
            matches!(from, None | Some(UpForRetry | UpForReschedule | Deferred | AwaitingInput | Queued | Running))
        }
        Queued => matches!(from, Some(Scheduled)),
        Running => matches!(from, Some(Queued | Restarting)),
        Restarting => matches!(from, Some(Running)),
        UpForRetry => matches!(from, Some(Running | Queued | Restarting | Deferred)),
        // A task that starts with a trigger is deferred in place of being scheduled.
        Deferred => matches!(from, None | Some(UpForRetry | UpForReschedule | Running)),
        UpForReschedule | AwaitingInput => matches!(from, Some(Running)),
        Removed | Success | Failed | UpstreamFailed | Skipped => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for state in TaskInstanceState::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        assert!("done".parse::<TaskInstanceState>().is_err());
    }

    #[test]
    fn only_a_queued_or_restarting_attempt_starts_running() {
        let starts: Vec<_> = TaskInstanceState::ALL
            .iter()
            .filter(|from| is_legal_edge(Some(**from), Some(TaskInstanceState::Running)))
            .collect();
        assert_eq!(starts, [&TaskInstanceState::Queued, &TaskInstanceState::Restarting]);
        assert!(!is_legal_edge(None, Some(TaskInstanceState::Running)));
    }
}
