//! What only Python knows of the installed packages and the plugins, published for processes that have no Python.
//!
//! A Dag processor finds it out when its packages or plugins are not those that were published last, and the web server
//! shows it.

use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, PgPool, query, query_as, query_scalar};
use tradewind_airflow::config::ProvidedSection;
use tradewind_airflow::evaluation::EnvironmentAnswer;

use crate::Result;

/// The plugins, as `GET /api/v2/plugins` shows them.
#[derive(Debug, Clone, Default, PartialEq, FromRow)]
pub struct Plugins {
    /// Those that are loaded, by name.
    pub plugins: Value,
    /// Files of plugins that cannot be loaded, with the reason.
    pub plugin_import_errors: Value,
}

/// Which environment was published last, if any.
pub async fn fingerprint(pool: &PgPool) -> Result<Option<String>> {
    Ok(query_scalar("SELECT fingerprint FROM tradewind.python_environment").fetch_optional(pool).await?)
}

/// Publishes an environment in place of the last one.
pub async fn publish(pool: &PgPool, fingerprint: &str, environment: &EnvironmentAnswer) -> Result<()> {
    query(
        "INSERT INTO tradewind.python_environment \
         (fingerprint, plugins, plugin_import_errors, connection_types, configuration) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (is_the_only) DO UPDATE SET fingerprint = $1, plugins = $2, plugin_import_errors = $3, \
         connection_types = $4, configuration = $5, published_at = now()",
    )
    .bind(fingerprint)
    .bind(&environment.plugins)
    .bind(&environment.plugin_import_errors)
    .bind(&environment.connection_types)
    .bind(Json(&environment.configuration))
    .execute(pool)
    .await?;
    Ok(())
}

/// The plugins published last; none yet: `None`.
pub async fn plugins(pool: &PgPool) -> Result<Option<Plugins>> {
    let statement = "SELECT plugins, plugin_import_errors FROM tradewind.python_environment";
    Ok(query_as(statement).fetch_optional(pool).await?)
}

/// The forms of connection types published last, as the official UI wants them; none yet: `None`.
pub async fn connection_types(pool: &PgPool) -> Result<Option<Value>> {
    Ok(query_scalar("SELECT connection_types FROM tradewind.python_environment").fetch_optional(pool).await?)
}

/// What packages of providers add to the configuration, as published last; none yet: `None`.
pub async fn configuration(pool: &PgPool) -> Result<Option<Vec<ProvidedSection>>> {
    let statement = "SELECT configuration FROM tradewind.python_environment";
    let found: Option<Json<Vec<ProvidedSection>>> = query_scalar(statement).fetch_optional(pool).await?;
    Ok(found.map(|Json(sections)| sections))
}
