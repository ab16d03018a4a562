//! Which of the scheduled task instances may be queued now: pools, `parallelism`, `max_active_tasks`,
//! `max_active_tis_per_dag` and `max_active_tis_per_dagrun`.
//!
//! Source: `SchedulerJobRunner._executable_task_instances_to_queued`. Candidates come in the order in which they
//! deserve room; one that finds none never keeps another from trying (invariant I4).

use std::collections::HashMap;

use uuid::Uuid;

/// A scheduled task instance that would like to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// `task_instance.id`.
    pub id: Uuid,
    /// `dag_run.id` of its run.
    pub run: i32,
    /// Its Dag.
    pub dag_id: String,
    /// Its task.
    pub task_id: String,
    /// The pool it takes slots of.
    pub pool: String,
    /// How many slots it takes.
    pub pool_slots: i64,
}

/// The limit that a candidate ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// `[core] parallelism`.
    Parallelism,
    /// The pool has too few open slots, or does not exist.
    Pool,
    /// `max_active_tasks` of the Dag, counted per run.
    MaxActiveTasks,
    /// `max_active_tis_per_dag` of the task.
    MaxActiveTisPerDag,
    /// `max_active_tis_per_dagrun` of the task.
    MaxActiveTisPerDagrun,
}

/// What is left of every limit. A limit that is not named has no bound, except that an unknown pool has no room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Room {
    /// Task instances that may still be active in all.
    pub parallelism: i64,
    /// Open slots by pool.
    pub pools: HashMap<String, i64>,
    /// Task instances that may still be active, by run.
    pub runs: HashMap<i32, i64>,
    /// The same by Dag and task.
    pub tasks: HashMap<(String, String), i64>,
    /// The same by run and task.
    pub run_tasks: HashMap<(i32, String), i64>,
}

impl Room {
    /// Every limit that leaves the candidate no room, in the order in which [`Self::take`] looks at them.
    pub fn obstacles(&self, candidate: &Candidate) -> impl Iterator<Item = Limit> {
        let none_left = |room: Option<&i64>| room.is_some_and(|room| *room < 1);
        let task = (candidate.dag_id.clone(), candidate.task_id.clone());
        let run_task = (candidate.run, candidate.task_id.clone());
        let open = self.pools.get(&candidate.pool);
        let limits = [
            (Limit::Parallelism, self.parallelism < 1),
            (Limit::Pool, open.is_none_or(|open| *open < candidate.pool_slots.max(1))),
            (Limit::MaxActiveTasks, none_left(self.runs.get(&candidate.run))),
            (Limit::MaxActiveTisPerDag, none_left(self.tasks.get(&task))),
            (Limit::MaxActiveTisPerDagrun, none_left(self.run_tasks.get(&run_task))),
        ];
        limits.into_iter().filter(|(_, is_reached)| *is_reached).map(|(limit, _)| limit)
    }

    /// Gives the candidate its place, or says which limit stands in the way.
    ///
    /// # Errors
    /// The first limit that has no room; nothing is taken then.
    pub fn take(&mut self, candidate: &Candidate) -> Result<(), Limit> {
        if let Some(limit) = self.obstacles(candidate).next() {
            return Err(limit);
        }
        let task = (candidate.dag_id.clone(), candidate.task_id.clone());
        let run_task = (candidate.run, candidate.task_id.clone());
        self.parallelism -= 1;
        self.pools.entry(candidate.pool.clone()).and_modify(|open| *open -= candidate.pool_slots);
        self.runs.entry(candidate.run).and_modify(|room| *room -= 1);
        self.tasks.entry(task).and_modify(|room| *room -= 1);
        self.run_tasks.entry(run_task).and_modify(|room| *room -= 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(run: i32, task_id: &str, pool: &str, pool_slots: i64) -> Candidate {
        let (dag_id, task_id, pool) = (format!("dag_{}", run % 2), task_id.to_owned(), pool.to_owned());
        Candidate { id: Uuid::from_u128(1), run, dag_id, task_id, pool, pool_slots }
    }

    #[test]
    fn a_full_pool_does_not_stand_in_the_way_of_another() {
        let pools = HashMap::from([("full".to_owned(), 0), ("open".to_owned(), 1)]);
        let mut room = Room { parallelism: 2, pools, ..Room::default() };
        assert_eq!(room.take(&candidate(1, "a", "full", 1)), Err(Limit::Pool));
        assert_eq!(room.take(&candidate(1, "a", "open", 1)), Ok(()));
        assert_eq!(room.take(&candidate(1, "a", "unknown", 1)), Err(Limit::Pool));
    }

    proptest! {
        /// Invariant I3: whatever is asked for, no limit is ever exceeded, and a refusal takes nothing.
        #[test]
        fn no_limit_is_exceeded(
            wanted in prop::collection::vec((0..4_i32, 0..3_usize, 0..2_usize, 1..4_i64), 0..60),
            parallelism in 0..20_i64, slots in 0..12_i64, per_run in 0..6_i64, per_task in 0..4_i64,
        ) {
            let tasks = ["a", "b", "c"];
            let pools = ["p", "q"];
            let mut room = Room {
                parallelism,
                pools: pools.iter().map(|pool| ((*pool).to_owned(), slots)).collect(),
                runs: (0..4).map(|run| (run, per_run)).collect(),
                tasks: HashMap::from([(("dag_0".to_owned(), "a".to_owned()), per_task)]),
                run_tasks: HashMap::from([((1, "b".to_owned()), per_task)]),
            };
            for (run, task, pool, pool_slots) in wanted {
                let before = room.clone();
                let taken = room.take(&candidate(run, tasks[task], pools[pool], pool_slots));
                prop_assert!(taken.is_ok() || room == before);
                prop_assert!(room.parallelism >= 0);
                let left = room.pools.values().chain(room.runs.values()).chain(room.tasks.values()).chain(room.run_tasks.values());
                prop_assert!(left.copied().all(|left| left >= 0));
            }
        }
    }
}
