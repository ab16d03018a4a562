//! `/ui/config`: the settings that the UI itself needs.

use crate::auth::User;
use crate::error::{ApiError, ApiResult};
use crate::state::App;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tradewind_airflow::config::{Config, ConfigError};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/config", get(read))
}

async fn read(State(app): State<App>, _: User) -> ApiResult<Json<Value>> {
    settings(&app.config).map(Json).map_err(|error| ApiError::internal(&error))
}

fn settings(config: &Config) -> Result<Value, ConfigError> {
    let text = |section, key| config.optional(section, key).map(|value| value.filter(|value| !value.is_empty()));
    let theme = text("api", "theme")?.and_then(|theme| serde_json::from_str::<Value>(theme).ok());
    let rerun = text("core", "rerun_with_latest_version")?.map(|_| config.bool("core", "rerun_with_latest_version"));
    Ok(json!({
        "fallback_page_limit": config.int("api", "fallback_page_limit")?,
        "auto_refresh_interval": config.int("api", "auto_refresh_interval")?,
        "hide_paused_dags_by_default": config.bool("api", "hide_paused_dags_by_default")?,
        "instance_name": text("api", "instance_name")?.unwrap_or("Airflow"),
        "enable_swagger_ui": config.bool("api", "enable_swagger_ui")?,
        "require_confirmation_dag_change": config.bool("api", "require_confirmation_dag_change")?,
        "default_wrap": config.bool("api", "default_wrap")?,
        "test_connection": text("core", "test_connection")?.unwrap_or("Disabled"),
        "dashboard_alert": [],
        "show_external_log_redirect": false,
        "external_log_name": null,
        "theme": theme.filter(|theme| theme.as_object().is_some_and(|theme| !theme.is_empty())),
        "multi_team": config.bool("core", "multi_team")?,
        "rerun_with_latest_version": rerun.transpose()?,
    }))
}
