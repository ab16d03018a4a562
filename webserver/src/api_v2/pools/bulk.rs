//! `PATCH /pools`: many pools at once.

use super::{DEFAULT_POOL, PoolFields, check_default_pool, entity_name};
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
use std::collections::HashSet;

pub(super) async fn patch_many(
    State(app): State<App>,
    user: User,
    params: Params,
    bytes: Bytes,
) -> ApiResult<Json<BulkResponse>> {
    user.may_write(Resource::Pool)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "bulk_pools", method: "PATCH", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let mut response = BulkResponse::default();
    for action in actions(&mut body)? {
        let operation = action.operation;
        match perform(&app, action).await {
            Ok(names) => names.into_iter().for_each(|name| response.outcome(operation).succeed(name)),
            Err(error) => response.outcome(operation).fail(&error),
        }
    }
    Ok(Json(response))
}

/// Does an action as a whole or not at all, and returns the names of the pools it dealt with.
async fn perform(app: &App, action: BulkAction) -> ApiResult<Vec<String>> {
    let names: Vec<String> = action.entities.iter().filter_map(entity_name).collect();
    let existing: Vec<String> =
        sqlx::query_scalar("SELECT pool FROM slot_pool WHERE pool = ANY($1)").bind(&names).fetch_all(&app.pool).await?;
    let existing: HashSet<String> = existing.into_iter().collect();
    let (known, unknown): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| existing.contains(*name));
    if action.on_conflict == OnConflict::Fail {
        match action.operation {
            Operation::Create if !known.is_empty() => {
                let names = python::repr_set(&known);
                let detail = format!("The pools with these pool names: {names} already exist.");
                return Err(ApiError::conflict(detail));
            }
            Operation::Update | Operation::Delete if !unknown.is_empty() => {
                let names = python::repr_set(&unknown);
                let detail = format!("The pools with these pool names: {names} were not found.");
                return Err(ApiError::not_found(detail));
            }
            _ => {}
        }
    }
    let mut transaction = app.pool.begin().await?;
    let mut done = Vec::new();
    for entity in action.entities {
        let Some(name) = entity_name(&entity) else { continue };
        let exists = existing.contains(&name);
        match action.operation {
            Operation::Delete if exists && name != DEFAULT_POOL => {
                sqlx::query("DELETE FROM slot_pool WHERE pool = $1").bind(&name).execute(&mut *transaction).await?;
            }
            Operation::Update if exists => {
                check_default_pool(&name, &action.update_mask)?;
                let fields = PoolFields::read(&mut Body::from_value(entity, &["body"])?, true)?;
                fields.masked(&action.update_mask).update(&mut *transaction, &name).await?;
            }
            Operation::Create if !exists => {
                let fields = PoolFields::read(&mut Body::from_value(entity, &["body"])?, true)?;
                fields.insert(&mut *transaction).await?;
            }
            Operation::Create if action.on_conflict == OnConflict::Overwrite => {
                let fields = PoolFields::read(&mut Body::from_value(entity, &["body"])?, true)?;
                fields.update(&mut *transaction, &name).await?;
            }
            _ => continue,
        }
        done.push(name);
    }
    transaction.commit().await?;
    Ok(done)
}
