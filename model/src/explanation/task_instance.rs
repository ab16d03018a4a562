//! Why a task instance does not move.

use std::collections::HashMap;

use super::explainer::Explainer;
use super::reason::{AwaitedTask, Reason, StateCount};
use super::run;
use super::surroundings::{Attempt, Surroundings};
use crate::dag::{Dag, Task, TaskIndex};
use crate::limits::{Candidate, Limit, Room};
use crate::scheduling::{Awaited, PreviousRunUnmet, Prospect, TaskInstanceFacts, Unmet};
use crate::state::{DagRunState, TaskInstanceState};

/// Tasks named in one reason at most.
const TASKS_NAMED: usize = 20;

/// Every reason. `prospect` is what the next step finds, for a task instance that may be scheduled.
pub(super) fn reasons(
    explainer: &Explainer<'_>,
    facts: &TaskInstanceFacts,
    prospect: Option<(TaskIndex, &Prospect)>,
) -> Vec<Reason> {
    use TaskInstanceState::{AwaitingInput, Deferred, Queued, Restarting, Running, Scheduled};
    let attempt = explainer.surroundings().attempts.get(&facts.id);
    match facts.state {
        Some(state) if state.is_finished() => vec![Reason::Ended { state, at: facts.end_date }],
        Some(Queued) => queued(explainer, attempt),
        Some(Running) => running(explainer, facts, attempt),
        Some(Restarting) => restarting(explainer, attempt),
        Some(Deferred) => deferred(explainer, attempt),
        Some(AwaitingInput) => vec![awaiting_input(attempt)],
        state => match of_run(explainer, facts) {
            Some(reasons) => reasons,
            None if state == Some(Scheduled) => scheduled(explainer, facts, attempt),
            None => waiting(explainer, facts, prospect),
        },
    }
}

/// What the run or the Dag decides for a task instance that has not reached a worker.
fn of_run(explainer: &Explainer<'_>, facts: &TaskInstanceFacts) -> Option<Vec<Reason>> {
    let view = explainer.view();
    let run_id = view.run.run_id.clone();
    match view.run.state {
        DagRunState::Queued => return Some(vec![Reason::RunQueued { run_id }]),
        DagRunState::Running => {}
        state => return Some(vec![Reason::RunEnded { run_id, state }]),
    }
    if explainer.surroundings().dag.was_never_serialized {
        return Some(run::suspended(explainer));
    }
    if view.dag.index_of(&facts.task_id).is_none() {
        return Some(moved_by_scheduler(explainer, Reason::TaskRemoved { task_id: facts.task_id.clone() }));
    }
    if explainer.times_out() {
        let state = TaskInstanceState::Skipped;
        return Some(moved_by_scheduler(explainer, Reason::EndsWithoutRunning { state }));
    }
    None
}

/// What the next scheduling step does, unless nobody takes it.
fn moved_by_scheduler(explainer: &Explainer<'_>, next: Reason) -> Vec<Reason> {
    vec![run::no_scheduler(explainer).unwrap_or(next)]
}

/// A task instance that may be scheduled: the judgement is the scheduling step's.
fn waiting(
    explainer: &Explainer<'_>,
    facts: &TaskInstanceFacts,
    prospect: Option<(TaskIndex, &Prospect)>,
) -> Vec<Reason> {
    let Some((index, prospect)) = prospect else {
        return moved_by_scheduler(explainer, Reason::Ready { before: 0 });
    };
    let mut reasons: Vec<Reason> =
        prospect.unmet.iter().map(|unmet| dependency(explainer, index, facts, unmet)).collect();
    if let Some(state) = prospect.becomes {
        reasons.extend(moved_by_scheduler(explainer, Reason::EndsWithoutRunning { state }));
        return reasons;
    }
    if let Some(weights) = run::weights(explainer).filter(|_| prospect.expands_to.is_some()) {
        return moved_by_scheduler(explainer, weights);
    }
    if let Some(count) = prospect.expands_to {
        return moved_by_scheduler(explainer, Reason::ReadyToExpand { count });
    }
    if !reasons.is_empty() && facts.map_index < 0 {
        reasons.extend(not_expanded(explainer, index));
    }
    let mut all = run::suspended(explainer);
    all.extend(run::weights(explainer));
    all.append(&mut reasons);
    if all.is_empty() {
        return moved_by_scheduler(explainer, Reason::Ready { before: 0 });
    }
    all
}

/// Says which outputs a mapped task still needs; nothing when they are there.
fn not_expanded(explainer: &Explainer<'_>, index: TaskIndex) -> Option<Reason> {
    let tasks = named(explainer, explainer.prospects().mapping_sources(index));
    let (tasks, tasks_left_out) = shortened(tasks.into_iter().filter(AwaitedTask::is_unfinished).collect());
    (!tasks.is_empty()).then_some(Reason::NotExpanded { tasks, tasks_left_out })
}

fn dependency(explainer: &Explainer<'_>, index: TaskIndex, facts: &TaskInstanceFacts, unmet: &Unmet) -> Reason {
    let awaited = explainer.prospects().awaited(index, facts.map_index, unmet);
    let (tasks, tasks_left_out) = shortened(named(explainer, awaited));
    match unmet {
        Unmet::RetryPeriod { until } => {
            Reason::RetryPeriod { until: *until, try_number: facts.try_number, max_tries: facts.max_tries }
        }
        Unmet::ReschedulePeriod { until } => Reason::ReschedulePeriod { until: *until },
        Unmet::PreviousRun(unmet) => previous_run(explainer, explainer.view().dag.at(index), *unmet),
        Unmet::TriggerRule { rule, states } => {
            Reason::TriggerRule { rule: *rule, upstream: states.upstream, done: states.done(), tasks, tasks_left_out }
        }
        Unmet::Setups { .. } => Reason::Setups { tasks, tasks_left_out },
        Unmet::TeardownScope { unfinished } => Reason::TeardownScope { unfinished: *unfinished, tasks, tasks_left_out },
        Unmet::PreviouslySkipped { by } => {
            Reason::PreviouslySkipped { by: explainer.view().dag.at(*by).task_id.clone() }
        }
        Unmet::MappedDependency => Reason::MappedDependency { tasks, tasks_left_out },
    }
}

fn previous_run(explainer: &Explainer<'_>, task: &Task, unmet: PreviousRunUnmet) -> Reason {
    let previous = explainer.view().previous;
    let previous_run_id = previous.map(|previous| previous.run_id.clone()).unwrap_or_default();
    let task_id = task.task_id.clone();
    match unmet {
        PreviousRunUnmet::NotRun => Reason::PreviousRunNotRun { previous_run_id, task_id },
        PreviousRunUnmet::Unsuccessful { count } => Reason::PreviousRunUnsuccessful { previous_run_id, task_id, count },
        PreviousRunUnmet::DownstreamUnsuccessful => {
            let unsuccessful = |task_id: &&String| {
                previous.and_then(|previous| previous.tasks.get(*task_id)).is_some_and(|task| task.unsuccessful > 0)
            };
            let task_ids = task.downstream_task_ids.iter().filter(unsuccessful).cloned().collect();
            Reason::PreviousRunDownstream { previous_run_id, task_ids }
        }
    }
}

/// With names in place of indexes; tasks that have not ended come first.
fn named(explainer: &Explainer<'_>, awaited: Vec<Awaited>) -> Vec<AwaitedTask> {
    let dag = explainer.view().dag;
    let mut tasks: Vec<AwaitedTask> = awaited
        .into_iter()
        .map(|Awaited { task, states }| AwaitedTask {
            task_id: dag.at(task).task_id.clone(),
            states: states.into_iter().map(|(state, count)| StateCount { state, count }).collect(),
        })
        .collect();
    tasks.sort_by(|a, b| (!a.is_unfinished(), &a.task_id).cmp(&(!b.is_unfinished(), &b.task_id)));
    tasks
}

fn shortened(mut tasks: Vec<AwaitedTask>) -> (Vec<AwaitedTask>, usize) {
    let left_out = tasks.len().saturating_sub(TASKS_NAMED);
    tasks.truncate(TASKS_NAMED);
    (tasks, left_out)
}

/// A scheduled task instance: the judgement is that of the critical section.
fn scheduled(explainer: &Explainer<'_>, facts: &TaskInstanceFacts, attempt: Option<&Attempt>) -> Vec<Reason> {
    let (view, around) = (explainer.view(), explainer.surroundings());
    let unknown = Attempt::default();
    let attempt = attempt.unwrap_or(&unknown);
    let mut reasons = Vec::new();
    if around.dag.is_paused {
        reasons.push(Reason::DagPaused { dag_id: view.dag.dag_id.clone() });
    }
    let candidate = Candidate {
        id: facts.id,
        run: around.dag_run_id,
        dag_id: view.dag.dag_id.clone(),
        task_id: facts.task_id.clone(),
        pool: attempt.pool.clone(),
        pool_slots: attempt.pool_slots,
    };
    let obstacles = explainer.room().obstacles(&candidate);
    reasons.extend(obstacles.map(|limit| reached(explainer, facts, attempt, limit)));
    if reasons.is_empty() {
        return moved_by_scheduler(explainer, Reason::Ready { before: attempt.before });
    }
    reasons
}

fn reached(explainer: &Explainer<'_>, facts: &TaskInstanceFacts, attempt: &Attempt, limit: Limit) -> Reason {
    let (view, around) = (explainer.view(), explainer.surroundings());
    let task = view.dag.task(&facts.task_id);
    let (of_task, of_task_in_run) = around.active.of_tasks.get(&facts.task_id).copied().unwrap_or_default();
    let task_id = facts.task_id.clone();
    let own = |limit: fn(&Task) -> Option<i32>| i64::from(task.and_then(limit).unwrap_or_default());
    match limit {
        Limit::Parallelism => Reason::Parallelism {
            limit: around.parallelism.unwrap_or(i64::MAX),
            active: around.active.total,
            before: attempt.before,
        },
        Limit::Pool => pool(explainer, attempt),
        Limit::MaxActiveTasks => Reason::MaxActiveTasks {
            dag_id: view.dag.dag_id.clone(),
            limit: around.dag.max_active_tasks,
            active: around.active.in_run,
        },
        Limit::MaxActiveTisPerDag => {
            Reason::MaxActiveTisPerDag { task_id, limit: own(|task| task.max_active_tis_per_dag), active: of_task }
        }
        Limit::MaxActiveTisPerDagrun => Reason::MaxActiveTisPerDagrun {
            task_id,
            limit: own(|task| task.max_active_tis_per_dagrun),
            active: of_task_in_run,
        },
    }
}

fn pool(explainer: &Explainer<'_>, attempt: &Attempt) -> Reason {
    let (name, wanted) = (attempt.pool.clone(), attempt.pool_slots.max(1));
    let Some(pool) = explainer.surroundings().pools.get(&name) else {
        return Reason::PoolMissing { pool: name };
    };
    let slots = pool.slots.unwrap_or(i64::MAX);
    if slots < wanted {
        return Reason::PoolTooSmall { pool: name, slots, wanted };
    }
    Reason::PoolFull {
        pool: name,
        slots,
        open: pool.open(),
        wanted,
        running: pool.running,
        queued: pool.queued,
        deferred: pool.deferred,
        before: attempt.before_in_pool,
        holders: pool.holders.clone(),
    }
}

/// What is left of every limit, for one run.
pub(super) fn room(dag: &Dag, around: &Surroundings) -> Room {
    let mut room = Room {
        parallelism: around.parallelism.unwrap_or(i64::MAX).saturating_sub(around.active.total),
        pools: around.pools.iter().map(|(name, pool)| (name.clone(), pool.open())).collect(),
        runs: HashMap::from([(around.dag_run_id, around.dag.max_active_tasks - around.active.in_run)]),
        ..Room::default()
    };
    for (_, task) in dag.tasks() {
        let (of_task, in_run) = around.active.of_tasks.get(&task.task_id).copied().unwrap_or_default();
        if let Some(limit) = task.max_active_tis_per_dag {
            room.tasks.insert((dag.dag_id.clone(), task.task_id.clone()), i64::from(limit) - of_task);
        }
        if let Some(limit) = task.max_active_tis_per_dagrun {
            room.run_tasks.insert((around.dag_run_id, task.task_id.clone()), i64::from(limit) - in_run);
        }
    }
    room
}

fn queued(explainer: &Explainer<'_>, attempt: Option<&Attempt>) -> Vec<Reason> {
    let unknown = Attempt::default();
    let attempt = attempt.unwrap_or(&unknown);
    let (queue, since) = (attempt.queue.clone(), attempt.queued_at);
    let Some(before) = attempt.messages_before else {
        let missing = Reason::MessageMissing { queue, since };
        return std::iter::once(missing).chain(run::no_scheduler(explainer)).collect();
    };
    let known = explainer.surroundings().queues.get(&queue).copied().unwrap_or_default();
    if known.workers == 0 {
        let until = since.map(|since| since + explainer.surroundings().queued_timeout);
        return vec![Reason::NoWorker { queue, since, last_heartbeat: known.last_heartbeat, until }];
    }
    vec![Reason::WaitsForWorker {
        queue,
        since,
        before,
        workers: known.workers,
        slots: known.slots,
        running: known.running,
    }]
}

/// Source of the silence: `SchedulerJobRunner._find_task_instances_without_heartbeats`.
fn running(explainer: &Explainer<'_>, facts: &TaskInstanceFacts, attempt: Option<&Attempt>) -> Vec<Reason> {
    let hostname = attempt.and_then(|attempt| attempt.hostname.clone()).filter(|name| !name.is_empty());
    let last_heartbeat = attempt.and_then(|attempt| attempt.last_heartbeat);
    let timeout = explainer.surroundings().heartbeat_timeout;
    let mut reasons = vec![Reason::Running { since: facts.start_date, hostname: hostname.clone(), last_heartbeat }];
    let heard = last_heartbeat.or(facts.start_date);
    if let Some(heard) = heard.filter(|heard| *heard + timeout / 2 < explainer.view().now) {
        reasons.push(Reason::Silent { hostname, last_heartbeat: Some(heard), until: heard + timeout });
        reasons.extend(run::no_scheduler(explainer));
    }
    reasons
}

fn restarting(explainer: &Explainer<'_>, attempt: Option<&Attempt>) -> Vec<Reason> {
    let heard = attempt.and_then(|attempt| attempt.last_heartbeat.or(attempt.updated_at));
    let until = heard.map(|heard| heard + explainer.surroundings().restart_grace);
    std::iter::once(Reason::Restarting { until }).chain(run::no_scheduler(explainer)).collect()
}

fn deferred(explainer: &Explainer<'_>, attempt: Option<&Attempt>) -> Vec<Reason> {
    let trigger = attempt.and_then(|attempt| attempt.trigger.as_ref()).map(|trigger| trigger.classpath.clone());
    let until = attempt.and_then(|attempt| attempt.timeout_at);
    let triggerer = explainer.surroundings().triggerer;
    let nobody = (!triggerer.is_alive).then_some(Reason::NoTriggerer { last_heartbeat: triggerer.last_heartbeat });
    std::iter::once(Reason::Deferred { trigger, until }).chain(nobody).collect()
}

fn awaiting_input(attempt: Option<&Attempt>) -> Reason {
    let question = attempt.and_then(|attempt| attempt.question.clone());
    let until = attempt.and_then(|attempt| attempt.timeout_at);
    let (subject, options, assignees) = match question {
        Some(question) => (Some(question.subject), question.options, question.assignees),
        None => (None, Vec::new(), Vec::new()),
    };
    Reason::AwaitingInput { subject, options, assignees, until }
}
