//! A Dag in its serialized form, with what pages show of it: all fields, labels, groups, joins.
//!
//! The scheduler's view of a Dag is `tradewind_model::dag`; this one keeps every field as it was written down
//! (`airflow/serialization/serialized_objects.py`, format version 3).

mod cache;
mod edges;
mod group;
mod relatives;
mod subset;
mod value;

pub(crate) use cache::{DagCache, Latest};
pub(crate) use edges::edges;
pub(crate) use group::{Child, Group};
pub(crate) use relatives::Direction;
pub(crate) use subset::Subset;
pub(crate) use value::{decode, duration, timestamp};

use crate::dag_params::Params;
use indexmap::{IndexMap, IndexSet};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The id of the root group.
pub(crate) const ROOT: &str = "";

/// A Dag of one version.
#[derive(Debug, Clone)]
pub(crate) struct SerializedDag {
    /// Its name.
    pub dag_id: String,
    /// `serialized_dag.dag_version_id`.
    pub dag_version_id: Uuid,
    /// Every field of the Dag as serialized, without tasks and groups.
    pub fields: Map<String, Value>,
    /// The tasks, in serialized order.
    pub tasks: IndexMap<String, Task>,
    /// The groups; parents before children, the root first under [`ROOT`].
    pub groups: IndexMap<String, Group>,
    /// `serialized_dag.dag_hash`, for those who read the Dag in another form.
    pub hash: String,
}

/// A task of a serialized Dag.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// Its id, with the prefixes of its groups.
    pub id: String,
    /// The group it belongs to.
    pub group: String,
    /// Direct predecessors.
    pub upstream: IndexSet<String>,
    /// Direct successors.
    pub downstream: IndexSet<String>,
    fields: Map<String, Value>,
}

impl Task {
    /// A field as serialized: of a mapped task, what holds for all its instances.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        let partial = self.fields.get("partial_kwargs").filter(|_| self.is_mapped());
        partial.and_then(|partial| partial.get(name)).or_else(|| self.fields.get(name)).filter(|value| !value.is_null())
    }

    /// A text field.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.field(name).and_then(Value::as_str)
    }

    /// A truth value, false unless serialized.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.field(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// Whether it is expanded over an input of its own.
    pub(crate) fn is_mapped(&self) -> bool {
        self.fields.get("_is_mapped").and_then(Value::as_bool).unwrap_or_default()
    }

    /// Whether it has instances with a map index: mapped itself or within a mapped group.
    pub(crate) fn needs_expansion(&self) -> bool {
        self.is_mapped() || self.flag("_needs_expansion")
    }

    /// The name of the operator as shown.
    pub(crate) fn operator_name(&self) -> Option<&str> {
        self.text("_operator_name").or_else(|| self.text("task_type"))
    }

    /// The name as shown, which is the id unless the author chose another.
    pub(crate) fn display_name(&self) -> &str {
        let name = if self.is_mapped() { "task_display_name" } else { "_task_display_name" };
        self.text(name).unwrap_or(&self.id)
    }
}

/// What is wrong with the stored form of a Dag.
#[derive(Debug, thiserror::Error)]
#[error("Dag {dag_id:?} cannot be read from its serialized form: {problem}; parse its file again")]
pub(crate) struct FormatError {
    dag_id: String,
    problem: String,
}

impl SerializedDag {
    /// Reads the data column of `serialized_dag`.
    pub(crate) fn parse(dag_version_id: Uuid, hash: String, text: &str) -> Result<Self, FormatError> {
        let data: Value = serde_json::from_str(text)
            .map_err(|error| FormatError { dag_id: dag_version_id.to_string(), problem: error.to_string() })?;
        let dag = data.get("dag").and_then(Value::as_object);
        let dag_id = dag.and_then(|dag| dag.get("dag_id")).and_then(Value::as_str).unwrap_or_default().to_owned();
        let error = |problem: &str| FormatError { dag_id: dag_id.clone(), problem: problem.to_owned() };
        let dag = dag.ok_or_else(|| error("no object \"dag\""))?;
        let mut fields = dag.clone();
        fields.shift_remove("tasks");
        let root = fields.shift_remove("task_group");

        let mut tasks = IndexMap::new();
        for task in dag.get("tasks").and_then(Value::as_array).into_iter().flatten() {
            let fields = task.get("__var").and_then(Value::as_object).ok_or_else(|| error("a task without fields"))?;
            let fields = with_defaults(fields, data.pointer("/client_defaults/tasks"));
            let id = fields.get("task_id").and_then(Value::as_str).ok_or_else(|| error("a task without an id"))?;
            let task = Task {
                id: id.to_owned(),
                group: ROOT.to_owned(),
                upstream: IndexSet::new(),
                downstream: texts(fields.get("downstream_task_ids")),
                fields,
            };
            tasks.insert(task.id.clone(), task);
        }
        connect(&mut tasks).map_err(|unknown| error(&format!("no task {unknown:?}")))?;

        let mut groups = IndexMap::new();
        group::collect(root.as_ref().unwrap_or(&Value::Null), None, &mut groups);
        for (group_id, group) in &groups {
            for child in &group.children {
                if let Child::Task(task_id) = child {
                    let task = tasks.get_mut(task_id).ok_or_else(|| error(&format!("no task {task_id:?}")))?;
                    task.group.clone_from(group_id);
                }
            }
        }
        Ok(Self { dag_id, dag_version_id, fields, tasks, groups, hash })
    }

    /// A field of the Dag, unless null.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// The name of a task within its group: the id without the group's prefix.
    pub(crate) fn label<'a>(&'a self, task: &'a Task) -> &'a str {
        let prefix = self.groups.get(&task.group).filter(|group| !group.is_root() && group.prefix_group_id);
        prefix.and_then(|group| task.id.get(group.id.len() + 1..)).unwrap_or(&task.id)
    }

    /// The name of a task on grid and graph.
    pub(crate) fn shown_label<'a>(&'a self, task: &'a Task) -> &'a str {
        let name = task.display_name();
        if name == task.id { self.label(task) } else { name }
    }

    /// The parameters of its runs.
    pub(crate) fn params(&self) -> Params {
        Params::parse(self.fields.get("params"))
    }
}

/// The fields of a task with those that all tasks share, which are written down once.
fn with_defaults(fields: &Map<String, Value>, defaults: Option<&Value>) -> Map<String, Value> {
    let mut fields = fields.clone();
    let is_mapped = fields.get("_is_mapped").and_then(Value::as_bool).unwrap_or_default();
    let target = match fields.get_mut("partial_kwargs") {
        Some(Value::Object(partial)) if is_mapped => partial,
        _ => &mut fields,
    };
    for (name, value) in defaults.and_then(Value::as_object).into_iter().flatten() {
        target.entry(name.clone()).or_insert_with(|| value.clone());
    }
    fields
}

/// Notes each task as upstream of its successors; the error is a name that leads nowhere.
fn connect(tasks: &mut IndexMap<String, Task>) -> Result<(), String> {
    let pairs: Vec<(String, String)> = tasks
        .values()
        .flat_map(|task| task.downstream.iter().map(|downstream| (task.id.clone(), downstream.clone())))
        .collect();
    for (upstream, downstream) in pairs {
        match tasks.get_mut(&downstream) {
            Some(task) => task.upstream.insert(upstream),
            None => return Err(downstream),
        };
    }
    Ok(())
}

/// A list of texts.
fn texts(value: Option<&Value>) -> IndexSet<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
