//! Whether a task instance may start: the dependencies that Airflow's scheduler checks.
//!
//! Source: `DEFAULT_OPERATOR_DEPS` in `airflow/serialization/definitions/baseoperator.py` and the files of
//! `airflow/ti_deps/deps/`. All of them are checked, whether or not one has failed already, because several may
//! end the task instance. Airflow checks them in no fixed order; here the trigger rule has the first word.

use std::collections::{BTreeMap, HashMap};

use super::board::{Board, Place};
use super::facts::{PreviousTask, TaskInstanceFacts};
use super::retry::retry_at;
use super::unmet::{PreviousRunUnmet, Unmet};
use crate::dag::{Task, TaskIndex};
use crate::mapping::{MappedCount, MappingRelation, RelevantIndexes, mapped_count};
use crate::state::TaskInstanceState;
use crate::trigger_rule::{self, TriggerRule, UpstreamStates, Verdict};

/// Judges the instances of one task, in ascending order of map index, between two rounds.
pub(super) struct Judge<'b, 'a> {
    board: &'b Board<'a>,
    index: TaskIndex,
    task: &'a Task,
    count: MappedCount,
    upstream: HashMap<TaskIndex, UpstreamOfGroup>,
}

/// How a task upstream relates to a task in a mapped group, with the counts asked for last: neighbours in map
/// index often share them.
struct UpstreamOfGroup {
    relation: MappingRelation,
    last: Option<(RelevantIndexes, UpstreamStates)>,
}

impl<'b, 'a> Judge<'b, 'a> {
    pub(super) fn new(board: &'b Board<'a>, index: TaskIndex) -> Self {
        let dag = board.view.dag;
        let count = mapped_count(dag, index, &board.lengths());
        Self { board, index, task: dag.at(index), count, upstream: HashMap::new() }
    }

    /// How many instances the task has.
    pub(super) fn count(&self) -> MappedCount {
        self.count
    }

    /// Writes to `unmet` what keeps a task instance from starting; gives the state in which it ends, if it
    /// ends without running.
    pub(super) fn judge(&mut self, place: Place, unmet: &mut Vec<Unmet>) -> Option<TaskInstanceState> {
        let facts = self.board.facts(place);
        let state = self.board.state(place);
        self.check_time(facts, state, unmet);
        self.check_previous_run(unmet);
        let mut becomes = self.check_trigger_rule(facts, unmet);
        if let Some(by) = self.skipped_by(facts) {
            unmet.push(Unmet::PreviouslySkipped { by });
            becomes = becomes.or(Some(TaskInstanceState::Skipped));
        }
        self.check_mapped_dependencies(unmet, becomes)
    }

    /// Source: `not_in_retry_period_dep.py`, `ready_to_reschedule.py`.
    fn check_time(&self, facts: &TaskInstanceFacts, state: Option<TaskInstanceState>, unmet: &mut Vec<Unmet>) {
        let view = &self.board.view;
        if state == Some(TaskInstanceState::UpForRetry) {
            let until = retry_at(&view.dag.dag_id, self.task, view.run, facts, view.max_retry_delay);
            if let Some(until) = until.filter(|until| *until > view.now) {
                unmet.push(Unmet::RetryPeriod { until });
            }
        }
        let reschedules = match state {
            Some(TaskInstanceState::UpForReschedule) => true,
            None => self.task.is_sensor && (self.task.reschedule || facts.map_index >= 0),
            Some(_) => false,
        };
        if let Some(until) = facts.next_reschedule_at.filter(|until| reschedules && *until > view.now) {
            unmet.push(Unmet::ReschedulePeriod { until });
        }
    }

    /// Source: `prev_dagrun_dep.py`.
    fn check_previous_run(&self, unmet: &mut Vec<Unmet>) {
        let view = &self.board.view;
        if !self.task.depends_on_past || view.run.is_first_of_backfill {
            return;
        }
        let Some(previous) = view.previous else {
            return;
        };
        let was_not_active = view.dag.settings.catchup
            && previous.logical_date.zip(self.task.start_date).is_some_and(|(date, start)| date < start);
        if was_not_active {
            return;
        }
        let before = |task_id: &str| previous.tasks.get(task_id).copied().unwrap_or_default();
        let PreviousTask { total, unsuccessful } = before(&self.task.task_id);
        if total == 0 {
            let is_first = self.task.ignore_first_depends_on_past && !previous.seen_before.contains(&self.task.task_id);
            if !is_first {
                unmet.push(Unmet::PreviousRun(PreviousRunUnmet::NotRun));
            }
        } else if unsuccessful > 0 {
            unmet.push(Unmet::PreviousRun(PreviousRunUnmet::Unsuccessful { count: unsuccessful }));
        } else if self.task.wait_for_downstream
            && self.task.downstream_task_ids.iter().any(|next| before(next).unsuccessful > 0)
        {
            unmet.push(Unmet::PreviousRun(PreviousRunUnmet::DownstreamUnsuccessful));
        }
    }

    /// Source: `trigger_rule_dep.py`.
    fn check_trigger_rule(&mut self, facts: &TaskInstanceFacts, unmet: &mut Vec<Unmet>) -> Option<TaskInstanceState> {
        let dag = self.board.view.dag;
        let rule = self.task.trigger_rule;
        if rule == TriggerRule::Always || dag.upstream(self.index).next().is_none() {
            return None;
        }
        let setups = dag.structure().indirect_setups(self.index);
        let mut becomes = None;
        if !setups.is_empty() {
            let states = self.gather(facts.map_index, setups.iter().copied());
            let verdict = trigger_rule::judge_setups(facts.map_index, &states);
            becomes = verdict.becomes;
            if !verdict.is_met {
                unmet.push(Unmet::Setups { states });
                if becomes.is_some() {
                    return becomes;
                }
            }
        }
        let states = self.direct_upstream(facts.map_index);
        let verdict = trigger_rule::judge(rule, facts.map_index, &states);
        if !verdict.is_met {
            unmet.push(Unmet::TriggerRule { rule, states });
        } else if self.task.is_teardown {
            self.check_teardown_scope(facts.map_index, unmet);
        }
        let Verdict { becomes: directly, .. } = verdict;
        directly.or(becomes)
    }

    fn check_teardown_scope(&mut self, map_index: i32, unmet: &mut Vec<Unmet>) {
        let scope = self.board.view.dag.structure().teardown_scope(self.index);
        if scope.is_empty() {
            return;
        }
        let states = self.gather(map_index, scope.iter().copied());
        if states.done() < states.upstream {
            unmet.push(Unmet::TeardownScope { unfinished: states.upstream - states.done() });
        }
    }

    /// Source: `not_previously_skipped_dep.py`. An instance looks at its own index of a mapped task upstream.
    fn skipped_by(&self, facts: &TaskInstanceFacts) -> Option<TaskIndex> {
        let view = &self.board.view;
        if view.xcoms.skip_decisions.is_empty() {
            return None;
        }
        view.dag.upstream(self.index).find(|parent| {
            let task = view.dag.at(*parent);
            if !task.can_skip_downstream || !self.board.has_finished(*parent) {
                return false;
            }
            let map_index = if task.is_mapped() { facts.map_index } else { -1 };
            let decision = view.xcoms.skip_decisions.get(&(task.task_id.clone(), map_index));
            decision.is_some_and(|decision| decision.skips(&self.task.task_id))
        })
    }

    /// Source: `mapped_task_upstream_dep.py`. Airflow asks the database, so changes of the current round show
    /// already. Only instances that were never expanded are looked at: an
    /// expanded one shows that the task was not skipped and did not fail as a whole.
    fn check_mapped_dependencies(
        &self,
        unmet: &mut Vec<Unmet>,
        becomes: Option<TaskInstanceState>,
    ) -> Option<TaskInstanceState> {
        use TaskInstanceState::{Failed, Skipped, Success, UpstreamFailed};
        let sources = self.board.view.dag.structure().mapping_sources(self.index);
        let (mut failed, mut skipped, mut unsuccessful) = (false, false, false);
        for source in sources.iter().filter_map(|source| self.board.unexpanded(*source)) {
            let Some(state) = self.board.live_state(source).filter(|state| state.is_finished()) else {
                continue;
            };
            failed |= matches!(state, Failed | UpstreamFailed);
            skipped |= state == Skipped;
            unsuccessful |= state != Success;
        }
        if !unsuccessful {
            return becomes;
        }
        unmet.push(Unmet::MappedDependency);
        match becomes {
            Some(UpstreamFailed) => becomes,
            _ if failed => Some(UpstreamFailed),
            _ if skipped => Some(Skipped),
            _ => becomes,
        }
    }

    fn direct_upstream(&mut self, map_index: i32) -> UpstreamStates {
        let dag = self.board.view.dag;
        if dag.structure().closest_mapped_group(self.index).is_none() {
            return *self.board.direct_upstream(self.index);
        }
        self.gather(map_index, dag.upstream(self.index))
    }

    fn gather(&mut self, map_index: i32, tasks: impl Iterator<Item = TaskIndex>) -> UpstreamStates {
        let board = self.board;
        board.gather(tasks, |_, task| self.relevant(map_index, task))
    }

    /// Counts of those instances of a task that matter to the one with this map index.
    fn relevant(&mut self, map_index: i32, upstream: TaskIndex) -> UpstreamStates {
        let board = self.board;
        let Some(known) = self.relation(map_index, upstream) else {
            return board.tally(upstream);
        };
        let indexes = known.relation.relevant_indexes(map_index);
        match known.last {
            Some((last, states)) if last == indexes => states,
            _ => {
                let states = match indexes {
                    RelevantIndexes::All => board.tally(upstream),
                    RelevantIndexes::Range { start, count } => board.tally_range(upstream, start, count),
                };
                known.last = Some((indexes, states));
                states
            }
        }
    }

    /// Those instances of a task that matter to the one with this map index, counted by state.
    pub(super) fn states_of(
        &mut self,
        map_index: i32,
        upstream: TaskIndex,
    ) -> BTreeMap<Option<TaskInstanceState>, u64> {
        let indexes = match self.relation(map_index, upstream) {
            Some(known) => known.relation.relevant_indexes(map_index),
            None => RelevantIndexes::All,
        };
        let mut states = BTreeMap::new();
        for place in self.board.relevant_instances(upstream, indexes) {
            *states.entry(self.board.state(place)).or_default() += 1;
        }
        states
    }

    /// How a task upstream relates to this one in a mapped group; `None` when all its instances matter.
    fn relation(&mut self, map_index: i32, upstream: TaskIndex) -> Option<&mut UpstreamOfGroup> {
        let structure = self.board.view.dag.structure();
        structure.closest_mapped_group(self.index)?;
        // Before the group is expanded nothing that a single upstream instance does may decide.
        let waits_for_all = map_index < 0
            && self.task.trigger_rule.is_fast_triggered()
            && !structure.all_mapping_sources(self.index).contains(&upstream);
        if waits_for_all {
            return None;
        }
        let (board, index, count) = (self.board, self.index, self.count);
        Some(self.upstream.entry(upstream).or_insert_with(|| UpstreamOfGroup {
            relation: MappingRelation::between(board.view.dag, index, count, upstream, &board.lengths()),
            last: None,
        }))
    }
}
