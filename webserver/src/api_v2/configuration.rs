//! `/config`: the configuration, when `[api] expose_config` allows it.

use super::dag_sources::wants_text;
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tradewind_airflow::config::{Exposed, Sections};
use tradewind_metadata::python_environment;

/// What stands in place of a secret.
const HIDDEN: &str = "< hidden >";

pub(super) fn routes() -> Router<App> {
    Router::new().route("/config", get(list)).route("/config/section/{section}/option/{option}", get(read))
}

fn check_exposed(app: &App) -> ApiResult<()> {
    let setting = app.config.string("api", "expose_config").map_err(|error| ApiError::internal(&error))?;
    if matches!(setting.to_ascii_lowercase().as_str(), "true" | "t" | "1" | "non-sensitive-only") {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "Your Airflow administrator chose not to expose the configuration, most likely for security reasons.",
    ))
}

async fn list(State(app): State<App>, user: User, params: Params, headers: HeaderMap) -> ApiResult<Response> {
    user.may_read(Resource::Configuration)?;
    let as_text = wants_text(&headers)?;
    check_exposed(&app)?;
    let mut sections = exposed(&app).await?;
    if let Some(wanted) = params.text("section").filter(|section| !section.is_empty()) {
        sections.retain(|section, _| *section == wanted);
        if sections.is_empty() {
            return Err(ApiError::not_found(format!("Section {wanted} not found.")));
        }
    }
    for exposed in sections.values_mut().flat_map(|options| options.values_mut()) {
        if exposed.sensitive && !exposed.text.is_empty() {
            HIDDEN.clone_into(&mut exposed.text);
        }
    }
    Ok(render(&sections, as_text))
}

async fn read(
    State(app): State<App>,
    user: User,
    Path((section, option)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    user.may_read(Resource::Configuration)?;
    let as_text = wants_text(&headers)?;
    check_exposed(&app)?;
    let (wanted_section, wanted_key) = (section.to_ascii_lowercase(), option.to_ascii_lowercase());
    let mut sections = exposed(&app).await?;
    let found = sections.get_mut(&wanted_section).and_then(|options| options.swap_remove(&wanted_key));
    let Some(Exposed { text, sensitive }) = found else {
        return Err(ApiError::not_found(format!("Option [{section}/{option}] not found.")));
    };
    let text = if sensitive { HIDDEN.to_owned() } else { text };
    let shown = Exposed { text, sensitive };
    Ok(render(&Sections::from([(section, [(option, shown)].into())]), as_text))
}

/// The configuration of this process, with the options of the providers that a Dag processor has published.
async fn exposed(app: &App) -> ApiResult<Sections> {
    Ok(app.config.exposed(python_environment::configuration(&app.pool).await?.as_deref()))
}

/// As JSON or, in the form of `airflow.cfg`, as text.
fn render(sections: &Sections, as_text: bool) -> Response {
    if as_text {
        let text = sections.iter().map(|(name, options)| {
            let lines: Vec<String> = options.iter().map(|(key, value)| format!("{key} = {}", value.text)).collect();
            format!("[{name}]\n{}\n", lines.join("\n"))
        });
        let text = text.collect::<Vec<_>>().join("\n");
        return ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response();
    }
    let sections = sections.iter().map(|(name, options)| {
        let options = options.iter().map(|(key, value)| json!({"key": key, "value": value.text}));
        json!({"name": name, "options": options.collect::<Vec<_>>()})
    });
    Json(json!({"sections": sections.collect::<Vec<Value>>()})).into_response()
}
