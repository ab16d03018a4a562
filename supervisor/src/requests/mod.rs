//! Answers to what task children and Dag-file children ask, straight from the metadata database.
//!
//! The official supervisor asks the API server over HTTP and repackages its answer. Both steps are one here; the answers
//! are the same. Source: `ActivitySubprocess._handle_request` in `airflow/sdk/execution_time/supervisor.py`,
//! `request_handlers.py` beside it, `DagFileProcessorProcess._handle_request` in `airflow/dag_processing/processor.py`,
//! and what stands behind the HTTP calls: `airflow/sdk/api/client.py` and
//! `airflow/api_fastapi/execution_api/routes/`.

mod assets;
mod backend;
mod dag_runs;
mod hitl;
mod refusal;
mod report;
mod secrets;
mod state_stores;
mod task_instances;
mod xcoms;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::fernet::{Fernet, FernetError};
use tradewind_airflow::supervisor_protocol::response::{ErrorResponse, ErrorType};
use tradewind_airflow::supervisor_protocol::to_supervisor::{DeleteVariable, PutVariable, ToSupervisor};
use tradewind_metadata::Database;
use tradewind_metadata::asset_event;
use tradewind_metadata::dag_run_trigger::RunIdRule;
use tradewind_metadata::serialized_dag;
use tradewind_secrets::Secrets;
use uuid::Uuid;

use crate::evaluator::{self, Evaluator};
use crate::pyhost::PyHost;
use backend::PythonBackend;

/// How long a child with a secrets backend waits for the next question.
const BACKEND_IDLE: Duration = Duration::from_secs(300);

/// The body of an answer: none when there is nothing to say, or the error that takes its place.
pub type Answer = Result<Option<Value>, ErrorResponse>;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The task child of an attempt, by `task_instance.id`.
    Attempt(Uuid),
    /// A child that parses a Dag file or runs its callbacks.
    DagFile,
    /// A child that calls the callback of a missed deadline.
    Deadline,
}

/// What a supervisor cannot answer without.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `[core] fernet_key` is wrong.
    #[error(transparent)]
    Fernet(#[from] FernetError),
}

/// Answers requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Answers {
    database: Database,
    fernet: Arc<Fernet>,
    dags: serialized_dag::Cache,
    run_ids: RunIdRule,
    secrets: Secrets,
    settings: Settings,
}

/// Settings that decide answers.
#[derive(Debug, Clone, Copy)]
struct Settings {
    /// `[core] max_map_length`.
    max_map_length: i64,
    /// `[core] num_dag_runs_to_retain_rendered_fields`.
    rendered_fields_runs: i64,
    /// `[state_store] clear_on_success`.
    clear_state_store: bool,
    /// `[scheduler] partition_mapper_max_downstream_keys`.
    max_partitions: usize,
    /// `[core] rerun_with_latest_version`; not set means no.
    rerun_with_latest_version: bool,
}

impl Answers {
    /// Reads the settings that decide answers.
    ///
    /// # Errors
    /// When a setting is malformed.
    pub fn new(database: Database, config: &Config) -> Result<Self, SetUpError> {
        let settings = Settings {
            max_map_length: config.int("core", "max_map_length")?,
            rendered_fields_runs: config.int("core", "num_dag_runs_to_retain_rendered_fields")?,
            clear_state_store: config.bool("state_store", "clear_on_success")?,
            max_partitions: asset_event::max_partitions(config)?,
            rerun_with_latest_version: match config.optional("core", "rerun_with_latest_version")? {
                Some(_) => config.bool("core", "rerun_with_latest_version")?,
                None => false,
            },
        };
        let fernet = Arc::new(Fernet::new(&config.string("core", "fernet_key")?)?);
        let run_ids = RunIdRule::new(config)?;
        let secrets = Secrets::from_config(config)?;
        Ok(Self { database, fernet, dags: serialized_dag::Cache::default(), run_ids, secrets, settings })
    }

    /// The same, with children of this host for a secrets backend of any class, where one is configured.
    ///
    /// # Errors
    /// When a setting is malformed.
    pub fn with_interpreter(self, host: &PyHost, config: &Config) -> Result<Self, SetUpError> {
        let Some(class) = tradewind_secrets::class_for_python(config)? else { return Ok(self) };
        let masker = tradewind_secrets::masked_arguments(config)?;
        let options = evaluator::Options { idle: BACKEND_IDLE, ..evaluator::Options::from_config(config)? };
        let evaluator = Evaluator::sharing(host.clone(), options).with_masker(masker.clone());
        let python = Arc::new(PythonBackend::new(evaluator, class, masker));
        Ok(Self { secrets: self.secrets.with_python(python), ..self })
    }

    /// Answers one request. Reports that end or pause the attempt are written to the database; the caller learns from
    /// the message itself which one it was.
    ///
    /// `MaskSecret` and `ResendLoggingFD` concern the supervisor's own channels: it acts on them itself.
    ///
    /// # Errors
    /// The error that goes to the child in place of a body.
    pub fn answer(&self, scope: Scope, message: ToSupervisor) -> BoxFuture<'_, Answer> {
        // As deep as what it asks is, it would make its callers' types too deep for the compiler.
        Box::pin(self.find_answer(scope, message))
    }

    async fn find_answer(&self, scope: Scope, message: ToSupervisor) -> Answer {
        let is_understood = match scope {
            Scope::Attempt(_) => true,
            Scope::DagFile => is_asked_while_parsing(&message),
            Scope::Deadline => is_asked_after_deadline(&message),
        };
        if !is_understood {
            return Err(unhandled());
        }
        // These may wait for a timetable of a plugin, or for a service, and hold no connection meanwhile.
        let message = match message {
            ToSupervisor::TriggerDagRun(asked) => return dag_runs::trigger(self, scope.attempt()?, asked).await,
            ToSupervisor::GetConnection(asked) => return secrets::get_connection(self, scope, asked).await,
            ToSupervisor::GetVariable(asked) => return secrets::get_variable(self, scope, asked).await,
            message => message,
        };
        if let ToSupervisor::PutVariable(PutVariable { key, .. })
        | ToSupervisor::DeleteVariable(DeleteVariable { key }) = &message
        {
            self.secrets.forget_variable(key);
        }
        let mut connection = self.connection().await?;
        self.answer_on(&mut connection, scope, message).await
    }

    /// The Dags that answers are taken from.
    pub fn dags(&self) -> &serialized_dag::Cache {
        &self.dags
    }

    /// Where Connections and Variables are looked for before the database.
    fn secrets(&self, scope: Scope) -> Secrets {
        if scope == Scope::DagFile { self.secrets.remembering() } else { self.secrets.clone() }
    }

    async fn connection(&self) -> Result<PoolConnection<Postgres>, ErrorResponse> {
        let connection = self.database.pool().acquire().await;
        connection.map_err(|error| refusal::of_metadata(error.into()))
    }

    #[rustfmt::skip]
    async fn answer_on(&self, connection: &mut PgConnection, scope: Scope, message: ToSupervisor) -> Answer {
        use ToSupervisor as M;
        match message {
            M::GetXCom(asked) => xcoms::get(connection, asked).await,
            M::GetXComCount(asked) => xcoms::count(connection, asked).await,
            M::GetXComSequenceItem(asked) => xcoms::item(connection, asked).await,
            M::GetXComSequenceSlice(asked) => xcoms::slice(connection, asked).await,
            M::SetXCom(asked) => xcoms::set(connection, asked, self.settings.max_map_length).await,
            M::DeleteXCom(asked) => xcoms::delete(connection, asked).await,

            M::GetVariableKeys(asked) => secrets::get_variable_keys(connection, asked).await,
            M::PutVariable(asked) => secrets::put_variable(connection, &self.fernet, asked).await,
            M::DeleteVariable(asked) => secrets::delete_variable(connection, asked).await,
            M::MaskSecret(_) => Ok(None),

            M::GetDagRun(asked) => dag_runs::get(connection, asked).await,
            M::GetDagRunState(asked) => dag_runs::state(connection, asked).await,
            M::GetPreviousDagRun(asked) => dag_runs::previous(connection, asked).await,
            M::GetPrevSuccessfulDagRun(_) => dag_runs::previous_successful(connection, scope).await,
            M::GetDRCount(asked) => dag_runs::count(connection, asked).await,
            M::GetDag(asked) => dag_runs::dag(connection, asked).await,

            M::GetPreviousTI(asked) => task_instances::previous(connection, asked).await,
            M::GetTICount(asked) => task_instances::count(connection, asked).await,
            M::GetTaskStates(asked) => task_instances::states(connection, asked).await,
            M::GetTaskBreadcrumbs(asked) => task_instances::breadcrumbs(connection, asked).await,
            M::GetTaskRescheduleStartDate(asked) => task_instances::first_reschedule(connection, scope.own(asked.ti_id)?).await,
            M::SetRenderedFields(asked) => task_instances::set_rendered_fields(connection, scope.attempt()?, asked, self.settings.rendered_fields_runs).await,
            M::SetRenderedMapIndex(asked) => task_instances::set_rendered_map_index(connection, scope.attempt()?, asked).await,
            M::ValidateInletsAndOutlets(asked) => assets::validate_inlets_and_outlets(connection, scope.own(asked.ti_id)?).await,

            M::GetAssetByName(asked) => assets::by_name(connection, asked).await,
            M::GetAssetByUri(asked) => assets::by_uri(connection, asked).await,
            M::GetAssetsByAlias(asked) => assets::by_alias(connection, asked).await,
            M::GetAssetEventByAsset(asked) => assets::events_by_asset(connection, asked).await,
            M::GetAssetEventByAssetAlias(asked) => assets::events_by_alias(connection, asked).await,

            M::GetTaskStateStore(asked) => state_stores::get_of_task(connection, scope.own(asked.ti_id)?, &asked.key).await,
            M::SetTaskStateStore(asked) => state_stores::set_of_task(connection, scope.own(asked.ti_id)?, asked).await,
            M::DeleteTaskStateStore(asked) => state_stores::delete_of_task(connection, scope.own(asked.ti_id)?, Some(&asked.key)).await,
            M::ClearTaskStateStore(asked) => state_stores::delete_of_task(connection, scope.own(asked.ti_id)?, None).await,
            M::GetAssetStateStoreByName(asked) => state_stores::Asset::Name(&asked.name).get(connection, &asked.key).await,
            M::GetAssetStateStoreByUri(asked) => state_stores::Asset::Uri(&asked.uri).get(connection, &asked.key).await,
            M::SetAssetStateStoreByName(asked) => state_stores::Asset::Name(&asked.name).set(connection, scope.attempt()?, &asked.key, &asked.value).await,
            M::SetAssetStateStoreByUri(asked) => state_stores::Asset::Uri(&asked.uri).set(connection, scope.attempt()?, &asked.key, &asked.value).await,
            M::DeleteAssetStateStoreByName(asked) => state_stores::Asset::Name(&asked.name).delete(connection, Some(&asked.key)).await,
            M::DeleteAssetStateStoreByUri(asked) => state_stores::Asset::Uri(&asked.uri).delete(connection, Some(&asked.key)).await,
            M::ClearAssetStateStoreByName(asked) => state_stores::Asset::Name(&asked.name).delete(connection, None).await,
            M::ClearAssetStateStoreByUri(asked) => state_stores::Asset::Uri(&asked.uri).delete(connection, None).await,

            M::CreateHITLDetailPayload(asked) => { scope.own(asked.ti_id)?; hitl::ask(connection, asked).await }
            M::UpdateHITLDetail(asked) => { scope.own(asked.ti_id)?; hitl::answer(connection, asked).await }
            M::GetHITLDetailResponse(asked) => hitl::response(connection, scope.own(asked.ti_id)?).await,

            // The attempt has not ended yet; its supervisor reports the state when the child has exited.
            M::TaskState(_) => Ok(None),
            M::SucceedTask(report) => report::succeed(connection, scope.attempt()?, report, &self.settings).await,
            M::RetryTask(report) => report::retry(connection, scope.attempt()?, report).await,
            M::DeferTask(report) => report::defer(connection, scope.attempt()?, report).await,
            M::RescheduleTask(report) => report::reschedule(connection, scope.attempt()?, report).await,
            M::AwaitInputTask(report) => report::await_input(connection, scope.attempt()?, report).await,
            M::SkipDownstreamTasks(report) => report::skip_downstream(connection, scope.attempt()?, report).await,

            // Answered before it came here, and by whoever holds the child's sockets.
            M::TriggerDagRun(_) | M::GetConnection(_) | M::GetVariable(_) | M::ResendLoggingFD(_) => Err(unhandled()),
        }
    }
}

impl Scope {
    /// The asking attempt.
    fn attempt(self) -> Result<Uuid, ErrorResponse> {
        match self {
            Self::Attempt(id) => Ok(id),
            Self::DagFile | Self::Deadline => Err(unhandled()),
        }
    }

    /// The asking attempt, which may only ask about itself.
    fn own(self, id: Uuid) -> Result<Uuid, ErrorResponse> {
        if self.attempt()? == id {
            return Ok(id);
        }
        Err(ErrorResponse::refused(403, "forbidden", "Token subject does not match task instance ID"))
    }
}

/// The requests of `ToManager`, the channel of Dag-file children.
fn is_asked_while_parsing(message: &ToSupervisor) -> bool {
    use ToSupervisor as M;
    matches!(
        message,
        M::GetConnection(_)
            | M::GetVariable(_)
            | M::GetVariableKeys(_)
            | M::PutVariable(_)
            | M::DeleteVariable(_)
            | M::GetTaskStates(_)
            | M::GetTICount(_)
            | M::GetPreviousTI(_)
            | M::GetPreviousDagRun(_)
            | M::GetPrevSuccessfulDagRun(_)
            | M::GetXCom(_)
            | M::GetXComCount(_)
            | M::GetXComSequenceItem(_)
            | M::GetXComSequenceSlice(_)
            | M::MaskSecret(_)
    )
}

/// The requests of `CallbackToSupervisor`, the channel of children that call the callback of a deadline.
fn is_asked_after_deadline(message: &ToSupervisor) -> bool {
    use ToSupervisor as M;
    matches!(message, M::GetConnection(_) | M::GetVariable(_) | M::GetVariableKeys(_) | M::MaskSecret(_))
}

fn unhandled() -> ErrorResponse {
    ErrorResponse::new(ErrorType::ApiServerError, json!({"status_code": 400, "message": "Unhandled request"}))
}

/// A body with its discriminator.
fn body(kind: &str, fields: impl Serialize) -> Answer {
    let mut fields = serde_json::to_value(fields)
        .map_err(|error| ErrorResponse::failed(format!("cannot write a {kind}: {error}"), "TypeError"))?;
    if let Value::Object(fields) = &mut fields {
        fields.insert("type".to_owned(), Value::from(kind));
    }
    Ok(Some(fields))
}

/// "There is no such thing", which the child takes as an answer, not as a failure.
fn absent(error: ErrorType, detail: Value) -> Answer {
    body("ErrorResponse", json!({"error": error, "detail": detail}))
}

fn ok() -> Answer {
    body("OKResponse", json!({"ok": true}))
}
