//! Dags and Dag runs.

use chrono::Utc;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tradewind_airflow::supervisor_protocol::response::{ErrorResponse, ErrorType};
use tradewind_airflow::supervisor_protocol::to_supervisor::{
    GetDRCount, GetDag, GetDagRun, GetDagRunState, GetPreviousDagRun, TriggerDagRun,
};
use tradewind_metadata::MetadataError;
use tradewind_metadata::clear::{self, Clearing};
use tradewind_metadata::dag_run_lookup::{self, RunFilter};
use tradewind_metadata::dag_run_trigger::{self, Trigger};
use tradewind_model::state::{DagRunTriggeredBy, DagRunType};
use uuid::Uuid;

use super::refusal::of_metadata;
use super::{Answer, Answers, Scope, absent, body, ok};

fn no_run(dag_id: &str, run_id: &str) -> ErrorResponse {
    let message = format!("Dag run with dag_id '{dag_id}' and run_id '{run_id}' was not found");
    ErrorResponse::refused(404, "not_found", message)
}

/// Makes a Dag run for `TriggerDagRunOperator`. The run belongs to the user whose run asks for it, through any number
/// of runs in between.
pub(super) async fn trigger(answers: &Answers, id: Uuid, asked: TriggerDagRun) -> Answer {
    let now = Utc::now();
    let mut wanted = Trigger {
        dag_id: asked.dag_id,
        run_id: asked.run_id,
        run_type: DagRunType::OperatorTriggered,
        triggered_by: DagRunTriggeredBy::Operator,
        triggering_user_name: None,
        logical_date: asked.logical_date,
        run_after: asked.run_after,
        data_interval: None,
        conf: Value::Object(asked.conf.unwrap_or_default()),
        // The official client does not pass the partition on.
        partition_key: None,
        note: asked.note,
    };
    let pool = answers.database.pool();
    let asked_of_plugin = dag_run_trigger::custom_data_interval(pool, &answers.dags, &wanted, now).await;
    wanted.data_interval = asked_of_plugin.map_err(of_metadata)?;
    let mut connection = answers.connection().await?;
    wanted.triggering_user_name = dag_run_lookup::triggering_user(&mut connection, id).await.map_err(of_metadata)?;
    let mut transaction = connection.begin().await.map_err(|error| of_metadata(error.into()))?;
    match dag_run_trigger::trigger(&mut transaction, &answers.dags, &answers.run_ids, &wanted, now).await {
        Ok(_) => {}
        Err(MetadataError::Conflict(detail)) => {
            tracing::info!(dag_id = wanted.dag_id, run_id = wanted.run_id, detail, "the Dag run exists already");
            if !asked.reset_dag_run.unwrap_or(false) {
                return absent(ErrorType::DagrunAlreadyExists, Value::Null);
            }
            reset(&mut transaction, answers, &wanted).await?;
        }
        Err(error) => return Err(of_metadata(error)),
    }
    transaction.commit().await.map_err(|error| of_metadata(error.into()))?;
    ok()
}

/// Clears the run that exists in place of making one.
async fn reset(connection: &mut PgConnection, answers: &Answers, wanted: &Trigger) -> Result<(), ErrorResponse> {
    let dag = answers.dags.latest(&mut *connection, &wanted.dag_id).await.map_err(of_metadata)?;
    let of_dag = dag.and_then(|dag| dag.settings.rerun_with_latest_version);
    let clearing = Clearing {
        dag_id: &wanted.dag_id,
        run_id: &wanted.run_id,
        ids: None,
        run_on_latest_version: of_dag.unwrap_or(answers.settings.rerun_with_latest_version),
        reset_dag_run: true,
    };
    clear::clear(connection, &answers.dags, clearing).await.map_err(of_metadata)?;
    Ok(())
}

pub(super) async fn get(connection: &mut PgConnection, asked: GetDagRun) -> Answer {
    let run = dag_run_lookup::detail(connection, &asked.dag_id, &asked.run_id).await.map_err(of_metadata)?;
    body("DagRunResult", run.ok_or_else(|| no_run(&asked.dag_id, &asked.run_id))?)
}

pub(super) async fn state(connection: &mut PgConnection, asked: GetDagRunState) -> Answer {
    let run = dag_run_lookup::detail(connection, &asked.dag_id, &asked.run_id).await.map_err(of_metadata)?;
    let run = run.ok_or_else(|| no_run(&asked.dag_id, &asked.run_id))?;
    body("DagRunStateResult", json!({"state": run.state}))
}

pub(super) async fn previous(connection: &mut PgConnection, asked: GetPreviousDagRun) -> Answer {
    let run = dag_run_lookup::previous(connection, &asked.dag_id, asked.logical_date, asked.state.as_deref())
        .await
        .map_err(of_metadata)?;
    body("PreviousDagRunResult", json!({"dag_run": run}))
}

/// Only dates that are set are told. A child that parses belongs to no run, so nothing was before it.
pub(super) async fn previous_successful(connection: &mut PgConnection, scope: Scope) -> Answer {
    let run = match scope {
        Scope::Attempt(id) => dag_run_lookup::previous_successful(connection, id).await.map_err(of_metadata)?,
        Scope::DagFile | Scope::Deadline => None,
    };
    let mut dates = serde_json::Map::new();
    if let Some(run) = run {
        let known = [
            ("data_interval_start", run.data_interval_start),
            ("data_interval_end", run.data_interval_end),
            ("start_date", run.start_date),
            ("end_date", run.end_date),
        ];
        dates.extend(known.into_iter().filter_map(|(name, date)| Some((name.to_owned(), json!(date?)))));
    }
    body("PrevSuccessfulDagRunResult", dates)
}

pub(super) async fn count(connection: &mut PgConnection, asked: GetDRCount) -> Answer {
    let filter = RunFilter {
        logical_dates: asked.logical_dates.as_deref().unwrap_or_default(),
        run_ids: asked.run_ids.as_deref().unwrap_or_default(),
        states: asked.states.as_deref().unwrap_or_default(),
    };
    let count = dag_run_lookup::count(connection, &asked.dag_id, filter).await.map_err(of_metadata)?;
    body("DRCount", json!({"count": count}))
}

pub(super) async fn dag(connection: &mut PgConnection, asked: GetDag) -> Answer {
    let dag = dag_run_lookup::dag(connection, &asked.dag_id).await.map_err(of_metadata)?;
    let missing = || {
        let message = format!("The Dag with dag_id: `{}` was not found", asked.dag_id);
        ErrorResponse::refused(404, "not_found", message)
    };
    body("DagResult", dag.ok_or_else(missing)?)
}
