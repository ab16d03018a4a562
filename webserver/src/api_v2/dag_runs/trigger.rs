//! `POST /dags/{dag_id}/dagRuns`: a run by hand.

use super::DagRun;
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::batches::Work;
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
use sqlx::{FromRow, PgPool};
use std::collections::HashMap;
use std::sync::Arc;
use tradewind_airflow::evaluation::{ManualRun, ManualRunAnswer};
use tradewind_metadata::dag_run;
use tradewind_metadata::evaluation::{self, AskError};
use tradewind_model::partition::PartitionError;
use tradewind_model::state::{DagRunState, DagRunTriggeredBy, DagRunType};
use tradewind_model::timetable::{RunIdParts, Timetable, resolve_partition_date};

/// Characters of a partition's key at most (`ID_LEN`).
const MAX_PARTITION_KEY: usize = 250;

/// How errors begin that are a `ValueError`, among those that timetables are known to raise.
const VALUE_ERRORS: [&str; 2] = ["ValueError: ", "InvalidPartitionKeyError: "];

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

/// A Dag that somebody wants to run.
#[derive(Clone, FromRow)]
pub(crate) struct Triggered {
    dag_id: String,
    has_import_errors: Option<bool>,
    allowed_run_types: Option<Value>,
    #[sqlx(flatten)]
    latest: Latest,
}

/// Looks up Dags together with those that others want to run at the same time.
pub(crate) struct Lookup(pub(crate) PgPool);

impl Work for Lookup {
    type Item = String;
    type Outcome = Option<Triggered>;

    async fn run(&self, dag_ids: &[String]) -> ApiResult<Vec<ApiResult<Option<Triggered>>>> {
        let found: Vec<Triggered> =
            sqlx::query_as(include_str!("triggered.sql")).bind(dag_ids).fetch_all(&self.0).await?;
        let found: HashMap<&str, &Triggered> = found.iter().map(|dag| (dag.dag_id.as_str(), dag)).collect();
        Ok(dag_ids.iter().map(|dag_id| Ok(found.get(dag_id.as_str()).copied().cloned())).collect())
    }
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
        let mut connection = app.pool.acquire().await?;
        let hash = Some(dag.hash.as_str());
        let scheduled = app.scheduled_dags.version_of_hash(&mut connection, dag.dag_version_id, hash).await?;
        drop(connection);
        app.new_runs.submit((scheduled, run)).await
    }
}

/// The latest version of a Dag, if it may be run by hand.
async fn triggerable(app: &App, dag_id: &str) -> ApiResult<Arc<SerializedDag>> {
    let dag = app.triggered.submit(dag_id.to_owned()).await?;
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
    let ask_plugin = |serialized| Schedule::of_plugin(app, &dag.dag_id, serialized, &wanted);
    let Schedule { data_interval, run_id, partition_date } = match timetable.custom() {
        Some(custom) => ask_plugin(custom.serialized()).await?,
        None => match Schedule::of(dag, &timetable, &wanted)? {
            Some(schedule) => schedule,
            None => ask_plugin(dag.field("timetable").cloned().unwrap_or_default()).await?,
        },
    };
    app.run_ids.check(wanted.run_type, &run_id).map_err(ApiError::bad_request)?;
    dag.params().check(&wanted.conf).map_err(ApiError::bad_request)?;
    // Airflow does not say who wrote the note of a materialization.
    let author = (wanted.run_type != DagRunType::AssetMaterialization).then(|| user.name.clone());
    let note = wanted.note.map(|content| dag_run::Note { content, user_id: author });
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
        partition_date,
        note,
    })
}

/// Refuses a partition's key that is none, or that the Dag's runs do not take (`SerializedDAG.validate_partition_key`).
fn check_partition_key(dag_id: &str, key: Option<&str>, takes_keys: bool) -> ApiResult<()> {
    let Some(key) = key else { return Ok(()) };
    let length = key.chars().count();
    let detail = if !takes_keys {
        format!("Dag '{dag_id}' is not a partitioned Dag and does not accept a partition_key.")
    } else if key.trim().is_empty() {
        "partition_key must not be empty or whitespace-only.".to_owned()
    } else if length > MAX_PARTITION_KEY {
        format!("partition_key must be at most {MAX_PARTITION_KEY} characters; got {length}.")
    } else {
        return Ok(());
    };
    Err(ApiError::bad_request(detail))
}

/// What the timetable says of a run by hand.
struct Schedule {
    data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    run_id: String,
    partition_date: Option<DateTime<Utc>>,
}

impl Schedule {
    /// `None` where a partition mapper is a plugin's own.
    fn of(dag: &SerializedDag, timetable: &Timetable, wanted: &Wanted) -> ApiResult<Option<Self>> {
        let key = wanted.partition_key.as_deref();
        let takes_keys = timetable.partitioned() || *timetable == Timetable::PartitionedAtRuntime;
        check_partition_key(&dag.dag_id, key, takes_keys)?;
        let data_interval = match (wanted.logical_date, wanted.data_interval) {
            (None, _) => None,
            (Some(_), Some(given)) => Some(given),
            (Some(date), None) => {
                let interval =
                    timetable.infer_manual_data_interval(date).map_err(|error| ApiError::internal(&error))?;
                Some((interval.start, interval.end))
            }
        };
        // As in Airflow the key is not part of the id.
        let parts = RunIdParts { run_type: wanted.run_type, run_after: &wanted.run_after, partition_key: None };
        let random = || uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let run_id = wanted.given_run_id().unwrap_or_else(|| timetable.generate_run_id(parts, random));
        let arguments = dag.field("timetable").and_then(|timetable| timetable.get("__var")).unwrap_or(&Value::Null);
        let date = key.map_or(Ok(None), |key| resolve_partition_date(timetable, arguments, key));
        match date {
            Ok(partition_date) => Ok(Some(Self { data_interval, run_id, partition_date })),
            Err(PartitionError::Foreign { .. }) => Ok(None),
            Err(PartitionError::Value(detail)) => Err(ApiError::bad_request(detail)),
            Err(error) => Err(ApiError::internal(&error)),
        }
    }

    /// The same where only Python knows; it is asked only what the request does not give.
    async fn of_plugin(app: &App, dag_id: &str, timetable: Value, wanted: &Wanted) -> ApiResult<Self> {
        let given = wanted.logical_date.and(wanted.data_interval);
        let infer_for = wanted.logical_date.filter(|_| given.is_none());
        let key = wanted.partition_key.as_deref();
        if let Some(run_id) = wanted.given_run_id().filter(|_| infer_for.is_none() && key.is_none()) {
            return Ok(Self { data_interval: given, run_id, partition_date: None });
        }
        // A key that is none is not decoded.
        check_partition_key(dag_id, key, true)?;
        let question = ManualRun {
            timetable,
            run_type: wanted.run_type.as_str().to_owned(),
            run_after: wanted.run_after,
            data_interval: given,
            infer_for,
            run_id: wanted.given_run_id(),
            partition_key: wanted.partition_key.clone(),
        };
        let answer = evaluation::ask(&app.pool, dag_id, question, evaluation::PATIENCE).await;
        let answer = answer.map_err(|error| refusal_of_plugin(dag_id, error))?;
        check_partition_key(dag_id, key, answer.takes_partition_keys)?;
        let ManualRunAnswer { data_interval, run_id, partition_date, .. } = answer;
        Ok(Self { data_interval, run_id, partition_date })
    }
}

/// As Airflow answers: what a plugin refuses with a `ValueError` is the request's fault, any other error its own.
fn refusal_of_plugin(dag_id: &str, error: AskError) -> ApiError {
    match error {
        AskError::Python(error) if VALUE_ERRORS.iter().any(|class| error.message.starts_with(class)) => {
            let detail = error.message.split_once(": ").map_or("", |(_, detail)| detail);
            ApiError::bad_request(detail.to_owned())
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
