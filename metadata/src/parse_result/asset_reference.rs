//! Which Dags and tasks refer to which assets.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, query};

use super::asset::AssetIds;
use super::facts::DagFacts;
use super::{Asset, AssetUse, ParsedDag};
use crate::Result;

/// The six tables of references, each with the statement that makes it follow the Dags.
const STATEMENTS: [&str; 6] = [
    include_str!("../../queries/parse_result/sync_schedule_asset_references.sql"),
    include_str!("../../queries/parse_result/sync_schedule_alias_references.sql"),
    include_str!("../../queries/parse_result/sync_schedule_name_references.sql"),
    include_str!("../../queries/parse_result/sync_schedule_uri_references.sql"),
    include_str!("../../queries/parse_result/sync_task_inlet_references.sql"),
    include_str!("../../queries/parse_result/sync_task_outlet_references.sql"),
];

/// Makes the references of the Dags what the file says. Dags that have none and had none cost nothing.
pub(super) async fn sync(
    connection: &mut PgConnection,
    dags: &[ParsedDag],
    facts: &HashMap<String, DagFacts>,
    ids: &AssetIds,
    now: DateTime<Utc>,
) -> Result<()> {
    let references: [Vec<Value>; 6] = [
        rows(dags, |dag| dag.schedule_assets.iter().filter_map(|asset| schedule_row(ids, asset)).collect()),
        rows(dags, |dag| {
            dag.schedule_aliases.iter().filter_map(|alias| Some(json!({"alias_id": ids.alias(&alias.name)?}))).collect()
        }),
        rows(dags, |dag| dag.schedule_asset_names.iter().map(|name| json!({"name": name})).collect()),
        rows(dags, |dag| dag.schedule_asset_uris.iter().map(|uri| json!({"uri": uri})).collect()),
        rows(dags, |dag| dag.inlets.iter().filter_map(|inlet| inlet_row(ids, inlet)).collect()),
        rows(dags, |dag| dag.outlets.iter().filter_map(|outlet| outlet_row(ids, outlet)).collect()),
    ];
    let had_any = facts.values().any(|facts| facts.has_references);
    if !had_any && references.iter().all(Vec::is_empty) {
        return Ok(());
    }
    let dag_ids: Vec<&str> = dags.iter().map(|dag| dag.dag_id()).collect();
    for (statement, rows) in STATEMENTS.into_iter().zip(references) {
        query(statement).bind(&dag_ids).bind(Value::Array(rows)).bind(now).execute(&mut *connection).await?;
    }
    Ok(())
}

fn rows(dags: &[ParsedDag], of: impl Fn(&ParsedDag) -> Vec<Value>) -> Vec<Value> {
    dags.iter()
        .flat_map(|dag| {
            of(dag).into_iter().map(|mut row| {
                row["dag_id"] = json!(dag.dag_id());
                row
            })
        })
        .collect()
}

fn schedule_row(ids: &AssetIds, asset: &Asset) -> Option<Value> {
    Some(json!({
        "asset_id": ids.asset(asset)?,
        "allow_producer_teams": asset.access_control.get("producer_teams").cloned().unwrap_or_else(|| json!([])),
        "allow_global_producers": allows_global(asset),
    }))
}

fn inlet_row(ids: &AssetIds, inlet: &AssetUse) -> Option<Value> {
    Some(json!({"asset_id": ids.asset(&inlet.asset)?, "task_id": inlet.task_id}))
}

fn outlet_row(ids: &AssetIds, outlet: &AssetUse) -> Option<Value> {
    Some(json!({
        "asset_id": ids.asset(&outlet.asset)?,
        "task_id": outlet.task_id,
        "allow_consumer_teams": outlet.asset.access_control.get("consumer_teams"),
        "allow_global_consumers": allows_global(&outlet.asset),
    }))
}

fn allows_global(asset: &Asset) -> bool {
    asset.access_control.get("allow_global").and_then(Value::as_bool).unwrap_or(true)
}
