//! `/ui/structure/structure_data`: nodes and edges of the graph.

use super::deadlines::not_found;
use super::graph::{GraphNode, graph_nodes};
use super::grid;
use crate::auth::{Dags, Resource, User};
use crate::dependencies;
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::serialized_dag::edges;
use crate::state::App;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/structure/structure_data", get(read))
}

/// An edge of the graph.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct GraphEdge {
    pub(super) source_id: String,
    pub(super) target_id: String,
    pub(super) is_setup_teardown: Option<bool>,
    pub(super) label: Option<String>,
    pub(super) is_source_asset: Option<bool>,
    #[serde(skip)]
    pub(super) resolved_from_alias: Option<String>,
}

#[derive(Serialize)]
struct Structure {
    edges: Vec<GraphEdge>,
    nodes: Vec<GraphNode>,
}

async fn read(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Structure>> {
    user.may_read(Resource::Dag)?;
    let dag_id = params.text("dag_id");
    if dag_id.is_none() {
        params.missing("dag_id");
    }
    let version = params.int("version_number");
    let external = params.bool("external_dependencies").unwrap_or_default();
    let subset = grid::subset(&mut params);
    params.check()?;
    let dag_id = dag_id.unwrap_or_default();
    let version_id = version_of(&app.pool, &dag_id, version).await?;
    let dag = match version_id {
        Some(id) => app.dags.version(&app.pool, id).await?,
        None => None,
    };
    let dag = dag.ok_or_else(|| not_found(&dag_id, version))?;
    let shown = subset.as_ref().map_or_else(|| (*dag).clone(), |subset| dag.subset(subset));
    let mut nodes = graph_nodes(&shown, app.options.topological_order);
    let mut edges: Vec<GraphEdge> = edges(&shown)
        .into_iter()
        .map(|edge| GraphEdge {
            source_id: edge.source_id,
            target_id: edge.target_id,
            is_setup_teardown: edge.is_setup_teardown.then_some(true),
            label: edge.label,
            ..GraphEdge::default()
        })
        .collect();
    if external {
        surroundings(&app, user.readable(), &dag_id, &mut nodes, &mut edges).await?;
        bind_outlets(&app.pool, &dag_id, dag.dag_version_id, &mut edges).await?;
    }
    Ok(Json(Structure { edges, nodes }))
}

async fn version_of(pool: &PgPool, dag_id: &str, number: Option<i64>) -> ApiResult<Option<Uuid>> {
    let statement = "SELECT id FROM dag_version WHERE dag_id = $1 AND ($2::bigint IS NULL OR version_number = $2) \
                     ORDER BY created_at DESC LIMIT 1";
    Ok(sqlx::query_scalar(statement).bind(dag_id).bind(number).fetch_optional(pool).await?)
}

/// Adds Dags, sensors, triggers and assets before and after the Dag, as far as they may be read.
async fn surroundings(
    app: &App,
    readable: &Dags,
    dag_id: &str,
    nodes: &mut Vec<GraphNode>,
    edges: &mut Vec<GraphEdge>,
) -> ApiResult<()> {
    let (Some(entry), Some(exit)) = (nodes.first().map(|n| n.id.clone()), nodes.last().map(|n| n.id.clone())) else {
        return Ok(());
    };
    let mut before = Vec::new();
    let mut after = Vec::new();
    for (of_dag, found) in dependencies::of_dags(&app.pool, readable).await? {
        for dependency in found {
            if of_dag != dag_id && dependency.target != dag_id {
                continue;
            }
            let leads_out = dependency.target != dependency.dependency_type;
            if leads_out && matches!(dependency.dependency_type.as_str(), "asset-alias" | "asset") {
                continue;
            }
            let node_id = dependency.node_id();
            if dependency.source == dependency.dependency_type || dependency.target == dag_id {
                before.push(GraphEdge { source_id: node_id.clone(), target_id: entry.clone(), ..GraphEdge::default() });
            } else if !leads_out || dependency.source == dag_id {
                let alias = dependency.source.strip_prefix("asset-alias:").map(str::to_owned);
                after.push(GraphEdge {
                    source_id: exit.clone(),
                    target_id: node_id.clone(),
                    resolved_from_alias: alias,
                    ..GraphEdge::default()
                });
            }
            nodes.push(GraphNode {
                id: node_id,
                label: dependency.label,
                kind: dependency.dependency_type,
                ..GraphNode::default()
            });
        }
    }
    let expression: Option<serde_json::Value> =
        sqlx::query_scalar("SELECT asset_expression FROM dag WHERE dag_id = $1")
            .bind(dag_id)
            .fetch_optional(&app.pool)
            .await?
            .flatten();
    if let Some(expression) = expression {
        upstream_assets(&expression, &entry, 0, nodes, edges)?;
    }
    edges.extend(before);
    edges.extend(after);
    Ok(())
}

/// The condition over assets that starts the Dag, as gates (`services/ui/structure.py`, `get_upstream_assets`).
fn upstream_assets(
    expression: &serde_json::Value,
    entry: &str,
    level: usize,
    nodes: &mut Vec<GraphNode>,
    edges: &mut Vec<GraphEdge>,
) -> ApiResult<()> {
    let (gate, parts) = match (expression.get("any"), expression.get("all")) {
        (Some(parts), None) => ("or-gate", parts),
        (None, Some(parts)) => ("and-gate", parts),
        _ => return Ok(()),
    };
    let parts = parts.as_array().cloned().unwrap_or_default();
    let is_nested = |part: &&serde_json::Value| part.get("any").is_some() || part.get("all").is_some();
    let nested = parts.iter().rev().find(is_nested).cloned();
    let leaves: Vec<_> =
        parts.iter().filter(|part| !is_nested(part)).filter_map(|part| part.as_object()?.iter().next()).collect();
    if leaves.is_empty() {
        return Ok(());
    }
    let condition = format!("{gate}-{level}");
    edges.push(GraphEdge {
        source_id: condition.clone(),
        target_id: entry.to_owned(),
        is_source_asset: Some(level == 0),
        ..GraphEdge::default()
    });
    nodes.push(GraphNode {
        id: condition.clone(),
        label: condition.clone(),
        kind: "asset-condition".to_owned(),
        asset_condition_type: Some(gate.to_owned()),
        ..GraphNode::default()
    });
    for (kind, asset) in leaves {
        let text = |name: &str| asset.get(name).map(crate::python::str_value).unwrap_or_default();
        let (id, label, kind) = match kind.as_str() {
            "asset" => (text("id"), text("name"), "asset"),
            "alias" => (text("name"), text("name"), "asset-alias"),
            "asset-name-ref" => (text("name"), text("name"), "asset-name-ref"),
            "asset-uri-ref" => (text("uri"), text("uri"), "asset-uri-ref"),
            other => {
                return Err(ApiError::bad_request(format!("Malformed asset_expression: Unsupported type: {other}")));
            }
        };
        edges.push(GraphEdge { source_id: id.clone(), target_id: condition.clone(), ..GraphEdge::default() });
        nodes.push(GraphNode { id, label, kind: kind.to_owned(), ..GraphNode::default() });
    }
    match nested {
        Some(nested) => upstream_assets(&nested, &condition, level + 1, nodes, edges),
        None => Ok(()),
    }
}

/// Lets edges to assets start at the tasks that produce them instead of at the last task.
async fn bind_outlets(pool: &PgPool, dag_id: &str, version: Uuid, edges: &mut Vec<GraphEdge>) -> ApiResult<()> {
    let outlets: Vec<(i32, String)> =
        sqlx::query_as("SELECT asset_id, task_id FROM task_outlet_asset_reference WHERE dag_id = $1")
            .bind(dag_id)
            .fetch_all(pool)
            .await?;
    let by_alias: Vec<(i32, Option<String>)> =
        sqlx::query_as(include_str!("structure.sql")).bind(dag_id).bind(version).fetch_all(pool).await?;
    let mut added = Vec::new();
    for edge in edges.iter_mut() {
        let Some(asset_id) = edge.target_id.strip_prefix("asset:").and_then(|id| id.parse::<i32>().ok()) else {
            continue;
        };
        if edge.resolved_from_alias.is_none() {
            if let Some((_, task_id)) = outlets.iter().find(|(id, _)| *id == asset_id) {
                edge.source_id.clone_from(task_id);
            }
            continue;
        }
        let producers = by_alias.iter().filter(|(id, _)| *id == asset_id).filter_map(|(_, task_id)| task_id.as_ref());
        for (index, task_id) in producers.enumerate() {
            if index == 0 {
                edge.source_id.clone_from(task_id);
            } else {
                added.push(GraphEdge { source_id: task_id.clone(), ..edge.clone() });
            }
        }
    }
    edges.extend(added);
    Ok(())
}
