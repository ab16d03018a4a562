//! `PATCH /connections`: many connections at once.

use super::{ConnectionFields, find};
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
    user.may_write(Resource::Connection)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "bulk_connections", method: "PATCH", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let mut response = BulkResponse::default();
    for action in actions(&mut body)? {
        let operation = action.operation;
        match perform(&app, action).await {
            Ok(ids) => ids.into_iter().for_each(|id| response.outcome(operation).succeed(id)),
            Err(error) => response.outcome(operation).fail(&error),
        }
    }
    Ok(Json(response))
}

fn entity_id(entity: &Value) -> Option<String> {
    entity.as_str().or_else(|| entity.get("connection_id")?.as_str()).map(str::to_owned)
}

/// Does an action as a whole or not at all, and returns the ids it dealt with.
async fn perform(app: &App, action: BulkAction) -> ApiResult<Vec<String>> {
    let ids: Vec<String> = action.entities.iter().filter_map(entity_id).collect();
    let existing: Vec<String> = sqlx::query_scalar("SELECT conn_id FROM connection WHERE conn_id = ANY($1)")
        .bind(&ids)
        .fetch_all(&app.pool)
        .await?;
    let existing: HashSet<String> = existing.into_iter().collect();
    let (known, unknown): (Vec<&String>, Vec<&String>) = ids.iter().partition(|id| existing.contains(*id));
    if action.on_conflict == OnConflict::Fail {
        match action.operation {
            Operation::Create if !known.is_empty() => {
                let ids = python::repr_set(&known);
                return Err(ApiError::conflict(format!(
                    "The connections with these connection_ids: {ids} already exist."
                )));
            }
            Operation::Update | Operation::Delete if !unknown.is_empty() => {
                let ids = python::repr_set(&unknown);
                return Err(ApiError::not_found(format!(
                    "The connections with these connection_ids: {ids} were not found."
                )));
            }
            _ => {}
        }
    }
    let mut transaction = app.pool.begin().await?;
    let mut done = Vec::new();
    for entity in action.entities {
        let Some(id) = entity_id(&entity) else { continue };
        let exists = existing.contains(&id);
        let overwrite = action.on_conflict == OnConflict::Overwrite;
        match action.operation {
            Operation::Delete if exists => {
                sqlx::query("DELETE FROM connection WHERE conn_id = $1").bind(&id).execute(&mut *transaction).await?;
            }
            Operation::Update if exists => {
                let fields = ConnectionFields::read(&mut Body::from_value(entity, &["body"])?)?;
                let old = find(app, &id).await?;
                fields.masked(&action.update_mask).update(app, &mut *transaction, &old).await?;
            }
            Operation::Create if !exists => {
                ConnectionFields::read(&mut Body::from_value(entity, &["body"])?)?
                    .insert(app, &mut *transaction)
                    .await?;
            }
            Operation::Create if overwrite => {
                let fields = ConnectionFields::read(&mut Body::from_value(entity, &["body"])?)?;
                fields.update(app, &mut *transaction, &find(app, &id).await?).await?;
            }
            _ => continue,
        }
        done.push(id);
    }
    transaction.commit().await?;
    Ok(done)
}
