//! `/openapi.json`, and the pages `/docs` and `/redoc` that show it; the same of the log-in.
//!
//! The documents are those of the installed wheel: what they describe is what is served.

use crate::error::{ApiError, ApiResult};
use crate::state::App;
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use tokio::sync::OnceCell;

/// The document of the public API within the `airflow` package. What the UI calls besides is nobody else's.
const API: &str = "api_fastapi/core_api/openapi/v2-rest-api-generated.yaml";
/// The document of the log-in.
const LOGIN: &str = "api_fastapi/auth/managers/simple/openapi/v2-simple-auth-manager-generated.yaml";

/// Documents as they are sent, once they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    api: OnceCell<Bytes>,
    login: OnceCell<Bytes>,
}

/// The pages only where `[api] enable_swagger_ui` says so.
pub(crate) fn routes(with_pages: bool) -> Router<App> {
    let document = Router::new().route("/openapi.json", get(api_document));
    if !with_pages {
        return document;
    }
    document.route("/docs", get(api_page)).route("/redoc", get(redoc))
}

/// The same of the log-in, under `/auth`; Airflow has its page whatever the option says.
pub(crate) fn login_routes() -> Router<App> {
    Router::new().route("/openapi.json", get(login_document)).route("/docs", get(login_page))
}

async fn api_document(State(app): State<App>) -> ApiResult<Response> {
    document(&app, &app.openapi.api, API).await
}

async fn login_document(State(app): State<App>) -> ApiResult<Response> {
    document(&app, &app.openapi.login, LOGIN).await
}

async fn document(app: &App, kept: &OnceCell<Bytes>, file: &str) -> ApiResult<Response> {
    let made = kept.get_or_try_init(|| async {
        let (file, root_path) = (app.options.airflow_package.join(file), app.options.root_path().to_owned());
        let reading = tokio::task::spawn_blocking(move || read(&file, &root_path));
        reading.await.map_err(io::Error::other)?
    });
    let document = made.await.map_err(|error| ApiError::internal(&error))?.clone();
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}

fn read(file: &Path, root_path: &str) -> io::Result<Bytes> {
    let text = std::fs::read_to_string(file)?;
    let mut document: Value = serde_yaml_ng::from_str(&text).map_err(io::Error::other)?;
    if !root_path.is_empty() {
        document["servers"] = json!([{"url": root_path}]);
    }
    Ok(document.to_string().into())
}

async fn api_page(State(app): State<App>) -> Html<String> {
    swagger_ui("Airflow API", &format!("{}/openapi.json", app.options.root_path()))
}

async fn login_page(State(app): State<App>) -> Html<String> {
    swagger_ui("Simple auth manager sub application", &format!("{}/auth/openapi.json", app.options.root_path()))
}

/// As FastAPI's page, it loads Swagger UI from the network.
fn swagger_ui(title: &str, url: &str) -> Html<String> {
    let url = json!(url);
    Html(format!(
        r##"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - Swagger UI</title>
<link rel="stylesheet" href="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: {url}, dom_id: "#swagger-ui", deepLinking: true, showExtensions: true}})</script>
</body>
</html>
"##
    ))
}

/// As FastAPI's page, it loads ReDoc from the network.
async fn redoc(State(app): State<App>) -> Html<String> {
    let url = json!(format!("{}/openapi.json", app.options.root_path()));
    Html(format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Airflow API - ReDoc</title>
</head>
<body>
<div id="redoc"></div>
<script src="https://cdn.jsdelivr.net/npm/redoc@2/bundles/redoc.standalone.js"></script>
<script>Redoc.init({url}, {{}}, document.getElementById("redoc"))</script>
</body>
</html>
"#
    ))
}
