//! The answer of an operation that succeeded and has nothing to say.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// 204. FastAPI gives it the type of the JSON that it does not hold, and some clients look at the type first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        (StatusCode::NO_CONTENT, [(header::CONTENT_TYPE, "application/json")]).into_response()
    }
}
