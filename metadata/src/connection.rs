//! Connections: addresses and secrets of outside systems, with password and extra encrypted at rest.
//!
//! Source: `airflow/models/connection.py` and `FernetFieldsMixin` in `airflow/models/crypto.py`.

use sqlx::{FromRow, PgConnection, query_as};
use tradewind_airflow::fernet::{Fernet, FernetError};

use crate::Result;

/// A Connection, decrypted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Connection {
    /// Its id.
    pub conn_id: String,
    /// The kind of outside system.
    pub conn_type: String,
    /// Host name.
    pub host: Option<String>,
    /// Schema, database or path.
    pub schema: Option<String>,
    /// User name.
    pub login: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Port.
    pub port: Option<i32>,
    /// More settings, as JSON text.
    pub extra: Option<String>,
}

#[derive(FromRow)]
struct Stored {
    conn_id: String,
    conn_type: String,
    host: Option<String>,
    schema: Option<String>,
    login: Option<String>,
    password: Option<String>,
    port: Option<i32>,
    extra: Option<String>,
    is_encrypted: bool,
    is_extra_encrypted: bool,
}

/// A Connection by its id; `None` when there is none, or when it cannot be read: undecryptable, or an extra that is no
/// JSON object. Airflow takes such a Connection for a missing one as well and only logs it.
pub async fn get(connection: &mut PgConnection, fernet: &Fernet, conn_id: &str) -> Result<Option<Connection>> {
    let stored: Option<Stored> = query_as(
        "SELECT conn_id, conn_type, host, schema, login, password, port, extra, is_encrypted, is_extra_encrypted \
         FROM connection WHERE conn_id = $1",
    )
    .bind(conn_id)
    .fetch_optional(connection)
    .await?;
    Ok(stored.and_then(|stored| {
        stored
            .decrypted(fernet)
            .inspect_err(|reason| tracing::warn!(conn_id, reason, "a Connection cannot be read; it counts as missing"))
            .ok()
    }))
}

impl Stored {
    fn decrypted(self, fernet: &Fernet) -> Result<Connection, String> {
        let password = decrypted(fernet, self.password, self.is_encrypted).map_err(|error| error.to_string())?;
        let extra = decrypted(fernet, self.extra, self.is_extra_encrypted).map_err(|error| error.to_string())?;
        if let Some(text) = extra.as_deref().filter(|text| !text.is_empty()) {
            serde_json::from_str::<serde_json::Map<_, _>>(text)
                .map_err(|error| format!("its extra is no JSON object: {error}"))?;
        }
        Ok(Connection {
            conn_id: self.conn_id,
            conn_type: self.conn_type,
            host: self.host,
            schema: self.schema,
            login: self.login,
            password,
            port: self.port,
            extra,
        })
    }
}

/// An empty text is never encrypted, whatever the flag says.
fn decrypted(fernet: &Fernet, stored: Option<String>, is_encrypted: bool) -> Result<Option<String>, FernetError> {
    match stored {
        Some(text) if is_encrypted && !text.is_empty() => fernet.decrypt(&text).map(Some),
        other => Ok(other),
    }
}
