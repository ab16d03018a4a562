//! `/dagStats`: runs of each Dag by state.

use crate::auth::{BindDags as _, Resource, User};
use crate::error::ApiResult;
use crate::query::Params;
use crate::state::App;
use crate::states::dag_run_states;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use indexmap::IndexMap;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/dagStats", get(list))
}

const COUNTS: &str = "SELECT dr.dag_id, dr.state, COALESCE(d.dag_display_name, d.dag_id), count(*) \
     FROM dag_run dr JOIN dag d ON d.dag_id = dr.dag_id WHERE (cardinality($1::text[]) = 0 OR dr.dag_id = ANY($1)) /* of: dr.dag_id */ \
     GROUP BY dr.dag_id, dr.state, d.dag_display_name, d.dag_id ORDER BY dr.dag_id";

async fn list(State(app): State<App>, user: User, params: Params) -> ApiResult<Json<Value>> {
    user.may_read(Resource::Dag)?;
    let rows: Vec<(String, Option<String>, String, i64)> = sqlx::query_as(user.readable().narrow(COUNTS, 2))
        .bind(params.texts("dag_ids"))
        .bind_dags(user.readable())
        .fetch_all(&app.pool)
        .await?;
    let mut dags: IndexMap<String, (String, IndexMap<String, i64>)> = IndexMap::new();
    for (dag_id, state, name, count) in rows {
        let (_, counts) = dags.entry(dag_id).or_insert_with(|| (name, IndexMap::new()));
        counts.insert(state.unwrap_or_default(), count);
    }
    let dags: Vec<Value> = dags
        .into_iter()
        .map(|(dag_id, (name, counts))| {
            let stats: Vec<Value> = dag_run_states()
                .into_iter()
                .map(|state| json!({"state": state, "count": counts.get(state).copied().unwrap_or_default()}))
                .collect();
            json!({"dag_id": dag_id, "dag_display_name": name, "stats": stats})
        })
        .collect();
    Ok(Json(json!({"total_entries": dags.len(), "dags": dags})))
}
