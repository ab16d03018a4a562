//! A run in memory: a Dag, its task instances and workers that decide how attempts end.

mod examples;
mod properties;
mod prospects;
mod retries;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use uuid::Uuid;

use super::random_dag::output;
use super::*;
use crate::dag::{Dag, DagSettings, GroupIndex, Task, TaskGroup};
use crate::mapping::{ExpandArgument, ExpandInput};
use crate::state::{DagRunState, DagRunType, TaskInstanceState, is_legal_edge};
use crate::trigger_rule::TriggerRule;

struct World {
    dag: Dag,
    run: RunFacts,
    instances: Vec<TaskInstanceFacts>,
    xcoms: XComFacts,
    previous: Option<PreviousRunFacts>,
    now: DateTime<Utc>,
    made: u128,
    end: Option<RunEnd>,
}

fn start() -> DateTime<Utc> {
    Utc.timestamp_opt(1_700_000_000, 0).single().unwrap_or_default()
}

fn dag_of(tasks: Vec<Task>, groups: Vec<TaskGroup>) -> Dag {
    Dag::new("d".to_owned(), DagSettings::default(), tasks, groups).unwrap_or_else(|error| panic!("{error}"))
}

impl World {
    fn new(dag: Dag) -> Self {
        let run = RunFacts {
            run_id: "r".to_owned(),
            run_type: DagRunType::Manual,
            state: DagRunState::Running,
            logical_date: Some(start()),
            start_date: Some(start()),
            is_first_of_backfill: false,
        };
        let mut world = Self {
            instances: Vec::new(),
            xcoms: XComFacts::default(),
            previous: None,
            now: start(),
            made: 0,
            end: None,
            dag,
            run,
        };
        for new in initial_task_instances(&world.dag, &world.run) {
            let id = world.new_id();
            world.instances.push(TaskInstanceFacts::new(id, &world.dag, new.task, new.map_index, None));
        }
        world
    }

    fn new_id(&mut self) -> Uuid {
        self.made += 1;
        Uuid::from_u128(self.made)
    }

    fn view(&self) -> RunView<'_> {
        RunView {
            dag: &self.dag,
            run: &self.run,
            task_instances: &self.instances,
            xcoms: &self.xcoms,
            previous: self.previous.as_ref(),
            max_retry_delay: TimeDelta::days(1),
            now: self.now,
        }
    }

    /// Steps until nothing is left to do now.
    fn settle(&mut self) {
        for _ in 0..100 {
            let step = step(&self.view());
            self.apply(&step);
            if !step.again {
                return;
            }
        }
        panic!("the step asks for another one for ever");
    }

    fn apply(&mut self, step: &Step) {
        let mut made = self.made;
        step.apply(&self.dag, &mut self.instances, self.now, || {
            made += 1;
            Uuid::from_u128(made)
        });
        self.made = made;
        if let Some(end) = step.end_run {
            self.run.state = end.state;
            self.end = Some(end);
        }
    }

    fn find(&mut self, task_id: &str, map_index: i32) -> &mut TaskInstanceFacts {
        let found = self.instances.iter_mut().find(|facts| facts.task_id == task_id && facts.map_index == map_index);
        found.unwrap_or_else(|| panic!("no task instance {task_id}[{map_index}]"))
    }

    /// A worker ends the attempt of a task instance.
    fn finish(&mut self, task_id: &str, map_index: i32, state: TaskInstanceState) {
        let now = self.now;
        let facts = self.find(task_id, map_index);
        assert_eq!(facts.state, Some(TaskInstanceState::Scheduled), "{task_id}[{map_index}]");
        facts.state = Some(state);
        facts.start_date = Some(now);
        facts.end_date = Some(now);
    }

    fn state(&self, task_id: &str) -> Vec<(i32, Option<TaskInstanceState>)> {
        let of_task = self.instances.iter().filter(|facts| facts.task_id == task_id);
        let mut states: Vec<_> = of_task.map(|facts| (facts.map_index, facts.state)).collect();
        states.sort();
        states
    }
}

/// `a>b` is an edge, `a:rule` sets a trigger rule.
fn tasks(text: &str) -> Vec<Task> {
    let mut tasks: indexmap::IndexMap<String, Task> = indexmap::IndexMap::new();
    for word in text.split_whitespace() {
        if let Some((name, rule)) = word.split_once(':') {
            let task = tasks.entry(name.to_owned()).or_insert_with(|| Task::new(name));
            task.trigger_rule = TriggerRule::parse(rule).unwrap_or_else(|| panic!("{rule}"));
            continue;
        }
        let names: Vec<&str> = word.split('>').collect();
        for (place, name) in names.iter().enumerate() {
            let task = tasks.entry((*name).to_owned()).or_insert_with(|| Task::new(*name));
            task.downstream_task_ids.extend(names.get(place + 1).map(|next| (*next).to_owned()));
        }
    }
    tasks.into_values().collect()
}

fn world(text: &str, change: impl Fn(&mut Task)) -> World {
    let mut tasks = tasks(text);
    tasks.iter_mut().for_each(change);
    World::new(dag_of(tasks, Vec::new()))
}
