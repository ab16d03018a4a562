//! `PATCH /variables`: many variables at once.

use super::VariableFields;
use crate::api_v2::bulk::{BulkAction, BulkResponse, OnConflict, Operation, actions};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::python;
use crate::query::Params;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use serde_json::Value;
use std::collections::HashSet;

pub(super) async fn patch_many(
    State(app): State<App>,
    user: User,
    params: Params,
    bytes: Bytes,
) -> ApiResult<Json<BulkResponse>> {
    user.may_write(Resource::Variable)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "bulk_variables", method: "PATCH", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let mut response = BulkResponse::default();
    for action in actions(&mut body)? {
        let operation = action.operation;
        match perform(&app, action).await {
            Ok(keys) => keys.into_iter().for_each(|key| response.outcome(operation).succeed(key)),
            Err(error) => response.outcome(operation).fail(&error),
        }
    }
    Ok(Json(response))
}

fn entity_key(entity: &Value) -> Option<String> {
    entity.as_str().or_else(|| entity.get("key")?.as_str()).map(str::to_owned)
}

/// Does an action as a whole or not at all, and returns the keys it dealt with.
async fn perform(app: &App, action: BulkAction) -> ApiResult<Vec<String>> {
    let keys: Vec<String> = action.entities.iter().filter_map(entity_key).collect();
    let existing: Vec<String> =
        sqlx::query_scalar("SELECT key FROM variable WHERE key = ANY($1)").bind(&keys).fetch_all(&app.pool).await?;
    let existing: HashSet<String> = existing.into_iter().collect();
    let (known, unknown): (Vec<&String>, Vec<&String>) = keys.iter().partition(|key| existing.contains(*key));
    if action.on_conflict == OnConflict::Fail {
        match action.operation {
            Operation::Create if !known.is_empty() => {
                let keys = python::repr_set(&known);
                return Err(ApiError::conflict(format!("The variables with these keys: {keys} already exist.")));
            }
            Operation::Update | Operation::Delete if !unknown.is_empty() => {
                let keys = python::repr_set(&unknown);
                return Err(ApiError::not_found(format!("The variables with these keys: {keys} were not found.")));
            }
            _ => {}
        }
    }
    let mut transaction = app.pool.begin().await?;
    let mut done = Vec::new();
    for entity in action.entities {
        let Some(key) = entity_key(&entity) else { continue };
        let exists = existing.contains(&key);
        let overwrite = action.on_conflict == OnConflict::Overwrite;
        match action.operation {
            Operation::Delete if exists => {
                sqlx::query("DELETE FROM variable WHERE key = $1").bind(&key).execute(&mut *transaction).await?;
            }
            Operation::Update if exists => {
                let fields = VariableFields::read(&mut Body::from_value(entity, &["body"])?)?;
                fields.masked(&action.update_mask).update(app, &mut *transaction).await?;
            }
            Operation::Create if !exists => {
                VariableFields::read(&mut Body::from_value(entity, &["body"])?)?.insert(app, &mut *transaction).await?;
            }
            Operation::Create if overwrite => {
                VariableFields::read(&mut Body::from_value(entity, &["body"])?)?.update(app, &mut *transaction).await?;
            }
            _ => continue,
        }
        done.push(key);
    }
    transaction.commit().await?;
    Ok(done)
}
