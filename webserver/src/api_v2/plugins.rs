//! `/plugins` and `/providers`: what the Python environment has installed.

use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::state::App;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use tokio::fs;
use tradewind_metadata::python_environment;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/plugins", get(list))
        .route("/plugins/importErrors", get(import_errors))
        .route("/providers", get(providers))
}

/// Plugins are Python code: a Dag processor loads them and publishes what they are.
async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Value>> {
    user.may_read(Resource::View)?;
    let page = params.page(&app);
    params.check()?;
    let published = published(&app).await?;
    let plugins = published.plugins.as_array().cloned().unwrap_or_default();
    Ok(Json(json!({"total_entries": plugins.len(), "plugins": page.of(plugins)})))
}

async fn import_errors(State(app): State<App>, user: User) -> ApiResult<Json<Value>> {
    user.may_read(Resource::View)?;
    let errors = published(&app).await?.plugin_import_errors;
    let errors = errors.as_array().cloned().unwrap_or_default();
    Ok(Json(json!({"total_entries": errors.len(), "import_errors": errors})))
}

async fn published(app: &App) -> ApiResult<python_environment::Plugins> {
    let published = python_environment::plugins(&app.pool).await?;
    Ok(published.unwrap_or_default())
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Provider {
    package_name: String,
    description: String,
    version: String,
    documentation_url: Option<String>,
}

/// The distributions `apache-airflow-providers-*` beside the `airflow` package.
async fn providers(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Value>> {
    user.may_read(Resource::View)?;
    let page = params.page(&app);
    params.check()?;
    let mut found = installed(&app).await.map_err(|error| ApiError::internal(&error))?;
    found.sort();
    Ok(Json(json!({"total_entries": found.len(), "providers": page.of(found)})))
}

async fn installed(app: &App) -> io::Result<Vec<Provider>> {
    let mut providers = Vec::new();
    let Some(site) = app.options.airflow_package.parent() else { return Ok(providers) };
    let mut entries = fs::read_dir(site).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("apache_airflow_providers_") && name.ends_with(".dist-info") {
            let metadata = fs::read_to_string(entry.path().join("METADATA")).await?;
            let entry_points = fs::read_to_string(entry.path().join("entry_points.txt")).await.unwrap_or_default();
            let Some(mut provider) = parse(&metadata) else { continue };
            if let Some(description) = description(site, &entry_points).await {
                provider.description = description;
            }
            providers.push(provider);
        }
    }
    Ok(providers)
}

/// The description in the generated module that the entry point names: the metadata of the distribution has a stock
/// sentence in its place.
async fn description(site: &Path, entry_points: &str) -> Option<String> {
    let module = entry_points.lines().find_map(|line| line.strip_prefix("provider_info="))?.split(':').next()?;
    let file = site.join(module.trim().replace('.', "/")).with_extension("py");
    let source = fs::read_to_string(file).await.ok()?;
    let start = source.find("\"description\": \"")? + "\"description\": ".len();
    let line = source[start..].lines().next()?.trim_end().trim_end_matches(',');
    let text: String = serde_json::from_str(line).ok()?;
    // The marks of reStructuredText go, as in `services/public/providers.py`.
    Some(text.trim_matches([' ', '\n', '.']).replace(['`', '_', '<', '>'], ""))
}

/// Reads the metadata of a distribution (core metadata, RFC 822 headers).
fn parse(metadata: &str) -> Option<Provider> {
    let headers: Vec<(&str, &str)> =
        metadata.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(": ")).collect();
    let header = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    let documentation = headers.iter().find_map(|(name, value)| {
        let (label, url) = value.split_once(", ").filter(|_| *name == "Project-URL")?;
        (label == "Documentation").then(|| url.to_owned())
    });
    Some(Provider {
        package_name: header("Name")?,
        description: header("Summary").unwrap_or_default(),
        version: header("Version")?,
        documentation_url: documentation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_metadata() {
        let text = "Metadata-Version: 2.4\nName: apache-airflow-providers-http\nVersion: 6.0.0\n\
                    Summary: Provider package\nProject-URL: Documentation, https://example.org/docs\n\nName: not this";
        let provider = parse(text).expect("a provider");
        assert_eq!(provider.package_name, "apache-airflow-providers-http");
        assert_eq!(provider.documentation_url.as_deref(), Some("https://example.org/docs"));
    }
}
