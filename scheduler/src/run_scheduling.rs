//! One Dag run: loads its facts, asks the model what should happen, and writes that down in one transaction.

use chrono::{DateTime, TimeDelta, Utc};
use metrics::counter;
use serde_json::json;
use sqlx::{PgConnection, query, query_scalar};
use tradewind_metadata::dag_run_version::VersionedRun;
use tradewind_metadata::run_facts::StoredRun;
use tradewind_metadata::task_instance::{New, Transition, transition_silently};
use tradewind_metadata::trigger::NewTrigger;
use tradewind_metadata::{
    Database, Result, dag_run, dag_run_version, deadline, failpoint, priority_weight, serialized_dag, task_instance,
    trigger,
};
use tradewind_model::dag::Dag;
use tradewind_model::scheduling::{self, RunEnd, RunView, Start, StateChange, Step};
use tradewind_model::state::{DagRunState, TaskInstanceState};
use uuid::Uuid;

use crate::custom_weight::{WaitingRun, Weights};
use crate::metric;

/// Steps taken in one transaction while task instances are being made; more wait for the next turn.
const ROUNDS: usize = 8;

/// How often the runs of paused Dags are looked at.
const PACE_WHILE_SUSPENDED: TimeDelta = TimeDelta::minutes(1);

/// What came of looking at a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The run ended.
    pub(crate) ended: bool,
    /// Something of the run was changed.
    pub(crate) moved: bool,
    /// Time alone may change something at this moment.
    pub(crate) wake_at: Option<DateTime<Utc>>,
    /// Runs of the same Dag that waited for this one.
    pub(crate) successors: Vec<i32>,
}

/// What looking at a run led to.
#[derive(Debug)]
pub(crate) enum Looked {
    /// Every step that it was ready for was taken.
    At(Outcome),
    /// It waits for its start.
    Queued,
    /// Another scheduler holds it, or has decided on it since it was told of.
    ByAnother,
    /// It has ended, or is no more.
    Gone,
}

/// What scheduling a run needs besides the run.
#[derive(Debug)]
pub(crate) struct RunScheduler {
    pub(crate) database: Database,
    pub(crate) dags: serialized_dag::Cache,
    pub(crate) weights: Weights,
    pub(crate) job_id: i32,
    pub(crate) max_retry_delay: TimeDelta,
    /// When to look again at a run that waits for something of which nobody tells.
    pub(crate) poll_interval: TimeDelta,
}

impl RunScheduler {
    /// Takes every step that the run is ready for. One that was told of (`heard`) is left to the scheduler that has
    /// decided on it since: that one saw the change, since a notification comes when the change is visible. Should its
    /// clock be ahead, so that it only seems so, it was told of the change, too.
    pub(crate) async fn schedule(&self, id: i32, heard: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<Looked> {
        let mut transaction = self.database.pool().begin().await?;
        let Some(run) = StoredRun::take(&mut transaction, id, heard).await? else {
            let state: Option<String> = query_scalar("SELECT state FROM dag_run WHERE id = $1")
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await?
                .flatten();
            return Ok(match state.as_deref().and_then(|state| state.parse().ok()) {
                Some(DagRunState::Queued) => Looked::Queued,
                Some(DagRunState::Running) => Looked::ByAnother,
                _ => Looked::Gone,
            });
        };
        failpoint::reach("run_scheduling: held").await?;
        if let Some(until) = resting_until(&run).filter(|until| *until > now) {
            // Nobody tells when official components un-pause a Dag.
            let wake_at = Some(until.min(now + self.poll_interval));
            return Ok(Looked::At(Outcome { wake_at, ..Outcome::default() }));
        }
        let Some((version, hash)) = run.dag_version() else {
            tracing::error!(dag_id = run.dag_id, "a run waits, but its Dag was never serialized");
            return Ok(Looked::At(Outcome::default()));
        };
        let dag = self.dags.version_of_hash(&mut transaction, version, hash).await?;
        let mut outcome = Outcome::default();
        let mut awaits_weights = false;
        for _ in 0..ROUNDS {
            awaits_weights = self.awaits_weights(&mut transaction, &run, &dag).await?;
            if awaits_weights {
                break;
            }
            let again = self.step(&mut transaction, &run, &dag, version, now, &mut outcome).await?;
            if !again {
                break;
            }
        }
        query("UPDATE dag_run SET last_scheduling_decision = $2, scheduled_by_job_id = $3 WHERE id = $1")
            .bind(id)
            .bind(now)
            .bind(self.job_id)
            .execute(&mut *transaction)
            .await?;
        failpoint::reach("run_scheduling: written").await?;
        transaction.commit().await?;
        if awaits_weights {
            let (dag_id, run_id) = (run.dag_id, run.facts.run_id);
            self.weights.work_out(WaitingRun { id, dag_id, run_id, dag_version_id: version });
        }
        Ok(Looked::At(outcome))
    }

    /// Whether plugins have still to weigh task instances of the run, which start in the order of their weights.
    async fn awaits_weights(&self, connection: &mut PgConnection, run: &StoredRun, dag: &Dag) -> Result<bool> {
        Ok(dag.has_custom_weights() && priority_weight::is_wanted(connection, &run.dag_id, &run.facts.run_id).await?)
    }

    async fn step(
        &self,
        connection: &mut PgConnection,
        run: &StoredRun,
        dag: &Dag,
        version: Uuid,
        now: DateTime<Utc>,
        outcome: &mut Outcome,
    ) -> Result<bool> {
        let (mut task_instances, versions) = run.task_instances(connection).await?;
        let mut xcoms = run.xcoms(connection, dag, &task_instances).await?;
        let mut is_behind = run.bundle_version.is_none() && !run.is_suspended() && !versions.contains(&Some(version));
        if is_behind {
            is_behind = follow_version(connection, run, dag, version, now).await?;
            task_instances = run.task_instances(connection).await?.0;
            xcoms = run.xcoms(connection, dag, &task_instances).await?;
        }
        let previous = run.previous(connection, dag).await?;
        let view = RunView {
            dag,
            run: &run.facts,
            task_instances: &task_instances,
            xcoms: &xcoms,
            previous: previous.as_ref(),
            max_retry_delay: self.max_retry_delay,
            now,
        };
        let mut step = scheduling::step(&view);
        // Nobody tells when official components un-pause a Dag, nor of single task instances of the run before.
        let polls = step.waits_for_previous_run || (run.is_suspended() && !step.is_idle());
        outcome.wake_at = step.wake_at.into_iter().chain(polls.then(|| now + self.poll_interval)).min();
        if run.is_suspended() {
            step = step.while_suspended();
        }
        failpoint::reach("run_scheduling: decided").await?;
        outcome.moved |= !step.is_idle();
        let is_whole = self.apply(connection, run, dag, version, &step, now, outcome).await?;
        if is_behind {
            dag_run_version::move_unfinished(connection, &run.dag_id, &run.facts.run_id, version).await?;
        }
        Ok(!is_whole || step.again && !step.is_idle())
    }

    /// Writes a step down. Returns whether all of it could be: a task instance that a worker or a user moved on meanwhile
    /// is left as it is, and what the step concludes from it, the run's end above all, must be decided anew.
    #[expect(clippy::too_many_arguments, reason = "the facts of one step, passed on")]
    async fn apply(
        &self,
        connection: &mut PgConnection,
        run: &StoredRun,
        dag: &Dag,
        version: Uuid,
        step: &Step,
        now: DateTime<Utc>,
        outcome: &mut Outcome,
    ) -> Result<bool> {
        let mut changes: Vec<Change> = step.end.iter().map(Change::End).collect();
        changes.extend(step.schedule.iter().map(Change::Schedule));
        changes.extend(step.succeed.iter().map(Change::Succeed));
        // In the order of their ids over all batches, so that two schedulers never wait for each other in a circle.
        changes.sort_unstable_by_key(Change::id);
        for batch in changes.chunks(task_instance::BATCH) {
            let transitions: Vec<Transition> = batch.iter().map(|change| change.transition(now)).collect();
            if transition_silently(connection, &transitions).await?.len() < transitions.len() {
                return Ok(false);
            }
        }
        self.defer(connection, dag, &step.defer, now).await?;
        task_instance::expand(connection, &step.expand).await?;
        let new: Vec<New> = step
            .create
            .iter()
            .flat_map(|creation| {
                creation.map_indexes.iter().map(|map_index| New {
                    task: creation.task,
                    map_index: *map_index,
                    state: creation.state,
                    is_named: false,
                })
            })
            .collect();
        task_instance::create(connection, dag, &run.identity(version), &new, now).await?;
        if let Some(end) = &step.end_run {
            self.end_run(connection, run, dag, end, now, outcome).await?;
        }
        Ok(true)
    }

    /// Puts tasks that start with a trigger straight into `deferred`.
    async fn defer(
        &self,
        connection: &mut PgConnection,
        dag: &Dag,
        starts: &[Start],
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transitions = Vec::new();
        for start in starts {
            let task = dag.at(start.task);
            let Some(start_trigger) = &task.start_trigger else { continue };
            let new = NewTrigger {
                classpath: &start_trigger.trigger_cls,
                kwargs: start_trigger.trigger_kwargs.as_ref(),
                queue: None,
            };
            let trigger_id = trigger::create(connection, &new).await?;
            let timeout = [start_trigger.timeout, task.execution_timeout].into_iter().flatten().min();
            transitions.push(
                Transition::new(start.id, &[start.from], Some(TaskInstanceState::Deferred))
                    .with("start_date", json!(now))
                    .with("try_number", start.try_number)
                    .with("trigger_id", trigger_id)
                    .with("trigger_timeout", json!(timeout.map(|timeout| now + timeout)))
                    .with("next_method", start_trigger.next_method.as_str())
                    .with("next_kwargs", start_trigger.next_kwargs.clone().unwrap_or_else(|| json!({}))),
            );
        }
        transition_silently(connection, &transitions).await?;
        Ok(())
    }

    async fn end_run(
        &self,
        connection: &mut PgConnection,
        run: &StoredRun,
        dag: &Dag,
        end: &RunEnd,
        now: DateTime<Utc>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let running = [DagRunState::Running];
        if dag_run::set_state_silently(connection, &[run.id], &running, end.state, now).await?.is_empty() {
            return Ok(());
        }
        tracing::info!(dag_id = run.dag_id, run_id = run.facts.run_id, state = %end.state, reason = end.reason.as_str(), "the run ended");
        let ended = metric::EndedRun {
            id: run.id,
            dag_id: &run.dag_id,
            run_type: run.facts.run_type,
            state: end.state,
            start_date: run.facts.start_date,
        };
        metric::run_ended(&mut *connection, ended, now).await?;
        counter!("dagrun.finished", "dag_id" => run.dag_id.clone(), "state" => end.state.as_str()).increment(1);
        outcome.ended = true;
        query(include_str!("../queries/set_exceeds_max_active_runs.sql"))
            .bind(&run.dag_id)
            .execute(&mut *connection)
            .await?;
        if end.state == DagRunState::Success {
            deadline::prune(&mut *connection, dag, run.id, &run.facts.run_id, now).await?;
        }
        if let Some(backfill_id) = run.backfill_id {
            query(include_str!("../queries/complete_backfill.sql"))
                .bind(backfill_id)
                .bind(now)
                .execute(&mut *connection)
                .await?;
        }
        if end.state == DagRunState::Failed && dag.settings.max_consecutive_failed_dag_runs > 0 {
            query(include_str!("../queries/pause_after_failures.sql"))
                .bind(&run.dag_id)
                .bind(i64::from(dag.settings.max_consecutive_failed_dag_runs))
                .execute(&mut *connection)
                .await?;
        }
        self.request_callback(connection, run, dag, end, now).await?;
        if dag.depends_on_past() {
            outcome.successors = query_scalar("SELECT id FROM dag_run WHERE dag_id = $1 AND state = 'running'")
                .bind(&run.dag_id)
                .fetch_all(connection)
                .await?;
        }
        Ok(())
    }

    /// Asks the Dag processor to run the Dag's own callback for this end, if it has one.
    async fn request_callback(
        &self,
        connection: &mut PgConnection,
        run: &StoredRun,
        dag: &Dag,
        end: &RunEnd,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let failed = end.state == DagRunState::Failed;
        let settings = &dag.settings;
        if !(if failed { settings.has_on_failure_callback } else { settings.has_on_success_callback }) {
            return Ok(());
        }
        query(include_str!("../queries/request_dag_callback.sql"))
            .bind(run.id)
            .bind(end.relevant_task_instance)
            .bind(failed)
            .bind(end.reason.as_str())
            .bind(Uuid::now_v7())
            .bind(now)
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// Until when the run of a paused Dag is left alone. What runs may end; once a minute, as in Airflow, what follows from that
/// without a start is written down, the run's end above all (`_update_dag_run_state_for_paused_dags`).
fn resting_until(run: &StoredRun) -> Option<DateTime<Utc>> {
    run.last_decision_at.filter(|_| run.is_suspended()).map(|decided_at| decided_at + PACE_WHILE_SUSPENDED)
}

/// Brings the run to a newer version of its Dag, unless an earlier attempt ran in it already. Returns whether none of its
/// task instances belongs to that version yet: then what is scheduled next does.
async fn follow_version(
    connection: &mut PgConnection,
    run: &StoredRun,
    dag: &Dag,
    version: Uuid,
    now: DateTime<Utc>,
) -> Result<bool> {
    let run_id = &run.facts.run_id;
    if dag_run_version::is_known(connection, &run.dag_id, run_id, version).await? {
        return Ok(false);
    }
    dag_run_version::move_unfinished(connection, &run.dag_id, run_id, version).await?;
    let versioned = VersionedRun { id: run.id, facts: &run.facts, context_carrier: run.context_carrier.as_ref() };
    dag_run_version::verify(connection, dag, &versioned, version, now).await?;
    Ok(!dag_run_version::is_known(connection, &run.dag_id, run_id, version).await?)
}

/// A change of state that a step asks for. There may be tens of thousands, so that they become [`Transition`]s, which are
/// larger, a batch at a time.
#[derive(Debug, Clone, Copy)]
enum Change<'a> {
    End(&'a StateChange),
    Schedule(&'a Start),
    /// An `EmptyOperator` has nothing to run.
    Succeed(&'a Start),
}

impl Change<'_> {
    fn id(&self) -> Uuid {
        match self {
            Self::End(change) => change.id,
            Self::Schedule(start) | Self::Succeed(start) => start.id,
        }
    }

    fn transition(&self, now: DateTime<Utc>) -> Transition {
        match self {
            Self::End(change) => {
                let transition = Transition::new(change.id, &[change.from], Some(change.to));
                if change.is_dated { instantly(transition, now) } else { transition }
            }
            Self::Schedule(start) => Transition::new(start.id, &[start.from], Some(TaskInstanceState::Scheduled))
                .with("scheduled_dttm", json!(now))
                .with("try_number", start.try_number),
            Self::Succeed(start) => {
                let transition = Transition::new(start.id, &[start.from], Some(TaskInstanceState::Success));
                instantly(transition, now).with("try_number", start.try_number)
            }
        }
    }
}

/// Starts and ends at once.
fn instantly(transition: Transition, now: DateTime<Utc>) -> Transition {
    transition.with("start_date", json!(now)).with("end_date", json!(now)).with("duration", 0.0)
}
