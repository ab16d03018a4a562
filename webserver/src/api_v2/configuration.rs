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
use indexmap::IndexMap;
use serde_json::{Value, json};

/// What stands in place of a secret.
const HIDDEN: &str = "< hidden >";

pub(super) fn routes() -> Router<App> {
    Router::new().route("/config", get(list)).route("/config/section/{section}/option/{option}", get(read))
}

type Sections = IndexMap<String, Vec<(String, String)>>;

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
    let wanted = params.text("section").filter(|section| !section.is_empty());
    let mut sections = Sections::new();
    for value in app.config.list() {
        let section = value.option.section;
        if wanted.as_deref().is_some_and(|wanted| wanted != section) {
            continue;
        }
        let Some(text) = &value.text else { continue };
        let shown = if value.option.sensitive { HIDDEN.to_owned() } else { text.clone() };
        sections.entry(section.to_owned()).or_default().push((value.option.key.to_owned(), shown));
    }
    if let Some(section) = wanted.filter(|_| sections.is_empty()) {
        return Err(ApiError::not_found(format!("Section {section} not found.")));
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
    let found = app.config.list().find(|value| {
        value.option.section.eq_ignore_ascii_case(&section) && value.option.key.eq_ignore_ascii_case(&option)
    });
    let text = found.and_then(|value| Some((value.option.sensitive, value.text.clone()?)));
    let (sensitive, text) =
        text.ok_or_else(|| ApiError::not_found(format!("Option [{section}/{option}] not found.")))?;
    let shown = if sensitive { HIDDEN.to_owned() } else { text };
    Ok(render(&Sections::from([(section, vec![(option, shown)])]), as_text))
}

fn render(sections: &Sections, as_text: bool) -> Response {
    if as_text {
        let text = |(name, options): (&String, &Vec<(String, String)>)| {
            let lines: Vec<String> = options.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            format!("[{name}]\n{}\n", lines.join("\n"))
        };
        let text = sections.iter().map(text).collect::<Vec<_>>().join("\n");
        return ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response();
    }
    let section = |(name, options): (&String, &Vec<(String, String)>)| {
        let options: Vec<Value> = options.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        json!({"name": name, "options": options})
    };
    let sections: Vec<Value> = sections.iter().map(section).collect();
    Json(json!({"sections": sections})).into_response()
}
