use chrono::{DateTime, Utc};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::surroundings::Holder;
use crate::state::{DagRunState, TaskInstanceState};
use crate::trigger_rule::TriggerRule;

/// Task instances of one task in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StateCount {
    /// The state; none is a state, too.
    pub state: Option<TaskInstanceState>,
    /// How many.
    pub count: u64,
}

/// A task that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AwaitedTask {
    /// The task.
    pub task_id: String,
    /// Its relevant task instances, by state.
    pub states: Vec<StateCount>,
}

/// An asset that a Dag is scheduled by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AwaitedAsset {
    /// Its name.
    pub name: String,
    /// Its URI.
    pub uri: String,
    /// Whether it was updated since the last run that its events made.
    pub has_event: bool,
    /// The alias that has led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

/// A partition of a Dag that waits for events of its assets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AwaitedPartition {
    /// Its key.
    pub partition_key: String,
    /// The assets of the Dag's schedule.
    pub assets: Vec<AssetOfPartition>,
}

/// What a partition of a Dag has of an asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AssetOfPartition {
    /// The asset's name.
    pub name: String,
    /// Its URI.
    pub uri: String,
    /// How many of its partitions have come.
    pub received: usize,
    /// Whether they are enough; none: only a plugin can say.
    pub is_enough: Option<bool>,
    /// Partitions of the asset that make up the Dag's, and have not come; some of them. Empty where one of any key is
    /// enough.
    pub missing: Vec<String>,
    /// Missing ones that are not listed.
    pub missing_left_out: usize,
}

impl AwaitedTask {
    /// Whether some task instance has not ended.
    pub fn is_unfinished(&self) -> bool {
        let ended = |count: &StateCount| count.state.is_some_and(TaskInstanceState::is_finished);
        !self.states.iter().all(ended)
    }
}

macro_rules! reasons {
    ($($(#[$meta:meta])* $variant:ident, $code:literal { $($(#[$field_meta:meta])* $field:ident: $type:ty),+ $(,)? })+) => {
        /// Why something does not move, or what moves it next. The fields are the parameters of the words.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Reason {
            $($(#[$meta])* $variant { $($(#[$field_meta])* $field: $type),+ }),+
        }

        impl Reason {
            /// Every code.
            pub const CODES: &'static [&'static str] = &[$($code),+];

            /// The name of the reason for programs: it never changes.
            pub const fn code(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $code),+ }
            }
        }
    };
}

reasons! {
    /// A user stopped the Dag.
    DagPaused, "dag_paused" {
        /// The Dag.
        dag_id: String,
    }
    /// The Dag is gone from its file.
    DagStale, "dag_stale" {
        /// The Dag.
        dag_id: String,
    }
    /// The Dag was never serialized: nobody knows its tasks.
    DagNotSerialized, "dag_not_serialized" {
        /// The Dag.
        dag_id: String,
    }
    /// The Dag's file cannot be imported: no runs are made of it; those that exist go on with the last version that could.
    DagImportErrors, "dag_import_errors" {
        /// The Dag.
        dag_id: String,
    }
    /// No scheduler is alive.
    NoScheduler, "no_scheduler" {
        /// When one was last heard of.
        last_heartbeat: Option<DateTime<Utc>>,
    }
    /// The run's time has not come.
    RunAfter, "run_after" {
        /// When it comes.
        until: DateTime<Utc>,
    }
    /// As many runs of the Dag are running as may.
    MaxActiveRuns, "max_active_runs" {
        /// The Dag.
        dag_id: String,
        /// How many may.
        limit: i64,
        /// How many are.
        running: i64,
        /// Queued runs that come first.
        queued_before: i64,
    }
    /// A user stopped the backfill.
    BackfillPaused, "backfill_paused" {
        /// The backfill.
        backfill_id: i32,
    }
    /// As many runs of the backfill are running as may.
    BackfillMaxActiveRuns, "backfill_max_active_runs" {
        /// The backfill.
        backfill_id: i32,
        /// How many may.
        limit: i64,
        /// How many are.
        running: i64,
        /// Queued runs of the backfill that come first.
        queued_before: i64,
    }
    /// The timetable does not want the next run yet.
    NextRunAfter, "next_run_after" {
        /// When it does.
        until: DateTime<Utc>,
    }
    /// The timetable wants no more runs, or never does.
    NoNextRun, "no_next_run" {
        /// The schedule in words.
        schedule: Option<String>,
    }
    /// As many runs of the Dag are queued or running as may run: no more are made.
    DagMaxActiveRuns, "dag_max_active_runs" {
        /// The Dag.
        dag_id: String,
        /// `max_active_runs`.
        limit: i64,
        /// Runs that are queued or running.
        active: i64,
    }
    /// The Dag allows no runs of its schedule (`allowed_run_types`).
    ScheduledRunsNotAllowed, "scheduled_runs_not_allowed" {
        /// The Dag.
        dag_id: String,
    }
    /// Assets that it is scheduled by have not been updated as it wants.
    AssetsAwaited, "assets_awaited" {
        /// All of them; of an alias those that events have led to.
        assets: Vec<AwaitedAsset>,
        /// Aliases that have led to no asset yet.
        aliases: Vec<String>,
    }
    /// No partition of the Dag has the asset events that it needs.
    PartitionsAwaited, "partitions_awaited" {
        /// Those that wait, the oldest first.
        partitions: Vec<AwaitedPartition>,
        /// Those that are not listed.
        partitions_left_out: u64,
    }
    /// A plugin's partition mapper has still to say which partitions asset events are for.
    PartitionMapperAwaited, "partition_mapper_awaited" {
        /// The Dag.
        dag_id: String,
        /// How many events wait.
        events: u64,
        /// Since when.
        since: Option<DateTime<Utc>>,
    }
    /// The run that is due is made when its timetable, a plugin's, has answered.
    TimetableAwaited, "timetable_awaited" {
        /// The class.
        timetable: String,
        /// Since when it is asked; none: it is not being asked.
        since: Option<DateTime<Utc>>,
        /// Whether a process has taken the question.
        is_taken: bool,
    }
    /// Weight rules of plugins have still to weigh task instances of the run, which start in the order of their weights.
    WeightsAwaited, "weights_awaited" {
        /// The run.
        run_id: String,
        /// How many task instances.
        count: u64,
    }
    /// The run waits itself; its own reasons say why.
    RunQueued, "run_queued" {
        /// The run.
        run_id: String,
    }
    /// The run has ended: nothing more is started in it.
    RunEnded, "run_ended" {
        /// The run.
        run_id: String,
        /// How it ended.
        state: DagRunState,
    }
    /// The run took too long, and the next step ends it.
    RunTimedOut, "run_timed_out" {
        /// The run.
        run_id: String,
        /// `dagrun_timeout` of the Dag, in seconds.
        timeout: f64,
    }
    /// The next step makes the task instances of a mapped task.
    ReadyToExpand, "ready_to_expand" {
        /// How many.
        count: u64,
    }
    /// Nothing keeps it: the scheduler moves it at its next step.
    Ready, "ready" {
        /// Scheduled task instances that come first.
        before: u64,
    }
    /// The next step ends it without running.
    EndsWithoutRunning, "ends_without_running" {
        /// The state that it gets.
        state: TaskInstanceState,
    }
    /// Its task is no longer in the Dag; the next step removes it.
    TaskRemoved, "task_removed" {
        /// The task.
        task_id: String,
    }
    /// The wait before the next attempt is not over.
    RetryPeriod, "retry_period" {
        /// When it is over.
        until: DateTime<Utc>,
        /// Attempts so far.
        try_number: i32,
        /// The attempt after which it is not tried again.
        max_tries: i32,
    }
    /// The sensor asked to be poked later.
    ReschedulePeriod, "reschedule_period" {
        /// When.
        until: DateTime<Utc>,
    }
    /// The task has no task instance in the run before (`depends_on_past`).
    PreviousRunNotRun, "previous_run_not_run" {
        /// The run before.
        previous_run_id: String,
        /// The task.
        task_id: String,
    }
    /// Its task instances in the run before did not succeed (`depends_on_past`).
    PreviousRunUnsuccessful, "previous_run_unsuccessful" {
        /// The run before.
        previous_run_id: String,
        /// The task.
        task_id: String,
        /// How many.
        count: u64,
    }
    /// What is downstream of it in the run before did not succeed (`wait_for_downstream`).
    PreviousRunDownstream, "previous_run_downstream" {
        /// The run before.
        previous_run_id: String,
        /// Tasks that did not.
        task_ids: Vec<String>,
    }
    /// The trigger rule is not satisfied.
    TriggerRule, "trigger_rule" {
        /// The rule.
        rule: TriggerRule,
        /// Relevant upstream task instances.
        upstream: u64,
        /// Those that have ended.
        done: u64,
        /// Upstream tasks, those that have not ended first.
        tasks: Vec<AwaitedTask>,
        /// Upstream tasks that are not listed.
        tasks_left_out: usize,
    }
    /// Setups further upstream have not succeeded.
    Setups, "setups" {
        /// The setups.
        tasks: Vec<AwaitedTask>,
        /// Setups that are not listed.
        tasks_left_out: usize,
    }
    /// Tasks between setup and teardown have not ended.
    TeardownScope, "teardown_scope" {
        /// Task instances that have not.
        unfinished: u64,
        /// The tasks, those that have not ended first.
        tasks: Vec<AwaitedTask>,
        /// Tasks that are not listed.
        tasks_left_out: usize,
    }
    /// An operator upstream decided to skip it.
    PreviouslySkipped, "previously_skipped" {
        /// That operator's task.
        by: String,
    }
    /// A task that it is mapped over did not succeed.
    MappedDependency, "mapped_dependency" {
        /// The tasks that it is mapped over.
        tasks: Vec<AwaitedTask>,
        /// Tasks that are not listed.
        tasks_left_out: usize,
    }
    /// How many instances there will be is not known before the tasks that it is mapped over have ended.
    NotExpanded, "not_expanded" {
        /// Those tasks.
        tasks: Vec<AwaitedTask>,
        /// Tasks that are not listed.
        tasks_left_out: usize,
    }
    /// As many task instances are active as may be, over all Dags.
    Parallelism, "parallelism" {
        /// `[core] parallelism`.
        limit: i64,
        /// How many are.
        active: i64,
        /// Scheduled task instances that come first.
        before: u64,
    }
    /// There is no such pool.
    PoolMissing, "pool_missing" {
        /// Its name.
        pool: String,
    }
    /// The pool has fewer slots in all than the task wants: it never starts.
    PoolTooSmall, "pool_too_small" {
        /// The pool.
        pool: String,
        /// Its slots.
        slots: i64,
        /// Slots wanted.
        wanted: i64,
    }
    /// The pool has too few open slots.
    PoolFull, "pool_full" {
        /// The pool.
        pool: String,
        /// Its slots.
        slots: i64,
        /// Open slots; negative when more are taken than there are.
        open: i64,
        /// Slots wanted.
        wanted: i64,
        /// Slots of running task instances.
        running: i64,
        /// Slots of queued ones.
        queued: i64,
        /// Slots of deferred ones, where the pool counts them.
        deferred: i64,
        /// Scheduled task instances of the pool that come first.
        before: u64,
        /// Who holds the slots, those with most first; not all of them.
        holders: Vec<Holder>,
    }
    /// As many task instances of the run are active as may be.
    MaxActiveTasks, "max_active_tasks" {
        /// The Dag.
        dag_id: String,
        /// How many may be, per run.
        limit: i64,
        /// How many are.
        active: i64,
    }
    /// As many task instances of the task are active as may be, over all runs.
    MaxActiveTisPerDag, "max_active_tis_per_dag" {
        /// The task.
        task_id: String,
        /// How many may be.
        limit: i64,
        /// How many are.
        active: i64,
    }
    /// As many task instances of the task are active in the run as may be.
    MaxActiveTisPerDagrun, "max_active_tis_per_dagrun" {
        /// The task.
        task_id: String,
        /// How many may be.
        limit: i64,
        /// How many are.
        active: i64,
    }
    /// It is queued, and a worker will take it.
    WaitsForWorker, "waits_for_worker" {
        /// The queue.
        queue: String,
        /// When it was queued.
        since: Option<DateTime<Utc>>,
        /// Messages of the queue that come first.
        before: u64,
        /// Workers alive that take from the queue.
        workers: i64,
        /// Attempts that they can run at once.
        slots: i64,
        /// Attempts that they run.
        running: i64,
    }
    /// It is queued, and no worker is alive that takes from its queue.
    NoWorker, "no_worker" {
        /// The queue.
        queue: String,
        /// When it was queued.
        since: Option<DateTime<Utc>>,
        /// When a worker of this queue was last heard of.
        last_heartbeat: Option<DateTime<Utc>>,
        /// From when on the scheduler takes it for stuck (`[scheduler] task_queued_timeout`).
        until: Option<DateTime<Utc>>,
    }
    /// It is queued, but its message is gone: the scheduler writes it anew.
    MessageMissing, "message_missing" {
        /// The queue.
        queue: String,
        /// When it was queued.
        since: Option<DateTime<Utc>>,
    }
    /// It was cleared while it ran; its worker ends the process.
    Restarting, "restarting" {
        /// When the scheduler takes it up again at the latest.
        until: Option<DateTime<Utc>>,
    }
    /// It waits for a trigger.
    Deferred, "deferred" {
        /// Importable name of the trigger's class.
        trigger: Option<String>,
        /// When the trigger gives up.
        until: Option<DateTime<Utc>>,
    }
    /// No triggerer is alive that could run its trigger.
    NoTriggerer, "no_triggerer" {
        /// When one was last heard of.
        last_heartbeat: Option<DateTime<Utc>>,
    }
    /// It waits for a person.
    AwaitingInput, "awaiting_input" {
        /// The question.
        subject: Option<String>,
        /// What can be answered.
        options: Vec<String>,
        /// Who may answer; everybody when empty.
        assignees: Vec<String>,
        /// When nobody needs to answer any more.
        until: Option<DateTime<Utc>>,
    }
    /// A worker runs it.
    Running, "running" {
        /// When the attempt started.
        since: Option<DateTime<Utc>>,
        /// The host.
        hostname: Option<String>,
        /// When its worker was last heard of.
        last_heartbeat: Option<DateTime<Utc>>,
    }
    /// A worker runs it, but was not heard of for long.
    Silent, "silent" {
        /// The host.
        hostname: Option<String>,
        /// When its worker was last heard of.
        last_heartbeat: Option<DateTime<Utc>>,
        /// When the scheduler ends the attempt.
        until: DateTime<Utc>,
    }
    /// It has ended.
    Ended, "ended" {
        /// How.
        state: TaskInstanceState,
        /// When.
        at: Option<DateTime<Utc>>,
    }
}

impl Reason {
    /// Until when it holds, where time alone ends it.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::RunAfter { until }
            | Self::NextRunAfter { until }
            | Self::RetryPeriod { until, .. }
            | Self::ReschedulePeriod { until }
            | Self::Silent { until, .. } => Some(*until),
            Self::Restarting { until }
            | Self::NoWorker { until, .. }
            | Self::Deferred { until, .. }
            | Self::AwaitingInput { until, .. } => *until,
            _ => None,
        }
    }
}

/// A reason with its code and its words.
#[derive(Debug, Clone, Copy)]
struct Told<'a>(&'a Reason);

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Reason", 4)?;
        fields.serialize_field("code", self.0.code())?;
        fields.serialize_field("message", &self.0.to_string())?;
        fields.serialize_field("until", &self.0.until())?;
        fields.serialize_field("parameters", self.0)?;
        fields.end()
    }
}

/// Serialises reasons as `{"code", "message", "until", "parameters"}`.
pub(super) fn serialize_told<S: Serializer>(reasons: &[Reason], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reasons.iter().map(Told))
}
