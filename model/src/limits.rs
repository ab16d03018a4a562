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

/// What became of a page of candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Places in the page of those that got room, in their order.
    pub chosen: Vec<usize>,
    /// Tasks that ran into a limit of their own, by run. They are to be left out of the next page.
    pub starved: Vec<(i32, String)>,
    /// What is to be done next.
    pub next: Next,
}

/// What is to be done after a page of candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// To queue the chosen; nobody else can find room.
    Stop,
    /// To queue the chosen, then to look again: others may find room.
    LookAgain,
    /// Nobody was chosen, but who was refused may have stood in front of others: to look at the next page, without the
    /// starved.
    LookFurther,
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

    /// Gives the candidates of a page their places. `is_full` says that the page holds as many as a page may, so that
    /// others may wait behind it.
    ///
    /// A page holds as many candidates of a run as its `max_active_tasks` has room for. So each who is refused for
    /// another reason may have kept one of the same run off the page.
    pub fn select<'a>(&mut self, page: impl IntoIterator<Item = &'a Candidate>, is_full: bool) -> Selection {
        let (mut chosen, mut starved, mut is_any_refused) = (Vec::new(), Vec::new(), false);
        for (place, candidate) in page.into_iter().enumerate() {
            match self.take(candidate) {
                Ok(()) => chosen.push(place),
                Err(Limit::Parallelism) => return Selection { chosen, starved, next: Next::Stop },
                Err(Limit::MaxActiveTisPerDag | Limit::MaxActiveTisPerDagrun) => {
                    starved.push((candidate.run, candidate.task_id.clone()));
                }
                Err(Limit::Pool | Limit::MaxActiveTasks) => is_any_refused = true,
            }
        }
        let next = match (chosen.is_empty(), starved.is_empty()) {
            (true, true) => Next::Stop,
            (true, false) => Next::LookFurther,
            (false, true) if !is_any_refused && !is_full => Next::Stop,
            (false, _) => Next::LookAgain,
        };
        Selection { chosen, starved, next }
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

    /// One run has room for one more; who deserves it most has run into a limit of its own.
    #[test]
    fn who_is_starved_steps_aside() {
        let pools = HashMap::from([("p".to_owned(), 9)]);
        let tasks = HashMap::from([(("dag_1".to_owned(), "a".to_owned()), 0)]);
        let mut room = Room { parallelism: 9, pools, runs: HashMap::from([(1, 1)]), tasks, ..Room::default() };
        let first = room.select(&[candidate(1, "a", "p", 1)], false);
        assert_eq!((first.next, first.starved), (Next::LookFurther, vec![(1, "a".to_owned())]));
        let second = room.select(&[candidate(1, "b", "p", 1)], false);
        assert_eq!((second.next, second.chosen), (Next::Stop, vec![0]));
    }

    #[test]
    fn whoever_was_refused_may_have_hidden_another() {
        let pools = HashMap::from([("small".to_owned(), 1), ("large".to_owned(), 9)]);
        let mut room = Room { parallelism: 9, pools, ..Room::default() };
        let page = [candidate(1, "a", "small", 1), candidate(1, "b", "small", 1)];
        assert_eq!(room.select(&page, false), Selection { chosen: vec![0], starved: vec![], next: Next::LookAgain });
        assert_eq!(room.select(&page[..0], false).next, Next::Stop);
        room.parallelism = 0;
        assert_eq!(room.select(&page, true).next, Next::Stop);
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
