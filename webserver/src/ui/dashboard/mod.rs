//! `/ui/dashboard`: counts for the home page.

use crate::auth::{BindDags as _, Dags, Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Params, parse_time};
use crate::state::App;
use crate::states::{dag_run_states, task_instance_states};
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::FromRow;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/dashboard/historical_metrics_data", get(historical_metrics))
        .route("/dashboard/dag_stats", get(dag_stats))
}

/// Above so many rows counts are rounded down to two digits.
const EXACT_COUNT_LIMIT: i64 = 50_000;

async fn historical_metrics(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Value>> {
    user.may_read(Resource::Dag)?;
    let start = date(&mut params, "start_date");
    let end = params.text("end_date").and_then(|_| date(&mut params, "end_date"));
    if params.text("start_date").is_none() {
        params.missing("start_date");
    }
    params.check()?;
    let (start, end) = (start.unwrap_or_else(Utc::now), end.unwrap_or_else(Utc::now));
    let run_words = dag_run_states();
    let mut instance_words = vec!["no_status"];
    instance_words.extend(task_instance_states());
    let dags = user.readable();
    let (runs, runs_bounded) = counts(&app, dags, include_str!("run_states.sql"), start, end, &run_words).await?;
    let (instances, instances_bounded) =
        counts(&app, dags, include_str!("task_instance_states.sql"), start, end, &instance_words).await?;
    Ok(Json(json!({
        "dag_run_states": runs,
        "task_instance_states": instances,
        "dag_run_counts_are_lower_bounds": runs_bounded,
        "task_instance_counts_are_lower_bounds": instances_bounded,
    })))
}

fn date(params: &mut Params, name: &str) -> Option<DateTime<Utc>> {
    let text = params.text(name)?;
    let time = parse_time(&text).map(|(time, _)| time);
    if time.is_none() {
        let shown = crate::python::repr(&text);
        let detail = format!("Invalid datetime: {shown}. Please check the date parameter have this value.");
        params.refuse(ApiError::bad_request(detail));
    }
    time
}

/// How many rows are in each state, and whether that is only a lower bound.
async fn counts(
    app: &App,
    dags: &Dags,
    statement: &'static str,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    words: &[&str],
) -> ApiResult<(Map<String, Value>, bool)> {
    let rows: Vec<(Option<String>, i64)> = sqlx::query_as(dags.narrow(statement, 4))
        .bind(start)
        .bind(end)
        .bind(EXACT_COUNT_LIMIT + 1)
        .bind_dags(dags)
        .fetch_all(&app.pool)
        .await?;
    let bounded = rows.iter().map(|(_, count)| count).sum::<i64>() > EXACT_COUNT_LIMIT;
    let mut counts: Map<String, Value> = words.iter().map(|word| ((*word).to_owned(), 0.into())).collect();
    for (state, count) in rows {
        let shown = if bounded { two_digits(count) } else { count };
        counts.insert(state.unwrap_or_else(|| "no_status".to_owned()), shown.into());
    }
    Ok((counts, bounded))
}

/// The number with all but its first two digits zero.
fn two_digits(number: i64) -> i64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    number / unit * unit
}

#[derive(Serialize, FromRow)]
struct DagStats {
    active_dag_count: i64,
    failed_dag_count: i64,
    running_dag_count: i64,
    queued_dag_count: i64,
}

async fn dag_stats(State(app): State<App>, user: User) -> ApiResult<Json<DagStats>> {
    user.may_read(Resource::Dag)?;
    let dags = user.readable();
    let stats = sqlx::query_as(dags.narrow(include_str!("dag_stats.sql"), 1)).bind_dags(dags);
    Ok(Json(stats.fetch_one(&app.pool).await?))
}

#[cfg(test)]
mod tests {
    use super::two_digits;

    #[test]
    fn rounds_down_to_two_digits() {
        assert_eq!([7, 99, 123, 50_001].map(two_digits), [7, 99, 120, 50_000]);
    }
}
