//! `…/dagRuns/{dag_run_id}/wait`: lines of JSON until the run has ended.

use super::RunKey;
use crate::auth::{Resource, User};
use crate::error::ApiResult;
use crate::query::Params;
use crate::state::App;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use indexmap::IndexMap;
use serde_json::{Value, json};
use std::io;
use std::time::Duration;
use tokio::time::sleep;
use tradewind_airflow::python_json;

/// Bounds of the time between two looks at a run: a shorter one would keep the database busy with nothing else.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) async fn wait(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> ApiResult<Response> {
    user.may_read(Resource::Dag)?;
    if params.text("interval").is_none() {
        params.missing("interval");
    }
    let interval = params.positive_float("interval").unwrap_or_default();
    params.check()?;
    let interval = Duration::try_from_secs_f64(interval).unwrap_or(Duration::MAX).clamp(SHORTEST, LONGEST);
    let result_tasks = params.texts("result");
    RunKey::require(&app.pool, &dag_id, &run_id).await?;
    let lines = async_stream::stream! {
        loop {
            match line(&app, &dag_id, &run_id, &result_tasks).await {
                Ok((line, has_ended)) => {
                    yield Ok(format!("{line}\n"));
                    if has_ended {
                        return;
                    }
                }
                Err(error) => {
                    yield Err(io::Error::other(error.detail().to_string()));
                    return;
                }
            }
            sleep(interval).await;
        }
    };
    Ok(Body::from_stream(lines).into_response())
}

/// The state of the run, with the results of tasks once it has ended.
async fn line(app: &App, dag_id: &str, run_id: &str, result_tasks: &[String]) -> ApiResult<(String, bool)> {
    let run = RunKey::require(&app.pool, dag_id, run_id).await?;
    let has_ended = matches!(run.state.as_deref(), Some("success" | "failed"));
    let mut answer = json!({"state": run.state});
    if has_ended {
        let results = results(app, dag_id, run_id, result_tasks).await?;
        if !results.is_empty() {
            answer["results"] = json!(results);
        }
    }
    Ok((python_json::dumps(&answer), has_ended))
}

/// The return values of the tasks asked for, or of the one that the Dag declares as its result.
async fn results(app: &App, dag_id: &str, run_id: &str, tasks: &[String]) -> ApiResult<IndexMap<String, Value>> {
    let rows: Vec<(String, i32, Option<Value>)> = sqlx::query_as(
        "SELECT task_id, map_index, value FROM xcom WHERE dag_id = $1 AND run_id = $2 AND key = 'return_value' \
         AND CASE WHEN cardinality($3::text[]) = 0 THEN COALESCE(dag_result, FALSE) ELSE task_id = ANY($3) END \
         ORDER BY task_id, map_index",
    )
    .bind(dag_id)
    .bind(run_id)
    .bind(tasks)
    .fetch_all(&app.pool)
    .await?;
    let mut grouped: IndexMap<String, Vec<(i32, Value)>> = IndexMap::new();
    for (task_id, map_index, value) in rows {
        grouped.entry(task_id).or_default().push((map_index, value.unwrap_or_default()));
    }
    let result = |mut entries: Vec<(i32, Value)>| match entries.as_slice() {
        [(map_index, _)] if *map_index < 0 => entries.remove(0).1,
        _ => entries.into_iter().map(|(_, value)| value).collect(),
    };
    Ok(grouped.into_iter().map(|(task_id, entries)| (task_id, result(entries))).collect())
}
