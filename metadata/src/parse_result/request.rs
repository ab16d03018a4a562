//! What others ask of the Dag processor: to parse a file at once, to run callbacks.

use serde_json::Value;
use sqlx::{PgPool, query_as};

use crate::Result;

/// A file to parse at once (`dag_priority_parsing_request`).
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ParsingRequest {
    /// The bundle.
    pub bundle_name: String,
    /// The file, relative to the bundle.
    pub relative_fileloc: String,
}

/// A callback to run (`callback` rows of type `dag_processor`).
#[derive(Debug, Clone, PartialEq)]
pub struct CallbackRequest {
    /// The bundle of its Dag.
    pub bundle_name: String,
    /// The file of its Dag, relative to the bundle.
    pub relative_fileloc: String,
    /// The request as the parse child reads it.
    pub request: Value,
}

/// Whether anybody asked for anything: a cheap look that writes nothing.
pub async fn any(pool: &PgPool, bundles: &[String]) -> Result<(bool, bool)> {
    Ok(query_as(
        "SELECT EXISTS (SELECT FROM dag_priority_parsing_request WHERE bundle_name = ANY($1)), \
         EXISTS (SELECT FROM callback WHERE type = 'dag_processor' AND bundle_name = ANY($1))",
    )
    .bind(bundles)
    .fetch_one(pool)
    .await?)
}

/// Takes the requests to parse files of the bundles.
pub async fn take_parsing_requests(pool: &PgPool, bundles: &[String]) -> Result<Vec<ParsingRequest>> {
    Ok(query_as(
        "DELETE FROM dag_priority_parsing_request WHERE bundle_name = ANY($1) RETURNING bundle_name, relative_fileloc",
    )
    .bind(bundles)
    .fetch_all(pool)
    .await?)
}

/// Takes up to `limit` callbacks for the bundles, the most urgent first. One that cannot be read is logged and dropped.
pub async fn take_callbacks(pool: &PgPool, bundles: &[String], limit: i64) -> Result<Vec<CallbackRequest>> {
    let rows: Vec<(String, Value)> = query_as(include_str!("../../queries/parse_result/take_callbacks.sql"))
        .bind(bundles)
        .bind(limit)
        .fetch_all(pool)
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(bundle_name, data)| {
            let request = callback_request(bundle_name, &data);
            if request.is_none() {
                tracing::warn!(%data, "callback request cannot be read and is dropped");
            }
            request
        })
        .collect())
}

fn callback_request(bundle_name: String, data: &Value) -> Option<CallbackRequest> {
    // `ExtendedJSON` may wrap the object once more.
    let data = data.get("__var").unwrap_or(data);
    let class = data.get("req_class")?.as_str()?;
    let mut request: Value = serde_json::from_str(data.get("req_data")?.as_str()?).ok()?;
    let relative_fileloc = request.get("filepath")?.as_str()?.to_owned();
    request.as_object_mut()?.entry("type").or_insert_with(|| class.into());
    Some(CallbackRequest { bundle_name, relative_fileloc, request })
}
