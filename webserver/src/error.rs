//! Errors as FastAPI and Airflow render them: `{"detail": …}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rand::RngExt as _;
use serde_json::{Value, json};
use tradewind_metadata::MetadataError;

/// The answer to a request that cannot be fulfilled.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: Value,
}

/// What a handler answers.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error with a status and what is wrong: a text, or a structure as for validation errors.
    pub(crate) fn new(status: StatusCode, detail: impl Into<Value>) -> Self {
        Self { status, detail: detail.into() }
    }

    /// 400.
    pub(crate) fn bad_request(detail: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401.
    pub(crate) fn unauthorized(detail: impl Into<Value>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403.
    pub(crate) fn forbidden(detail: impl Into<Value>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    pub(crate) fn not_found(detail: impl Into<Value>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409.
    pub(crate) fn conflict(detail: impl Into<Value>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 422 with a text.
    pub(crate) fn unprocessable(detail: impl Into<Value>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 422 with pydantic's list of what is wrong where.
    pub(crate) fn validation(problems: Vec<Problem>) -> Self {
        Self::unprocessable(problems.into_iter().map(|problem| problem.0).collect::<Vec<_>>())
    }

    /// All complaints of two refusals of the same kind.
    #[must_use]
    pub(crate) fn and(mut self, later: Self) -> Self {
        if let (Value::Array(problems), Value::Array(more)) = (&mut self.detail, later.detail) {
            problems.extend(more);
        }
        self
    }

    /// Both results, or all complaints of both.
    pub(crate) fn both<A, B>(first: ApiResult<A>, second: ApiResult<B>) -> ApiResult<(A, B)> {
        match (first, second) {
            (Ok(first), Ok(second)) => Ok((first, second)),
            (Err(first), Err(second)) => Err(first.and(second)),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// The same complaints once more: of bodies that Airflow reads for the check of rights and again for the request.
    #[must_use]
    pub(crate) fn repeated(mut self) -> Self {
        if let Value::Array(problems) = &mut self.detail {
            problems.extend_from_within(..);
        }
        self
    }

    /// 500: the server's own fault; the cause is logged under an id that the caller is told.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        let id = error_id();
        tracing::error!(id, "request failed: {cause}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, look_up(&id))
    }

    /// 409 as Airflow answers when a row exists already.
    pub(crate) fn unique_violation(cause: &dyn std::fmt::Display) -> Self {
        Self::database(StatusCode::CONFLICT, "Unique constraint violation", cause)
    }

    fn database(status: StatusCode, reason: &str, cause: &dyn std::fmt::Display) -> Self {
        let id = error_id();
        tracing::error!(id, reason, "statement failed: {cause}");
        let detail = json!({"reason": reason, "statement": "hidden", "orig_error": "hidden", "message": look_up(&id)});
        Self::new(status, detail)
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, as sent.
    pub(crate) fn detail(&self) -> &Value {
        &self.detail
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "detail": self.detail }))).into_response()
    }
}

/// As `airflow/api_fastapi/common/exceptions.py`: what the database refuses is the client's fault, the rest is ours.
impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        let class = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
        let (status, reason) = match class.as_deref() {
            Some("23505") => (StatusCode::CONFLICT, "Unique constraint violation"),
            Some(code) if code.starts_with("22") => (StatusCode::UNPROCESSABLE_ENTITY, "Value rejected by database"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "Database error"),
        };
        Self::database(status, reason, &error)
    }
}

/// The database's refusals are told apart; what else can go wrong there is our fault.
impl From<MetadataError> for ApiError {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Database(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}

fn look_up(id: &str) -> String {
    format!(
        "Serious error when handling your request. Check logs for more details - \
         you will find it in api server when you look for ID {id}"
    )
}

fn error_id() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..8).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// One entry of a validation error, as pydantic words it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem(Value);

impl Problem {
    /// A problem of `kind` at a place such as `["query", "limit"]`, with the offending input.
    pub(crate) fn new(kind: &str, place: &[&str], message: impl Into<String>, input: impl Into<Value>) -> Self {
        Self(json!({"type": kind, "loc": place, "msg": message.into(), "input": input.into()}))
    }

    /// A problem at a place that leads through lists: names and indexes.
    pub(crate) fn at(kind: &str, place: Vec<Value>, message: impl Into<String>, input: impl Into<Value>) -> Self {
        Self(json!({"type": kind, "loc": place, "msg": message.into(), "input": input.into()}))
    }

    /// Adds where pydantic explains problems of this kind, as in answers that Airflow composes itself.
    #[must_use]
    pub(crate) fn documented(mut self) -> Self {
        let kind = self.0["type"].as_str().unwrap_or_default();
        self.0["url"] = format!("https://errors.pydantic.dev/2.14/v/{kind}").into();
        self
    }

    /// Moves the problem to the item at `index` of the list that it was found in.
    #[must_use]
    pub(crate) fn of_item(mut self, index: usize) -> Self {
        if let Some(place) = self.0["loc"].as_array_mut() {
            place.push(index.into());
        }
        self
    }

    /// Adds pydantic's `ctx`: the limits or reasons behind the message.
    #[must_use]
    pub(crate) fn context(mut self, context: Value) -> Self {
        self.0["ctx"] = context;
        self
    }
}
