//! The serialised document of a Dag as it is stored, for questions about a few of its fields.
//!
//! Source: `airflow/models/serialized_dag.py` and `DBDagBag` in `airflow/models/dagbag.py` (which version a run uses).

use std::io::Read;

use flate2::read::ZlibDecoder;
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor, Row, query, query_as};
use uuid::Uuid;

use crate::{MetadataError, Result};

/// A stored Dag: `{"__version": 3, "dag": {…}}`.
#[derive(Debug, Clone)]
pub struct DagDocument(Value);

/// A task of a stored Dag.
#[derive(Debug, Clone, Copy)]
pub struct TaskDocument<'a>(&'a Value);

/// The Dag of a run: the version it is pinned to, else the latest.
pub async fn of_run(connection: &mut PgConnection, dag_run_id: i32) -> Result<Option<DagDocument>> {
    let stored = query_as(include_str!("../queries/dag_document/of_run.sql"))
        .bind(dag_run_id)
        .fetch_optional(connection)
        .await?;
    stored.map(read).transpose()
}

/// The latest version of a Dag.
pub async fn latest(connection: &mut PgConnection, dag_id: &str) -> Result<Option<DagDocument>> {
    let stored =
        query_as(include_str!("../queries/dag_document/latest.sql")).bind(dag_id).fetch_optional(connection).await?;
    stored.map(read).transpose()
}

/// A version of a Dag.
pub async fn of_version(connection: &mut PgConnection, dag_version_id: Uuid) -> Result<Option<DagDocument>> {
    read_version(connection, dag_version_id, decode).await?.transpose()
}

/// Has the text read where it came in from the database: that of a large Dag is too much to be copied.
pub async fn read_version<T>(
    connection: &mut PgConnection,
    dag_version_id: Uuid,
    read: impl FnOnce(&str) -> T,
) -> Result<Option<T>> {
    let row = query("SELECT data::text, data_compressed FROM serialized_dag WHERE dag_version_id = $1")
        .bind(dag_version_id)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    if let Some(plain) = row.try_get::<Option<&str>, _>(0)?.filter(|text| *text != "null") {
        return Ok(Some(read(plain)));
    }
    Ok(Some(read(&text((None, row.try_get(1)?))?)))
}

/// The text of a row with the version that it is of.
pub async fn text_of_row(executor: impl PgExecutor<'_>, id: Uuid) -> Result<Option<(Uuid, String)>> {
    let statement = "SELECT dag_version_id, data::text, data_compressed FROM serialized_dag WHERE id = $1";
    let stored: Option<(Uuid, Option<String>, Option<Vec<u8>>)> =
        query_as(statement).bind(id).fetch_optional(executor).await?;
    stored.map(|(version, plain, compressed)| Ok((version, text((plain, compressed))?))).transpose()
}

/// The two columns that may hold a document, the first as text.
type Stored = (Option<String>, Option<Vec<u8>>);

fn read(stored: Stored) -> Result<DagDocument> {
    decode(&text(stored)?)
}

fn decode(text: &str) -> Result<DagDocument> {
    serde_json::from_str(text).map(DagDocument).map_err(|error| corrupt(error.to_string()))
}

/// `[core] compress_serialized_dags` decides which of the two columns holds the document.
fn text((plain, compressed): Stored) -> Result<String> {
    if let Some(plain) = plain.filter(|text| text != "null") {
        return Ok(plain);
    }
    let compressed = compressed.ok_or_else(|| corrupt("neither data nor data_compressed is set"))?;
    let mut text = String::new();
    ZlibDecoder::new(compressed.as_slice()).read_to_string(&mut text).map_err(|error| corrupt(error.to_string()))?;
    Ok(text)
}

fn corrupt(detail: impl std::fmt::Display) -> MetadataError {
    MetadataError::Corrupt(format!("serialized_dag: {detail}"))
}

impl DagDocument {
    /// The whole document.
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// The tasks.
    pub fn tasks(&self) -> impl Iterator<Item = TaskDocument<'_>> {
        let tasks = self.0.pointer("/dag/tasks").and_then(Value::as_array);
        tasks.into_iter().flatten().map(|task| TaskDocument(task.get("__var").unwrap_or(task)))
    }

    /// A task by its id.
    pub fn task(&self, task_id: &str) -> Option<TaskDocument<'_>> {
        self.tasks().find(|task| task.id() == task_id)
    }

    /// The ids of all tasks within a task group, also those in groups within it; `None` when there is no such group.
    pub fn tasks_of_group(&self, group_id: &str) -> Option<Vec<&str>> {
        let root = self.0.pointer("/dag/task_group")?;
        let group = descendants(root).into_iter().find_map(|(id, group)| group.filter(|_| id == group_id))?;
        let tasks = descendants(group).into_iter().filter(|(_, group)| group.is_none());
        Some(tasks.map(|(id, _)| id).collect())
    }
}

/// Everything below a task group: ids with their group, none for a task. A child is stored as `[kind, group or id]`
/// under its full id.
fn descendants(root: &Value) -> Vec<(&str, Option<&Value>)> {
    let mut found = Vec::new();
    let mut groups = vec![root];
    while let Some(group) = groups.pop() {
        for (id, child) in group.get("children").and_then(Value::as_object).into_iter().flatten() {
            let is_group = child.get(0).and_then(Value::as_str) == Some("taskgroup");
            let inner = child.get(1).filter(|_| is_group);
            groups.extend(inner);
            found.push((id.as_str(), inner));
        }
    }
    found
}

impl<'a> TaskDocument<'a> {
    /// The task's id.
    pub fn id(self) -> &'a str {
        self.0.get("task_id").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether the task tears something down.
    pub fn is_teardown(self) -> bool {
        self.field("is_teardown").and_then(Value::as_bool).unwrap_or(false)
    }

    /// Name and URI of the assets in `inlets` and `outlets`; references and aliases are left out.
    pub fn assets(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        ["inlets", "outlets"].into_iter().filter_map(move |list| self.field(list)).flat_map(assets)
    }

    /// A field of the task; of a mapped task the one given to `partial`.
    fn field(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).or_else(|| self.0.get("partial_kwargs")?.get(name))
    }
}

fn assets(list: &Value) -> impl Iterator<Item = (&str, &str)> {
    let list = list.as_array().or_else(|| list.get("__var").and_then(Value::as_array));
    list.into_iter().flatten().filter(|item| item.get("__type").and_then(Value::as_str) == Some("asset")).filter_map(
        |item| {
            let asset = item.get("__var").unwrap_or(item);
            Some((asset.get("name")?.as_str()?, asset.get("uri")?.as_str()?))
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> DagDocument {
        let inner = json!({"_group_id": "h", "children": {"g.h.x": ["operator", "g.h.x"]}});
        let outer = json!({"_group_id": "g", "children": {"g.h": ["taskgroup", inner], "g.y": ["operator", "g.y"]}});
        let outlets = json!([
            {"__type": "asset", "__var": {"name": "a", "uri": "s3://b/a", "group": "asset", "extra": {}}},
            {"__type": "asset_alias", "__var": {"name": "al", "group": "asset"}},
        ]);
        DagDocument(json!({"__version": 3, "dag": {
            "task_group": {"_group_id": null, "children": {"g": ["taskgroup", outer], "t": ["operator", "t"]}},
            "tasks": [
                {"__type": "operator", "__var": {"task_id": "g.y", "outlets": outlets}},
                {"__type": "operator", "__var": {"task_id": "m", "partial_kwargs": {"outlets": outlets}}},
                {"__type": "operator", "__var": {"task_id": "t", "is_teardown": true}},
            ],
        }}))
    }

    #[test]
    fn a_group_holds_the_tasks_of_its_groups() {
        let document = document();
        let mut tasks = document.tasks_of_group("g").expect("group g");
        tasks.sort_unstable();
        assert_eq!(tasks, ["g.h.x", "g.y"]);
        assert_eq!(document.tasks_of_group("g.h").as_deref(), Some(&["g.h.x"][..]));
        assert_eq!(document.tasks_of_group("h"), None);
        assert_eq!(document.tasks_of_group("t"), None);
    }

    #[test]
    fn assets_are_found_also_in_what_a_mapped_task_was_given() {
        let document = document();
        for task in ["g.y", "m"] {
            let assets: Vec<_> = document.task(task).into_iter().flat_map(TaskDocument::assets).collect();
            assert_eq!(assets, [("a", "s3://b/a")], "{task}");
        }
        assert!(document.task("t").is_some_and(TaskDocument::is_teardown));
        assert!(!document.task("m").is_some_and(TaskDocument::is_teardown));
    }
}
