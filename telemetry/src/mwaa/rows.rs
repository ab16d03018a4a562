//! The rows of the guide.

use tradewind_aws::cloudwatch::Unit;

use super::Dimension::{Is, Label};
use super::Source::{Container, None, Recorded};
use super::{AIRFLOW, Dimension, Row, SERVICE, Source};

const NO_SLAS: Source = None("Airflow 3 has no SLAs");
const NO_SMART_SENSORS: Source = None("Airflow has had no smart sensors since 2.4");
const NOT_EMITTED: Source = None("Airflow 3 has no code that emits it");
const NO_TRIGGERS: Source = None("triggers are not run yet");
const TOLD_BY_THE_DATABASE: Source = None("the database server tells of itself: Amazon RDS under AWS/RDS");

type Dimensions = &'static [(&'static str, Dimension)];

const SCHEDULER: Dimensions = &[("Function", Is("Scheduler"))];
const DAG_PROCESSING: Dimensions = &[("Function", Is("DAG Processing"))];
const EXECUTOR: Dimensions = &[("Function", Is("Executor"))];
const CELERY: Dimensions = &[("Function", Is("Celery"))];
const TRIGGER: Dimensions = &[("Function", Is("Trigger"))];
const SMART_SENSOR: Dimensions = &[("Function", Is("Smart Sensor Operator"))];
const ALL: Dimensions = &[("DAG", Is("All")), ("Task", Is("All"))];
const DAG: Dimensions = &[("DAG", Label("dag_id"))];
const TASK: Dimensions = &[("DAG", Label("dag_id")), ("Task", Label("task_id"))];
const POOL: Dimensions = &[("Pool", Label("pool_name"))];
const FILE: Dimensions = &[("DAG Filename", Label("file_name"))];
const OPERATOR: Dimensions = &[("Operator", Label("operator_name"))];
const JOB: Dimensions = &[("Job", Is("job"))];
const QUEUE: Dimensions = &[("Queue", Label("queue"))];
const DATABASE: Dimensions = &[("Database", Is("*"))];
const CLUSTER: Dimensions = &[("Cluster", Is("*"))];

const fn row(metric: &'static str, statsd: &'static str, source: Source, unit: Unit, dimensions: Dimensions) -> Row {
    Row { namespace: AIRFLOW, metric, statsd, source, unit, dimensions }
}

const fn service(metric: &'static str, source: Source, unit: Unit, dimensions: Dimensions) -> Row {
    Row { namespace: SERVICE, metric, statsd: "", source, unit, dimensions }
}

/// Every metric of the guide.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("SLAMissed", "sla_missed", NO_SLAS, Unit::Count, SCHEDULER),
    row("FailedSLACallback", "sla_callback_notification_failure", NO_SLAS, Unit::Count, SCHEDULER),
    row("Updates", "asset.updates", Recorded("asset.updates"), Unit::Count, SCHEDULER),
    row("Orphaned", "asset.orphaned", Recorded("asset.orphaned"), Unit::Count, SCHEDULER),
    row("FailedCeleryTaskExecution", "celery.execute_command.failure", None("there is no Celery; a worker reports failures as task failures"), Unit::Count, CELERY),
    row("FilePathQueueUpdateCount", "dag_processing.file_path_queue_update_count", Recorded("dag_processing.file_path_queue_update_count"), Unit::Count, SCHEDULER),
    row("CriticalSectionBusy", "scheduler.critical_section_busy", None("schedulers wait for the section, which takes milliseconds, instead of leaving it"), Unit::Count, SCHEDULER),
    row("DagBagSize", "dagbag_size", Recorded("dagbag_size"), Unit::Count, DAG_PROCESSING),
    row("DagCallbackExceptions", "dag.callback_exceptions", None("counted by the official Dag processor in a child whose metrics are not collected"), Unit::Count, &[("DAG", Is("All"))]),
    row("FailedSLAEmailAttempts", "sla_email_notification_failure", NO_SLAS, Unit::Count, SCHEDULER),
    row("TaskInstanceFinished", "ti.finish.{dag_id}.{task_id}.{state}", Recorded("ti.finish"), Unit::Count, &[("DAG", Label("dag_id")), ("Task", Label("task_id")), ("State", Label("state"))]),
    row("JobEnd", "job_end", None("jobs are not counted yet"), Unit::Count, JOB),
    row("JobHeartbeatFailure", "job_heartbeat_failure", None("jobs are not counted yet"), Unit::Count, JOB),
    row("JobStart", "job_start", None("jobs are not counted yet"), Unit::Count, JOB),
    row("ManagerStalls", "dag_processing.manager_stalls", NOT_EMITTED, Unit::Count, DAG_PROCESSING),
    row("OperatorFailures", "operator_failures_{operator_name}", Recorded("operator_failures"), Unit::Count, OPERATOR),
    row("OperatorSuccesses", "operator_successes_{operator_name}", Recorded("operator_successes"), Unit::Count, OPERATOR),
    row("OtherCallbackCount", "dag_processing.other_callback_count", Recorded("dag_processing.other_callback_count"), Unit::Count, SCHEDULER),
    row("Processes", "dag_processing.processes", Recorded("dag_processing.processes"), Unit::Count, DAG_PROCESSING),
    row("SchedulerHeartbeat", "scheduler_heartbeat", Recorded("scheduler_heartbeat"), Unit::Count, SCHEDULER),
    row("StartedTaskInstances", "ti.start.{dag_id}.{task_id}", Recorded("ti.start"), Unit::Count, ALL),
    row("SlaCallbackCount", "dag_processing.sla_callback_count", NO_SLAS, Unit::Count, SCHEDULER),
    row("TasksKilledExternally", "scheduler.tasks.killed_externally", Recorded("scheduler.tasks.killed_externally"), Unit::Count, SCHEDULER),
    row("TaskTimeoutError", "celery.task_timeout_error", None("there is no Celery; what cannot be sent stays in the outbox"), Unit::Count, CELERY),
    row("TaskInstanceCreatedUsingOperator", "task_instance_created_{operator_name}", None("task instances are made in one statement for a whole run"), Unit::Count, OPERATOR),
    row("TaskInstancePreviouslySucceeded", "previously_succeeded", None("a message whose task instance has moved on is dropped before it runs"), Unit::Count, ALL),
    row("TaskInstanceFailures", "ti_failures", Recorded("ti_failures"), Unit::Count, ALL),
    row("TaskInstanceSuccesses", "ti_successes", Recorded("ti_successes"), Unit::Count, ALL),
    row("TaskRemovedFromDAG", "task_removed_from_dag.{dag_id}", None("not counted yet"), Unit::Count, DAG),
    row("TaskRestoredToDAG", "task_restored_to_dag.{dag_id}", None("not counted yet"), Unit::Count, DAG),
    row("TriggersSucceeded", "triggers.succeeded", NO_TRIGGERS, Unit::Count, TRIGGER),
    row("TriggersFailed", "triggers.failed", NO_TRIGGERS, Unit::Count, TRIGGER),
    row("TriggersBlockedMainThread", "triggers.blocked_main_thread", NO_TRIGGERS, Unit::Count, TRIGGER),
    row("TriggerHeartbeat", "triggerer_heartbeat", NO_TRIGGERS, Unit::Count, &[("Function", Is("Triggerer"))]),
    row("ZombiesKilled", "task_instances_without_heartbeats_killed", Recorded("task_instances_without_heartbeats_killed"), Unit::Count, ALL),
    row("DAGFileRefreshError", "dag_file_refresh_error", NOT_EMITTED, Unit::Count, DAG_PROCESSING),
    row("ImportErrors", "dag_processing.import_errors", Recorded("dag_processing.import_errors"), Unit::Count, DAG_PROCESSING),
    row("ExceptionFailures", "smart_sensor_operator.exception_failures", NO_SMART_SENSORS, Unit::Count, SMART_SENSOR),
    row("ExecutedTasks", "smart_sensor_operator.executed_tasks", NO_SMART_SENSORS, Unit::Count, SMART_SENSOR),
    row("InfraFailures", "smart_sensor_operator.infra_failures", NO_SMART_SENSORS, Unit::Count, SMART_SENSOR),
    row("LoadedTasks", "smart_sensor_operator.loaded_tasks", NO_SMART_SENSORS, Unit::Count, SMART_SENSOR),
    row("TotalParseTime", "dag_processing.total_parse_time", Recorded("dag_processing.total_parse_time"), Unit::Seconds, DAG_PROCESSING),
    row("TriggeredDagRuns", "asset.triggered_dagruns", Recorded("asset.triggered_dagruns"), Unit::Count, SCHEDULER),
    row("TriggersRunning", "triggers.running.{hostname}", NO_TRIGGERS, Unit::Count, &[("Function", Is("Trigger")), ("HostName", Label("hostname"))]),
    row("PoolDeferredSlots", "pool.deferred_slots.{pool_name}", Recorded("pool.deferred_slots"), Unit::Count, POOL),
    row("DAGFileProcessingLastRunSecondsAgo", "dag_processing.last_run.seconds_ago.{file_name}", None("files are parsed when they change, so their age says nothing"), Unit::Seconds, FILE),
    row("OpenSlots", "executor.open_slots", Recorded("executor.open_slots"), Unit::Count, EXECUTOR),
    row("OrphanedTasksAdopted", "scheduler.orphaned_tasks.adopted", Recorded("scheduler.orphaned_tasks.adopted"), Unit::Count, SCHEDULER),
    row("OrphanedTasksCleared", "scheduler.orphaned_tasks.cleared", Recorded("scheduler.orphaned_tasks.cleared"), Unit::Count, SCHEDULER),
    row("PokedExceptions", "smart_sensor_operator.poked_exception", NO_SMART_SENSORS, Unit::Count, SMART_SENSOR),
    row("PokedSuccess", "smart_sensor_operator.poked_success", NO_SMART_SENSORS, Unit::Count, SMART_SENSOR),
    row("PokedTasks", "smart_sensor_operator.poked_tasks", NO_SMART_SENSORS, Unit::Count, SMART_SENSOR),
    row("PoolFailures", "pool.open_slots.{pool_name}", Recorded("pool.open_slots"), Unit::Count, POOL),
    row("PoolStarvingTasks", "pool.starving_tasks.{pool_name}", Recorded("pool.starving_tasks"), Unit::Count, POOL),
    row("PoolOpenSlots", "pool.open_slots.{pool_name}", Recorded("pool.open_slots"), Unit::Count, POOL),
    row("PoolQueuedSlots", "pool.queued_slots.{pool_name}", Recorded("pool.queued_slots"), Unit::Count, POOL),
    row("PoolRunningSlots", "pool.running_slots.{pool_name}", Recorded("pool.running_slots"), Unit::Count, POOL),
    row("ProcessorTimeouts", "dag_processing.processor_timeouts", Recorded("dag_processing.processor_timeouts"), Unit::Count, DAG_PROCESSING),
    row("QueuedTasks", "executor.queued_tasks", Recorded("ti.queued"), Unit::Count, EXECUTOR),
    row("RunningTasks", "executor.running_tasks", Recorded("ti.running"), Unit::Count, EXECUTOR),
    row("TasksExecutable", "scheduler.tasks.executable", Recorded("scheduler.tasks.executable"), Unit::Count, SCHEDULER),
    row("TasksPending", "scheduler.tasks.pending", NOT_EMITTED, Unit::Count, SCHEDULER),
    row("TasksRunning", "scheduler.tasks.running", NOT_EMITTED, Unit::Count, SCHEDULER),
    row("TasksStarving", "scheduler.tasks.starving", Recorded("scheduler.tasks.starving"), Unit::Count, SCHEDULER),
    row("TasksWithoutDagRun", "scheduler.tasks.without_dagrun", NOT_EMITTED, Unit::Count, SCHEDULER),
    row("DAGFileProcessingLastNumOfDbQueries", "dag_processing.last_num_of_db_queries.{file_name}", None("a Dag file cannot reach the metadata database"), Unit::Count, FILE),
    row("PoolScheduledSlots", "pool.scheduled_slots.{pool_name}", Recorded("pool.scheduled_slots"), Unit::Count, POOL),
    row("TaskCpuUsage", "cpu.usage.{dag_id}.{task_id}", NOT_EMITTED, Unit::Percent, TASK),
    row("TaskMemoryUsage", "mem.usage.{dag_id}.{task_id}", NOT_EMITTED, Unit::Percent, TASK),
    row("CollectDBDags", "collect_db_dags", NOT_EMITTED, Unit::Milliseconds, DAG_PROCESSING),
    row("CriticalSectionDuration", "scheduler.critical_section_duration", None("not timed yet"), Unit::Milliseconds, SCHEDULER),
    row("CriticalSectionQueryDuration", "scheduler.critical_section_query_duration", None("not timed yet"), Unit::Milliseconds, SCHEDULER),
    row("DAGDependencyCheck", "dagrun.dependency-check.{dag_id}", None("a step decides on a whole run in memory; there is no check to time"), Unit::Milliseconds, DAG),
    row("DAGDurationFailed", "dagrun.duration.failed.{dag_id}", Recorded("dagrun.duration.failed"), Unit::Milliseconds, DAG),
    row("DAGDurationSuccess", "dagrun.duration.success.{dag_id}", Recorded("dagrun.duration.success"), Unit::Milliseconds, DAG),
    row("DAGFileProcessingLastDuration", "dag_processing.last_duration.{file_name}", Recorded("dag_processing.last_duration"), Unit::Seconds, FILE),
    row("DAGScheduleDelay", "dagrun.schedule_delay.{dag_id}", Recorded("dagrun.schedule_delay"), Unit::Milliseconds, DAG),
    row("FirstTaskSchedulingDelay", "dagrun.{dag_id}.first_task_scheduling_delay", Recorded("dagrun.first_task_scheduling_delay"), Unit::Milliseconds, DAG),
    row("SchedulerLoopDuration", "scheduler.scheduler_loop_duration", Recorded("scheduler.scheduler_loop_duration"), Unit::Milliseconds, SCHEDULER),
    row("TaskInstanceDuration", "dag.{dag_id}.{task_id}.duration", Recorded("task.duration"), Unit::Milliseconds, TASK),
    row("TaskInstanceQueuedDuration", "dag.{dag_id}.{task_id}.queued_duration", Recorded("task.queued_duration"), Unit::Milliseconds, TASK),
    row("TaskInstanceScheduledDuration", "dag.{dag_id}.{task_id}.scheduled_duration", Recorded("task.scheduled_duration"), Unit::Milliseconds, TASK),
    row("CeleryWorkerHeartbeat", "", Recorded("mwaa.celery.heartbeat"), Unit::Count, CELERY),
    row("TaskQueued", "", Recorded("mwaa.celery.task_queued"), Unit::Count, CELERY),
    row("TaskPulled", "", Recorded("mwaa.celery.task_pulled"), Unit::Count, CELERY),
    row("TaskExecuted", "", Recorded("mwaa.celery.task_executed"), Unit::Count, CELERY),
    service("CPUUtilization", Container, Unit::Percent, CLUSTER),
    service("MemoryUtilization", Container, Unit::Percent, CLUSTER),
    service("CPUUtilization", TOLD_BY_THE_DATABASE, Unit::Percent, DATABASE),
    service("DatabaseConnections", TOLD_BY_THE_DATABASE, Unit::Count, DATABASE),
    service("DiskQueueDepth", TOLD_BY_THE_DATABASE, Unit::Count, DATABASE),
    service("FreeableMemory", TOLD_BY_THE_DATABASE, Unit::Bytes, DATABASE),
    service("VolumeWriteIOPS", TOLD_BY_THE_DATABASE, Unit::Count, DATABASE),
    service("WriteIOPS", TOLD_BY_THE_DATABASE, Unit::CountPerSecond, DATABASE),
    service("WriteLatency", TOLD_BY_THE_DATABASE, Unit::Seconds, DATABASE),
    service("WriteThroughput", TOLD_BY_THE_DATABASE, Unit::BytesPerSecond, DATABASE),
    service("ApproximateAgeOfOldestTask", Recorded("ApproximateAgeOfOldestTask"), Unit::Seconds, QUEUE),
    service("RunningTasks", Recorded("RunningTasks"), Unit::Count, QUEUE),
    service("QueuedTasks", Recorded("QueuedTasks"), Unit::Count, QUEUE),
    service("ActiveConnectionCount", Recorded("tradewind.webserver.connections"), Unit::Count, &[]),
];
