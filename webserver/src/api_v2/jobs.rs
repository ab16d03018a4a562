//! `/jobs`: schedulers, Dag processors and triggerers that run or ran.

use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Filter, Listing, Order, Params, SortKey, key};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};
use tradewind_airflow::config::{Config, ConfigError};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/jobs", get(list))
}

/// A job.
#[derive(Debug, Clone, Serialize, FromRow)]
pub(crate) struct Job {
    id: i32,
    dag_id: Option<String>,
    state: Option<String>,
    job_type: Option<String>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    latest_heartbeat: Option<Timestamp>,
    executor_class: Option<String>,
    hostname: Option<String>,
    unixname: Option<String>,
    dag_display_name: Option<String>,
}

impl Job {
    /// The job of a row that may have none; its columns start with `job_` where they need to.
    pub(super) fn optional(row: &PgRow) -> sqlx::Result<Option<Self>> {
        let Some(id) = row.try_get("job_id")? else { return Ok(None) };
        Ok(Some(Self {
            id,
            dag_id: row.try_get("job_dag_id")?,
            state: row.try_get("job_state")?,
            job_type: row.try_get("job_type")?,
            start_date: row.try_get("job_start_date")?,
            end_date: row.try_get("job_end_date")?,
            latest_heartbeat: row.try_get("latest_heartbeat")?,
            executor_class: row.try_get("executor_class")?,
            hostname: row.try_get("job_hostname")?,
            unixname: row.try_get("job_unixname")?,
            dag_display_name: None,
        }))
    }
}

#[derive(Serialize)]
struct Collection {
    jobs: Vec<Job>,
    total_entries: i64,
}

const COLUMNS: &str = "j.id, j.dag_id, j.state, j.job_type, j.start_date, j.end_date, j.latest_heartbeat, \
     j.executor_class, j.hostname, j.unixname, COALESCE(d.dag_display_name, d.dag_id) AS dag_display_name";
const SOURCE: &str = "job j LEFT JOIN dag d ON d.dag_id = j.dag_id";
const SORT_KEYS: &[SortKey] = &[
    key("id", &[("j.id", "integer")]),
    key("dag_id", &[("j.dag_id", "text")]),
    key("state", &[("j.state", "text")]),
    key("job_type", &[("j.job_type", "text")]),
    key("start_date", &[("j.start_date", "timestamptz")]),
    key("end_date", &[("j.end_date", "timestamptz")]),
    key("latest_heartbeat", &[("j.latest_heartbeat", "timestamptz")]),
    key("executor_class", &[("j.executor_class", "text")]),
    key("hostname", &[("j.hostname", "text")]),
    key("unixname", &[("j.unixname", "text")]),
];

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::View)?;
    let mut filter = Filter::new();
    filter.of_dags_or_none(user.readable(), "j.dag_id");
    filter.time_range(&mut params, "start_date", "j.start_date");
    filter.time_range(&mut params, "end_date", "j.end_date");
    filter.text(&params, "job_state", "j.state");
    filter.text(&params, "job_type", "j.job_type");
    filter.text(&params, "hostname", "j.hostname");
    filter.text(&params, "executor_class", "j.executor_class");
    let alive = params.bool("is_alive");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    let (mut jobs, total_entries) = listing.page::<Job>(&app.pool, page).await?;
    if alive.is_some() {
        // As in Airflow the jobs that are not alive are dropped after counting, whether they are wanted or not.
        let now = Timestamp::now();
        let thresholds = Thresholds::from_config(&app.config).map_err(|error| ApiError::internal(&error))?;
        jobs.retain(|job| {
            thresholds.is_alive(job.job_type.as_deref(), job.state.as_deref(), job.latest_heartbeat, now)
        });
    }
    Ok(Json(Collection { jobs, total_entries }))
}

/// How many seconds a job may be silent before it counts as dead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thresholds {
    scheduler: f64,
    triggerer: f64,
    other: f64,
}

impl Thresholds {
    pub(super) fn from_config(config: &Config) -> Result<Self, ConfigError> {
        /// Of a job without a threshold of its own: so many heartbeats (`health_check_threshold`).
        const GRACE_MULTIPLIER: f64 = 2.1;
        Ok(Self {
            scheduler: config.float("scheduler", "scheduler_health_check_threshold")?,
            triggerer: config.float("triggerer", "triggerer_health_check_threshold")?,
            other: config.float("scheduler", "job_heartbeat_sec")? * GRACE_MULTIPLIER,
        })
    }

    /// Whether a job runs and has been heard of lately.
    pub(super) fn is_alive(
        self,
        job_type: Option<&str>,
        state: Option<&str>,
        heartbeat: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        let threshold = match job_type {
            Some("SchedulerJob") => self.scheduler,
            Some("TriggererJob") => self.triggerer,
            _ => self.other,
        };
        state == Some("running") && heartbeat.is_some_and(|heartbeat| now.seconds_since(heartbeat) < threshold)
    }
}
