//! `/ui/dependencies`: the graph of Dags and assets.

use crate::auth::{BindDags as _, Dags, Resource, User};
use crate::dependencies;
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::state::App;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use indexmap::IndexMap;
use serde::Serialize;
use sqlx::PgPool;
use std::collections::{BTreeSet, HashMap, HashSet};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/dependencies", get(read))
}

/// Between the parts of the id of a task's node.
const SEPARATOR: &str = "__SEPARATOR__";

#[derive(Debug, Clone, Serialize)]
struct Node {
    id: String,
    label: String,
    #[serde(rename = "type")]
    kind: String,
    team: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Edge {
    source_id: String,
    target_id: String,
}

#[derive(Debug, Default, Serialize)]
struct Graph {
    edges: Vec<Edge>,
    nodes: Vec<Node>,
}

async fn read(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Graph>> {
    user.may_read(Resource::Dag)?;
    let kind = params.literal("dependency_type", &["scheduling", "data"]);
    let node_id = params.text("node_id");
    params.check()?;
    let is_of_data = kind.as_deref() == Some("data");
    let mut graph = if is_of_data {
        data(&app.pool, user.readable(), node_id.as_deref()).await?
    } else {
        scheduling(&app.pool, user.readable()).await?
    };
    if app.options.multi_team {
        add_teams(&app.pool, &mut graph).await?;
    }
    match node_id {
        Some(node_id) if !is_of_data => component(graph, &node_id).map(Json),
        _ => Ok(Json(graph)),
    }
}

/// Says of each Dag and task whose it is.
async fn add_teams(pool: &PgPool, graph: &mut Graph) -> ApiResult<()> {
    let rows: Vec<(String, String)> = sqlx::query_as(include_str!("teams.sql")).fetch_all(pool).await?;
    let teams: HashMap<String, String> = rows.into_iter().collect();
    for node in &mut graph.nodes {
        let task = node.id.strip_prefix("task:").and_then(|id| id.split(SEPARATOR).next());
        node.team = node.id.strip_prefix("dag:").or(task).and_then(|dag_id| teams.get(dag_id)).cloned();
    }
    Ok(())
}

async fn scheduling(pool: &PgPool, readable: &Dags) -> ApiResult<Graph> {
    let mut nodes: IndexMap<String, Node> = IndexMap::new();
    let mut edges: BTreeSet<(String, String)> = BTreeSet::new();
    let mut add = |id: String, label: &str, kind: &str| {
        let node = Node { id: id.clone(), label: label.to_owned(), kind: kind.to_owned(), team: None };
        nodes.entry(id).or_insert(node);
    };
    let named = |end: &str| if end.contains(':') { end.to_owned() } else { format!("dag:{end}") };
    for (dag_id, found) in dependencies::of_dags(pool, readable).await? {
        for dependency in found {
            add(format!("dag:{dag_id}"), &dag_id, "dag");
            let node_id = dependency.node_id();
            add(node_id.clone(), &dependency.label, &dependency.dependency_type);
            if dependency.source != dependency.dependency_type {
                edges.insert((named(&dependency.source), node_id.clone()));
            }
            if dependency.target != dependency.dependency_type {
                edges.insert((node_id, named(&dependency.target)));
            }
        }
    }
    for end in edges.iter().flat_map(|(source, target)| [source, target]) {
        if let Some(dag_id) = end.strip_prefix("dag:") {
            add(end.clone(), dag_id, "dag");
        }
    }
    let edges = edges.into_iter().map(|(source_id, target_id)| Edge { source_id, target_id }).collect();
    Ok(Graph { edges, nodes: nodes.into_values().collect() })
}

/// The part of the graph that hangs together with a node.
fn component(graph: Graph, node_id: &str) -> ApiResult<Graph> {
    let mut reached: HashSet<String> = HashSet::new();
    let mut pending = vec![node_id.to_owned()];
    let touches = graph.edges.iter().any(|edge| edge.source_id == node_id || edge.target_id == node_id);
    if !touches {
        return Err(ApiError::not_found(format!(
            "Unique connected component not found, got [] for connected components of node {node_id}, expected only 1 \
             connected component."
        )));
    }
    while let Some(id) = pending.pop() {
        for edge in &graph.edges {
            if edge.source_id == id {
                pending.extend((!reached.contains(&edge.target_id)).then(|| edge.target_id.clone()));
            } else if edge.target_id == id {
                pending.extend((!reached.contains(&edge.source_id)).then(|| edge.source_id.clone()));
            }
        }
        reached.insert(id);
    }
    let nodes = graph.nodes.into_iter().filter(|node| reached.contains(&node.id)).collect();
    let edges = graph.edges.into_iter().filter(|edge| reached.contains(&edge.source_id)).collect();
    Ok(Graph { edges, nodes })
}

/// The assets and tasks that an asset is made from and that are made from it. As in Airflow there must be a Dag that has to
/// do with the asset and may be read.
async fn data(pool: &PgPool, readable: &Dags, node_id: Option<&str>) -> ApiResult<Graph> {
    let Some(id) = node_id.and_then(|node| node.strip_prefix("asset:")) else {
        let detail = "Data dependencies require an asset node_id (e.g., 'asset:123')";
        return Err(ApiError::bad_request(detail));
    };
    let asset_id: i32 = id.parse().map_err(|_| ApiError::bad_request(format!("Invalid asset node_id: asset:{id}")))?;
    let links: Vec<(i32, String, String, String, bool)> = sqlx::query_as(readable.narrow(include_str!("data.sql"), 2))
        .bind(asset_id)
        .bind_dags(readable)
        .fetch_all(pool)
        .await?;
    let asset: Option<(String, Vec<String>)> =
        sqlx::query_as(include_str!("asset.sql")).bind(asset_id).fetch_optional(pool).await?;
    let asset = asset.filter(|(_, dag_ids)| dag_ids.iter().any(|dag_id| readable.contains(dag_id)));
    let (name, _) = asset.ok_or_else(|| ApiError::not_found(format!("Asset with id {asset_id} was not found")))?;
    let mut graph = Graph::default();
    let mut known = HashSet::new();
    let mut add = |graph: &mut Graph, id: &str, label: String, kind: &str| {
        if known.insert(id.to_owned()) {
            graph.nodes.push(Node { id: id.to_owned(), label, kind: kind.to_owned(), team: None });
        }
    };
    add(&mut graph, &format!("asset:{asset_id}"), name, "asset");
    for (asset_id, name, dag_id, task_id, produces) in links {
        let asset = format!("asset:{asset_id}");
        let task = format!("task:{dag_id}{SEPARATOR}{task_id}");
        add(&mut graph, &asset, name, "asset");
        add(&mut graph, &task, format!("{dag_id}.{task_id}"), "task");
        let (source_id, target_id) = if produces { (task, asset) } else { (asset, task) };
        graph.edges.push(Edge { source_id, target_id });
    }
    Ok(graph)
}
