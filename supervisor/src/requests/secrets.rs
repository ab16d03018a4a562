//! Connections and Variables.
//!
//! The environment comes first in Airflow's search path; a child looks there by itself before it asks.

use serde_json::json;
use sqlx::PgConnection;
use tradewind_airflow::fernet::Fernet;
use tradewind_airflow::supervisor_protocol::response::{ErrorResponse, ErrorType};
use tradewind_airflow::supervisor_protocol::to_supervisor::{
    DeleteVariable, GetConnection, GetVariable, GetVariableKeys, PutVariable,
};
use tradewind_metadata::{connection as connections, variable};

use super::refusal::of_metadata;
use super::{Answer, absent, body, ok};

/// Most Variable keys in one answer.
const MAX_KEYS: i64 = 10_000;

pub(super) async fn get_connection(database: &mut PgConnection, fernet: &Fernet, asked: GetConnection) -> Answer {
    match connections::get(database, fernet, &asked.conn_id).await.map_err(of_metadata)? {
        Some(found) => body("ConnectionResult", found),
        None => absent(ErrorType::ConnectionNotFound, json!({"conn_id": asked.conn_id})),
    }
}

pub(super) async fn get_variable(database: &mut PgConnection, fernet: &Fernet, asked: GetVariable) -> Answer {
    match variable::get(database, fernet, &asked.key).await.map_err(of_metadata)? {
        Some(value) => body("VariableResult", json!({"key": asked.key, "value": value})),
        None => absent(ErrorType::VariableNotFound, json!({"key": asked.key})),
    }
}

pub(super) async fn get_variable_keys(database: &mut PgConnection, asked: GetVariableKeys) -> Answer {
    if !(1..=MAX_KEYS).contains(&asked.limit) || asked.offset < 0 {
        let message = format!("limit must be between 1 and {MAX_KEYS}, offset must not be negative");
        return Err(ErrorResponse::refused(422, "invalid_request", message));
    }
    let (keys, total) =
        variable::keys(database, asked.prefix.as_deref(), asked.limit, asked.offset).await.map_err(of_metadata)?;
    body("VariableKeysResult", json!({"keys": keys, "total_entries": total}))
}

/// A missing value is stored as Python writes it, `None`: the official server does the same.
pub(super) async fn put_variable(database: &mut PgConnection, fernet: &Fernet, asked: PutVariable) -> Answer {
    let value = asked.value.as_deref().unwrap_or("None");
    variable::set(database, fernet, &asked.key, value, asked.description.as_deref()).await.map_err(of_metadata)?;
    Ok(None)
}

pub(super) async fn delete_variable(database: &mut PgConnection, asked: DeleteVariable) -> Answer {
    variable::delete(database, &asked.key).await.map_err(of_metadata)?;
    ok()
}
