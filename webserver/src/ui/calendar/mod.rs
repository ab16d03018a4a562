//! `/ui/calendar/{dag_id}`: runs per day or hour, past and planned (`services/ui/calendar.py`).

use crate::api_v2::dag_runs::timetable;
use crate::auth::{Resource, User};
use crate::error::ApiResult;
use crate::query::{Clause, Filter, Params, RANGE};
use crate::serialized_dag::{SerializedDag, timestamp};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Datelike as _, DurationRound as _, TimeDelta, Utc};
use indexmap::IndexMap;
use serde::Serialize;
use sqlx::{FromRow, Postgres, QueryBuilder};
use std::time::Duration;
use tradewind_airflow::evaluation::RunsBetween;
use tradewind_metadata::evaluation;
use tradewind_model::timetable::custom::CustomTimetable;
use tradewind_model::timetable::{DagRunInfo, TimeRestriction};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/calendar/{dag_id}", get(read))
}

/// More runs are not planned ahead.
const MAX_PLANNED_RUNS: usize = 2000;

/// How long the page waits for a timetable of a plugin.
const PLUGIN_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
struct Cell {
    date: Timestamp,
    state: String,
    count: i64,
}

#[derive(Serialize)]
struct Calendar {
    total_entries: usize,
    dag_runs: Vec<Cell>,
}

#[derive(FromRow)]
struct Past {
    date: Timestamp,
    state: String,
    count: i64,
    data_interval_start: Option<Timestamp>,
    data_interval_end: Option<Timestamp>,
}

/// The bounds of what is shown.
struct Window(Vec<(&'static str, DateTime<Utc>)>);

impl Window {
    fn contains(&self, date: DateTime<Utc>) -> bool {
        self.0.iter().all(|(suffix, bound)| match *suffix {
            "gte" => date >= *bound,
            "gt" => date > *bound,
            "lte" => date <= *bound,
            _ => date < *bound,
        })
    }
}

async fn read(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<Json<Calendar>> {
    user.may_read(Resource::Dag)?;
    let by_partition = params.pairs().iter().any(|(name, _)| name.starts_with("partition_date_"));
    let name = if by_partition { "partition_date" } else { "logical_date" };
    let mut filter = Filter::new();
    filter.equal_text("dag_id", &dag_id);
    filter.push(Clause::sql("COALESCE(partition_date, logical_date) IS NOT NULL"));
    let mut bounds = Vec::new();
    for (suffix, operator) in RANGE {
        let Some(bound) = params.time(&format!("{name}_{suffix}")) else { continue };
        filter.time_bound(name, operator, bound, false);
        bounds.push((suffix, bound));
    }
    let hourly = params.literal("granularity", &["hourly", "daily"]).as_deref() == Some("hourly");
    params.check()?;
    let dag = app.dags.latest(&app.pool, &dag_id).await?;

    let unit = if hourly { "hour" } else { "day" };
    let date = format!("date_trunc('{unit}', COALESCE(partition_date, logical_date), 'UTC')");
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!(
        "SELECT {date} AS date, state, count(*) AS count, max(data_interval_start) AS data_interval_start, \
         max(data_interval_end) AS data_interval_end FROM dag_run"
    ));
    filter.push_to(&mut query);
    query.push(format!(" GROUP BY {date}, state ORDER BY {date}"));
    let past: Vec<Past> = query.build_query_as().fetch_all(&app.pool).await?;
    let mut cells = match past.last() {
        Some(last) => planned(&app, &dag, last, &Window(bounds), hourly).await?,
        None => Vec::new(),
    };
    let past = past.into_iter().map(|past| Cell { date: past.date, state: past.state, count: past.count });
    let mut dag_runs: Vec<Cell> = past.collect();
    dag_runs.append(&mut cells);
    Ok(Json(Calendar { total_entries: dag_runs.len(), dag_runs }))
}

/// The runs that the timetable will make until the end of the year of the latest one.
async fn planned(app: &App, dag: &SerializedDag, last: &Past, window: &Window, hourly: bool) -> ApiResult<Vec<Cell>> {
    let timetable = timetable(dag)?;
    let (Some(start), Some(end)) = (last.data_interval_start, last.data_interval_end) else { return Ok(Vec::new()) };
    if !timetable.periodic() {
        return Ok(Vec::new());
    }
    let date = |name: &str| dag.field(name).and_then(timestamp).map(|time| time.0);
    let restriction = TimeRestriction { earliest: date("start_date"), latest: date("end_date"), catchup: true };
    let unit = if hourly { TimeDelta::hours(1) } else { TimeDelta::days(1) };
    let year = end.0.year();
    let mut counts: IndexMap<DateTime<Utc>, i64> = IndexMap::new();
    let mut info = DagRunInfo::interval(start.0, end.0);
    let mut custom = match timetable.custom() {
        Some(custom) => Some(planned_by_plugin(app, &dag.dag_id, custom, &info, restriction).await.into_iter()),
        None => None,
    };
    for _ in 0..MAX_PLANNED_RUNS {
        let next = match &mut custom {
            Some(planned) => planned.next(),
            None => timetable.next_dagrun_info(Some(&info), restriction, Utc::now()).ok().flatten(),
        };
        let Some(next) = next.filter(|next| next.run_after > info.run_after) else { break };
        let Some(effective) = next.partition_date.or(next.logical_date()).filter(|date| date.year() == year) else {
            break;
        };
        if window.contains(effective)
            && let Ok(cell) = effective.duration_trunc(unit)
        {
            *counts.entry(cell).or_default() += 1;
        }
        info = next;
    }
    let cell = |(date, count)| Cell { date: Timestamp(date), state: "planned".to_owned(), count };
    Ok(counts.into_iter().map(cell).collect())
}

/// What a timetable of a plugin plans after a run. Where it fails, or nobody asks it, the page shows no plans.
async fn planned_by_plugin(
    app: &App,
    dag_id: &str,
    custom: &CustomTimetable,
    last: &DagRunInfo,
    restriction: TimeRestriction,
) -> Vec<DagRunInfo> {
    let question = RunsBetween {
        timetable: custom.serialized(),
        last: Some(last.into()),
        restriction: restriction.into(),
        limit: MAX_PLANNED_RUNS,
    };
    match evaluation::ask(&app.pool, dag_id, question, PLUGIN_PATIENCE).await {
        Ok(answer) => answer.runs.into_iter().map(DagRunInfo::from).collect(),
        Err(error) => {
            tracing::warn!(dag_id, %error, "the calendar shows no planned runs");
            Vec::new()
        }
    }
}
