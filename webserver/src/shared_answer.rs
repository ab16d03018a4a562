//! One answer for all who ask the same, at once or while nothing has changed: a page that many look at asks every few seconds,
//! and a page that is opened asks for much at a time.

use crate::auth::{self, Identity, Rights};
use crate::kept::SharedWork;
use crate::state::App;
use axum::body::{self, Body};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;

/// What is worth it: lists and pages that take milliseconds, are made of many rows, and come as a whole. The rest of
/// `/api/v2` costs less than finding out whether somebody else asks for it.
const SHARED: &[&str] = &[
    "/ui/calendar/{dag_id}",
    "/ui/dags",
    "/ui/dashboard/dag_stats",
    "/ui/dashboard/historical_metrics_data",
    "/ui/dependencies",
    "/ui/gantt/{dag_id}/{run_id}",
    "/ui/grid/runs/{dag_id}",
    "/ui/grid/structure/{dag_id}",
    "/ui/structure/structure_data",
    "/api/v2/dags",
    "/api/v2/dags/{dag_id}/dagRuns",
    "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
    "/api/v2/eventLogs",
];

/// Answers by who asks for what, and may see which Dags: rights and favourites are a person's own.
pub(crate) type SharedAnswers = SharedWork<(Identity, Rights, Uri), Answer>;

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// How much memory it takes, if it is worth keeping.
    fn bytes(&self) -> Option<usize> {
        self.status.is_success().then_some(self.body.len() + size_of::<HeaderMap>())
    }
}

/// Answers once what is asked several times.
pub(crate) async fn share(State(app): State<App>, request: Request, next: Next) -> Response {
    if !is_worth_it(&app, &request) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let Ok((identity, snapshot)) = auth::identify(&mut parts, &app).await else {
        // The handler says what is wrong.
        return next.run(Request::from_parts(parts, body)).await;
    };
    let Ok(rights) = auth::rights_of(&mut parts, &app, &identity).await else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let key = (identity, rights, parts.uri.clone());
    let work = async { whole(next.run(Request::from_parts(parts, body)).await).await };
    match app.answers.get(&app.pool, &key, snapshot, work, Answer::bytes).await {
        Ok(Answer { status, headers, body }) => (status, headers, Body::from(body)).into_response(),
        Err(error) => crate::error::ApiError::internal(&error).into_response(),
    }
}

fn is_worth_it(app: &App, request: &Request) -> bool {
    let Some(path) = request.extensions().get::<MatchedPath>().filter(|_| request.method() == Method::GET) else {
        return false;
    };
    let path = path.as_str();
    SHARED.contains(&path) || path.strip_prefix(app.options.root_path()).is_some_and(|path| SHARED.contains(&path))
}

async fn whole(answer: Response) -> Result<Answer, axum::Error> {
    let (parts, body) = answer.into_parts();
    // What these handlers answer is in memory as a whole already.
    let body = body::to_bytes(body, usize::MAX).await?;
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}
