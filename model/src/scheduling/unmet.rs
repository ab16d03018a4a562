use chrono::{DateTime, Utc};

use crate::dag::TaskIndex;
use crate::trigger_rule::{TriggerRule, UpstreamStates};

/// Why a task instance cannot start yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// The wait before the next attempt is not over.
    RetryPeriod {
        /// When it is over.
        until: DateTime<Utc>,
    },
    /// The sensor asked to be poked later.
    ReschedulePeriod {
        /// When.
        until: DateTime<Utc>,
    },
    /// The same task in the run before is not where `depends_on_past` needs it.
    PreviousRun(PreviousRunUnmet),
    /// The trigger rule is not satisfied.
    TriggerRule {
        /// The rule.
        rule: TriggerRule,
        /// What it saw.
        states: UpstreamStates,
    },
    /// A setup further upstream has not succeeded.
    Setups {
        /// What the setups look like.
        states: UpstreamStates,
    },
    /// Tasks between setup and teardown have not ended.
    TeardownScope {
        /// How many.
        unfinished: u64,
    },
    /// An operator upstream decided to skip the task.
    PreviouslySkipped {
        /// That operator's task.
        by: TaskIndex,
    },
    /// A task that this one is mapped over did not succeed.
    MappedDependency,
}

/// What of `depends_on_past` is not satisfied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreviousRunUnmet {
    /// The task has no task instance in the run before.
    NotRun,
    /// Some of its task instances there did not succeed.
    Unsuccessful {
        /// How many.
        count: u64,
    },
    /// Tasks downstream of it there did not succeed (`wait_for_downstream`).
    DownstreamUnsuccessful,
}

impl Unmet {
    /// Whether time alone satisfies it.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::RetryPeriod { until } | Self::ReschedulePeriod { until } => Some(*until),
            _ => None,
        }
    }
}
