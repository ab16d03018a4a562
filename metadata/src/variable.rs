//! Variables: named texts, encrypted at rest.
//!
//! Source: `airflow/models/variable.py`.

use sqlx::{PgConnection, query, query_as, query_scalar};
use tradewind_airflow::fernet::Fernet;

use crate::Result;

/// The value of a Variable; `None` when there is none, or when no configured key decrypts it (as in Airflow, which
/// logs that and goes on).
pub async fn get(connection: &mut PgConnection, fernet: &Fernet, key: &str) -> Result<Option<String>> {
    let stored: Option<(String, bool)> =
        query_as("SELECT val, is_encrypted FROM variable WHERE key = $1").bind(key).fetch_optional(connection).await?;
    Ok(stored.and_then(|(value, is_encrypted)| {
        if !is_encrypted {
            return Some(value);
        }
        fernet.decrypt(&value).inspect_err(|error| tracing::error!(key, %error, "cannot decrypt a Variable")).ok()
    }))
}

/// Stores a Variable, replacing value and description of an existing one.
pub async fn set(
    connection: &mut PgConnection,
    fernet: &Fernet,
    key: &str,
    value: &str,
    description: Option<&str>,
) -> Result<()> {
    query(
        "INSERT INTO variable (key, val, description, is_encrypted) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (key) DO UPDATE \
         SET val = excluded.val, description = excluded.description, is_encrypted = excluded.is_encrypted",
    )
    .bind(key)
    .bind(fernet.encrypt(value))
    .bind(description)
    .bind(fernet.is_encrypted())
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes a Variable, if it is there and belongs to no team.
pub async fn delete(connection: &mut PgConnection, key: &str) -> Result<()> {
    query("DELETE FROM variable WHERE key = $1 AND team_name IS NULL").bind(key).execute(connection).await?;
    Ok(())
}

/// A page of Variable keys, in order, and how many there are in all.
pub async fn keys(
    connection: &mut PgConnection,
    prefix: Option<&str>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<String>, i64)> {
    let total = query_scalar("SELECT count(*) FROM variable WHERE $1::text IS NULL OR starts_with(key, $1)")
        .bind(prefix)
        .fetch_one(&mut *connection)
        .await?;
    let keys = query_scalar(
        "SELECT key FROM variable WHERE $1::text IS NULL OR starts_with(key, $1) ORDER BY key LIMIT $2 OFFSET $3",
    )
    .bind(prefix)
    .bind(limit)
    .bind(offset)
    .fetch_all(connection)
    .await?;
    Ok((keys, total))
}
