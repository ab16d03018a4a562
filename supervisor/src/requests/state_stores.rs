//! State stores of tasks and assets.

use serde_json::{Value, json};
use sqlx::PgConnection;
use tradewind_airflow::supervisor_protocol::response::{ErrorResponse, ErrorType};
use tradewind_airflow::supervisor_protocol::to_supervisor::SetTaskStateStore;
use tradewind_metadata::{asset, state_store};
use uuid::Uuid;

use super::refusal::of_metadata;
use super::{Answer, absent, body, ok};

fn no_task_instance(id: Uuid) -> ErrorResponse {
    ErrorResponse::refused(404, "not_found", format!("Task instance {id} not found"))
}

/// A null would read like a missing value.
fn check_value(value: &Value) -> Result<(), ErrorResponse> {
    if value.is_null() {
        return Err(ErrorResponse::refused(422, "invalid_request", "value cannot be null"));
    }
    Ok(())
}

pub(super) async fn get_of_task(connection: &mut PgConnection, id: Uuid, key: &str) -> Answer {
    match state_store::task::get(connection, id, key).await.map_err(of_metadata)? {
        Some(value) => body("TaskStateStoreResult", json!({"value": value})),
        None => absent(ErrorType::TaskStoreNotFound, json!({"key": key})),
    }
}

pub(super) async fn set_of_task(connection: &mut PgConnection, id: Uuid, asked: SetTaskStateStore) -> Answer {
    check_value(&asked.value)?;
    let written = state_store::task::set(connection, id, &asked.key, &asked.value, asked.expires_at).await;
    if written.map_err(of_metadata)? { ok() } else { Err(no_task_instance(id)) }
}

pub(super) async fn delete_of_task(connection: &mut PgConnection, id: Uuid, key: Option<&str>) -> Answer {
    let exists = state_store::task::delete(connection, id, key).await.map_err(of_metadata)?;
    if exists { ok() } else { Err(no_task_instance(id)) }
}

/// An asset as a request names it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asset<'a> {
    Name(&'a str),
    Uri(&'a str),
}

impl Asset<'_> {
    async fn find(self, connection: &mut PgConnection) -> Result<Option<i32>, ErrorResponse> {
        let found = match self {
            Self::Name(name) => asset::active_by_name(connection, name).await,
            Self::Uri(uri) => asset::active_by_uri(connection, uri).await,
        };
        Ok(found.map_err(of_metadata)?.map(|asset| asset.id))
    }

    async fn resolve(self, connection: &mut PgConnection) -> Result<i32, ErrorResponse> {
        self.find(connection).await?.ok_or_else(|| {
            let message = match self {
                Self::Name(name) => format!("Asset with name='{name}' not found"),
                Self::Uri(uri) => format!("Asset with uri='{uri}' not found"),
            };
            ErrorResponse::refused(404, "not_found", message)
        })
    }

    /// A missing asset reads like a missing value.
    pub(super) async fn get(self, connection: &mut PgConnection, key: &str) -> Answer {
        let value = match self.find(connection).await? {
            Some(id) => state_store::asset::get(connection, id, key).await.map_err(of_metadata)?,
            None => None,
        };
        match value {
            Some(value) => body("AssetStateStoreResult", json!({"value": value})),
            None => absent(ErrorType::AssetStoreNotFound, json!({"key": key})),
        }
    }

    pub(super) async fn set(self, connection: &mut PgConnection, writer: Uuid, key: &str, value: &Value) -> Answer {
        check_value(value)?;
        let id = self.resolve(connection).await?;
        let written = state_store::asset::set(connection, id, key, value, writer).await.map_err(of_metadata)?;
        if written { ok() } else { Err(no_task_instance(writer)) }
    }

    pub(super) async fn delete(self, connection: &mut PgConnection, key: Option<&str>) -> Answer {
        let id = self.resolve(connection).await?;
        state_store::asset::delete(connection, id, key).await.map_err(of_metadata)?;
        ok()
    }
}
