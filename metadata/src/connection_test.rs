//! Tests of connections that users have enqueued (`connection_test_request`).
//!
//! Source: `airflow/models/connection_test.py` and `SchedulerJobRunner._enqueue_connection_tests`.

use sqlx::{FromRow, PgPool, query};
use tradewind_airflow::evaluation::TestedConnection;
use tradewind_airflow::fernet::{Fernet, FernetError};
use uuid::Uuid;

use crate::Result;

/// A test that was taken to be run.
#[derive(Debug)]
pub struct Claimed {
    /// Of the row.
    pub id: Uuid,
    /// The connection's id, for the log.
    pub connection_id: String,
    /// What to test; none: its secrets were encrypted with another key.
    pub connection: Option<TestedConnection>,
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    connection_id: String,
    conn_type: String,
    host: Option<String>,
    login: Option<String>,
    password: Option<String>,
    schema: Option<String>,
    port: Option<i32>,
    extra: Option<String>,
    is_encrypted: bool,
    is_extra_encrypted: bool,
}

impl Row {
    fn opened(&self, fernet: &Fernet) -> Result<TestedConnection, FernetError> {
        let open = |stored: &Option<String>, is_encrypted: bool| match stored {
            Some(stored) if is_encrypted => fernet.decrypt(stored).map(Some),
            plain => Ok(plain.clone()),
        };
        Ok(TestedConnection {
            conn_type: self.conn_type.clone(),
            host: self.host.clone(),
            login: self.login.clone(),
            password: open(&self.password, self.is_encrypted)?,
            schema: self.schema.clone(),
            port: self.port,
            extra: open(&self.extra, self.is_extra_encrypted)?,
        })
    }
}

/// Takes tests that wait, as long as fewer than `most` are under way; each for one process only.
pub async fn claim(pool: &PgPool, fernet: &Fernet, most: i64) -> Result<Vec<Claimed>> {
    let rows: Vec<Row> =
        sqlx::query_as(include_str!("../queries/connection_test/claim.sql")).bind(most).fetch_all(pool).await?;
    let claimed = |row: Row| {
        let connection = row.opened(fernet).ok();
        Claimed { id: row.id, connection_id: row.connection_id, connection }
    };
    Ok(rows.into_iter().map(claimed).collect())
}

/// Ends a test, and stores its connection when it works and that was asked for. Nothing happens when somebody has ended it.
pub async fn finish(pool: &PgPool, id: Uuid, success: bool, message: &str) -> Result<()> {
    query(include_str!("../queries/connection_test/finish.sql"))
        .bind(id)
        .bind(success)
        .bind(message)
        .execute(pool)
        .await?;
    Ok(())
}

/// Ends tests that nobody has ended `timeout` seconds, and half as many more, after their last step. Returns how many.
pub async fn reap(pool: &PgPool, timeout: i64) -> Result<u64> {
    let grace = (timeout / 2).max(30);
    let reaped = query(include_str!("../queries/connection_test/reap.sql"))
        .bind(i32::try_from(timeout).unwrap_or(i32::MAX))
        .bind(i32::try_from(grace).unwrap_or(i32::MAX))
        .execute(pool)
        .await?;
    Ok(reaped.rows_affected())
}
