//! Dag runs that a person or a task asks for.
//!
//! Source: `airflow/api/common/trigger_dag.py`, and `create_dagrun` in `airflow/serialization/definitions/dag.py`.

use chrono::{DateTime, Utc};
use regex::Regex;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool, query_as};
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::evaluation::ManualRun;
use tradewind_model::dag::Dag;
use tradewind_model::state::{DagRunState, DagRunTriggeredBy, DagRunType};
use tradewind_model::timetable::{DataInterval, Timetable};

use crate::dag_run::{self, Created, NewDagRun, Note};
use crate::serialized_dag::Cache;
use crate::{MetadataError, Result, evaluation};

/// Run ids that are valid whatever the configuration says.
const GENERATED_RUN_ID: &str =
    r"^(?:manual|scheduled|asset_triggered)__(?:\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00)$";

/// What run ids may look like.
#[derive(Debug, Clone)]
pub struct RunIdRule {
    generated: Regex,
    allowed: Option<Regex>,
    allow_double_dot: bool,
}

impl RunIdRule {
    /// Reads `[scheduler] allowed_run_id_pattern` and `[core] allow_double_dot_in_ids`.
    ///
    /// # Errors
    /// When the pattern is not a regular expression.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let invalid = || config.invalid("scheduler", "allowed_run_id_pattern", "a regular expression");
        let pattern = config.string("scheduler", "allowed_run_id_pattern")?;
        // Python's `re.match` binds the pattern to the start of the text.
        let anchored = |pattern: &str| Regex::new(&format!("^(?:{pattern})")).map_err(|_| invalid());
        let allowed = Some(pattern.trim()).filter(|pattern| !pattern.is_empty()).map(anchored).transpose()?;
        let allow_double_dot = config.bool("core", "allow_double_dot_in_ids")?;
        Ok(Self { generated: anchored(GENERATED_RUN_ID)?, allowed, allow_double_dot })
    }

    /// # Errors
    /// [`MetadataError::Invalid`] when a run may not have this id.
    pub fn check(&self, run_id: &str) -> Result<()> {
        if run_id.contains("..") && !self.allow_double_dot {
            let message = format!("The run_id '{run_id}' must not contain '..' to prevent path traversal");
            return Err(MetadataError::Invalid(message));
        }
        if self.generated.is_match(run_id) || self.allowed.as_ref().is_some_and(|allowed| allowed.is_match(run_id)) {
            return Ok(());
        }
        let pattern = self.allowed.as_ref().map_or("", Regex::as_str);
        Err(MetadataError::Invalid(format!(
            "The run_id provided '{run_id}' does not match regex pattern '{pattern}' or '{GENERATED_RUN_ID}'"
        )))
    }
}

/// A Dag run asked for.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// The Dag.
    pub dag_id: String,
    /// Id of the new run.
    pub run_id: String,
    /// What kind of run.
    pub run_type: DagRunType,
    /// Who asks.
    pub triggered_by: DagRunTriggeredBy,
    /// The user who asks.
    pub triggering_user_name: Option<String>,
    /// Its logical date.
    pub logical_date: Option<DateTime<Utc>>,
    /// When it may start; now by default.
    pub run_after: Option<DateTime<Utc>>,
    /// Its data interval, where a timetable of a plugin was asked for it ([`custom_data_interval`]).
    pub data_interval: Option<DataInterval>,
    /// Its configuration, an object.
    pub conf: Value,
    /// Its partition.
    pub partition_key: Option<String>,
    /// Its note.
    pub note: Option<String>,
}

/// Makes the Dag run.
///
/// # Errors
/// [`MetadataError::NotFound`] without such a Dag, [`MetadataError::Invalid`] when the Dag has import errors, does not
/// allow such runs or the id breaks the rule, [`MetadataError::Conflict`] when the run exists.
pub async fn trigger(
    connection: &mut PgConnection,
    dags: &Cache,
    rule: &RunIdRule,
    wanted: &Trigger,
    now: DateTime<Utc>,
) -> Result<Created> {
    let dag_id = &wanted.dag_id;
    check_dag(&mut *connection, wanted).await?;
    rule.check(&wanted.run_id)?;
    let dag = dags
        .latest(&mut *connection, dag_id)
        .await?
        .ok_or_else(|| MetadataError::NotFound(format!("Dag id {dag_id} not found")))?;
    let run_after = wanted.run_after.unwrap_or(now);
    let timetable = timetable_of(&dag)?;
    check_partition(&dag, &timetable, wanted.partition_key.as_deref())?;
    let data_interval = match (wanted.logical_date, wanted.data_interval) {
        (None, _) => None,
        (Some(_), Some(asked)) => Some(asked),
        (Some(_), None) => {
            Some(timetable.infer_manual_data_interval(run_after).map_err(|e| MetadataError::Invalid(e.to_string()))?)
        }
    };
    let run = NewDagRun {
        run_id: wanted.run_id.clone(),
        run_type: wanted.run_type,
        state: DagRunState::Queued,
        logical_date: wanted.logical_date,
        data_interval: data_interval.map(|interval| (interval.start, interval.end)),
        run_after,
        conf: wanted.conf.clone(),
        triggered_by: wanted.triggered_by,
        triggering_user_name: wanted.triggering_user_name.clone(),
        creating_job_id: None,
        backfill_id: None,
        partition_key: wanted.partition_key.clone(),
        partition_date: None,
        note: wanted.note.clone().map(Note::from),
    };
    dag_run::create(connection, &dag, &run, now).await
}

/// The data interval of the run that is asked for, where only Python can tell it. To be called before the transaction: the
/// plugin may take its time.
///
/// # Errors
/// [`MetadataError::Invalid`] when the plugin fails or nobody asks it.
pub async fn custom_data_interval(
    pool: &PgPool,
    dags: &Cache,
    wanted: &Trigger,
    now: DateTime<Utc>,
) -> Result<Option<DataInterval>> {
    if wanted.logical_date.is_none() {
        return Ok(None);
    }
    let mut connection = pool.acquire().await?;
    let Some(dag) = dags.latest(&mut connection, &wanted.dag_id).await? else { return Ok(None) };
    drop(connection);
    let timetable = timetable_of(&dag)?;
    let Some(custom) = timetable.custom() else { return Ok(None) };
    let run_after = wanted.run_after.unwrap_or(now);
    let question = ManualRun {
        timetable: custom.serialized(),
        run_type: wanted.run_type.as_str().to_owned(),
        run_after,
        data_interval: None,
        infer_for: Some(run_after),
        run_id: Some(wanted.run_id.clone()),
        partition_key: wanted.partition_key.clone(),
    };
    let answer = evaluation::ask(pool, &wanted.dag_id, question, evaluation::PATIENCE).await?;
    Ok(answer.data_interval.map(|(start, end)| DataInterval { start, end }))
}

async fn check_dag(connection: &mut PgConnection, wanted: &Trigger) -> Result<()> {
    let dag_id = &wanted.dag_id;
    let facts: Option<(bool, Option<Value>)> = query_as(
        "SELECT coalesce(has_import_errors, false), allowed_run_types FROM dag WHERE dag_id = $1 AND NOT is_stale",
    )
    .bind(dag_id)
    .fetch_optional(connection)
    .await?;
    let Some((has_import_errors, allowed)) = facts else {
        return Err(MetadataError::NotFound(format!("Dag with dag_id: '{dag_id}' not found")));
    };
    if has_import_errors {
        let message = format!("Dag with dag_id '{dag_id}' has import errors and cannot be triggered");
        return Err(MetadataError::Invalid(message));
    }
    let allowed = allowed.and_then(|allowed| allowed.as_array().cloned());
    if allowed.is_some_and(|allowed| !allowed.contains(&json!(wanted.run_type))) {
        let message = format!("Dag with dag_id: '{dag_id}' does not allow {} runs", wanted.run_type);
        return Err(MetadataError::Invalid(message));
    }
    Ok(())
}

/// The timetable of a Dag.
pub(crate) fn timetable_of(dag: &Dag) -> Result<Timetable> {
    let spec = &dag.settings.timetable;
    let timetable = Timetable::from_serialized(&json!({"__type": spec.type_name, "__var": spec.vars}));
    timetable.map_err(|error| MetadataError::Corrupt(format!("timetable of {}: {error}", dag.dag_id)))
}

fn check_partition(dag: &Dag, timetable: &Timetable, partition_key: Option<&str>) -> Result<()> {
    if partition_key.is_some() && !timetable.partitioned() {
        let message = format!("Dag '{}' is not partitioned, so its runs have no partition key", dag.dag_id);
        return Err(MetadataError::Invalid(message));
    }
    Ok(())
}
