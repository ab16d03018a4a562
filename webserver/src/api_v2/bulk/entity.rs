//! Bulk requests for entities that have a key of their own.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use serde_json::Value;
use sqlx::PgConnection;

use super::{BulkAction, BulkResponse, OnConflict, Operation, actions};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::python;
use crate::query::Params;
use crate::request_body::RequestBody;
use crate::state::App;

/// A kind of entity that bulk requests create, change and delete.
pub(crate) trait BulkEntity {
    /// What the user must be allowed to write.
    const RESOURCE: Resource;
    /// The request's name in the audit log.
    const EVENT: &'static str;
    /// How messages speak of several of them by their keys.
    const NAMES: &'static str;
    /// Finds those of the keys `$1` that exist.
    const EXISTING: &'static str;
    /// The field of an entity that holds its key.
    const KEY: &'static str;

    /// Makes an entity.
    fn create(app: &App, connection: &mut PgConnection, entity: Value) -> impl Future<Output = ApiResult<()>> + Send;

    /// Puts an entity in the place of the one with its key.
    fn overwrite(
        app: &App,
        connection: &mut PgConnection,
        key: &str,
        entity: Value,
    ) -> impl Future<Output = ApiResult<()>> + Send;

    /// Changes the fields that the mask names, or all that are given when it names none.
    fn update(
        app: &App,
        connection: &mut PgConnection,
        key: &str,
        entity: Value,
        mask: &[String],
    ) -> impl Future<Output = ApiResult<()>> + Send;

    /// Deletes an entity; says whether it may be deleted at all.
    fn delete(connection: &mut PgConnection, key: &str) -> impl Future<Output = ApiResult<bool>> + Send;
}

/// Answers a bulk request. What an action cannot do is part of the answer and keeps no other action from being done.
pub(crate) async fn patch_many<E: BulkEntity>(
    State(app): State<App>,
    user: User,
    params: Params,
    bytes: RequestBody,
) -> ApiResult<Json<BulkResponse>> {
    user.may_write(E::RESOURCE)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: E::EVENT, method: "PATCH", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let mut response = BulkResponse::default();
    for action in actions(&mut body)? {
        let operation = action.operation;
        match perform::<E>(&app, action).await {
            Ok(keys) => keys.into_iter().for_each(|key| response.outcome(operation).succeed(key)),
            Err(error) => response.outcome(operation).fail(&error),
        }
    }
    Ok(Json(response))
}

/// Does an action as a whole or not at all, and returns the keys that it dealt with.
async fn perform<E: BulkEntity>(app: &App, action: BulkAction) -> ApiResult<Vec<String>> {
    let keys: Vec<String> = action.entities.iter().filter_map(key_of::<E>).collect();
    let existing: Vec<String> = sqlx::query_scalar(E::EXISTING).bind(&keys).fetch_all(&app.pool).await?;
    let existing: HashSet<String> = existing.into_iter().collect();
    if action.on_conflict == OnConflict::Fail {
        refuse_conflicts::<E>(action.operation, &keys, &existing)?;
    }
    let mut transaction = app.pool.begin().await?;
    let mut done = Vec::new();
    for entity in action.entities {
        let Some(key) = key_of::<E>(&entity) else { continue };
        match (action.operation, existing.contains(&key)) {
            (Operation::Create, false) => E::create(app, &mut transaction, entity).await?,
            (Operation::Create, true) if action.on_conflict == OnConflict::Overwrite => {
                E::overwrite(app, &mut transaction, &key, entity).await?;
            }
            (Operation::Update, true) => {
                E::update(app, &mut transaction, &key, entity, &action.update_mask).await?;
            }
            (Operation::Delete, true) if E::delete(&mut transaction, &key).await? => {}
            _ => continue,
        }
        done.push(key);
    }
    transaction.commit().await?;
    Ok(done)
}

/// The key of an entity, which a deletion may give alone.
fn key_of<E: BulkEntity>(entity: &Value) -> Option<String> {
    entity.as_str().or_else(|| entity.get(E::KEY)?.as_str()).map(str::to_owned)
}

fn refuse_conflicts<E: BulkEntity>(operation: Operation, keys: &[String], existing: &HashSet<String>) -> ApiResult<()> {
    let (known, unknown): (Vec<&String>, Vec<&String>) = keys.iter().partition(|key| existing.contains(*key));
    let names = E::NAMES;
    match operation {
        Operation::Create if !known.is_empty() => {
            Err(ApiError::conflict(format!("The {names}: {} already exist.", python::repr_set(&known))))
        }
        Operation::Update | Operation::Delete if !unknown.is_empty() => {
            Err(ApiError::not_found(format!("The {names}: {} were not found.", python::repr_set(&unknown))))
        }
        _ => Ok(()),
    }
}
