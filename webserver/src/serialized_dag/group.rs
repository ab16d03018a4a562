//! Task groups and the order of their children (`airflow/serialization/definitions/taskgroup.py`).

use super::relatives::{leaves, roots};
use super::{ROOT, SerializedDag, texts};
use indexmap::{IndexMap, IndexSet};
use serde_json::Value;
use std::collections::HashMap;

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Child {
    /// A task, by id.
    Task(String),
    /// A group, by id.
    Group(String),
}

impl Child {
    /// The id of the task or group.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Task(id) | Self::Group(id) => id,
        }
    }
}

/// A group of tasks.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// The id with the prefixes of the groups around it; [`ROOT`] for the root.
    pub id: String,
    /// The group around it.
    pub parent: Option<String>,
    /// The name on pages.
    pub label: String,
    /// The text of the tooltip.
    pub tooltip: String,
    /// Documentation in Markdown.
    pub doc_md: Option<String>,
    /// Whether it is expanded over an input.
    pub is_mapped: bool,
    /// Whether ids of members start with the group's.
    pub prefix_group_id: bool,
    /// Members, in serialized order.
    pub children: Vec<Child>,
    /// Groups directly before it.
    pub upstream_group_ids: IndexSet<String>,
    /// Groups directly after it.
    pub downstream_group_ids: IndexSet<String>,
    /// Tasks directly before the group as a whole.
    pub upstream_task_ids: IndexSet<String>,
    /// Tasks directly after the group as a whole.
    pub downstream_task_ids: IndexSet<String>,
}

impl Group {
    /// Whether it is the root, which pages do not show.
    pub(crate) fn is_root(&self) -> bool {
        self.id == ROOT
    }

    /// The node that stands for all edges into the group.
    pub(crate) fn upstream_join_id(&self) -> String {
        format!("{}.upstream_join_id", self.id)
    }

    /// The node that stands for all edges out of the group.
    pub(crate) fn downstream_join_id(&self) -> String {
        format!("{}.downstream_join_id", self.id)
    }
}

/// Reads a group and those within it, parents first.
pub(super) fn collect(value: &Value, parent: Option<&Group>, groups: &mut IndexMap<String, Group>) {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or_default();
    let own_id = text("_group_id");
    let prefix = parent.filter(|parent| parent.prefix_group_id && !parent.is_root() && !own_id.is_empty());
    let id = prefix.map_or_else(|| own_id.clone(), |parent| format!("{}.{own_id}", parent.id));
    let display_name = text("group_display_name");
    // Airflow, too, sorts the members when it reads them: the database keeps no order.
    let mut members: Vec<_> = value.get("children").and_then(Value::as_object).into_iter().flatten().collect();
    members.sort_by_key(|(key, _)| key.as_str());
    let mut nested = Vec::new();
    let mut children = Vec::new();
    for (key, member) in members {
        match (member.get(0).and_then(Value::as_str), member.get(1)) {
            (Some("operator"), _) => children.push(Child::Task(key.clone())),
            (_, Some(inner)) => {
                children.push(Child::Group(key.clone()));
                nested.push(inner);
            }
            _ => {}
        }
    }
    let group = Group {
        parent: parent.map(|parent| parent.id.clone()),
        label: if display_name.is_empty() { own_id } else { display_name },
        tooltip: text("tooltip"),
        doc_md: value.get("doc_md").and_then(Value::as_str).map(str::to_owned),
        is_mapped: flag("is_mapped"),
        prefix_group_id: value.get("prefix_group_id").and_then(Value::as_bool).unwrap_or(true),
        children,
        upstream_group_ids: texts(value.get("upstream_group_ids")),
        downstream_group_ids: texts(value.get("downstream_group_ids")),
        upstream_task_ids: texts(value.get("upstream_task_ids")),
        downstream_task_ids: texts(value.get("downstream_task_ids")),
        id,
    };
    groups.insert(group.id.clone(), group.clone());
    for inner in nested {
        collect(inner, Some(&group), groups);
    }
}

impl SerializedDag {
    /// The members of a group as pages list them: topologically, or groups first and then by name.
    pub(crate) fn ordered_children<'a>(&self, group: &'a Group, topological: bool) -> Vec<&'a Child> {
        if topological {
            return self.topological_children(group);
        }
        let mut children: Vec<&Child> = group.children.iter().collect();
        children.sort_by_key(|child| (matches!(child, Child::Task(_)), child.id()));
        children
    }

    /// The members of a group, each after those it depends on, otherwise in serialized order.
    ///
    /// Airflow sweeps over the members until none is left; the number of the sweep that takes a member, then its
    /// place, is the order.
    pub(crate) fn topological_children<'a>(&self, group: &'a Group) -> Vec<&'a Child> {
        let place: HashMap<&str, usize> = group.children.iter().enumerate().map(|(i, child)| (child.id(), i)).collect();
        let dependencies: Vec<Vec<usize>> =
            group.children.iter().enumerate().map(|(i, child)| self.siblings_before(i, child, &place)).collect();
        let mut taken = vec![false; group.children.len()];
        let mut ordered = Vec::with_capacity(group.children.len());
        let mut pending: Vec<usize> = (0..group.children.len()).collect();
        while !pending.is_empty() {
            let before = pending.len();
            pending.retain(|&index| {
                let blocked = dependencies[index].iter().any(|&dependency| !taken[dependency]);
                if !blocked {
                    taken[index] = true;
                    ordered.push(&group.children[index]);
                }
                blocked
            });
            if pending.len() == before {
                // A cycle cannot have been serialized; whatever it is, show it.
                ordered.extend(pending.drain(..).map(|index| &group.children[index]));
            }
        }
        ordered
    }

    /// The siblings that a member must come after: each predecessor, seen as the sibling that contains it.
    fn siblings_before(&self, index: usize, child: &Child, place: &HashMap<&str, usize>) -> Vec<usize> {
        let mut upstream: IndexSet<String> = IndexSet::new();
        match child {
            Child::Task(id) => upstream.extend(self.tasks[id].upstream.iter().cloned()),
            Child::Group(id) => {
                let group = &self.groups[id];
                upstream.extend(group.upstream_task_ids.iter().chain(&group.upstream_group_ids).cloned());
                for root in roots(self, group) {
                    upstream.extend(root.upstream.iter().cloned());
                }
            }
        }
        let siblings: IndexSet<usize> = upstream.iter().filter_map(|id| self.sibling_around(id, place)).collect();
        siblings.into_iter().filter(|&sibling| sibling != index).collect()
    }

    fn sibling_around(&self, id: &str, place: &HashMap<&str, usize>) -> Option<usize> {
        if let Some(&sibling) = place.get(id) {
            return Some(sibling);
        }
        let start = if self.groups.contains_key(id) { Some(id) } else { Some(self.tasks.get(id)?.group.as_str()) };
        let ancestors = std::iter::successors(start, |id| self.groups.get(*id)?.parent.as_deref());
        ancestors.filter_map(|ancestor| place.get(ancestor).copied()).next()
    }

    /// The ids of all tasks within a group.
    pub(crate) fn task_ids_within(&self, group: &Group) -> IndexSet<String> {
        let mut ids = IndexSet::new();
        let mut pending = std::collections::VecDeque::from([group]);
        while let Some(group) = pending.pop_front() {
            for child in &group.children {
                match child {
                    Child::Task(id) => drop(ids.insert(id.clone())),
                    Child::Group(id) => pending.extend(self.groups.get(id)),
                }
            }
        }
        ids
    }

    /// The first tasks of a group.
    pub(crate) fn roots_of(&self, group: &Group) -> Vec<String> {
        roots(self, group).map(|task| task.id.clone()).collect()
    }

    /// The last tasks of a group; work that only a teardown follows counts as last.
    pub(crate) fn leaves_of(&self, group: &Group) -> Vec<String> {
        leaves(self, group)
    }
}
