//! `/openapi.json`, and the pages `/docs` and `/redoc` that show it.
//!
//! The document is that of the installed wheel: what it describes is what is served.

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

/// The folder of the documents within the `airflow` package.
const FOLDER: &str = "api_fastapi/core_api/openapi";
/// The document of the public API, and the one of the UI's.
const DOCUMENTS: [&str; 2] = ["v2-rest-api-generated.yaml", "_private_ui.yaml"];

/// The pages only where `[api] enable_swagger_ui` says so.
pub(crate) fn routes(with_pages: bool) -> Router<App> {
    let document = Router::new().route("/openapi.json", get(document));
    if !with_pages {
        return document;
    }
    document.route("/docs", get(swagger_ui)).route("/redoc", get(redoc))
}

/// Put together when it is first asked for, and kept.
async fn document(State(app): State<App>) -> ApiResult<Response> {
    let made = app.openapi.get_or_try_init(|| async {
        let (package, root_path) = (app.options.airflow_package.clone(), app.options.root_path().to_owned());
        let reading = tokio::task::spawn_blocking(move || read(&package.join(FOLDER), &root_path));
        reading.await.map_err(io::Error::other)?
    });
    let document = made.await.map_err(|error| ApiError::internal(&error))?.clone();
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}

fn read(folder: &Path, root_path: &str) -> io::Result<Bytes> {
    let mut whole = json!({});
    for name in DOCUMENTS {
        let text = std::fs::read_to_string(folder.join(name))?;
        merge(&mut whole, serde_yaml_ng::from_str(&text).map_err(io::Error::other)?);
    }
    if !root_path.is_empty() {
        whole["servers"] = json!([{"url": root_path}]);
    }
    Ok(whole.to_string().into())
}

/// Adds what the first has not; objects are merged.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into @ Value::Null, from) => *into = from,
        _ => {}
    }
}

/// As FastAPI's page, it loads Swagger UI from the network.
async fn swagger_ui(State(app): State<App>) -> Html<String> {
    let url = json!(format!("{}/openapi.json", app.options.root_path()));
    Html(format!(
        r##"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Airflow API - Swagger UI</title>
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
