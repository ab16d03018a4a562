//! What is refused before a handler sees it, said as handlers say it.

use crate::error::ApiError;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{Response, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;

/// The longest explanation of axum's extractors, in bytes.
const LONGEST: usize = 64 * 1024;

/// Refuses addresses that hold a NUL byte, which no text in Postgres can, and puts into Airflow's shape what axum refuses
/// in plain text, such as paths that are no UTF-8.
pub(crate) async fn in_airflows_shape(request: Request, next: Next) -> axum::response::Response {
    let address = request.uri().path_and_query().map_or("", |address| address.as_str());
    if address.contains("%00") {
        return ApiError::unprocessable("The address holds a NUL byte").into_response();
    }
    let response = next.run(request).await;
    if !response.status().is_client_error() || !is_plain_text(&response) {
        return response;
    }
    let status = response.status();
    match to_bytes(response.into_body(), LONGEST).await {
        Ok(text) => ApiError::new(status, String::from_utf8_lossy(&text)).into_response(),
        Err(error) => ApiError::internal(&error).into_response(),
    }
}

fn is_plain_text<B>(response: &Response<B>) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/plain"))
}
