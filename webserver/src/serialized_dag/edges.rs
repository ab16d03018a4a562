//! The edges of the graph page (`airflow/utils/dag_edges.py`): edges into and out of a group meet in a join.

use super::{Group, SerializedDag};
use std::collections::BTreeSet;

/// An edge between tasks or joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    /// From.
    pub source_id: String,
    /// To.
    pub target_id: String,
    /// Whether it leads from a setup to a teardown.
    pub is_setup_teardown: bool,
    /// What the author wrote on it.
    pub label: Option<String>,
}

type Pairs = BTreeSet<(String, String)>;

/// The edges of a Dag, sorted.
pub(crate) fn edges(dag: &SerializedDag) -> Vec<Edge> {
    let mut added = Pairs::new();
    let mut skipped = Pairs::new();
    for group in dag.groups.values() {
        join_groups(dag, group, &mut added, &mut skipped);
        join_tasks(dag, group, &mut added, &mut skipped);
    }
    let is_flagged = |id: &str, flag: &str| dag.tasks.get(id).is_some_and(|task| task.flag(flag));
    for task in dag.tasks.values() {
        added.extend(task.downstream.iter().map(|target| (task.id.clone(), target.clone())));
    }
    let kept = added.difference(&skipped);
    kept.map(|(source_id, target_id)| Edge {
        is_setup_teardown: is_flagged(source_id, "is_setup") && is_flagged(target_id, "is_teardown"),
        label: label(dag, source_id, target_id),
        source_id: source_id.clone(),
        target_id: target_id.clone(),
    })
    .collect()
}

/// Between two groups a single edge is drawn, from join to join.
fn join_groups(dag: &SerializedDag, group: &Group, added: &mut Pairs, skipped: &mut Pairs) {
    for target in group.downstream_group_ids.iter().filter_map(|id| dag.groups.get(id)) {
        let (source_join, target_join) = (group.downstream_join_id(), target.upstream_join_id());
        added.insert((source_join.clone(), target_join.clone()));
        let roots = dag.roots_of(target);
        for leaf in dag.leaves_of(group) {
            added.insert((leaf.clone(), source_join.clone()));
            skipped.extend(roots.iter().map(|root| (leaf.clone(), root.clone())));
            skipped.insert((leaf, target_join.clone()));
        }
        for root in roots {
            added.insert((target_join.clone(), root.clone()));
            skipped.insert((source_join.clone(), root));
        }
    }
}

/// Between a group and a task a single edge is drawn, from or to the join.
fn join_tasks(dag: &SerializedDag, group: &Group, added: &mut Pairs, skipped: &mut Pairs) {
    for target in &group.downstream_task_ids {
        added.insert((group.downstream_join_id(), target.clone()));
        for leaf in dag.leaves_of(group) {
            added.insert((leaf.clone(), group.downstream_join_id()));
            skipped.insert((leaf, target.clone()));
        }
    }
    for source in &group.upstream_task_ids {
        added.insert((source.clone(), group.upstream_join_id()));
        for root in dag.roots_of(group) {
            added.insert((group.upstream_join_id(), root.clone()));
            skipped.insert((source.clone(), root));
        }
    }
}

fn label(dag: &SerializedDag, source: &str, target: &str) -> Option<String> {
    let info = dag.field("edge_info")?.get(source)?.get(target)?;
    info.get("label")?.as_str().filter(|label| !label.is_empty()).map(str::to_owned)
}
