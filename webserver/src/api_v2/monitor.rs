//! `/monitor/health` and `/version`, open to everybody.

use super::jobs::Thresholds;
use crate::error::{ApiError, ApiResult};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use sqlx::FromRow;
use tokio::fs;
use tradewind_airflow::config::AIRFLOW_VERSION;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/monitor/health", get(health)).route("/version", get(version))
}

/// The latest job of a type; running ones come first.
#[derive(FromRow)]
struct Latest {
    job_type: String,
    state: Option<String>,
    latest_heartbeat: Option<Timestamp>,
}

const LATEST_JOBS: &str = "SELECT DISTINCT ON (job_type) job_type, state, latest_heartbeat FROM job \
     WHERE job_type IN ('SchedulerJob', 'TriggererJob', 'DagProcessorJob') \
     ORDER BY job_type, (state IS DISTINCT FROM 'running'), latest_heartbeat DESC";

async fn health(State(app): State<App>) -> ApiResult<Json<Value>> {
    let thresholds = Thresholds::from_config(&app.config).map_err(|error| ApiError::internal(&error))?;
    let now = Timestamp::now();
    let jobs: Result<Vec<Latest>, _> = sqlx::query_as(LATEST_JOBS).fetch_all(&app.pool).await;
    if let Err(error) = &jobs {
        tracing::error!("the metadata database does not answer: {error}");
    }
    let component = |job_type: &str, heartbeat: &str, absent: Value| {
        let job = jobs.as_ref().ok().and_then(|jobs| jobs.iter().find(|job| job.job_type == job_type));
        let status = match (job, &jobs) {
            (Some(job), _) => {
                let alive = thresholds.is_alive(Some(job_type), job.state.as_deref(), job.latest_heartbeat, now);
                if alive { "healthy" } else { "unhealthy" }.into()
            }
            (None, Ok(_)) => absent,
            (None, Err(_)) => "unhealthy".into(),
        };
        let latest = job.and_then(|job| job.latest_heartbeat).map(Timestamp::isoformat);
        json!({"status": status, heartbeat: latest})
    };
    Ok(Json(json!({
        "metadatabase": {"status": if jobs.is_ok() { "healthy" } else { "unhealthy" }},
        "scheduler": component("SchedulerJob", "latest_scheduler_heartbeat", "unhealthy".into()),
        "triggerer": component("TriggererJob", "latest_triggerer_heartbeat", Value::Null),
        "dag_processor": component("DagProcessorJob", "latest_dag_processor_heartbeat", Value::Null),
    })))
}

/// The release of Airflow whose contracts are kept, so that its clients know what to expect.
async fn version(State(app): State<App>) -> Json<Value> {
    let git_version = fs::read_to_string(app.options.airflow_package.join("git_version")).await.ok();
    let git_version = git_version.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Json(json!({"version": AIRFLOW_VERSION, "git_version": git_version}))
}
