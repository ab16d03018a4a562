//! Writes what parsing a Dag file gave, as `airflow/dag_processing/collection.py` writes it.
//!
//! One file is one transaction. Rows are locked in one order everywhere: `dag` by id, then `asset` and `asset_alias` by
//! name, then what refers to them. A Dag that did not change costs one update of its `dag` row.

mod asset;
mod asset_reference;
mod asset_watcher;
mod dag;
mod dag_attribute;
mod dag_version;
mod dag_warning;
mod deadline_alert;
mod facts;
mod import_error;
mod parsed;
mod refresh;
pub mod request;
mod retirement;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use tradewind_airflow::fernet::Fernet;

pub use facts::latest_automated_runs;
pub use parsed::{
    Asset, AssetAlias, AssetUse, AssetWatcher, CustomNextRun, DagWarning, ParsedDag, ParsedFile, Schedule,
};
pub use refresh::refresh;
pub use retirement::{clear_orphaned_import_errors, purge_warnings_of_stale_dags, retire_removed, retire_unseen};

use crate::{MetadataError, Result, notify};

/// Settings that decide how rows are written.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// `[core] dags_are_paused_at_creation`.
    pub paused_at_creation: bool,
    /// `[core] compress_serialized_dags`.
    pub compress: bool,
    /// `[core] min_serialized_dag_update_interval`: how soon a serialized Dag may be written again.
    pub min_update_interval: chrono::Duration,
    /// Encrypts the arguments of asset watchers' triggers.
    pub fernet: Arc<Fernet>,
}

/// What writing a file's result changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOutcome {
    /// Dags with a new serialisation, new Dags and Dags that came back.
    pub changed: Vec<String>,
    /// Dags whose serialisation was written so recently that the new one has to wait, with the time it may be written.
    pub postponed: Option<DateTime<Utc>>,
    /// Import errors of the file, those of writing included.
    pub import_errors: usize,
}

/// Writes the result of parsing `file`.
///
/// # Errors
/// When the database cannot be reached. A result that Postgres refuses (a value too long, a NUL character) becomes an
/// import error of the file.
pub async fn write(pool: &PgPool, file: &ParsedFile, options: &WriteOptions) -> Result<WriteOutcome> {
    match try_write(pool, file, options).await {
        Err(MetadataError::Database(sqlx::Error::Database(error))) if is_refusal(error.code().as_deref()) => {
            tracing::error!(file = %file.relative_fileloc, %error, "the result of parsing cannot be stored");
            let refused = ParsedFile {
                dags: Vec::new(),
                warnings: Vec::new(),
                import_errors: BTreeMap::from([(
                    file.relative_fileloc.clone(),
                    format!("The result of parsing this file cannot be stored: {error}"),
                )]),
                ..file.clone()
            };
            try_write(pool, &refused, options).await
        }
        other => other,
    }
}

/// SQLSTATE classes 22 (data exception), 23 (integrity) and 54 (limit exceeded) blame the data.
fn is_refusal(code: Option<&str>) -> bool {
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

async fn try_write(pool: &PgPool, file: &ParsedFile, options: &WriteOptions) -> Result<WriteOutcome> {
    let mut transaction = pool.begin().await?;
    let outcome = write_within(&mut transaction, file, options).await?;
    notify::send(&mut transaction, notify::DAG, &outcome.changed).await?;
    transaction.commit().await?;
    Ok(outcome)
}

async fn write_within(
    connection: &mut PgConnection,
    file: &ParsedFile,
    options: &WriteOptions,
) -> Result<WriteOutcome> {
    let now = Utc::now();
    let mut outcome = WriteOutcome::default();
    let mut import_errors = file.import_errors.clone();
    if !file.dags.is_empty() {
        let facts = facts::read(connection, file.dags.iter().map(|dag| &dag.schedule)).await?;
        let assets = asset::sync(connection, &file.dags, now).await?;
        dag::upsert(connection, file, &facts, &assets, options, now).await?;
        dag_attribute::sync(connection, &file.dags).await?;
        asset_reference::sync(connection, &file.dags, &facts, &assets, now).await?;
        asset_watcher::sync(connection, &file.dags, &assets, &options.fernet, now).await?;
        let written = dag_version::write(connection, file, &facts, options, now).await?;
        outcome.changed = written.changed;
        outcome.postponed = written.postponed;
        import_errors.extend(written.errors);
    }
    outcome.import_errors = import_errors.len();
    import_error::write(connection, file, &import_errors, now).await?;
    dag_warning::write(connection, file, now).await?;
    Ok(outcome)
}
