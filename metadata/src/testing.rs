//! Fresh databases for tests.
//!
//! `scripts/with-test-postgres COMMAND` starts a private cluster, makes the template with the official migration and
//! names the cluster in `TRADEWIND_TEST_POSTGRES`; every test gets a database of its own, cloned from the template.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::database::{connect_options, pool_options};
use crate::{Database, Result, migrate};

/// The database that the official migration was run on.
const TEMPLATE: &str = "airflow";

/// A database of its own for one test, dropped at the end.
#[derive(Debug)]
pub struct TestDatabase {
    database: Database,
    server: PgConnectOptions,
    name: String,
}

impl TestDatabase {
    /// A database with Airflow's schema and ours.
    ///
    /// # Panics
    /// When `TRADEWIND_TEST_POSTGRES` is not set or the server refuses: a test cannot go on without it.
    pub async fn migrated() -> Self {
        let url = std::env::var("TRADEWIND_TEST_POSTGRES").expect(
            "TRADEWIND_TEST_POSTGRES names no server: run the tests through `make test` or scripts/with-test-postgres",
        );
        Self::create(&url).await.expect("a database for the test")
    }

    async fn create(url: &str) -> Result<Self> {
        let server = connect_options(url)?;
        let name = format!("test_{}", Uuid::new_v4().simple());
        clone_template(&server, &name).await?;
        let pool = pool_options().max_connections(8).connect_with(server.clone().database(&name)).await?;
        migrate::own(&pool).await?;
        Ok(Self { database: Database::from(pool), server, name })
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Its pool.
    pub fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    /// Its address in SQLAlchemy's form.
    pub fn sql_alchemy_conn(&self) -> String {
        let (user, host, port) = (self.server.get_username(), self.server.get_host(), self.server.get_port());
        format!("postgresql+psycopg2://{user}@{host}:{port}/{}", self.name)
    }
}

/// Clones the template; Postgres refuses while another session looks at it, so a few tries may be needed.
async fn clone_template(server: &PgConnectOptions, name: &str) -> Result<()> {
    let mut connection = PgConnection::connect_with(&server.clone().database("postgres")).await?;
    let statement = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}");
    for _ in 0..50 {
        match sqlx::query(AssertSqlSafe(statement.as_str())).execute(&mut connection).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55006") => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            outcome => return outcome.map(|_| ()).map_err(Into::into),
        }
    }
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
    Ok(())
}

impl Drop for TestDatabase {
    /// Drops the database from a thread of its own, since the test's runtime may be ending.
    fn drop(&mut self) {
        let (server, statement) = (self.server.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect_with(&server.database("postgres")).await?;
                sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            })
        });
        drop(dropped.join());
    }
}
