use std::collections::HashMap;

use tradewind_model::dag::{GroupIndex, TaskGroup};

use super::reader::Reader;
use super::{SerializedDagError, expand_input};

/// The groups of a Dag, parents first, and which tasks are in which.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) groups: Vec<TaskGroup>,
    of_task: HashMap<String, GroupIndex>,
    /// Whether the names of a group's children start with its own.
    prefixes: Vec<bool>,
}

/// Source: `TaskGroupSerialization.deserialize_task_group`.
pub(super) fn read(dag: &Reader<'_>) -> Result<Groups, SerializedDagError> {
    let mut groups = Groups::default();
    if let Some(root) = dag.get("task_group") {
        groups.add(&root, None)?;
    }
    Ok(groups)
}

impl Groups {
    pub(super) fn of_task(&self, task_id: &str) -> Option<GroupIndex> {
        self.of_task.get(task_id).copied()
    }

    fn add(&mut self, group: &Reader<'_>, parent: Option<GroupIndex>) -> Result<(), SerializedDagError> {
        let index = GroupIndex(self.groups.len());
        let label = group.get("_group_id").map(|id| id.text().map(str::to_owned)).transpose()?;
        let name = group.get("group_display_name").map(|name| name.text().map(str::to_owned)).transpose()?;
        let input = match group.get("is_mapped") {
            Some(is_mapped) if is_mapped.truth()? => Some(expand_input::read(&group.require("expand_input")?)?),
            _ => None,
        };
        self.groups.push(TaskGroup {
            group_id: self.group_id(parent, label.unwrap_or_default()),
            display_name: name.filter(|name| !name.is_empty()),
            parent,
            expand_input: input,
        });
        self.prefixes.push(group.require("prefix_group_id")?.truth()?);
        for (name, child) in group.require("children")?.fields()? {
            let pair: Vec<Reader<'_>> = child.items()?.collect();
            let [kind, child] = pair.as_slice() else {
                return Err(child.expected("a pair of kind and child"));
            };
            match kind.text()? {
                "operator" => {
                    self.of_task.insert(child.text()?.to_owned(), index);
                }
                "taskgroup" => self.add(child, Some(index))?,
                _ => return Err(kind.expected(format!("\"operator\" or \"taskgroup\" for {name:?}"))),
            }
        }
        Ok(())
    }

    /// Source: `SerializedTaskGroup.group_id`.
    fn group_id(&self, parent: Option<GroupIndex>, label: String) -> String {
        match parent.map(|parent| (&self.groups[parent.0].group_id, self.prefixes[parent.0])) {
            Some((parent, true)) if !parent.is_empty() && !label.is_empty() => format!("{parent}.{label}"),
            _ => label,
        }
    }
}
