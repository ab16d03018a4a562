//! The connection pool.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, Executor};
use tradewind_airflow::config::Config;

use crate::{MetadataError, Result};

/// A pool of connections to the metadata database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
}

impl Database {
    /// Connects as the configuration says; `application` shows up in `pg_stat_activity`.
    ///
    /// # Errors
    /// When `[database] sql_alchemy_conn` is not a Postgres URL, or the server does not answer within 10 seconds.
    pub async fn connect(config: &Config, application: &str) -> Result<Self> {
        let options = connect_options(&config.string("database", "sql_alchemy_conn")?)?;
        let size = config.int("tradewind", "database_pool_size")?;
        let size = u32::try_from(size)
            .ok()
            .filter(|size| *size >= 2)
            .ok_or_else(|| config.invalid("tradewind", "database_pool_size", "a whole number of at least 2"))?;
        let pool = pool_options()
            .max_connections(size)
            .acquire_timeout(Duration::from_secs(10))
            .idle_timeout(Duration::from_secs(10))
            .connect_with(options.application_name(application))
            .await?;
        Ok(Self { pool })
    }

    /// The pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

impl From<PgPool> for Database {
    fn from(pool: PgPool) -> Self {
        Self { pool }
    }
}

/// For how long a connection is trusted after it was used. Each is tried as it goes back to its pool; to try it again as it is
/// taken out would cost as much as a short statement.
const TRUSTED: Duration = Duration::from_secs(1);

/// What every pool has in common: to compile our short statements, or to weigh merge joins for them, which means a look at the
/// ends of indexes and at all that lies dead there, would take Postgres longer than running them.
pub(crate) fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new()
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute("SET jit = off; SET enable_mergejoin = off").await.map(|_| ()) })
        })
        .test_before_acquire(false)
        .before_acquire(|connection, usage| {
            Box::pin(async move {
                if usage.idle_for > TRUSTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

/// Reads a URL in SQLAlchemy's form: `postgresql+psycopg2://user:password@host:port/name?…`.
pub fn connect_options(url: &str) -> Result<PgConnectOptions> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| MetadataError::Url {
        detail: "it is not a URL".to_owned(),
        hint: "write it as postgresql+psycopg2://user:password@host:port/database",
    })?;
    let dialect = scheme.split('+').next().unwrap_or_default();
    if !matches!(dialect, "postgresql" | "postgres") {
        return Err(MetadataError::Url {
            detail: format!("{dialect} is not a database that Tradewind works on"),
            hint: "Tradewind needs PostgreSQL 15 or later: postgresql+psycopg2://user:password@host:port/database",
        });
    }
    PgConnectOptions::from_str(&format!("postgres://{rest}")).map_err(|error| MetadataError::Url {
        detail: error.to_string(),
        hint: "write it as postgresql+psycopg2://user:password@host:port/database; percent-encode special characters",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlalchemy_url_is_read() {
        let options = connect_options("postgresql+psycopg2://me:p%40ss@db.example:6543/airflow?sslmode=disable")
            .expect("connection options");
        assert_eq!((options.get_host(), options.get_port(), options.get_username()), ("db.example", 6543, "me"));
        assert_eq!(options.get_database(), Some("airflow"));
    }

    #[test]
    fn another_database_is_refused_with_a_hint() {
        let refused = connect_options("sqlite:////tmp/airflow.db").expect_err("a refusal").to_string();
        assert!(refused.contains("sqlite") && refused.contains("PostgreSQL 15"), "{refused}");
    }
}
