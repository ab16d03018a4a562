//! `POST /dags/{dag_id}/dagRuns`: a run by hand.

use super::{DagRun, created_on};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::request_body::RequestBody;
use crate::serialized_dag::{Latest, SerializedDag};
use crate::state::App;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::FromRow;
use std::sync::Arc;
use tradewind_airflow::evaluation::ManualRun;
use tradewind_metadata::evaluation::{self, AskError};
use tradewind_metadata::{MetadataError, dag_run};
use tradewind_model::state::{DagRunState, DagRunTriggeredBy, DagRunType};
use tradewind_model::timetable::custom::CustomTimetable;
use tradewind_model::timetable::{RunIdParts, Timetable};

/// What a request to run a Dag asks for.
pub(crate) struct Wanted {
    run_type: DagRunType,
    run_id: Option<String>,
    logical_date: Option<DateTime<Utc>>,
    data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    run_after: DateTime<Utc>,
    conf: Map<String, Value>,
    note: Option<String>,
    partition_key: Option<String>,
}

#[derive(FromRow)]
struct Triggered {
    has_import_errors: Option<bool>,
    allowed_run_types: Option<Value>,
    #[sqlx(flatten)]
    latest: Latest,
}

pub(super) async fn trigger(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
    headers: HeaderMap,
    bytes: RequestBody,
) -> ApiResult<Json<DagRun>> {
    user.may_write(Resource::Dag)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "trigger_dag_run", method: "POST", path: &[("dag_id", &dag_id)], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    body.require("logical_date");
    let wanted = Wanted::read(&mut body, DagRunType::Manual)?;
    let dag = triggerable(&app, &dag_id).await?;
    // Pages send a referer, clients of the API do not.
    let from_page = headers.contains_key(header::REFERER);
    let triggered_by = if from_page { DagRunTriggeredBy::Ui } else { DagRunTriggeredBy::RestApi };
    wanted.create(&app, &dag, triggered_by, &user).await.map(Json)
}

impl Wanted {
    /// Reads the body of a request.
    pub(crate) fn read(body: &mut Body, run_type: DagRunType) -> ApiResult<Self> {
        let run_id = body.optional_text("dag_run_id");
        let start = body.optional_aware_time("data_interval_start");
        let end = body.optional_aware_time("data_interval_end");
        let logical_date = body.optional_aware_time("logical_date");
        let run_after = body.optional_time("run_after");
        let conf = body.optional_object("conf");
        let note = body.optional_text("note").filter(|note| !note.is_empty());
        let partition_key = body.optional_text("partition_key");
        let rule = "Either both data_interval_start and data_interval_end must be provided or both must be None";
        body.finish_with((start.is_some() != end.is_some()).then_some(rule))?;
        Ok(Self {
            run_type,
            run_id,
            logical_date,
            data_interval: start.zip(end),
            run_after: run_after.unwrap_or_else(Utc::now),
            conf: conf.unwrap_or_default(),
            note,
            partition_key,
        })
    }

    fn given_run_id(&self) -> Option<String> {
        self.run_id.clone().filter(|id| !id.is_empty())
    }

    /// Makes the run.
    pub(crate) async fn create(
        self,
        app: &App,
        dag: &SerializedDag,
        triggered_by: DagRunTriggeredBy,
        user: &User,
    ) -> ApiResult<DagRun> {
        let run = new_run(app, dag, self, triggered_by, user).await?;
        let mut transaction = app.pool.begin().await?;
        let hash = Some(dag.hash.as_str());
        let scheduled = app.scheduled_dags.version_of_hash(&mut transaction, dag.dag_version_id, hash).await?;
        // Airflow does not say who wrote the note of a materialization.
        let note = run.note.is_some() && run.run_type != DagRunType::AssetMaterialization;
        let created = dag_run::create(&mut transaction, &scheduled, &run, Utc::now()).await.map_err(refusal)?;
        if note {
            sqlx::query("UPDATE dag_run_note SET user_id = $2 WHERE dag_run_id = $1")
                .bind(created.id)
                .bind(&user.name)
                .execute(&mut *transaction)
                .await?;
        }
        let run = created_on(&mut transaction, created, scheduled.task_count() > 0).await?;
        transaction.commit().await?;
        Ok(run)
    }
}

/// The latest version of a Dag, if it may be run by hand.
async fn triggerable(app: &App, dag_id: &str) -> ApiResult<Arc<SerializedDag>> {
    let dag: Option<Triggered> =
        sqlx::query_as(include_str!("triggered.sql")).bind(dag_id).fetch_optional(&app.pool).await?;
    let dag = dag.ok_or_else(|| ApiError::not_found(format!("Dag with dag_id: '{dag_id}' not found")))?;
    if dag.has_import_errors.unwrap_or_default() {
        let detail = format!("Dag with dag_id: '{dag_id}' has import errors and cannot be triggered");
        return Err(ApiError::bad_request(detail));
    }
    let allowed = dag.allowed_run_types.as_ref().and_then(Value::as_array);
    if allowed.is_some_and(|allowed| !allowed.contains(&"manual".into())) {
        return Err(ApiError::bad_request(format!("Dag with dag_id: '{dag_id}' does not allow manual runs")));
    }
    app.dags.load_latest(&app.pool, dag_id, dag.latest).await
}

async fn new_run(
    app: &App,
    dag: &SerializedDag,
    wanted: Wanted,
    triggered_by: DagRunTriggeredBy,
    user: &User,
) -> ApiResult<dag_run::NewDagRun> {
    let timetable = timetable(dag)?;
    if wanted.partition_key.is_some() && !timetable.partitioned() && timetable != Timetable::PartitionedAtRuntime {
        let detail = format!("Dag '{}' is not a partitioned Dag and does not accept a partition_key.", dag.dag_id);
        return Err(ApiError::bad_request(detail));
    }
    let Schedule { data_interval, run_id } = match timetable.custom() {
        Some(custom) => Schedule::of_plugin(app, &dag.dag_id, custom, &wanted).await?,
        None => Schedule::of(&timetable, &wanted)?,
    };
    app.run_ids.check(wanted.run_type, &run_id).map_err(ApiError::bad_request)?;
    dag.params().check(&wanted.conf).map_err(ApiError::bad_request)?;
    Ok(dag_run::NewDagRun {
        run_id,
        run_type: wanted.run_type,
        state: DagRunState::Queued,
        logical_date: wanted.logical_date,
        data_interval,
        run_after: wanted.run_after,
        conf: Value::Object(wanted.conf),
        triggered_by,
        triggering_user_name: Some(user.name.clone()),
        creating_job_id: None,
        backfill_id: None,
        partition_key: wanted.partition_key,
        partition_date: None,
        note: wanted.note,
    })
}

/// What the timetable says of a run by hand.
struct Schedule {
    data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    run_id: String,
}

impl Schedule {
    fn of(timetable: &Timetable, wanted: &Wanted) -> ApiResult<Self> {
        let data_interval = match (wanted.logical_date, wanted.data_interval) {
            (None, _) => None,
            (Some(_), Some(given)) => Some(given),
            (Some(date), None) => {
                let interval =
                    timetable.infer_manual_data_interval(date).map_err(|error| ApiError::internal(&error))?;
                Some((interval.start, interval.end))
            }
        };
        let parts = RunIdParts {
            run_type: wanted.run_type,
            run_after: &wanted.run_after,
            partition_key: wanted.partition_key.as_deref(),
        };
        let random = || uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let run_id = wanted.given_run_id().unwrap_or_else(|| timetable.generate_run_id(parts, random));
        Ok(Self { data_interval, run_id })
    }

    /// The same where only Python knows; it is asked only what the request does not give.
    async fn of_plugin(app: &App, dag_id: &str, custom: &CustomTimetable, wanted: &Wanted) -> ApiResult<Self> {
        let given = wanted.logical_date.and(wanted.data_interval);
        let infer_for = wanted.logical_date.filter(|_| given.is_none());
        if let Some(run_id) = wanted.given_run_id().filter(|_| infer_for.is_none()) {
            return Ok(Self { data_interval: given, run_id });
        }
        let question = ManualRun {
            timetable: custom.serialized(),
            run_type: wanted.run_type.as_str().to_owned(),
            run_after: wanted.run_after,
            data_interval: given,
            infer_for,
            run_id: wanted.given_run_id(),
            partition_key: wanted.partition_key.clone(),
        };
        let answer = evaluation::ask(&app.pool, dag_id, question, evaluation::PATIENCE).await;
        let answer = answer.map_err(|error| of_plugin(dag_id, error))?;
        Ok(Self { data_interval: answer.data_interval, run_id: answer.run_id })
    }
}

/// As Airflow answers: what a plugin refuses with a `ValueError` is the request's fault, any other error its own.
fn of_plugin(dag_id: &str, error: AskError) -> ApiError {
    match error {
        AskError::Python(error) if error.message.starts_with("ValueError: ") => {
            ApiError::bad_request(error.message.trim_start_matches("ValueError: ").to_owned())
        }
        AskError::Nobody { .. } => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        other => ApiError::internal(&format_args!("timetable of Dag {dag_id}: {other}")),
    }
}

/// The timetable of a Dag.
pub(crate) fn timetable(dag: &SerializedDag) -> ApiResult<Timetable> {
    let serialized = dag.field("timetable").cloned().unwrap_or_default();
    Timetable::from_serialized(&serialized).map_err(|error| ApiError::internal(&error))
}

fn refusal(error: MetadataError) -> ApiError {
    match error {
        MetadataError::Conflict(detail) => ApiError::unique_violation(&detail),
        MetadataError::NotFound(detail) => ApiError::not_found(detail),
        other => other.into(),
    }
}
