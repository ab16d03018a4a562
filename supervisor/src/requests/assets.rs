//! Assets and their events.

use std::collections::HashSet;

use serde_json::{Value, json};
use sqlx::PgConnection;
use tradewind_airflow::supervisor_protocol::response::{ErrorResponse, ErrorType};
use tradewind_airflow::supervisor_protocol::to_supervisor::{
    GetAssetByName, GetAssetByUri, GetAssetEventByAsset, GetAssetEventByAssetAlias, GetAssetsByAlias,
};
use tradewind_metadata::asset::{self, Asset};
use tradewind_metadata::asset_event::{self, EventFilter};
use tradewind_metadata::attempt::AttemptError;
use tradewind_metadata::{dag_document, task_instance_lookup};
use uuid::Uuid;

use super::refusal::{of_attempt, of_metadata};
use super::{Answer, absent, body};

fn described(asset: &Asset) -> Value {
    json!({"name": asset.name, "uri": asset.uri, "group": asset.group, "extra": asset.extra})
}

pub(super) async fn by_name(connection: &mut PgConnection, asked: GetAssetByName) -> Answer {
    match asset::active_by_name(connection, &asked.name).await.map_err(of_metadata)? {
        Some(found) => body("AssetResult", described(&found)),
        None => absent(ErrorType::AssetNotFound, json!({"name": asked.name})),
    }
}

pub(super) async fn by_uri(connection: &mut PgConnection, asked: GetAssetByUri) -> Answer {
    match asset::active_by_uri(connection, &asked.uri).await.map_err(of_metadata)? {
        Some(found) => body("AssetResult", described(&found)),
        None => absent(ErrorType::AssetNotFound, json!({"uri": asked.uri})),
    }
}

pub(super) async fn by_alias(connection: &mut PgConnection, asked: GetAssetsByAlias) -> Answer {
    let found = asset::of_alias(connection, &asked.alias_name).await.map_err(of_metadata)?;
    let assets: Vec<Value> = found
        .iter()
        .map(|asset| body("AssetResult", described(asset)).map(Option::unwrap_or_default))
        .collect::<Result<_, _>>()?;
    body("AssetsByAliasResult", json!({"assets": assets}))
}

pub(super) async fn events_by_asset(connection: &mut PgConnection, asked: GetAssetEventByAsset) -> Answer {
    let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (name, uri) = (named(&asked.name), named(&asked.uri));
    if name.is_none() && uri.is_none() {
        let message = "Either `name`, `uri` or `alias_name` must be provided";
        return Err(ErrorResponse::failed(message, "ValueError"));
    }
    let filter = EventFilter {
        name: name.as_deref(),
        uri: uri.as_deref(),
        alias: None,
        after: asked.after,
        before: asked.before,
        limit: asked.limit,
        ascending: asked.ascending,
    };
    events(connection, &filter).await
}

pub(super) async fn events_by_alias(connection: &mut PgConnection, asked: GetAssetEventByAssetAlias) -> Answer {
    let filter = EventFilter {
        alias: Some(&asked.alias_name),
        after: asked.after,
        before: asked.before,
        limit: asked.limit,
        ascending: asked.ascending,
        ..EventFilter::default()
    };
    events(connection, &filter).await
}

async fn events(connection: &mut PgConnection, filter: &EventFilter<'_>) -> Answer {
    let events = asset_event::find(connection, filter).await.map_err(of_metadata)?;
    body("AssetEventsResult", json!({"asset_events": events}))
}

/// Names the assets among the task's inlets and outlets that are not active, so that the child can refuse to run.
pub(super) async fn validate_inlets_and_outlets(connection: &mut PgConnection, id: Uuid) -> Answer {
    let (task_id, dag_run_id) = task_instance_lookup::task_of(&mut *connection, id)
        .await
        .map_err(of_metadata)?
        .ok_or_else(|| of_attempt(AttemptError::NotFound))?;
    let document = dag_document::of_run(&mut *connection, dag_run_id).await.map_err(of_metadata)?;
    let task = document.as_ref().and_then(|document| document.task(&task_id));
    let mut assets: Vec<(&str, &str)> = task.into_iter().flat_map(|task| task.assets()).collect();
    assets.sort_unstable();
    assets.dedup();
    let active: HashSet<(String, String)> = if assets.is_empty() {
        HashSet::new()
    } else {
        asset::active_among(connection, &assets).await.map_err(of_metadata)?.into_iter().collect()
    };
    let inactive: Vec<Value> = assets
        .into_iter()
        .filter(|(name, uri)| !active.contains(&((*name).to_owned(), (*uri).to_owned())))
        .map(|(name, uri)| json!({"name": name, "uri": uri, "type": "Asset"}))
        .collect();
    body("InactiveAssetsResult", json!({"inactive_assets": inactive}))
}
