use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::effect::{Start, Step};
use super::facts::TaskInstanceFacts;
use crate::dag::{Dag, TaskIndex};
use crate::state::TaskInstanceState;

impl TaskInstanceFacts {
    /// A task instance that was just made.
    pub fn new(id: Uuid, dag: &Dag, task: TaskIndex, map_index: i32, state: Option<TaskInstanceState>) -> Self {
        let task = dag.at(task);
        Self {
            id,
            task_id: task.task_id.clone(),
            map_index,
            state,
            try_number: 0,
            max_tries: task.retries,
            start_date: None,
            end_date: None,
            next_reschedule_at: None,
            retry_delay_override: None,
        }
    }
}

impl Step {
    /// The facts of a run after this step, for whoever keeps them in memory.
    ///
    /// Call it once the step is written down; `new_id` gives the ids under which task instances were made, in
    /// the order of `create` and the map indexes there.
    pub fn apply(
        &self,
        dag: &Dag,
        instances: &mut Vec<TaskInstanceFacts>,
        now: DateTime<Utc>,
        mut new_id: impl FnMut() -> Uuid,
    ) {
        let places: HashMap<Uuid, usize> =
            instances.iter().enumerate().map(|(place, facts)| (facts.id, place)).collect();
        let mut change = |id: Uuid, change: &dyn Fn(&mut TaskInstanceFacts)| {
            if let Some(place) = places.get(&id) {
                change(&mut instances[*place]);
            }
        };
        let started = starts(&self.schedule, TaskInstanceState::Scheduled)
            .chain(starts(&self.succeed, TaskInstanceState::Success))
            .chain(starts(&self.defer, TaskInstanceState::Deferred));
        for (start, state) in started {
            change(start.id, &|facts| {
                facts.state = Some(state);
                facts.try_number = start.try_number;
                if state != TaskInstanceState::Scheduled {
                    facts.start_date = Some(now);
                    facts.end_date = state.is_finished().then_some(now).or(facts.end_date);
                }
            });
        }
        for end in &self.end {
            change(end.id, &|facts| {
                facts.state = Some(end.to);
                if end.is_dated {
                    facts.start_date.get_or_insert(now);
                    facts.end_date.get_or_insert(now);
                }
            });
        }
        for expansion in self.expand.iter().filter(|expansion| !expansion.is_deleted) {
            change(expansion.id, &|facts| facts.map_index = 0);
        }
        let deleted: HashSet<Uuid> =
            self.expand.iter().filter(|expansion| expansion.is_deleted).map(|expansion| expansion.id).collect();
        instances.retain(|facts| !deleted.contains(&facts.id));
        for creation in &self.create {
            for &map_index in &creation.map_indexes {
                instances.push(TaskInstanceFacts::new(new_id(), dag, creation.task, map_index, creation.state));
            }
        }
    }
}

fn starts(list: &[Start], state: TaskInstanceState) -> impl Iterator<Item = (Start, TaskInstanceState)> {
    list.iter().map(move |start| (*start, state))
}
