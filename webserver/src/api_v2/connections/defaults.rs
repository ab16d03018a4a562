//! `POST /connections/defaults`: the connections that Airflow proposes, one for most types.

use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::no_content::NoContent;
use crate::query::Params;
use crate::state::App;
use axum::extract::State;
use serde::Deserialize;

/// What `get_default_connections` in `airflow/utils/db.py` lists; empty fields are left out, extra fields are in its own
/// spelling of JSON.
const DEFAULTS: &str = include_str!("defaults.json");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Default {
    conn_id: String,
    conn_type: String,
    host: Option<String>,
    login: Option<String>,
    password: Option<String>,
    schema: Option<String>,
    port: Option<i32>,
    extra: Option<String>,
}

fn defaults() -> Result<Vec<Default>, serde_json::Error> {
    serde_json::from_str(DEFAULTS)
}

/// Adds those whose id is not taken yet.
pub(super) async fn create(State(app): State<App>, user: User, params: Params) -> ApiResult<NoContent> {
    user.may_write(Resource::Connection)?;
    Change { event: "create_default_connections", method: "POST", path: &[], body: None }
        .record(&app, &user, &params)
        .await?;
    let defaults = defaults().map_err(|error| ApiError::internal(&error))?;
    let encrypt = |text: &str| app.fernet.encrypt(text);
    let passwords: Vec<_> = defaults.iter().map(|default| default.password.as_deref().map(encrypt)).collect();
    let extras: Vec<_> = defaults.iter().map(|default| default.extra.as_deref().map(encrypt)).collect();
    let texts = |of: fn(&Default) -> Option<&str>| defaults.iter().map(of).collect::<Vec<_>>();
    sqlx::query(include_str!("create_defaults.sql"))
        .bind(texts(|default| Some(&default.conn_id)))
        .bind(texts(|default| Some(&default.conn_type)))
        .bind(texts(|default| default.host.as_deref()))
        .bind(texts(|default| default.login.as_deref()))
        .bind(passwords)
        .bind(texts(|default| default.schema.as_deref()))
        .bind(defaults.iter().map(|default| default.port).collect::<Vec<_>>())
        .bind(extras)
        .bind(app.fernet.is_encrypted())
        .execute(&app.pool)
        .await?;
    Ok(NoContent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_read_and_names_no_connection_twice() {
        let mut ids: Vec<String> = defaults().expect("a list").into_iter().map(|default| default.conn_id).collect();
        let all = ids.len();
        ids.dedup();
        assert_eq!((all, ids.len()), (62, 62));
    }

    #[test]
    fn extra_fields_are_json() {
        for extra in defaults().expect("a list").into_iter().filter_map(|default| default.extra) {
            serde_json::from_str::<serde_json::Value>(&extra).expect("JSON");
        }
    }
}
