//! Nodes of the grid and of the graph, made from the groups of a Dag (`services/ui/task_group.py`).

use crate::python;
use crate::serialized_dag::{Child, Group, ROOT, SerializedDag, Task};
use serde::Serialize;

/// A row of the grid.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub(super) struct GridNode {
    pub(super) id: String,
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) children: Option<Vec<GridNode>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_mapped: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setup_teardown_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doc_md: Option<String>,
}

/// A node of the graph.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct GraphNode {
    pub(super) id: String,
    pub(super) label: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) team: Option<String>,
    pub(super) children: Option<Vec<GraphNode>>,
    pub(super) is_mapped: Option<bool>,
    pub(super) tooltip: Option<String>,
    pub(super) setup_teardown_type: Option<&'static str>,
    pub(super) operator: Option<String>,
    pub(super) asset_condition_type: Option<String>,
}

fn setup_teardown_type(task: &Task) -> Option<&'static str> {
    if task.flag("is_setup") {
        Some("setup")
    } else if task.flag("is_teardown") {
        Some("teardown")
    } else {
        None
    }
}

/// The rows of a Dag.
pub(super) fn grid_nodes(dag: &SerializedDag, topological: bool) -> Vec<GridNode> {
    dag.groups.get(ROOT).map_or_else(Vec::new, |root| grid_children(dag, root, topological, false))
}

fn grid_children(dag: &SerializedDag, group: &Group, topological: bool, is_mapped: bool) -> Vec<GridNode> {
    let node = |child: &Child| match child {
        Child::Task(id) => {
            let task = &dag.tasks[id];
            GridNode {
                label: dag.shown_label(task).to_owned(),
                children: None,
                is_mapped: (is_mapped || task.is_mapped()).then_some(true),
                setup_teardown_type: setup_teardown_type(task),
                doc_md: None,
                id: id.clone(),
            }
        }
        Child::Group(id) => {
            let group = &dag.groups[id];
            let children = grid_children(dag, group, topological, is_mapped || group.is_mapped);
            GridNode {
                label: group.label.clone(),
                children: Some(children).filter(|children| !children.is_empty()),
                is_mapped: group.is_mapped.then_some(true),
                setup_teardown_type: None,
                doc_md: group.doc_md.as_deref().map(python::cleandoc),
                id: id.clone(),
            }
        }
    };
    dag.ordered_children(group, topological).into_iter().map(node).collect()
}

/// Adds the rows that another version of the Dag has and this one has not.
pub(super) fn merge(current: &mut Vec<GridNode>, other: Vec<GridNode>) {
    for node in other {
        match current.iter_mut().find(|known| known.id == node.id) {
            Some(known) => {
                if let (Some(known), Some(children)) = (&mut known.children, node.children) {
                    merge(known, children);
                }
            }
            None => current.push(node),
        }
    }
}

/// The nodes of the graph; the outermost level is always in topological order.
pub(super) fn graph_nodes(dag: &SerializedDag, topological: bool) -> Vec<GraphNode> {
    let Some(root) = dag.groups.get(ROOT) else { return Vec::new() };
    let children = dag.topological_children(root).into_iter();
    children.map(|child| graph_node(dag, child, topological, false)).collect()
}

fn graph_node(dag: &SerializedDag, child: &Child, topological: bool, is_mapped: bool) -> GraphNode {
    let kind = "task".to_owned();
    match child {
        Child::Task(id) => {
            let task = &dag.tasks[id];
            GraphNode {
                label: dag.shown_label(task).to_owned(),
                kind,
                operator: task.operator_name().map(str::to_owned),
                setup_teardown_type: setup_teardown_type(task),
                is_mapped: (is_mapped || task.is_mapped()).then_some(true),
                id: id.clone(),
                ..GraphNode::default()
            }
        }
        Child::Group(id) => {
            let group = &dag.groups[id];
            let inner = dag.ordered_children(group, topological).into_iter();
            let mut children: Vec<GraphNode> =
                inner.map(|child| graph_node(dag, child, topological, is_mapped || group.is_mapped)).collect();
            let join = |id: String| GraphNode { id, kind: "join".to_owned(), ..GraphNode::default() };
            if !group.upstream_group_ids.is_empty() || !group.upstream_task_ids.is_empty() {
                children.push(join(group.upstream_join_id()));
            }
            if !group.downstream_group_ids.is_empty() || !group.downstream_task_ids.is_empty() {
                children.push(join(group.downstream_join_id()));
            }
            GraphNode {
                label: group.label.clone(),
                kind,
                tooltip: Some(group.tooltip.clone()),
                is_mapped: Some(group.is_mapped),
                children: Some(children),
                id: id.clone(),
                ..GraphNode::default()
            }
        }
    }
}
