//! The words of every reason: short sentences for a person, with names, numbers and moments.

use std::fmt::{self, Display, Formatter};

use chrono::{DateTime, SecondsFormat, Utc};

use super::reason::{AssetOfPartition, AwaitedAsset, AwaitedPartition, AwaitedTask, Reason, StateCount};
use super::surroundings::Holder;
use crate::state::TaskInstanceState;
use crate::trigger_rule::TriggerRule;

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::DagPaused { .. }
            | Self::DagStale { .. }
            | Self::DagNotSerialized { .. }
            | Self::DagImportErrors { .. }
            | Self::NoScheduler { .. }
            | Self::RunAfter { .. }
            | Self::MaxActiveRuns { .. }
            | Self::BackfillPaused { .. }
            | Self::BackfillMaxActiveRuns { .. }
            | Self::RunQueued { .. }
            | Self::RunEnded { .. }
            | Self::RunTimedOut { .. }
            | Self::WeightsAwaited { .. } => self.of_run(f),
            Self::NextRunAfter { .. }
            | Self::NoNextRun { .. }
            | Self::DagMaxActiveRuns { .. }
            | Self::ScheduledRunsNotAllowed { .. }
            | Self::AssetsAwaited { .. }
            | Self::PartitionsAwaited { .. }
            | Self::PartitionMapperAwaited { .. }
            | Self::TimetableAwaited { .. } => self.of_schedule(f),
            Self::ReadyToExpand { .. }
            | Self::Ready { .. }
            | Self::EndsWithoutRunning { .. }
            | Self::TaskRemoved { .. } => self.of_next_step(f),
            Self::RetryPeriod { .. }
            | Self::ReschedulePeriod { .. }
            | Self::PreviousRunNotRun { .. }
            | Self::PreviousRunUnsuccessful { .. }
            | Self::PreviousRunDownstream { .. }
            | Self::TriggerRule { .. }
            | Self::Setups { .. }
            | Self::TeardownScope { .. }
            | Self::PreviouslySkipped { .. }
            | Self::MappedDependency { .. }
            | Self::NotExpanded { .. } => self.of_dependency(f),
            Self::Parallelism { .. }
            | Self::PoolMissing { .. }
            | Self::PoolTooSmall { .. }
            | Self::PoolFull { .. }
            | Self::MaxActiveTasks { .. }
            | Self::MaxActiveTisPerDag { .. }
            | Self::MaxActiveTisPerDagrun { .. } => self.of_limit(f),
            Self::WaitsForWorker { .. }
            | Self::NoWorker { .. }
            | Self::MessageMissing { .. }
            | Self::Restarting { .. }
            | Self::Deferred { .. }
            | Self::NoTriggerer { .. }
            | Self::AwaitingInput { .. }
            | Self::Running { .. }
            | Self::Silent { .. }
            | Self::Ended { .. } => self.of_attempt(f),
        }
    }
}

impl Reason {
    fn of_run(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::DagPaused { dag_id } => write!(f, "Dag {dag_id:?} is paused: nothing starts until it is unpaused"),
            Self::DagStale { dag_id } => {
                write!(f, "Dag {dag_id:?} is no longer in its file: nothing starts until it is back")
            }
            Self::DagNotSerialized { dag_id } => {
                write!(
                    f,
                    "Dag {dag_id:?} was never serialized: the Dag processor has not parsed its file yet, or cannot"
                )
            }
            Self::DagImportErrors { dag_id } => write!(
                f,
                "the file of Dag {dag_id:?} has import errors: no new runs are scheduled, and runs that exist go on with \
                 the last version that could be imported"
            ),
            Self::NoScheduler { last_heartbeat } => {
                write!(f, "no scheduler is alive{}", Heard(*last_heartbeat))
            }
            Self::RunAfter { until } => write!(f, "the run does not start before {}", Moment(*until)),
            Self::MaxActiveRuns { dag_id, limit, running, queued_before } => write!(
                f,
                "max_active_runs of Dag {dag_id:?} is {limit}: {}, {} before this one",
                are(*running, "run", "running"),
                are(*queued_before, "run", "queued")
            ),
            Self::BackfillPaused { backfill_id } => write!(f, "backfill {backfill_id} is paused"),
            Self::BackfillMaxActiveRuns { backfill_id, limit, running, queued_before } => write!(
                f,
                "max_active_runs of backfill {backfill_id} is {limit}: {}, {} before this one",
                are(*running, "of its runs", "running"),
                are(*queued_before, "run", "queued")
            ),
            Self::RunQueued { run_id } => write!(f, "its run {run_id:?} is queued and has not started"),
            Self::RunEnded { run_id, state } => {
                write!(f, "the run {run_id:?} has ended as {state}: nothing more is started in it unless it is cleared")
            }
            Self::WeightsAwaited { run_id, count } => write!(
                f,
                "the run {run_id:?} waits for a plugin's weight rule, which has still to weigh {}",
                many(*count, "task instance")
            ),
            Self::RunTimedOut { run_id, timeout } => write!(
                f,
                "the run {run_id:?} takes longer than dagrun_timeout ({timeout} s): it fails at the next scheduling step"
            ),
            _ => Ok(()),
        }
    }

    fn of_schedule(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NextRunAfter { until } => write!(f, "the next run is not made before {}", Moment(*until)),
            Self::NoNextRun { schedule } => match schedule {
                Some(schedule) => write!(f, "the schedule ({schedule}) wants no more runs"),
                None => f.write_str("the Dag has no schedule: runs are made by hand only"),
            },
            Self::DagMaxActiveRuns { dag_id, limit, active } => write!(
                f,
                "max_active_runs of Dag {dag_id:?} is {limit}, and {} queued or running: no more are made meanwhile",
                are_plainly(active.unsigned_abs())
            ),
            Self::ScheduledRunsNotAllowed { dag_id } => {
                write!(f, "Dag {dag_id:?} allows no runs of its schedule (allowed_run_types)")
            }
            Self::AssetsAwaited { assets, aliases } => {
                f.write_str("assets that it is scheduled by have not been updated since the last run: ")?;
                let assets = assets.iter().map(|AwaitedAsset { name, uri, has_event, alias }| {
                    let seen = if *has_event { "updated" } else { "not updated" };
                    let by = alias.as_ref().map(|alias| format!(", by alias {alias:?}")).unwrap_or_default();
                    format!("{:?} ({seen}{by})", if name.is_empty() { uri } else { name })
                });
                let aliases = aliases.iter().map(|alias| format!("alias {alias:?} (has led to no asset yet)"));
                f.write_str(&assets.chain(aliases).collect::<Vec<_>>().join(", "))
            }
            Self::PartitionsAwaited { partitions, .. } if partitions.is_empty() => {
                f.write_str("no asset event for a partition has come since the last run")
            }
            Self::PartitionsAwaited { partitions, partitions_left_out } => {
                f.write_str("no partition has the asset events that it needs: ")?;
                for (place, AwaitedPartition { partition_key, assets }) in partitions.iter().enumerate() {
                    write!(f, "{}{partition_key:?} with {}", if place > 0 { "; " } else { "" }, Parts(assets))?;
                }
                if *partitions_left_out > 0 { write!(f, "; and {partitions_left_out} more") } else { Ok(()) }
            }
            Self::PartitionMapperAwaited { events, since, .. } => write!(
                f,
                "{} for the answer of a plugin's partition mapper{}",
                if *events == 1 { "1 asset event waits".to_owned() } else { format!("{events} asset events wait") },
                Since(*since)
            ),
            Self::TimetableAwaited { timetable, since: None, .. } => {
                write!(f, "a run is due: it is made when its timetable, {timetable} of a plugin, has been asked")
            }
            Self::TimetableAwaited { timetable, since, is_taken: true } => {
                write!(
                    f,
                    "a run is due: it waits{} for the answer of its timetable, {timetable} of a plugin",
                    Since(*since)
                )
            }
            Self::TimetableAwaited { timetable, since, is_taken: false } => write!(
                f,
                "a run is due: its timetable, {timetable} of a plugin, was asked, but{} no Dag processor or scheduler has \
                 taken the question",
                Since(*since)
            ),
            _ => Ok(()),
        }
    }

    fn of_next_step(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadyToExpand { count } => {
                write!(f, "nothing keeps it: the next scheduling step makes {} of it", many(*count, "task instance"))
            }
            Self::Ready { before } => write!(
                f,
                "nothing keeps it: it moves on at the next scheduling step{}",
                Before(*before, "scheduled task instance")
            ),
            Self::EndsWithoutRunning { state } => {
                write!(f, "the next scheduling step sets it to {state} without running it")
            }
            Self::TaskRemoved { task_id } => {
                write!(f, "task {task_id:?} is no longer in the Dag: the next scheduling step sets it to removed")
            }
            _ => Ok(()),
        }
    }

    fn of_dependency(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::RetryPeriod { until, try_number, max_tries } => write!(
                f,
                "attempt {try_number} of {} failed: the next one does not start before {}",
                max_tries.saturating_add(1),
                Moment(*until)
            ),
            Self::ReschedulePeriod { until } => {
                write!(f, "the sensor asked to be called again, not before {}", Moment(*until))
            }
            Self::PreviousRunNotRun { previous_run_id, task_id } => write!(
                f,
                "depends_on_past: task {task_id:?} has no task instance in the run before, {previous_run_id:?}"
            ),
            Self::PreviousRunUnsuccessful { previous_run_id, task_id, count } => write!(
                f,
                "depends_on_past: {} of {task_id:?} in the run before, {previous_run_id:?}, {} neither success nor skipped",
                many(*count, "task instance"),
                if *count == 1 { "is" } else { "are" }
            ),
            Self::PreviousRunDownstream { previous_run_id, task_ids } => write!(
                f,
                "wait_for_downstream: in the run before, {previous_run_id:?}, what is downstream has not succeeded: {}",
                Names(task_ids)
            ),
            Self::TriggerRule { rule, upstream, done, tasks, tasks_left_out } => write!(
                f,
                "trigger rule {}: {}; {done} of {} ended: {}",
                rule.as_str(),
                wanted(*rule),
                many(*upstream, "upstream task instance"),
                Tasks(tasks, *tasks_left_out)
            ),
            Self::Setups { tasks, tasks_left_out } => {
                write!(f, "every setup before it must succeed: {}", Tasks(tasks, *tasks_left_out))
            }
            Self::TeardownScope { unfinished, tasks, tasks_left_out } => write!(
                f,
                "a teardown waits for all tasks between its setup and itself, of which {} not ended: {}",
                if *unfinished == 1 { "1 has".to_owned() } else { format!("{unfinished} have") },
                Tasks(tasks, *tasks_left_out)
            ),
            Self::PreviouslySkipped { by } => write!(f, "task {by:?} decided to skip it"),
            Self::MappedDependency { tasks, tasks_left_out } => {
                write!(f, "what it is mapped over did not succeed: {}", Tasks(tasks, *tasks_left_out))
            }
            Self::NotExpanded { tasks, tasks_left_out } => write!(
                f,
                "how many task instances it makes is known once what it is mapped over has ended: {}",
                Tasks(tasks, *tasks_left_out)
            ),
            _ => Ok(()),
        }
    }

    fn of_limit(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parallelism { limit, active, before } => write!(
                f,
                "[core] parallelism is {limit}: {} queued or running{}",
                are_plainly(active.unsigned_abs()),
                Before(*before, "scheduled task instance")
            ),
            Self::PoolMissing { pool } => write!(f, "there is no pool {pool:?}: make it, or change the task"),
            Self::PoolTooSmall { pool, slots, wanted } => write!(
                f,
                "it wants {} of pool {pool:?}, which has {slots} in all: it never starts unless one of the two changes",
                many(wanted.unsigned_abs(), "slot")
            ),
            Self::PoolFull { pool, slots, open, wanted, holders, before, .. } => {
                let open = (*open).max(0);
                write!(
                    f,
                    "pool {pool:?} has {open} of {} open, and it wants {wanted}",
                    many(slots.unsigned_abs(), "slot")
                )?;
                if !holders.is_empty() {
                    write!(f, "; held by {}", Holders(holders, slots - open))?;
                }
                write!(f, "{}", Before(*before, "scheduled task instance"))
            }
            Self::MaxActiveTasks { dag_id, limit, active } => write!(
                f,
                "max_active_tasks of Dag {dag_id:?} is {limit}, and {} of this run {} queued or running",
                many(active.unsigned_abs(), "task instance"),
                if *active == 1 { "is" } else { "are" }
            ),
            Self::MaxActiveTisPerDag { task_id, limit, active } => write!(
                f,
                "max_active_tis_per_dag of task {task_id:?} is {limit}, and {} of it {} active in all runs",
                many(active.unsigned_abs(), "task instance"),
                if *active == 1 { "is" } else { "are" }
            ),
            Self::MaxActiveTisPerDagrun { task_id, limit, active } => write!(
                f,
                "max_active_tis_per_dagrun of task {task_id:?} is {limit}, and {} of it {} active in this run",
                many(active.unsigned_abs(), "task instance"),
                if *active == 1 { "is" } else { "are" }
            ),
            _ => Ok(()),
        }
    }

    fn of_attempt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitsForWorker { queue, since, before, workers, slots, running } => write!(
                f,
                "queued{} for a worker of queue {queue:?}: {} alive, {running} of {} taken{}",
                Since(*since),
                many(workers.unsigned_abs(), "worker"),
                many(slots.unsigned_abs(), "slot"),
                Before(*before, "message")
            ),
            Self::NoWorker { queue, since, last_heartbeat, until } => {
                write!(
                    f,
                    "queued{}, but no worker that takes from queue {queue:?} is alive{}",
                    Since(*since),
                    Heard(*last_heartbeat)
                )?;
                until.map_or(Ok(()), |until| {
                    write!(f, "; after {} the scheduler queues it anew, and fails it in the end", Moment(until))
                })
            }
            Self::MessageMissing { queue, since } => write!(
                f,
                "queued{} without a message in queue {queue:?}: the scheduler writes it anew within a minute",
                Since(*since)
            ),
            Self::Restarting { until } => {
                f.write_str("cleared while it ran: its worker ends the process, then it starts anew")?;
                until.map_or(Ok(()), |until| write!(f, ", at the latest soon after {}", Moment(until)))
            }
            Self::Deferred { trigger, until } => {
                write!(f, "waits for its trigger {}", trigger.as_deref().unwrap_or("(gone)"))?;
                until.map_or(Ok(()), |until| write!(f, ", until {} at the longest", Moment(until)))
            }
            Self::NoTriggerer { last_heartbeat } => write!(f, "no triggerer is alive{}", Heard(*last_heartbeat)),
            Self::AwaitingInput { subject, options, assignees, until } => {
                f.write_str("waits for ")?;
                if assignees.is_empty() {
                    f.write_str("anybody")?
                } else {
                    write!(f, "{}", Names(assignees))?
                }
                write!(f, " to answer {:?}", subject.as_deref().unwrap_or_default())?;
                if !options.is_empty() {
                    write!(f, " with {}", Names(options))?;
                }
                until.map_or(Ok(()), |until| write!(f, ", until {} at the longest", Moment(until)))
            }
            Self::Running { since, hostname, last_heartbeat } => {
                write!(f, "running{}", Since(*since))?;
                if let Some(hostname) = hostname {
                    write!(f, " on {hostname}")?;
                }
                last_heartbeat.map_or(Ok(()), |at| write!(f, ", last heard of at {}", Moment(at)))
            }
            Self::Silent { until, .. } => write!(
                f,
                "its worker is silent: unless it is heard of again, the scheduler ends the attempt after {}",
                Moment(*until)
            ),
            Self::Ended { state, at } => {
                write!(f, "ended as {state}")?;
                at.map_or(Ok(()), |at| write!(f, " at {}", Moment(at)))
            }
            _ => Ok(()),
        }
    }
}

/// What a trigger rule wants.
fn wanted(rule: TriggerRule) -> &'static str {
    match rule {
        TriggerRule::AllSuccess => "all upstream tasks must succeed",
        TriggerRule::AllFailed => "all upstream tasks must fail",
        TriggerRule::AllDone => "all upstream tasks must end",
        TriggerRule::AllDoneMinOneSuccess => "all upstream tasks must end, none skipped and one at least successful",
        TriggerRule::AllDoneSetupSuccess => "all upstream tasks must end, and a setup among them succeed",
        TriggerRule::OneSuccess => "one upstream task must succeed",
        TriggerRule::OneFailed => "one upstream task must fail",
        TriggerRule::OneDone => "one upstream task must succeed or fail",
        TriggerRule::NoneFailed => "all upstream tasks must succeed or be skipped",
        TriggerRule::NoneSkipped => "all upstream tasks must end, none skipped",
        TriggerRule::Always => "nothing is wanted",
        TriggerRule::NoneFailedMinOneSuccess => {
            "all upstream tasks must succeed or be skipped, and one at least succeed"
        }
        TriggerRule::AllSkipped => "all upstream tasks must be skipped",
    }
}

/// `3 runs`.
fn many(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// `3 runs are running`.
fn are(count: i64, noun: &str, what: &str) -> String {
    match count {
        1 => format!("1 {noun} is {what}"),
        _ if noun.ends_with('s') => format!("{count} {noun} are {what}"),
        _ => format!("{count} {noun}s are {what}"),
    }
}

/// `3 are`.
fn are_plainly(count: u64) -> String {
    if count == 1 { "1 is".to_owned() } else { format!("{count} are") }
}

/// `; 3 messages come first`, where there are any.
struct Before(u64, &'static str);

impl Display for Before {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            before => write!(f, "; {} {} first", many(before, self.1), if before == 1 { "comes" } else { "come" }),
        }
    }
}

/// A moment, to the second.
struct Moment(DateTime<Utc>);

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

/// Since when, where that is known.
struct Since(Option<DateTime<Utc>>);

impl Display for Since {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |since| write!(f, " since {}", Moment(since)))
    }
}

/// When somebody was last heard of.
struct Heard(Option<DateTime<Utc>>);

impl Display for Heard {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, "; the last was heard of at {}", Moment(at)),
            None => f.write_str("; none was ever heard of"),
        }
    }
}

/// `"a", "b"`.
struct Names<'a>(&'a [String]);

impl Display for Names<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (place, name) in self.0.iter().enumerate() {
            write!(f, "{}{name:?}", if place > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// `"a" (running), "b" (2 success, 1 no state)`, and how many are not named.
struct Tasks<'a>(&'a [AwaitedTask], usize);

impl Display for Tasks<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (place, task) in self.0.iter().enumerate() {
            write!(f, "{}{:?} ({})", if place > 0 { ", " } else { "" }, task.task_id, States(&task.states))?;
        }
        if self.1 > 0 { write!(f, " and {} more", self.1) } else { Ok(()) }
    }
}

/// `"a" (1 received, missing "x", "y" and 3 more), "b" (nothing received)`.
struct Parts<'a>(&'a [AssetOfPartition]);

impl Display for Parts<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (place, part) in self.0.iter().enumerate() {
            write!(f, "{}{:?} (", if place > 0 { ", " } else { "" }, part.name)?;
            match part.received {
                0 => f.write_str("nothing received")?,
                received => write!(f, "{received} received")?,
            }
            match part.is_enough {
                Some(true) => f.write_str(", enough")?,
                None => f.write_str(", a plugin says whether it is enough")?,
                Some(false) if !part.missing.is_empty() => {
                    write!(f, ", missing {}", Names(&part.missing))?;
                    if part.missing_left_out > 0 {
                        write!(f, " and {} more", part.missing_left_out)?;
                    }
                }
                Some(false) => {}
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// The state of the only task instance, or how many there are in each.
struct States<'a>(&'a [StateCount]);

impl Display for States<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no task instance"),
            [StateCount { state, count: 1 }] => f.write_str(name(*state)),
            states => {
                for (place, StateCount { state, count }) in states.iter().enumerate() {
                    write!(f, "{}{count} {}", if place > 0 { ", " } else { "" }, name(*state))?;
                }
                Ok(())
            }
        }
    }
}

fn name(state: Option<TaskInstanceState>) -> &'static str {
    state.map_or("no state", TaskInstanceState::as_str)
}

/// Who holds slots of a pool, and how many slots others hold who are not named.
struct Holders<'a>(&'a [Holder], i64);

impl Display for Holders<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (place, holder) in self.0.iter().enumerate() {
            let Holder { dag_id, run_id, task_id, map_index, state, slots, since } = holder;
            write!(f, "{}{dag_id} {run_id} {task_id}", if place > 0 { ", " } else { "" })?;
            if *map_index >= 0 {
                write!(f, "[{map_index}]")?;
            }
            write!(f, " ({}, {state}{})", many(slots.unsigned_abs(), "slot"), Since(*since))?;
        }
        let named: i64 = self.0.iter().map(|holder| holder.slots).sum();
        let others = self.1.saturating_sub(named);
        if others > 0 { write!(f, " and others ({})", many(others.unsigned_abs(), "slot")) } else { Ok(()) }
    }
}
