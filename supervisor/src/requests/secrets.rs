//! Connections and Variables.
//!
//! A child asks in Airflow's order: the secrets backend of workers, which is asked here, its environment by itself, and then for
//! what the API server has. Where that is looked for is told in `tradewind_secrets`.

use serde_json::json;
use sqlx::PgConnection;
use tradewind_airflow::fernet::Fernet;
use tradewind_airflow::supervisor_protocol::response::{ErrorResponse, ErrorType};
use tradewind_airflow::supervisor_protocol::to_supervisor::{
    DeleteVariable, GetConnection, GetVariable, GetVariableKeys, PutVariable,
};
use tradewind_metadata::{connection as connections, variable};
use tradewind_secrets::Denied;

use super::refusal::of_metadata;
use super::{Answer, Answers, Scope, absent, body, ok};

/// Most Variable keys in one answer.
const MAX_KEYS: i64 = 10_000;

/// The answer to a Connection that is asked for. No connection to the database is held while a service is asked.
pub(super) async fn get_connection(answers: &Answers, scope: Scope, asked: GetConnection) -> Answer {
    let GetConnection { conn_id, of_backend } = asked;
    let secrets = answers.secrets(scope);
    let found = if of_backend {
        secrets.connection_of_workers(&conn_id).await
    } else {
        let found = match secrets.connection_of_server(&conn_id).await {
            Err(Denied) => return denied("conn_id", &conn_id),
            Ok(Some(found)) => Some(found),
            Ok(None) => {
                let mut database = answers.connection().await?;
                connections::get(&mut database, &answers.fernet, &conn_id).await.map_err(of_metadata)?
            }
        };
        secrets.answered_connection(&conn_id, found.as_ref());
        found
    };
    match found {
        Some(found) => body("ConnectionResult", found),
        None => absent(ErrorType::ConnectionNotFound, json!({"conn_id": conn_id})),
    }
}

/// The answer to a Variable that is asked for, likewise.
pub(super) async fn get_variable(answers: &Answers, scope: Scope, asked: GetVariable) -> Answer {
    let GetVariable { key, of_backend } = asked;
    let secrets = answers.secrets(scope);
    let found = if of_backend {
        secrets.variable_of_workers(&key).await
    } else {
        let found = match secrets.variable_of_server(&key).await {
            Err(Denied) => return denied("key", &key),
            Ok(Some(found)) => Some(found),
            Ok(None) => {
                let mut database = answers.connection().await?;
                variable::get(&mut database, &answers.fernet, &key).await.map_err(of_metadata)?
            }
        };
        secrets.answered_variable(&key, found.as_ref());
        found
    };
    match found {
        Some(value) => body("VariableResult", json!({"key": key, "value": value})),
        None => absent(ErrorType::VariableNotFound, json!({"key": key})),
    }
}

/// What a child takes for a denial, upon which it asks nobody else.
fn denied(field: &str, name: &str) -> Answer {
    absent(ErrorType::PermissionDenied, json!({field: name, "status_code": 403}))
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
