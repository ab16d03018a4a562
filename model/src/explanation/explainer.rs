use std::collections::{BTreeMap, HashMap};
use std::mem::Discriminant;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::reason::{Reason, StateCount, serialize_told};
use super::surroundings::Surroundings;
use super::{run, task_instance};
use crate::dag::TaskIndex;
use crate::limits::Room;
use crate::scheduling::{Prospect, Prospects, RunView, TaskInstanceFacts, Unmet};
use crate::state::{DagRunState, TaskInstanceState};

/// Map indexes named of one group of task instances at most.
const MAP_INDEXES_NAMED: usize = 20;

/// Why a Dag run waits, and every task instance of it that has not ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The Dag.
    pub dag_id: String,
    /// The run.
    pub run_id: String,
    /// Where the run stands.
    pub state: DagRunState,
    /// It does not start before.
    pub run_after: DateTime<Utc>,
    /// When it started.
    pub start_date: Option<DateTime<Utc>>,
    /// The moment at which all this is true.
    pub at: DateTime<Utc>,
    /// What keeps the run itself; nothing when it is on its way.
    #[serde(serialize_with = "serialize_told")]
    pub reasons: Vec<Reason>,
    /// What does not keep the run, but is worth knowing.
    #[serde(serialize_with = "serialize_told")]
    pub remarks: Vec<Reason>,
    /// All task instances of the run, by state.
    pub states: Vec<StateCount>,
    /// Those that have not ended, upstream before downstream.
    pub task_instances: Vec<TaskInstances>,
    /// How many entries `task_instances` would have without a limit.
    pub total_entries: usize,
}

/// Task instances of one task in one state, which wait for the same reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskInstances {
    /// The task.
    pub task_id: String,
    /// The first of their map indexes: what is said is true of this one, and may differ in its parameters for others.
    pub map_index: i32,
    /// Their map indexes, in ascending order; not all of them when there are many.
    pub map_indexes: Vec<i32>,
    /// How many there are.
    pub count: usize,
    /// Where they stand.
    pub state: Option<TaskInstanceState>,
    /// Attempts of the first so far, the current one included.
    pub try_number: i32,
    /// Why they do not move, or what moves them next.
    #[serde(serialize_with = "serialize_told")]
    pub reasons: Vec<Reason>,
}

/// Why a task instance waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskInstanceExplanation {
    /// `task_instance.id`.
    pub id: Uuid,
    /// The Dag.
    pub dag_id: String,
    /// The run.
    pub run_id: String,
    /// The task.
    pub task_id: String,
    /// −1 unless it is one of the instances of a mapped task.
    pub map_index: i32,
    /// Where it stands.
    pub state: Option<TaskInstanceState>,
    /// Attempts so far, the current one included.
    pub try_number: i32,
    /// The attempt after which it is not tried again.
    pub max_tries: i32,
    /// The moment at which all this is true.
    pub at: DateTime<Utc>,
    /// Why it does not move, or what moves it next.
    #[serde(serialize_with = "serialize_told")]
    pub reasons: Vec<Reason>,
    /// Where its run stands.
    pub run_state: DagRunState,
    /// What keeps the run.
    #[serde(serialize_with = "serialize_told")]
    pub run_reasons: Vec<Reason>,
}

/// Explains one run.
pub struct Explainer<'a> {
    view: RunView<'a>,
    surroundings: &'a Surroundings,
    prospects: Prospects<'a>,
    room: Room,
}

impl<'a> Explainer<'a> {
    /// Looks at a run and what is around it.
    pub fn new(view: RunView<'a>, surroundings: &'a Surroundings) -> Self {
        let room = task_instance::room(view.dag, surroundings);
        Self { view, surroundings, prospects: Prospects::new(view), room }
    }

    pub(super) fn view(&self) -> &RunView<'a> {
        &self.view
    }

    pub(super) fn surroundings(&self) -> &'a Surroundings {
        self.surroundings
    }

    pub(super) fn prospects(&self) -> &Prospects<'a> {
        &self.prospects
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    pub(super) fn times_out(&self) -> bool {
        self.prospects.times_out()
    }

    /// Why the run waits, with up to `limit` groups of task instances after the first `offset`.
    pub fn run(&self, offset: usize, limit: usize) -> Explanation {
        let mut groups = Vec::new();
        for task in self.view.dag.structure().topological_order() {
            self.gather(*task, &mut groups);
        }
        for place in self.prospects.strangers() {
            let facts = &self.view.task_instances[*place];
            if !facts.state.is_some_and(TaskInstanceState::is_finished) {
                groups.push(group_of(facts, self.reasons(facts, None)));
            }
        }
        let total_entries = groups.len();
        self.told(groups.into_iter().skip(offset).take(limit).collect(), total_entries)
    }

    /// The same with the instances of one task alone, up to `limit` groups; `None` when the run has none.
    pub fn task(&self, task_id: &str, limit: usize) -> Option<Explanation> {
        let is_of_task = |facts: &&TaskInstanceFacts| facts.task_id == task_id;
        self.view.task_instances.iter().find(is_of_task)?;
        let mut groups = Vec::new();
        match self.view.dag.index_of(task_id) {
            Some(task) => self.gather(task, &mut groups),
            None => {
                let strangers = self.view.task_instances.iter().filter(is_of_task);
                groups.extend(strangers.map(|facts| group_of(facts, self.reasons(facts, None))));
            }
        }
        let total_entries = groups.len();
        groups.truncate(limit);
        Some(self.told(groups, total_entries))
    }

    fn told(&self, task_instances: Vec<TaskInstances>, total_entries: usize) -> Explanation {
        let (dag, run, around) = (self.view.dag, self.view.run, self.surroundings);
        let import_errors = Reason::DagImportErrors { dag_id: dag.dag_id.clone() };
        let has_remark = around.dag.has_import_errors && !run.state.is_finished();
        Explanation {
            dag_id: dag.dag_id.clone(),
            run_id: run.run_id.clone(),
            state: run.state,
            run_after: around.run_after,
            start_date: run.start_date,
            at: self.view.now,
            reasons: run::reasons(self),
            remarks: if has_remark { vec![import_errors] } else { Vec::new() },
            states: self.states(),
            task_instances,
            total_entries,
        }
    }

    /// Why one task instance waits; `None` when the run does not have it.
    pub fn task_instance(&self, task_id: &str, map_index: i32) -> Option<TaskInstanceExplanation> {
        let mut instances = self.view.task_instances.iter();
        let place = instances.position(|facts| facts.task_id == task_id && facts.map_index == map_index)?;
        let facts = &self.view.task_instances[place];
        let task = self.view.dag.index_of(task_id);
        let prospect = task.and_then(|task| Some((task, self.prospects.of(task, place)?)));
        let reasons = self.reasons(facts, prospect.as_ref().map(|(task, prospect)| (*task, prospect)));
        Some(TaskInstanceExplanation {
            id: facts.id,
            dag_id: self.view.dag.dag_id.clone(),
            run_id: self.view.run.run_id.clone(),
            task_id: facts.task_id.clone(),
            map_index,
            state: facts.state,
            try_number: facts.try_number,
            max_tries: facts.max_tries,
            at: self.view.now,
            reasons,
            run_state: self.view.run.state,
            run_reasons: run::reasons(self),
        })
    }

    fn reasons(&self, facts: &TaskInstanceFacts, prospect: Option<(TaskIndex, &Prospect)>) -> Vec<Reason> {
        task_instance::reasons(self, facts, prospect)
    }

    /// The unfinished instances of a task, those with the same reasons together.
    fn gather(&self, task: TaskIndex, groups: &mut Vec<TaskInstances>) {
        let prospects: HashMap<usize, Prospect> = self.prospects.of_task(task).into_iter().collect();
        let mut shapes: Vec<(Shape, usize)> = Vec::new();
        for &place in self.prospects.instances(task) {
            let facts = &self.view.task_instances[place];
            if facts.state.is_some_and(TaskInstanceState::is_finished) {
                continue;
            }
            let prospect = prospects.get(&place);
            // What a task instance waits for may be long: it is told of the first of a group only.
            let (shape, reasons) = match prospect {
                Some(prospect) => (Shape::of_prospect(facts, prospect), None),
                None => {
                    let reasons = self.reasons(facts, None);
                    (Shape::of_reasons(facts, &reasons), Some(reasons))
                }
            };
            if let Some((_, group)) = shapes.iter().find(|(known, _)| *known == shape) {
                add(&mut groups[*group], facts.map_index);
                continue;
            }
            shapes.push((shape, groups.len()));
            let reasons = reasons.unwrap_or_else(|| self.reasons(facts, prospect.map(|prospect| (task, prospect))));
            groups.push(group_of(facts, reasons));
        }
    }

    fn states(&self) -> Vec<StateCount> {
        let mut states: BTreeMap<Option<TaskInstanceState>, u64> = BTreeMap::new();
        for facts in self.view.task_instances {
            *states.entry(facts.state).or_default() += 1;
        }
        states.into_iter().map(|(state, count)| StateCount { state, count }).collect()
    }
}

fn group_of(facts: &TaskInstanceFacts, reasons: Vec<Reason>) -> TaskInstances {
    TaskInstances {
        task_id: facts.task_id.clone(),
        map_index: facts.map_index,
        map_indexes: vec![facts.map_index],
        count: 1,
        state: facts.state,
        try_number: facts.try_number,
        reasons,
    }
}

fn add(group: &mut TaskInstances, map_index: i32) {
    group.count += 1;
    if group.map_indexes.len() < MAP_INDEXES_NAMED {
        group.map_indexes.push(map_index);
    }
}

/// What two task instances must share to be told of together.
#[derive(PartialEq)]
struct Shape {
    state: Option<TaskInstanceState>,
    codes: Vec<&'static str>,
    unmet: Vec<Discriminant<Unmet>>,
    becomes: Option<TaskInstanceState>,
    expands: bool,
}

impl Shape {
    fn of_prospect(facts: &TaskInstanceFacts, prospect: &Prospect) -> Self {
        Self {
            state: facts.state,
            codes: Vec::new(),
            unmet: prospect.unmet.iter().map(std::mem::discriminant).collect(),
            becomes: prospect.becomes,
            expands: prospect.expands_to.is_some(),
        }
    }

    fn of_reasons(facts: &TaskInstanceFacts, reasons: &[Reason]) -> Self {
        let codes = reasons.iter().map(Reason::code).collect();
        Self { state: facts.state, codes, unmet: Vec::new(), becomes: None, expands: false }
    }
}
