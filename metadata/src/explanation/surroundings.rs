//! What is around a run: limits, pools, queues, and who lives.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, Row, query, query_as};
use tradewind_model::dag::Dag;
use tradewind_model::explanation::{
    Active, Attempt, Backfill, Component, DagFacts, Holder, Pool, Question, Queue, QueuedRun, Surroundings, Trigger,
};
use uuid::Uuid;

use super::options::Options;
use crate::attempt::RESTART_GRACE;
use crate::run_facts::StoredRun;
use crate::worker::HEARTBEAT_THRESHOLD;
use crate::{MetadataError, Result};

/// Holders named of a pool at most.
const HOLDERS_NAMED: i64 = 5;

/// Loads what is around a run; only what its task instances need of pools, places and queues.
pub(super) async fn load(
    connection: &mut PgConnection,
    options: &Options,
    run: &StoredRun,
    dag: &Dag,
    now: DateTime<Utc>,
) -> Result<Surroundings> {
    let around = query(include_str!("../../queries/explanation/around_run.sql"))
        .bind(run.id)
        .bind(now)
        .fetch_one(&mut *connection)
        .await?;
    let waiting: Vec<Waiting> = query_as(include_str!("../../queries/explanation/attempts.sql"))
        .bind(&run.dag_id)
        .bind(&run.facts.run_id)
        .fetch_all(&mut *connection)
        .await?;
    let (mut pools, mut active, mut places, mut messages, mut queues) =
        (HashMap::new(), Active::default(), HashMap::new(), HashMap::new(), HashMap::new());
    if waiting.iter().any(|waiting| waiting.state == "scheduled") {
        pools = load_pools(connection, &names_of(&waiting, "scheduled", |waiting| &waiting.pool)).await?;
        active = load_active(connection, run, dag).await?;
        places = load_places(connection, run).await?;
    }
    if waiting.iter().any(|waiting| waiting.state == "queued") {
        let names = names_of(&waiting, "queued", |waiting| &waiting.queue);
        messages = load_messages(connection, &names, &waiting).await?;
        queues = load_queues(connection, &names, now).await?;
    }
    let attempts = waiting
        .into_iter()
        .map(|waiting| {
            let (before, before_in_pool) = places.get(&waiting.id).copied().unwrap_or_default();
            let messages_before = messages.get(&waiting.id).copied();
            (waiting.id, Attempt { before, before_in_pool, messages_before, ..waiting.into() })
        })
        .collect();
    Ok(Surroundings {
        dag: DagFacts {
            was_never_serialized: false,
            is_paused: run.is_paused,
            is_stale: run.is_stale,
            has_import_errors: around.try_get("has_import_errors")?,
            max_active_runs: around.try_get::<Option<i32>, _>("max_active_runs")?.unwrap_or_default().into(),
            max_active_tasks: around.try_get::<i32, _>("max_active_tasks")?.into(),
        },
        dag_run_id: run.id,
        run_after: run.run_after,
        queued_run: QueuedRun {
            running: around.try_get("running_runs")?,
            before: around.try_get("queued_runs_before")?,
        },
        backfill: backfill(&around, run)?,
        unweighed: count(&around, "unweighed")?,
        scheduler: component(&around, "scheduler", options.scheduler_threshold, now)?,
        triggerer: component(&around, "triggerer", options.triggerer_threshold, now)?,
        heartbeat_timeout: options.heartbeat_timeout,
        queued_timeout: options.queued_timeout,
        restart_grace: RESTART_GRACE,
        parallelism: options.parallelism,
        active,
        pools,
        queues,
        attempts,
    })
}

/// A task instance that is scheduled or beyond, and has not ended.
#[derive(FromRow)]
struct Waiting {
    id: Uuid,
    state: String,
    pool: String,
    pool_slots: i32,
    queue: String,
    queued_dttm: Option<DateTime<Utc>>,
    hostname: Option<String>,
    last_heartbeat_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    trigger_timeout: Option<DateTime<Utc>>,
    classpath: Option<String>,
    subject: Option<String>,
    options: Option<Json<Vec<String>>>,
    assignees: Option<Json<Option<Vec<Assignee>>>>,
}

/// A user who may answer.
#[derive(Deserialize)]
struct Assignee {
    id: String,
    name: Option<String>,
}

impl From<Waiting> for Attempt {
    fn from(waiting: Waiting) -> Self {
        let assignees = waiting.assignees.and_then(|users| users.0).unwrap_or_default();
        let options = waiting.options.map(|options| options.0).unwrap_or_default();
        Self {
            pool: waiting.pool,
            pool_slots: waiting.pool_slots.into(),
            queue: waiting.queue,
            before: 0,
            before_in_pool: 0,
            messages_before: None,
            queued_at: waiting.queued_dttm,
            hostname: waiting.hostname,
            last_heartbeat: waiting.last_heartbeat_at,
            updated_at: waiting.updated_at,
            trigger: waiting.classpath.map(|classpath| Trigger { classpath }),
            question: waiting.subject.map(|subject| Question {
                subject,
                options,
                assignees: assignees.into_iter().map(|user| user.name.unwrap_or(user.id)).collect(),
            }),
            timeout_at: waiting.trigger_timeout,
        }
    }
}

fn backfill(around: &PgRow, run: &StoredRun) -> Result<Option<Backfill>> {
    let Some(id) = run.backfill_id else { return Ok(None) };
    let max_active_runs: Option<i32> = around.try_get("backfill_max_active_runs")?;
    Ok(Some(Backfill {
        id,
        is_paused: around.try_get::<Option<bool>, _>("backfill_is_paused")?.unwrap_or_default(),
        max_active_runs: max_active_runs.unwrap_or_default().into(),
    }))
}

/// Processes of one kind, by columns of their names.
pub(super) fn component(around: &PgRow, name: &str, threshold: TimeDelta, now: DateTime<Utc>) -> Result<Component> {
    let live: Option<DateTime<Utc>> = around.try_get(format!("live_{name}").as_str())?;
    Ok(Component {
        is_alive: live.is_some_and(|live| live >= now - threshold),
        last_heartbeat: around.try_get(format!("{name}_heartbeat").as_str())?,
    })
}

/// Distinct pools or queues of task instances in a state.
fn names_of<'w>(waiting: &'w [Waiting], state: &str, name: fn(&'w Waiting) -> &'w String) -> Vec<&'w str> {
    let mut names: Vec<&str> =
        waiting.iter().filter(|waiting| waiting.state == state).map(|waiting| name(waiting).as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

async fn load_pools(connection: &mut PgConnection, names: &[&str]) -> Result<HashMap<String, Pool>> {
    let rows =
        query(include_str!("../../queries/explanation/pools.sql")).bind(names).fetch_all(&mut *connection).await?;
    let mut pools = HashMap::new();
    for row in &rows {
        let pool = Pool {
            slots: row.try_get("slots")?,
            running: row.try_get("running")?,
            queued: row.try_get("queued")?,
            deferred: row.try_get("deferred")?,
            holders: Vec::new(),
        };
        pools.insert(row.try_get::<String, _>("pool")?, pool);
    }
    let rows = query(include_str!("../../queries/explanation/pool_holders.sql"))
        .bind(names)
        .bind(HOLDERS_NAMED)
        .fetch_all(connection)
        .await?;
    for row in &rows {
        let holder = Holder {
            dag_id: row.try_get("dag_id")?,
            run_id: row.try_get("run_id")?,
            task_id: row.try_get("task_id")?,
            map_index: row.try_get("map_index")?,
            state: row.try_get::<String, _>("state")?.parse().map_err(corrupt)?,
            slots: row.try_get("slots")?,
            since: row.try_get("since")?,
        };
        if let Some(pool) = pools.get_mut(row.try_get::<&str, _>("pool")?) {
            pool.holders.push(holder);
        }
    }
    Ok(pools)
}

async fn load_active(connection: &mut PgConnection, run: &StoredRun, dag: &Dag) -> Result<Active> {
    let row = query(include_str!("../../queries/explanation/active.sql"))
        .bind(&run.dag_id)
        .bind(&run.facts.run_id)
        .fetch_one(&mut *connection)
        .await?;
    let mut active = Active { total: row.try_get("total")?, in_run: row.try_get("in_run")?, of_tasks: HashMap::new() };
    let limited: Vec<&str> = dag
        .tasks()
        .filter(|(_, task)| task.max_active_tis_per_dag.is_some() || task.max_active_tis_per_dagrun.is_some())
        .map(|(_, task)| task.task_id.as_str())
        .collect();
    if !limited.is_empty() {
        let rows = query(include_str!("../../queries/explanation/active_of_tasks.sql"))
            .bind(&run.dag_id)
            .bind(&run.facts.run_id)
            .bind(&limited)
            .fetch_all(connection)
            .await?;
        for row in &rows {
            active.of_tasks.insert(row.try_get("task_id")?, (row.try_get("in_all_runs")?, row.try_get("in_run")?));
        }
    }
    Ok(active)
}

/// Scheduled task instances that come first: in all, and in the pool.
async fn load_places(connection: &mut PgConnection, run: &StoredRun) -> Result<HashMap<Uuid, (u64, u64)>> {
    let rows = query(include_str!("../../queries/explanation/places.sql"))
        .bind(&run.dag_id)
        .bind(&run.facts.run_id)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, (count(row, "before")?, count(row, "before_in_pool")?)))).collect()
}

async fn load_messages(
    connection: &mut PgConnection,
    queues: &[&str],
    waiting: &[Waiting],
) -> Result<HashMap<Uuid, u64>> {
    let queued: Vec<Uuid> =
        waiting.iter().filter(|waiting| waiting.state == "queued").map(|waiting| waiting.id).collect();
    let rows = query(include_str!("../../queries/explanation/messages.sql"))
        .bind(queues)
        .bind(queued)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("ti_id")?, count(row, "before")?))).collect()
}

async fn load_queues(
    connection: &mut PgConnection,
    names: &[&str],
    now: DateTime<Utc>,
) -> Result<HashMap<String, Queue>> {
    let rows = query(include_str!("../../queries/explanation/queues.sql"))
        .bind(names)
        .bind(now - HEARTBEAT_THRESHOLD)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let queue = Queue {
                workers: row.try_get("workers")?,
                slots: row.try_get("slots")?,
                running: row.try_get("running")?,
                last_heartbeat: row.try_get("last_heartbeat")?,
            };
            Ok((row.try_get("queue")?, queue))
        })
        .collect()
}

fn count(row: &PgRow, column: &str) -> Result<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(corrupt)
}

fn corrupt(error: impl ToString) -> MetadataError {
    MetadataError::Corrupt(error.to_string())
}
