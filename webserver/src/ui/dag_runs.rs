//! `/ui/dags/{dag_id}/dagRuns/{dag_run_id}/stats`: how long the runs of a Dag take.

use crate::api_v2::dag_runs::RunKey;
use crate::auth::{Resource, User};
use crate::error::ApiResult;
use crate::state::App;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/dags/{dag_id}/dagRuns/{dag_run_id}/stats", get(stats))
}

const DURATIONS: &str = "SELECT EXTRACT(EPOCH FROM end_date - start_date)::float8 FROM dag_run \
     WHERE dag_id = $1 AND state IN ('success', 'failed') ORDER BY run_after DESC LIMIT 100";

async fn stats(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> ApiResult<Json<Value>> {
    user.may_read(Resource::Dag)?;
    RunKey::require(&app.pool, &dag_id, &run_id).await?;
    let durations: Vec<Option<f64>> = sqlx::query_scalar(DURATIONS).bind(&dag_id).fetch_all(&app.pool).await?;
    Ok(Json(json!({"duration": statistics(durations.into_iter().flatten().collect())})))
}

/// Mean, mode (to the second) and percentiles, to the millisecond (`services/ui/dag_run.py`).
fn statistics(mut durations: Vec<f64>) -> Option<Value> {
    if durations.is_empty() {
        return None;
    }
    durations.sort_by(f64::total_cmp);
    let round = |seconds: f64| (seconds * 1e3).round() / 1e3;
    let percentile = |percent: f64| {
        let position = (durations.len() - 1) as f64 * percent / 100.0;
        let low = position.floor() as usize;
        let high = (low + 1).min(durations.len() - 1);
        round(durations[low] + (durations[high] - durations[low]) * (position - low as f64))
    };
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for duration in &durations {
        *counts.entry(duration.round_ties_even() as i64).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or_default();
    let mode = counts.iter().find(|(_, count)| **count == most && most > 1).map(|(seconds, _)| *seconds as f64);
    let mean = durations.iter().sum::<f64>() / durations.len() as f64;
    Some(json!({
        "mean": round(mean),
        "mode": mode,
        "p50": percentile(50.0),
        "p90": percentile(90.0),
        "p95": percentile(95.0),
        "p99": percentile(99.0),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_durations() {
        let stats = statistics(vec![4.0, 1.0, 1.2, 2.0]).expect("some");
        assert_eq!(stats["mean"], 2.05);
        assert_eq!(stats["mode"], 1.0);
        assert_eq!(stats["p50"], 1.6);
        assert_eq!(statistics(Vec::new()), None);
    }
}
