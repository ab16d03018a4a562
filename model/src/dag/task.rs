use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::GroupIndex;
use crate::mapping::ExpandInput;
use crate::trigger_rule::TriggerRule;

/// How a task's place in the Dag enters its priority. Source: `airflow/task/priority_strategy.py`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightRule {
    /// Own weight plus those of all tasks downstream.
    Downstream,
    /// Own weight plus those of all tasks upstream.
    Upstream,
    /// Own weight.
    Absolute,
    /// A strategy of a plugin, by its importable name; only Python can evaluate it, and until it did the own
    /// weight stands.
    Custom(String),
}

/// The trigger that a task starts with, without a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct StartTrigger {
    /// Importable name of the trigger.
    pub trigger_cls: String,
    /// Its arguments, as serialized.
    pub trigger_kwargs: Option<Value>,
    /// Method of the operator that takes the trigger's event.
    pub next_method: String,
    /// Arguments of that method, as serialized.
    pub next_kwargs: Option<Value>,
    /// The trigger gives up after this.
    pub timeout: Option<TimeDelta>,
}

/// A task. Defaults are those of a serialized task that says nothing
/// (`airflow/serialization/definitions/baseoperator.py`). There may be tens of thousands in memory: what is large and rare is
/// boxed.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Unique name within the Dag.
    pub task_id: String,
    /// Name shown to people, when it differs.
    pub display_name: Option<String>,
    /// Class of the operator, stored as `task_instance.operator`.
    pub task_type: String,
    /// Name of the operator, when it differs from its class (for example `@task`).
    pub operator_name: Option<String>,
    /// Who looks after the task.
    pub owner: String,
    /// Group the task is in.
    pub group: GroupIndex,
    /// Tasks directly downstream.
    pub downstream_task_ids: Vec<String>,
    /// What upstream states let the task run.
    pub trigger_rule: TriggerRule,
    /// Prepares something that a teardown removes.
    pub is_setup: bool,
    /// Removes what a setup prepared.
    pub is_teardown: bool,
    /// A failure of this teardown fails the run.
    pub on_failure_fail_dagrun: bool,
    /// Waits for the same task of the run before.
    pub depends_on_past: bool,
    /// Waits also for what is downstream of the same task in the run before.
    pub wait_for_downstream: bool,
    /// `depends_on_past` does not hold for the first run of the task.
    pub ignore_first_depends_on_past: bool,
    /// A skip waits until the run before allows it (checked by the worker).
    pub wait_for_past_depends_before_skipping: bool,
    /// Attempts after the first.
    pub retries: i32,
    /// Wait between attempts.
    pub retry_delay: TimeDelta,
    /// Factor by which the wait grows per attempt; 0 and 1 leave it as it is.
    pub retry_exponential_backoff: f64,
    /// The wait never grows beyond this.
    pub max_retry_delay: Option<TimeDelta>,
    /// Pool whose slots the task takes.
    pub pool: String,
    /// Slots it takes.
    pub pool_slots: i32,
    /// Queue for its attempts.
    pub queue: String,
    /// Executor by name, when the task chooses.
    pub executor: Option<String>,
    /// Settings for the executor, as serialized.
    pub executor_config: Option<Box<Value>>,
    /// Own weight.
    pub priority_weight: i32,
    /// How the place in the Dag enters the weight.
    pub weight_rule: WeightRule,
    /// Task instances of this task active at once, over all runs.
    pub max_active_tis_per_dag: Option<i32>,
    /// Task instances of this task active at once in one run.
    pub max_active_tis_per_dagrun: Option<i32>,
    /// An attempt may take this long.
    pub execution_timeout: Option<TimeDelta>,
    /// No task instance in runs before this.
    pub start_date: Option<DateTime<Utc>>,
    /// No task instance in runs after this.
    pub end_date: Option<DateTime<Utc>>,
    /// Operating system user of the attempt.
    pub run_as_user: Option<String>,
    /// The operator is an `EmptyOperator` or derived from it.
    pub is_empty: bool,
    /// The operator can skip what is downstream (branches, short circuits).
    pub can_skip_downstream: bool,
    /// The operator is a sensor.
    pub is_sensor: bool,
    /// A sensor that frees its slot between pokes.
    pub reschedule: bool,
    /// The Dag file has something to call when an attempt starts.
    pub has_on_execute_callback: bool,
    /// The Dag file has something to call when an attempt fails.
    pub has_on_failure_callback: bool,
    /// The Dag file has something to call when an attempt is retried.
    pub has_on_retry_callback: bool,
    /// The Dag file has something to call when an attempt succeeds.
    pub has_on_success_callback: bool,
    /// The Dag file has something to call when an attempt skips itself.
    pub has_on_skipped_callback: bool,
    /// How many inlets are declared.
    pub inlets: usize,
    /// How many outlets are declared.
    pub outlets: usize,
    /// The trigger to start with, if the task starts with one.
    pub start_trigger: Option<Box<StartTrigger>>,
    /// What a mapped task is expanded over; `None` for a plain task.
    pub expand_input: Option<ExpandInput>,
    /// Template for the name of a mapped task instance.
    pub map_index_template: Option<String>,
    /// Addresses for mail about the task, as serialized.
    pub email: Option<Box<Value>>,
    /// Mail when an attempt failed.
    pub email_on_failure: bool,
    /// Mail when an attempt is retried.
    pub email_on_retry: bool,
}

impl Task {
    /// A plain task in the root group.
    pub fn new(task_id: impl Into<String>) -> Self {
        Self {
            task_id: task_id.into(),
            display_name: None,
            task_type: "BaseOperator".to_owned(),
            operator_name: None,
            owner: "airflow".to_owned(),
            group: GroupIndex::ROOT,
            downstream_task_ids: Vec::new(),
            trigger_rule: TriggerRule::AllSuccess,
            is_setup: false,
            is_teardown: false,
            on_failure_fail_dagrun: false,
            depends_on_past: false,
            wait_for_downstream: false,
            ignore_first_depends_on_past: false,
            wait_for_past_depends_before_skipping: false,
            retries: 0,
            retry_delay: TimeDelta::seconds(300),
            retry_exponential_backoff: 0.0,
            max_retry_delay: None,
            pool: "default_pool".to_owned(),
            pool_slots: 1,
            queue: "default".to_owned(),
            executor: None,
            executor_config: None,
            priority_weight: 1,
            weight_rule: WeightRule::Downstream,
            max_active_tis_per_dag: None,
            max_active_tis_per_dagrun: None,
            execution_timeout: None,
            start_date: None,
            end_date: None,
            run_as_user: None,
            is_empty: false,
            can_skip_downstream: false,
            is_sensor: false,
            reschedule: false,
            has_on_execute_callback: false,
            has_on_failure_callback: false,
            has_on_retry_callback: false,
            has_on_success_callback: false,
            has_on_skipped_callback: false,
            inlets: 0,
            outlets: 0,
            start_trigger: None,
            expand_input: None,
            map_index_template: None,
            email: None,
            email_on_failure: true,
            email_on_retry: true,
        }
    }

    /// Whether `expand` was called on the task.
    pub fn is_mapped(&self) -> bool {
        self.expand_input.is_some()
    }

    /// Name shown to people, as stored in `task_instance.task_display_name`.
    pub fn task_display_name(&self) -> &str {
        self.display_name.as_deref().unwrap_or(&self.task_id)
    }

    /// Name of the operator, as stored in `task_instance.custom_operator_name`.
    pub fn custom_operator_name(&self) -> &str {
        self.operator_name.as_deref().unwrap_or(&self.task_type)
    }

    /// Whether the task has nothing to run, so that it succeeds when its time comes, without a worker.
    ///
    /// Source: `TaskInstance.is_task_schedulable`, negated.
    pub fn succeeds_without_running(&self) -> bool {
        self.is_empty
            && !self.has_on_execute_callback
            && !self.has_on_success_callback
            && self.inlets == 0
            && self.outlets == 0
    }
}
