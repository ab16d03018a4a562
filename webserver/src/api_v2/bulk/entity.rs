//! Bulk requests for entities that have a key of their own.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use serde_json::Value;
use sqlx::PgConnection;

use super::{BulkAction, BulkResponse, OnConflict, Operation, actions_with};
use crate::api_v2::teams::{GivenTeam, check_existing, check_given};
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
    /// Whether requests of users who may not write are in the audit log, too.
    const LOGS_REFUSED: bool;
    /// How messages speak of several of them by their keys.
    const NAMES: &'static str;
    /// Finds those of the keys `$1` that exist.
    const EXISTING: &'static str;
    /// Finds the teams of those of the keys `$1` that exist.
    const TEAMS: &'static str;
    /// What a request gives of an entity.
    type Fields: Send;

    /// Reads an entity, which must be complete.
    fn read(body: &mut Body, multi_team: bool) -> ApiResult<Self::Fields>;

    /// The team that it shall belong to.
    fn team(fields: &Self::Fields) -> &GivenTeam;

    /// The key of an entity.
    fn key(fields: &Self::Fields) -> &str;

    /// Makes an entity.
    fn create(
        app: &App,
        connection: &mut PgConnection,
        fields: Self::Fields,
    ) -> impl Future<Output = ApiResult<()>> + Send;

    /// Puts an entity in the place of the one with its key.
    fn overwrite(
        app: &App,
        connection: &mut PgConnection,
        fields: Self::Fields,
    ) -> impl Future<Output = ApiResult<()>> + Send;

    /// Changes the fields that the mask names, or all that are given when it names none.
    fn update(
        app: &App,
        connection: &mut PgConnection,
        fields: Self::Fields,
        mask: &[String],
    ) -> impl Future<Output = ApiResult<()>> + Send;

    /// Deletes an entity.
    fn delete(connection: &mut PgConnection, key: &str) -> impl Future<Output = ApiResult<()>> + Send;
}

/// Answers a bulk request. What an action cannot do is part of the answer and keeps no other action from being done.
pub(crate) async fn patch_many<E: BulkEntity>(
    State(app): State<App>,
    user: User,
    params: Params,
    bytes: RequestBody,
) -> ApiResult<Json<BulkResponse>> {
    let mut body = Body::from_bytes(&bytes)?;
    if !E::LOGS_REFUSED {
        user.may_write(E::RESOURCE)?;
    }
    Change { event: E::EVENT, method: "PATCH", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    user.may_write(E::RESOURCE)?;
    let actions = read::<E>(&mut body, app.options.multi_team).map_err(ApiError::repeated)?;
    check_teams::<E>(&app, &user, &actions).await?;
    let mut response = BulkResponse::default();
    for (action, entities) in actions {
        // Also of what nothing came, the answer tells.
        let outcome = response.outcome(action.operation);
        match perform::<E>(&app, &action, entities).await {
            Ok(keys) => keys.into_iter().for_each(|key| outcome.succeed(key)),
            Err(error) => outcome.fail(&error),
        }
    }
    Ok(Json(response))
}

/// An entity of an action.
enum Named<E: BulkEntity> {
    /// By its key alone, as deletions may.
    Key(String),
    /// With all that is given of it.
    Fields(E::Fields),
}

impl<E: BulkEntity> Named<E> {
    fn key(&self) -> &str {
        match self {
            Self::Key(key) => key,
            Self::Fields(fields) => E::key(fields),
        }
    }

    fn team(&self) -> Option<&GivenTeam> {
        match self {
            Self::Key(_) => None,
            Self::Fields(fields) => Some(E::team(fields)),
        }
    }
}

/// An action with its entities.
type Action<E> = (BulkAction, Vec<Named<E>>);

/// Refuses who may not have to do with an entity that is there, or with the team that one shall belong to.
async fn check_teams<E: BulkEntity>(app: &App, user: &User, actions: &[Action<E>]) -> ApiResult<()> {
    let may_be_there =
        |action: &BulkAction| action.operation != Operation::Create || action.on_conflict == OnConflict::Overwrite;
    let existing = actions.iter().filter(|(action, _)| may_be_there(action)).flat_map(|(_, entities)| entities);
    let keys: Vec<&str> = existing.map(Named::key).collect();
    check_existing(app, user, E::TEAMS, &keys).await?;
    let teams: Vec<&GivenTeam> = actions.iter().flat_map(|(_, entities)| entities).filter_map(Named::team).collect();
    check_given(app, user, &teams).await
}

/// Reads all actions with their entities.
fn read<E: BulkEntity>(body: &mut Body, multi_team: bool) -> ApiResult<Vec<Action<E>>> {
    actions_with(body, |action, entity, place| match entity {
        Value::String(key) if action.operation == Operation::Delete => Ok(Named::Key(key)),
        other => Body::from_value(other, place).and_then(|mut body| E::read(&mut body, multi_team)).map(Named::Fields),
    })
}

/// Does an action as a whole or not at all, and returns the keys that it dealt with.
async fn perform<E: BulkEntity>(app: &App, action: &BulkAction, entities: Vec<Named<E>>) -> ApiResult<Vec<String>> {
    let keys: Vec<String> = entities.iter().map(|entity| entity.key().to_owned()).collect();
    let existing: Vec<String> = sqlx::query_scalar(E::EXISTING).bind(&keys).fetch_all(&app.pool).await?;
    let existing: HashSet<String> = existing.into_iter().collect();
    if action.on_conflict == OnConflict::Fail {
        refuse_conflicts::<E>(action.operation, &keys, &existing)?;
    }
    let mut transaction = app.pool.begin().await?;
    let mut done = Vec::new();
    for (entity, key) in entities.into_iter().zip(keys) {
        match (action.operation, existing.contains(&key), entity) {
            (Operation::Create, false, Named::Fields(fields)) => E::create(app, &mut transaction, fields).await?,
            (Operation::Create, true, Named::Fields(fields)) if action.on_conflict == OnConflict::Overwrite => {
                E::overwrite(app, &mut transaction, fields).await?;
            }
            (Operation::Update, true, Named::Fields(fields)) => {
                E::update(app, &mut transaction, fields, &action.update_mask).await?;
            }
            (Operation::Delete, true, _) => E::delete(&mut transaction, &key).await?,
            _ => continue,
        }
        done.push(key);
    }
    transaction.commit().await?;
    Ok(done)
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
