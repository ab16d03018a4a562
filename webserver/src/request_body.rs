//! The body of a request as it came, before it is read.

use crate::error::ApiError;
use axum::body::{Body, BodyDataStream, HttpBody as _, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use std::ops::Deref;

/// A larger body is refused, in bytes.
const LIMIT: usize = 8 * 1024 * 1024;

/// So much of a body that is too large is still taken, in bytes.
const DRAINED: usize = 64 * 1024 * 1024;

/// The bytes of a body, and whether they are said to be JSON.
#[derive(Debug)]
pub(crate) struct RequestBody {
    bytes: Bytes,
    is_json: bool,
}

impl RequestBody {
    /// Whether the content type is JSON's; FastAPI reads no other body, nor one without a content type.
    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }
}

impl Deref for RequestBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<S: Send + Sync> FromRequest<S> for RequestBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let is_json = is_json(request.headers());
        let bytes = to_bytes(request.into_body(), LIMIT).await.map_err(|error| broken(&error))?;
        Ok(Self { bytes, is_json })
    }
}

/// Receives the whole body before anything else is looked at: a client that is answered, and cut off, while it still
/// sends, would see a broken connection instead of the refusal.
pub(crate) async fn receive(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match received(body.into_data_stream()).await {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(error) => error.into_response(),
    }
}

async fn received(mut stream: BodyDataStream) -> Result<Bytes, ApiError> {
    let mut kept = BytesMut::new();
    let mut length = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| broken(&error))?;
        length += chunk.len();
        if length <= LIMIT {
            kept.extend_from_slice(&chunk);
        } else {
            kept = BytesMut::new();
        }
        if length > DRAINED {
            break;
        }
    }
    if length > LIMIT {
        let detail = format!("The body is larger than {LIMIT} bytes");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(kept.freeze())
}

fn broken(error: &axum::Error) -> ApiError {
    ApiError::bad_request(format!("The body cannot be received: {error}"))
}

/// `application/json`, or `application/…+json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = media_type.strip_prefix("application/").unwrap_or_default();
    subtype == "json" || subtype.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_limit() {
        let length = async |length: usize| {
            let body = Body::from(vec![b' '; length]);
            received(body.into_data_stream()).await.map(|bytes| bytes.len()).map_err(|error| error.status())
        };
        assert_eq!(length(LIMIT).await, Ok(LIMIT));
        assert_eq!(length(LIMIT + 1).await, Err(StatusCode::PAYLOAD_TOO_LARGE));
    }

    #[tokio::test]
    async fn knows_json() {
        let said = [
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("text/json", false),
            ("application/x-www-form-urlencoded", false),
        ];
        for (content_type, is_json) in said {
            let request = Request::builder().header(header::CONTENT_TYPE, content_type).body(Body::from("{}"));
            let body = RequestBody::from_request(request.expect("a request"), &()).await.expect("a body");
            assert_eq!(body.is_json(), is_json, "{content_type}");
        }
    }
}
