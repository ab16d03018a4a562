//! `/dagSources/{dag_id}`: the file of a Dag as it was parsed.

use crate::api_v2::dags;
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::{FromRow, PgPool};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/dagSources/{dag_id}", get(read))
}

/// What is shown of a file that has more Dags than somebody may read.
const REDACTED: &str = "REDACTED - you do not have read permission on all Dags in the file";

#[derive(Serialize, FromRow)]
struct Source {
    content: Option<String>,
    dag_id: String,
    version_number: i32,
    dag_display_name: String,
}

const SOURCE: &str = "SELECT c.source_code AS content, v.dag_id, v.version_number, \
     COALESCE(d.dag_display_name, d.dag_id) AS dag_display_name \
     FROM dag_version v JOIN dag d ON d.dag_id = v.dag_id LEFT JOIN dag_code c ON c.dag_version_id = v.id \
     WHERE v.dag_id = $1 AND ($2::bigint IS NULL OR v.version_number = $2) ORDER BY v.created_at DESC LIMIT 1";

async fn read(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(dag_id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    user.may_read(Resource::Dag)?;
    let as_text = wants_text(&headers)?;
    // Airflow takes 0 for no version.
    let version = params.int("version_number").filter(|version| *version != 0);
    params.check()?;
    let shown = version.map_or_else(|| "None".to_owned(), |version| version.to_string());
    let source: Option<Source> = sqlx::query_as(SOURCE).bind(&dag_id).bind(version).fetch_optional(&app.pool).await?;
    let mut source = source.ok_or_else(|| {
        ApiError::not_found(format!("The source code of the Dag {dag_id}, version_number {shown} was not found"))
    })?;
    let Some(content) = &mut source.content else {
        let detail = format!("Code not found. dag_id='{dag_id}' version_number='{shown}'");
        return Err(ApiError::not_found(detail));
    };
    if !user.readable().are_all() && !user.readable().contain_all(&beside(&app.pool, &dag_id).await?) {
        REDACTED.clone_into(content);
    }
    if as_text {
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], content.clone()).into_response());
    }
    Ok(Json(source).into_response())
}

/// The Dags of the file of a Dag.
async fn beside(pool: &PgPool, dag_id: &str) -> ApiResult<Vec<String>> {
    let dag = dags::find(pool, dag_id).await?;
    let Some((bundle, file)) = dag.as_ref().and_then(|dag| dag.file()) else { return Ok(Vec::new()) };
    dags::of_file(pool, Some(bundle), Some(file)).await
}

/// Whether plain text is asked for; JSON unless so.
pub(super) fn wants_text(headers: &HeaderMap) -> ApiResult<bool> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    if accept.starts_with("*/*") || accept.starts_with("application/json") {
        return Ok(false);
    }
    if accept.starts_with("text/plain") {
        return Ok(true);
    }
    Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, "Only application/json or text/plain is supported"))
}
