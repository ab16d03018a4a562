//! The one critical section: `scheduled → queued`, within the limits that span runs.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use metrics::counter;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row, query, query_scalar};
use tradewind_metadata::queue::{self, Carrier, Message};
use tradewind_metadata::task_instance::{Transition, transition_silently};
use tradewind_metadata::{Database, Result, failpoint, serialized_dag};
use tradewind_model::limits::{Candidate, Next, Room};
use tradewind_model::state::TaskInstanceState;

/// The advisory lock of Airflow's own critical section (`DBLocks.SCHEDULER_CRITICAL_SECTION`), taken by us too, so that
/// any number of schedulers, official ones among them, count one after the other.
const CRITICAL_SECTION: i64 = 2;

/// Candidates looked at in one query.
const PAGE: usize = 2_048;

/// Queues what there is room for.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    pub(crate) database: Database,
    pub(crate) dags: serialized_dag::Cache,
    pub(crate) parallelism: i64,
    pub(crate) carrier: Carrier,
}

/// What a page of candidates came to.
struct Choice {
    chosen: Vec<Waiting>,
    /// There may be room for others.
    may_go_on: bool,
}

/// A candidate with what its message needs.
struct Waiting {
    candidate: Candidate,
    queue: String,
    priority_weight: i32,
    has_task_limits: bool,
}

impl Dispatcher {
    /// Moves a page of task instances from `scheduled` to `queued` and writes their messages, in one transaction. Returns
    /// whether another page may find room.
    pub(crate) async fn dispatch(&self, now: DateTime<Utc>) -> Result<bool> {
        let any: bool =
            query_scalar(include_str!("../queries/any_scheduled.sql")).fetch_one(self.database.pool()).await?;
        if !any {
            return Ok(false);
        }
        let mut transaction = self.database.pool().begin().await?;
        query("SELECT pg_advisory_xact_lock($1)").bind(CRITICAL_SECTION).execute(&mut *transaction).await?;
        failpoint::reach("dispatch: entered").await?;
        let mut room = self.room(&mut transaction).await?;
        failpoint::reach("dispatch: counted").await?;
        let Choice { chosen, may_go_on } = self.choose(&mut transaction, &mut room).await?;
        let transitions: Vec<Transition> = chosen
            .iter()
            .map(|waiting| {
                Transition::new(
                    waiting.candidate.id,
                    &[Some(TaskInstanceState::Scheduled)],
                    Some(TaskInstanceState::Queued),
                )
                .with("queued_dttm", json!(now))
                // Official schedulers reset what a scheduler has queued that died since, for their tasks die with it.
                .with("queued_by_job_id", Value::Null)
            })
            .collect();
        let changed: HashSet<_> =
            transition_silently(&mut transaction, &transitions).await?.into_iter().map(|changed| changed.id).collect();
        failpoint::reach("dispatch: queued").await?;
        let messages: Vec<Message> = chosen
            .into_iter()
            .filter(|waiting| changed.contains(&waiting.candidate.id))
            .map(|waiting| Message {
                ti_id: waiting.candidate.id,
                queue: waiting.queue,
                priority_weight: waiting.priority_weight,
            })
            .collect();
        queue::send(&mut transaction, &messages, self.carrier).await?;
        failpoint::reach("dispatch: sent").await?;
        transaction.commit().await?;
        counter!("scheduler.tasks.executable").increment(messages.len() as u64);
        Ok(may_go_on)
    }

    /// What is left of `parallelism` and of the pools in demand, whose rows are held from here on.
    async fn room(&self, connection: &mut PgConnection) -> Result<Room> {
        let pools = query(include_str!("../queries/lock_pools.sql")).fetch_all(connection).await?;
        let active: i64 = pools.first().map_or(Ok(0), |row| row.try_get("all_active"))?;
        let mut room = Room { parallelism: self.parallelism - active, ..Room::default() };
        for row in &pools {
            let (pool, open): (String, i64) = (row.try_get("pool")?, row.try_get("open")?);
            room.pools.insert(pool, open);
        }
        Ok(room)
    }

    /// Fills the room from one page of candidates, which holds no more of a run than the run has room for, or from the first
    /// page that has somebody for it: who ran into a limit of its own is left out of the next, so that nobody stands in
    /// front of others.
    async fn choose(&self, connection: &mut PgConnection, room: &mut Room) -> Result<Choice> {
        if room.parallelism < 1 || room.pools.values().all(|open| *open < 1) {
            return Ok(Choice { chosen: Vec::new(), may_go_on: false });
        }
        let mut starved: HashSet<(i32, String)> = HashSet::new();
        loop {
            let page = page(connection, room, &starved).await?;
            self.load_task_limits(connection, &page, room).await?;
            let selection = room.select(page.iter().map(|waiting| &waiting.candidate), page.len() == PAGE);
            if selection.next == Next::LookFurther {
                starved.extend(selection.starved);
                continue;
            }
            let mut is_chosen = vec![false; page.len()];
            selection.chosen.iter().for_each(|place| is_chosen[*place] = true);
            let chosen = page.into_iter().zip(is_chosen).filter_map(|(waiting, chosen)| chosen.then_some(waiting));
            return Ok(Choice { chosen: chosen.collect(), may_go_on: selection.next == Next::LookAgain });
        }
    }

    /// Counts what is active of tasks that limit themselves; most Dags have none and cost nothing here.
    async fn load_task_limits(&self, connection: &mut PgConnection, page: &[Waiting], room: &mut Room) -> Result<()> {
        let dags: HashSet<&str> = page
            .iter()
            .filter(|waiting| waiting.has_task_limits)
            .map(|waiting| waiting.candidate.dag_id.as_str())
            .collect();
        if dags.is_empty() {
            return Ok(());
        }
        let active = active_tasks(connection, &dags).await?;
        let runs: HashSet<(&str, i32)> =
            page.iter().map(|waiting| (waiting.candidate.dag_id.as_str(), waiting.candidate.run)).collect();
        for dag_id in dags {
            let Some(dag) = self.dags.latest(connection, dag_id).await? else { continue };
            for (_, task) in dag.tasks() {
                let key = (dag_id.to_owned(), task.task_id.clone());
                if let Some(limit) = task.max_active_tis_per_dag {
                    let taken: i64 =
                        active.iter().filter(|((d, t, _), _)| *d == key.0 && *t == key.1).map(|(_, n)| n).sum();
                    room.tasks.insert(key, i64::from(limit) - taken);
                }
                let Some(limit) = task.max_active_tis_per_dagrun else { continue };
                for (_, run) in runs.iter().filter(|(of, _)| *of == dag_id) {
                    let taken = active.get(&(dag_id.to_owned(), task.task_id.clone(), *run)).copied().unwrap_or(0);
                    room.run_tasks.insert((*run, task.task_id.clone()), i64::from(limit) - taken);
                }
            }
        }
        Ok(())
    }
}

async fn page(
    connection: &mut PgConnection,
    room: &mut Room,
    starved: &HashSet<(i32, String)>,
) -> Result<Vec<Waiting>> {
    let (pools, open): (Vec<&str>, Vec<i64>) =
        room.pools.iter().filter(|(_, open)| **open > 0).map(|(pool, open)| (pool.as_str(), *open)).unzip();
    let (runs, tasks): (Vec<i32>, Vec<&str>) = starved.iter().map(|(run, task)| (*run, task.as_str())).unzip();
    let rows = query(include_str!("../queries/candidates.sql"))
        .bind(pools)
        .bind(open)
        .bind(runs)
        .bind(tasks)
        .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let run: i32 = row.try_get("dag_run_id")?;
            let run_room: i64 = row.try_get("run_room")?;
            room.runs.entry(run).or_insert(run_room);
            waiting(row, run)
        })
        .collect()
}

fn waiting(row: &PgRow, run: i32) -> Result<Waiting> {
    Ok(Waiting {
        candidate: Candidate {
            id: row.try_get("id")?,
            run,
            dag_id: row.try_get("dag_id")?,
            task_id: row.try_get("task_id")?,
            pool: row.try_get("pool")?,
            pool_slots: i64::from(row.try_get::<i32, _>("pool_slots")?),
        },
        queue: row.try_get::<Option<String>, _>("queue")?.unwrap_or_else(|| "default".to_owned()),
        priority_weight: row.try_get::<Option<i32>, _>("priority_weight")?.unwrap_or(1),
        has_task_limits: row.try_get("has_task_concurrency_limits")?,
    })
}

async fn active_tasks(
    connection: &mut PgConnection,
    dags: &HashSet<&str>,
) -> Result<HashMap<(String, String, i32), i64>> {
    let rows = query(include_str!("../queries/active_tasks.sql"))
        .bind(dags.iter().copied().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(((row.try_get("dag_id")?, row.try_get("task_id")?, row.try_get("dag_run_id")?), row.try_get("active")?))
        })
        .collect()
}
