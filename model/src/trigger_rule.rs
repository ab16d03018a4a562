//! Trigger rules: what the states of upstream task instances mean for a task instance.
//!
//! Source: `airflow/ti_deps/deps/trigger_rule_dep.py`. The functions here know nothing of tasks: they take
//! counts and give a verdict, so that a table can check them.

use serde::{Deserialize, Serialize};

use crate::state::TaskInstanceState;

/// What upstream states let a task run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRule {
    /// Every upstream task succeeded.
    AllSuccess,
    /// Every upstream task failed.
    AllFailed,
    /// Every upstream task has ended.
    AllDone,
    /// Every upstream task has ended, none was skipped, one at least succeeded.
    AllDoneMinOneSuccess,
    /// Every upstream task has ended, and a setup among them succeeded; the rule of teardowns.
    AllDoneSetupSuccess,
    /// One upstream task succeeded; the others may still run.
    OneSuccess,
    /// One upstream task failed; the others may still run.
    OneFailed,
    /// One upstream task succeeded or failed; the others may still run.
    OneDone,
    /// Every upstream task succeeded or was skipped.
    NoneFailed,
    /// Every upstream task has ended, and none was skipped.
    NoneSkipped,
    /// Upstream tasks do not matter.
    Always,
    /// Every upstream task succeeded or was skipped, and one at least succeeded.
    NoneFailedMinOneSuccess,
    /// Every upstream task was skipped.
    AllSkipped,
}

impl TriggerRule {
    /// Every rule.
    pub const ALL: &'static [Self] = &[
        Self::AllSuccess,
        Self::AllFailed,
        Self::AllDone,
        Self::AllDoneMinOneSuccess,
        Self::AllDoneSetupSuccess,
        Self::OneSuccess,
        Self::OneFailed,
        Self::OneDone,
        Self::NoneFailed,
        Self::NoneSkipped,
        Self::Always,
        Self::NoneFailedMinOneSuccess,
        Self::AllSkipped,
    ];

    /// The name in a Dag file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllSuccess => "all_success",
            Self::AllFailed => "all_failed",
            Self::AllDone => "all_done",
            Self::AllDoneMinOneSuccess => "all_done_min_one_success",
            Self::AllDoneSetupSuccess => "all_done_setup_success",
            Self::OneSuccess => "one_success",
            Self::OneFailed => "one_failed",
            Self::OneDone => "one_done",
            Self::NoneFailed => "none_failed",
            Self::NoneSkipped => "none_skipped",
            Self::Always => "always",
            Self::NoneFailedMinOneSuccess => "none_failed_min_one_success",
            Self::AllSkipped => "all_skipped",
        }
    }

    /// The rule with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.as_str() == name)
    }
}

impl TriggerRule {
    /// Whether some upstream task instances alone can satisfy the rule, so that it must not be judged by the
    /// unexpanded instance of a task in a mapped group before that group is expanded.
    pub const fn is_fast_triggered(self) -> bool {
        matches!(self, Self::OneSuccess | Self::OneFailed | Self::OneDone | Self::NoneFailedMinOneSuccess)
    }
}

/// How many relevant upstream task instances there are, and how those that have ended did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct UpstreamStates {
    /// Ended as `success`.
    pub success: u64,
    /// Ended as `skipped`.
    pub skipped: u64,
    /// Ended as `failed`.
    pub failed: u64,
    /// Ended as `upstream_failed`.
    pub upstream_failed: u64,
    /// Ended as `removed`.
    pub removed: u64,
    /// Setups among `success`.
    pub success_setup: u64,
    /// Setups among `skipped`.
    pub skipped_setup: u64,
    /// All, ended or not.
    pub upstream: u64,
    /// Setups among all.
    pub upstream_setup: u64,
}

impl UpstreamStates {
    /// How many have ended.
    pub const fn done(&self) -> u64 {
        self.success + self.skipped + self.failed + self.upstream_failed + self.removed
    }

    /// Counts a task instance that ended.
    pub fn count(&mut self, state: TaskInstanceState, is_setup: bool) {
        self.shift(state, is_setup, |count| *count += 1);
    }

    /// Takes back what [`Self::count`] counted.
    pub fn discount(&mut self, state: TaskInstanceState, is_setup: bool) {
        self.shift(state, is_setup, |count| *count -= 1);
    }

    fn shift(&mut self, state: TaskInstanceState, is_setup: bool, change: impl Fn(&mut u64)) {
        match state {
            TaskInstanceState::Success => change(&mut self.success),
            TaskInstanceState::Skipped => change(&mut self.skipped),
            TaskInstanceState::Failed => change(&mut self.failed),
            TaskInstanceState::UpstreamFailed => change(&mut self.upstream_failed),
            TaskInstanceState::Removed => change(&mut self.removed),
            _ => {}
        }
        match state {
            TaskInstanceState::Success if is_setup => change(&mut self.success_setup),
            TaskInstanceState::Skipped if is_setup => change(&mut self.skipped_setup),
            _ => {}
        }
    }

    /// The counts of two groups of task instances together.
    pub fn add(&mut self, other: &Self) {
        self.zip(other, |own, other| *own += other);
    }

    /// Replaces the counts of a part of these task instances, which went from `old` to `new`.
    pub fn replace(&mut self, old: &Self, new: &Self) {
        self.zip(new, |own, new| *own += new);
        self.zip(old, |own, old| *own -= old);
    }

    fn zip(&mut self, other: &Self, combine: impl Fn(&mut u64, u64)) {
        combine(&mut self.success, other.success);
        combine(&mut self.skipped, other.skipped);
        combine(&mut self.failed, other.failed);
        combine(&mut self.upstream_failed, other.upstream_failed);
        combine(&mut self.removed, other.removed);
        combine(&mut self.success_setup, other.success_setup);
        combine(&mut self.skipped_setup, other.skipped_setup);
        combine(&mut self.upstream, other.upstream);
        combine(&mut self.upstream_setup, other.upstream_setup);
    }
}

/// What upstream states mean for a task instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may run.
    pub is_met: bool,
    /// The state it takes without running, because the rule can no longer be met.
    pub becomes: Option<TaskInstanceState>,
}

/// Judges the tasks directly upstream.
///
/// A task without upstream tasks and the rule [`TriggerRule::Always`] are met.
pub fn judge(rule: TriggerRule, map_index: i32, up: &UpstreamStates) -> Verdict {
    Verdict { is_met: is_met(rule, up), becomes: becomes(rule, map_index, up) }
}

/// Judges setups that are upstream but not directly: all must succeed, and none is waited for once one did not.
pub fn judge_setups(map_index: i32, up: &UpstreamStates) -> Verdict {
    let removed = if map_index > -1 { up.removed } else { 0 };
    Verdict { is_met: up.upstream <= up.success + removed, becomes: becomes(TriggerRule::AllSuccess, map_index, up) }
}

fn becomes(rule: TriggerRule, map_index: i32, up: &UpstreamStates) -> Option<TaskInstanceState> {
    use TaskInstanceState::{Removed, Skipped, UpstreamFailed};
    let any_failed = up.failed > 0 || up.upstream_failed > 0;
    let all_done = up.done() >= up.upstream;
    let when = |condition: bool, state: TaskInstanceState| condition.then_some(state);
    match rule {
        TriggerRule::AllSuccess => when(any_failed, UpstreamFailed)
            .or(when(up.skipped > 0, Skipped))
            .or(when(is_surplus(map_index, up), Removed)),
        TriggerRule::AllFailed => when(up.success > 0 || up.skipped > 0, Skipped),
        TriggerRule::OneSuccess => {
            when(all_done && up.done() == up.skipped, Skipped).or(when(all_done && up.success == 0, UpstreamFailed))
        }
        TriggerRule::OneFailed => when(all_done && !any_failed, Skipped),
        TriggerRule::OneDone => when(all_done && up.failed == 0 && up.success == 0, Skipped),
        TriggerRule::NoneFailed => when(any_failed, UpstreamFailed),
        TriggerRule::NoneFailedMinOneSuccess => when(any_failed, UpstreamFailed)
            .or(when(up.skipped == up.upstream, Skipped))
            .or(when(all_done && up.success == 0, UpstreamFailed)),
        TriggerRule::NoneSkipped => when(up.skipped > 0, Skipped),
        TriggerRule::AllSkipped => when(up.success > 0 || any_failed, Skipped),
        TriggerRule::AllDoneMinOneSuccess => {
            let none_succeeded = up.done() >= up.upstream && up.success == 0;
            when(up.skipped > 0, Skipped).or(when(none_succeeded, UpstreamFailed))
        }
        TriggerRule::AllDoneSetupSuccess => {
            let setups_done = all_done && up.upstream_setup > 0;
            when(setups_done && up.skipped_setup >= up.upstream_setup, Skipped)
                .or(when(setups_done && up.success_setup == 0, UpstreamFailed))
        }
        TriggerRule::AllDone | TriggerRule::Always => None,
    }
}

/// A mapped instance beyond those of a mapped upstream task that was shortened.
fn is_surplus(map_index: i32, up: &UpstreamStates) -> bool {
    up.removed > 0 && up.success > 0 && u64::try_from(map_index).is_ok_and(|index| index >= up.success)
}

fn is_met(rule: TriggerRule, up: &UpstreamStates) -> bool {
    let all_done = up.done() >= up.upstream;
    match rule {
        TriggerRule::Always => true,
        TriggerRule::OneSuccess => up.success > 0,
        TriggerRule::OneFailed => up.failed > 0 || up.upstream_failed > 0,
        TriggerRule::OneDone => up.success > 0 || up.failed > 0,
        TriggerRule::AllSuccess => up.upstream <= up.success + up.removed,
        TriggerRule::AllFailed => up.upstream <= up.failed + up.upstream_failed + up.removed,
        TriggerRule::AllDone => all_done,
        TriggerRule::NoneFailed => up.upstream <= up.success + up.skipped + up.removed,
        TriggerRule::NoneFailedMinOneSuccess => up.upstream <= up.success + up.skipped + up.removed && up.success > 0,
        TriggerRule::NoneSkipped => all_done && up.skipped == 0,
        TriggerRule::AllSkipped => up.upstream <= up.skipped,
        TriggerRule::AllDoneMinOneSuccess => {
            up.skipped == 0 && up.upstream <= up.success + up.failed + up.upstream_failed + up.removed && up.success > 0
        }
        TriggerRule::AllDoneSetupSuccess => all_done && (up.upstream_setup == 0 || up.success_setup > 0),
    }
}

#[cfg(test)]
mod tests;
