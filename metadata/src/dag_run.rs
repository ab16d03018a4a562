//! Dag runs: creation, and the one guarded change of state.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row, query, query_scalar};
use tradewind_model::dag::Dag;
use tradewind_model::scheduling::{RunFacts, initial_task_instances};
use tradewind_model::state::{DagRunState, DagRunTriggeredBy, DagRunType};
use uuid::Uuid;

use crate::{MetadataError, Result, deadline, notify, task_instance, trace_context};

/// What a new Dag run is made of; the fields are columns of `dag_run`.
#[derive(Debug, Clone)]
pub struct NewDagRun {
    /// Unique within the Dag.
    pub run_id: String,
    /// What made it.
    pub run_type: DagRunType,
    /// `queued` nearly always.
    pub state: DagRunState,
    /// Unique within the Dag; none for runs that no interval belongs to.
    pub logical_date: Option<DateTime<Utc>>,
    /// Start and end of the data interval; none without a logical date.
    pub data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// It does not start before.
    pub run_after: DateTime<Utc>,
    /// The run's parameters as given, an object.
    pub conf: Value,
    /// Who asked for it.
    pub triggered_by: DagRunTriggeredBy,
    /// The user who asked for it.
    pub triggering_user_name: Option<String>,
    /// The scheduler's job that made it.
    pub creating_job_id: Option<i32>,
    /// The backfill it belongs to.
    pub backfill_id: Option<i32>,
    /// The asset partition it stands for.
    pub partition_key: Option<String>,
    /// The date of that partition.
    pub partition_date: Option<DateTime<Utc>>,
    /// The note on it.
    pub note: Option<Note>,
}

/// A note on a run.
#[derive(Debug, Clone)]
pub struct Note {
    /// Its text.
    pub content: String,
    /// The user who wrote it, where that is told.
    pub user_id: Option<String>,
}

impl From<String> for Note {
    fn from(content: String) -> Self {
        Self { content, user_id: None }
    }
}

/// A Dag run that was made.
#[derive(Debug, Clone, Copy)]
pub struct Created {
    /// `dag_run.id`.
    pub id: i32,
    /// The version of the Dag its task instances run.
    pub dag_version_id: Option<Uuid>,
}

/// A Dag run to make, and the Dag it is of.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The Dag's latest version.
    pub dag: &'a Dag,
    /// The run. Its `conf` fits the Dag's parameters, its id `[scheduler] allowed_run_id_pattern`.
    pub run: &'a NewDagRun,
}

/// Makes a Dag run with its task instances and deadlines, and tells the schedulers when the transaction commits.
///
/// `dag` must be the Dag's latest version. The caller has validated `conf` against the Dag's parameters and the run id
/// against `[scheduler] allowed_run_id_pattern`.
///
/// # Errors
/// [`MetadataError::Conflict`] when the Dag has a run with this id or this logical date;
/// [`MetadataError::NotFound`] when the Dag was never serialized.
pub async fn create(connection: &mut PgConnection, dag: &Dag, run: &NewDagRun, now: DateTime<Utc>) -> Result<Created> {
    let wanted = Wanted { dag, run };
    let created = create_all(connection, &[wanted], now).await?.into_iter().flatten().next();
    match created {
        Some(created) => Ok(created),
        None => Err(refusal(connection, wanted).await?),
    }
}

/// Makes Dag runs, each as [`create`] does, with as many statements as one takes. The answers are in the order of what is wanted;
/// `None` where a run could not be made, for which [`refusal`] says the reason.
pub async fn create_all(
    connection: &mut PgConnection,
    wanted: &[Wanted<'_>],
    now: DateTime<Utc>,
) -> Result<Vec<Option<Created>>> {
    let carriers: Vec<Value> = wanted.iter().map(|_| trace_context::new_root()).collect();
    let created = insert(connection, wanted, &carriers, now).await?;
    let made: Vec<Made<'_>> = wanted
        .iter()
        .zip(&created)
        .zip(&carriers)
        .filter_map(|((wanted, created), carrier)| created.map(|created| Made { wanted: *wanted, created, carrier }))
        .collect();
    insert_notes(connection, &made, now).await?;
    let mut instances = Vec::with_capacity(made.len());
    for made in &made {
        deadline::create(&mut *connection, made.wanted.dag, made.dates(now), now).await?;
        instances.push(made.task_instances());
    }
    task_instance::create_all(connection, &instances, now).await?;
    let ids: Vec<i32> = made.iter().map(|made| made.created.id).collect();
    notify::send(connection, notify::DAG_RUN, &ids).await?;
    Ok(created)
}

/// A run that has its row in `dag_run`.
struct Made<'a> {
    wanted: Wanted<'a>,
    created: Created,
    carrier: &'a Value,
}

impl<'a> Made<'a> {
    fn dates(&self, now: DateTime<Utc>) -> deadline::RunDates<'a> {
        let run = self.wanted.run;
        deadline::RunDates {
            id: self.created.id,
            run_id: &run.run_id,
            dag_version_id: self.created.dag_version_id,
            logical_date: run.logical_date,
            queued_at: (run.state == DagRunState::Queued).then_some(now),
        }
    }

    fn task_instances(&self) -> task_instance::OfRun<'a> {
        let Wanted { dag, run } = self.wanted;
        let facts = RunFacts {
            run_id: run.run_id.clone(),
            run_type: run.run_type,
            state: run.state,
            logical_date: run.logical_date,
            start_date: None,
            is_first_of_backfill: false,
        };
        let identity = task_instance::RunIdentity {
            run_id: &run.run_id,
            dag_version_id: self.created.dag_version_id,
            context_carrier: Some(self.carrier),
        };
        let new = initial_task_instances(dag, &facts).into_iter().map(task_instance::New::from).collect();
        task_instance::OfRun { dag, run: identity, new }
    }
}

/// Makes the rows in `dag_run`. Of two that exclude each other the first one is made.
async fn insert(
    connection: &mut PgConnection,
    wanted: &[Wanted<'_>],
    carriers: &[Value],
    now: DateTime<Utc>,
) -> Result<Vec<Option<Created>>> {
    let rows = query(include_str!("../queries/dag_run/insert.sql"))
        .bind(column(wanted, |wanted| wanted.dag.dag_id.as_str()))
        .bind(column(wanted, |wanted| wanted.run.run_id.as_str()))
        .bind(column(wanted, |wanted| wanted.run.run_type.as_str()))
        .bind(column(wanted, |wanted| wanted.run.state.as_str()))
        .bind(column(wanted, |wanted| wanted.run.logical_date))
        .bind(column(wanted, |wanted| wanted.run.data_interval.map(|(start, _)| start)))
        .bind(column(wanted, |wanted| wanted.run.data_interval.map(|(_, end)| end)))
        .bind(column(wanted, |wanted| wanted.run.run_after))
        .bind(column(wanted, |wanted| match &wanted.run.conf {
            Value::Null => json!({}),
            given => given.clone(),
        }))
        .bind(column(wanted, |wanted| wanted.run.triggered_by.as_str().to_uppercase()))
        .bind(column(wanted, |wanted| wanted.run.triggering_user_name.as_deref()))
        .bind(column(wanted, |wanted| wanted.run.creating_job_id))
        .bind(column(wanted, |wanted| wanted.run.backfill_id))
        .bind(column(wanted, |wanted| wanted.run.partition_key.as_deref()))
        .bind(column(wanted, |wanted| wanted.run.partition_date))
        .bind(column(wanted, |wanted| !wanted.dag.settings.disable_bundle_versioning))
        .bind(carriers)
        .bind(now)
        .fetch_all(connection)
        .await?;
    let mut created: HashMap<(String, String), Created> = HashMap::with_capacity(rows.len());
    for row in &rows {
        let made = Created { id: row.try_get("id")?, dag_version_id: row.try_get("created_dag_version_id")? };
        created.insert((row.try_get("dag_id")?, row.try_get("run_id")?), made);
    }
    let key = |wanted: &Wanted<'_>| (wanted.dag.dag_id.clone(), wanted.run.run_id.clone());
    Ok(wanted.iter().map(|wanted| created.remove(&key(wanted))).collect())
}

/// What all have in one column.
fn column<'a, T>(wanted: &'a [Wanted<'a>], value: impl Fn(&'a Wanted<'a>) -> T) -> Vec<T> {
    wanted.iter().map(value).collect()
}

async fn insert_notes(connection: &mut PgConnection, made: &[Made<'_>], now: DateTime<Utc>) -> Result<()> {
    let noted: Vec<(i32, &Note)> =
        made.iter().filter_map(|made| made.wanted.run.note.as_ref().map(|note| (made.created.id, note))).collect();
    if noted.is_empty() {
        return Ok(());
    }
    query(
        "INSERT INTO dag_run_note (dag_run_id, content, user_id, created_at, updated_at) \
         SELECT note.dag_run_id, note.content, note.user_id, $4, $4 \
         FROM unnest($1::int[], $2::text[], $3::text[]) AS note (dag_run_id, content, user_id)",
    )
    .bind(noted.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(noted.iter().map(|(_, note)| note.content.as_str()).collect::<Vec<_>>())
    .bind(noted.iter().map(|(_, note)| note.user_id.as_deref()).collect::<Vec<_>>())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Says why a run could not be made.
pub async fn refusal(connection: &mut PgConnection, wanted: Wanted<'_>) -> Result<MetadataError> {
    let Wanted { dag, run } = wanted;
    let serialized: bool = query_scalar("SELECT EXISTS (SELECT FROM dag_version WHERE dag_id = $1)")
        .bind(&dag.dag_id)
        .fetch_one(connection)
        .await?;
    Ok(if serialized {
        MetadataError::Conflict(match run.logical_date {
            Some(date) => {
                format!("Dag {} has a run with id {} or logical date {}", dag.dag_id, run.run_id, date.to_rfc3339())
            }
            None => format!("Dag {} has a run with id {}", dag.dag_id, run.run_id),
        })
    } else {
        MetadataError::NotFound(format!("Dag {} was never serialized: is its file still being parsed?", dag.dag_id))
    })
}

/// Changes the state of Dag runs that are still in one of the states given, and the dates that follow from it. Returns
/// the ids that changed; schedulers are told when the transaction commits.
pub async fn set_state(
    connection: &mut PgConnection,
    ids: &[i32],
    from: &[DagRunState],
    to: DagRunState,
    now: DateTime<Utc>,
) -> Result<Vec<i32>> {
    let changed = set_state_silently(connection, ids, from, to, now).await?;
    notify::send(connection, notify::DAG_RUN, &changed).await?;
    Ok(changed)
}

/// The same as [`set_state`] for the scheduler's own changes, of which it need not be told.
pub async fn set_state_silently(
    connection: &mut PgConnection,
    ids: &[i32],
    from: &[DagRunState],
    to: DagRunState,
    now: DateTime<Utc>,
) -> Result<Vec<i32>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let changed: Vec<i32> = query_scalar(include_str!("../queries/dag_run/set_state.sql"))
        .bind(ids)
        .bind(to.as_str())
        .bind(from.iter().map(|state| state.as_str()).collect::<Vec<_>>())
        .bind(now)
        .fetch_all(connection)
        .await?;
    Ok(changed)
}

/// Fails those of the runs that are still queued. They never ran, so they get no end date, as in Airflow.
pub async fn set_state_of_cancelled(connection: &mut PgConnection, ids: &[i32], now: DateTime<Utc>) -> Result<()> {
    query("UPDATE dag_run SET state = 'failed', updated_at = $2 WHERE id = ANY ($1) AND state = 'queued'")
        .bind(ids)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}
