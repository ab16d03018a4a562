//! What can go wrong with the metadata database.

use tradewind_airflow::config::ConfigError;
use tradewind_model::state::TaskInstanceState;

/// A failed operation on the metadata database.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Postgres refused, or could not be reached.
    #[error("metadata database: {0}")]
    Database(#[from] sqlx::Error),
    /// Our own migrations failed.
    #[error("migration of the tradewind schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The connection setting cannot be used.
    #[error("[database] sql_alchemy_conn: {detail}\nhint: {hint}")]
    Url {
        /// What is wrong.
        detail: String,
        /// What to do.
        hint: &'static str,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The schema is not the one we know.
    #[error("the metadata schema is at revision {found}, Tradewind needs {needed} (Airflow {version})\nhint: {hint}")]
    Revision {
        /// What `alembic_version` says.
        found: String,
        /// What we need.
        needed: &'static str,
        /// The release of Airflow that has it.
        version: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A transition that Airflow does not have was asked for: a defect of the caller (invariant I2).
    #[error("illegal transition of a task instance from {from:?} to {to:?}")]
    IllegalTransition {
        /// A state the caller meant to leave.
        from: Option<TaskInstanceState>,
        /// The state the caller meant to set.
        to: Option<TaskInstanceState>,
    },
    /// A stored value is not one that Airflow writes.
    #[error("the metadata database holds a value that cannot be read: {0}")]
    Corrupt(String),
    /// A value breaks a rule of Airflow.
    #[error("{0}")]
    Invalid(String),
    /// What should be created exists.
    #[error("{0}")]
    Conflict(String),
    /// What is asked for does not exist.
    #[error("{0}")]
    NotFound(String),
}

impl MetadataError {
    /// Whether the same transaction may succeed when tried again: deadlocks, serialisation failures, lost connections.
    pub fn is_transient(&self) -> bool {
        let Self::Database(error) = self else { return false };
        match error {
            sqlx::Error::Database(error) => {
                matches!(error.code().as_deref(), Some("40P01" | "40001" | "55P03" | "57P01" | "57P02" | "57P03"))
            }
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
            _ => false,
        }
    }
}
