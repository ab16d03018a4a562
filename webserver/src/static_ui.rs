//! The official UI and the official log-in page, served from the installed wheel.

use crate::error::ApiError;
use crate::options::{Options, OptionsError};
use crate::state::App;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use serde_json::json;
use std::path::{Component, Path as FilePath, PathBuf};
use tokio::fs;
use tower_http::services::ServeFile;

/// The built UI within the `airflow` package.
const UI: &str = "ui/dist";
/// The built log-in page within the `airflow` package.
const LOGIN: &str = "api_fastapi/auth/managers/simple/ui/dist";
/// What the pages hold in place of the path of the server.
const PLACEHOLDER: &str = "{{ backend_server_base_url }}";
/// Names of built assets hold a hash of their content, so they may be kept for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Refuses to start without the UI.
pub(crate) fn check(options: &Options) -> Result<(), OptionsError> {
    for page in [UI, LOGIN] {
        let index = options.airflow_package.join(page).join("index.html");
        if !index.is_file() {
            return Err(OptionsError::NoUi(index));
        }
    }
    Ok(())
}

/// `/static/*`, and the page itself under every path that is nothing else.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/static/{*path}", get(ui_asset))
        .route("/health", get(moved_health))
        .route("/api/v1/{*path}", get(moved_api))
        .fallback(ui_page)
}

/// The log-in page under `/auth`.
pub(crate) fn login_page() -> Router<App> {
    Router::new().route("/static/{*path}", get(login_asset)).route("/", get(login)).route("/{*path}", get(login))
}

async fn ui_asset(State(app): State<App>, Path(path): Path<String>, request: Request) -> Response {
    asset(&app.options.airflow_package.join(UI), &path, request).await
}

async fn login_asset(State(app): State<App>, Path(path): Path<String>, request: Request) -> Response {
    asset(&app.options.airflow_package.join(LOGIN), &path, request).await
}

async fn login(State(app): State<App>) -> Response {
    page(&app, LOGIN).await
}

async fn ui_page(State(app): State<App>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed").into_response();
    }
    if request.uri().path().starts_with("/api/") {
        let answer = Json(json!({"error": "API route not found"}));
        return (StatusCode::NOT_FOUND, answer).into_response();
    }
    page(&app, UI).await
}

async fn moved_health() -> Response {
    let text = "Moved in Airflow 3. Please change config to check `/api/v2/monitor/health`";
    (StatusCode::NOT_FOUND, Json(json!({"error": text}))).into_response()
}

async fn moved_api() -> Response {
    let text = "/api/v1 has been removed in Airflow 3, please use its upgraded version /api/v2 instead.";
    (StatusCode::NOT_FOUND, Json(json!({"error": text}))).into_response()
}

/// The page with the path of the server filled in; never kept by browsers, since it names the assets of one release.
async fn page(app: &App, folder: &str) -> Response {
    match fs::read_to_string(app.options.airflow_package.join(folder).join("index.html")).await {
        Ok(html) => {
            let html = html.replace(PLACEHOLDER, &app.options.cookie_path());
            ([(header::CACHE_CONTROL, "no-cache")], Html(html)).into_response()
        }
        Err(error) => ApiError::internal(&error).into_response(),
    }
}

/// A file as a browser asks for it: it is not sent again while it is what the browser has, and in parts where that is wanted.
async fn asset(folder: &FilePath, path: &str, request: Request) -> Response {
    let not_found = || ApiError::not_found("Not Found").into_response();
    let Some(file) = file_within(folder, path) else { return not_found() };
    if !fs::metadata(&file).await.is_ok_and(|found| found.is_file()) {
        return not_found();
    }
    let Ok(served) = ServeFile::new(file).try_call(request).await else { return not_found() };
    let mut response = served.map(Body::new);
    let cache = if path.starts_with("assets/") { FOR_EVER } else { "no-cache" };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// The file of a path that does not leave the folder.
fn file_within(folder: &FilePath, path: &str) -> Option<PathBuf> {
    let relative = FilePath::new(path);
    relative.components().all(|part| matches!(part, Component::Normal(_))).then(|| folder.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_within_the_folder() {
        let folder = FilePath::new("/ui");
        assert_eq!(file_within(folder, "assets/a.js"), Some(PathBuf::from("/ui/assets/a.js")));
        assert_eq!(file_within(folder, "../secret"), None);
        assert_eq!(file_within(folder, "/etc/passwd"), None);
    }
}
