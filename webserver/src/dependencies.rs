//! What Dags depend on each other for: triggers, sensors, assets (`airflow/models/serialized_dag.py`).

use crate::auth::{BindDags as _, Dags};
use crate::error::ApiResult;
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgPool;
use std::collections::{BTreeMap, HashMap};

/// A dependency of a Dag. A source or target that equals the type stands for "none": the node starts or ends a chain.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dependency {
    /// From: a Dag, `asset:…`, `asset-alias:…` or the type.
    pub source: String,
    /// To: a Dag, `asset:…`, `asset-alias:…` or the type.
    pub target: String,
    /// The name shown.
    #[serde(default)]
    pub label: String,
    /// `trigger`, `sensor`, `asset`, `asset-alias`, `asset-name-ref`, `asset-uri-ref`.
    pub dependency_type: String,
    /// A task, or what identifies the asset.
    #[serde(default)]
    pub dependency_id: Option<String>,
}

impl Dependency {
    /// The Dags that it names.
    fn dags(&self) -> impl Iterator<Item = &str> {
        let ends = [&self.source, &self.target].into_iter();
        ends.filter(|end| **end != self.dependency_type && !end.contains(':')).map(String::as_str)
    }

    /// The node that stands for it.
    pub(crate) fn node_id(&self) -> String {
        let mut id = self.dependency_type.clone();
        if !self.dependency_type.starts_with("asset") {
            id = format!("{id}:{}:{}", self.source, self.target);
        }
        match &self.dependency_id {
            Some(dependency_id) => format!("{id}:{dependency_id}"),
            None => id,
        }
    }
}

/// The dependencies of every Dag that is there and among these, assets resolved to their ids, sorted by Dag. What depends on
/// another Dag than these is left out.
pub(crate) async fn of_dags(pool: &PgPool, dags: &Dags) -> ApiResult<BTreeMap<String, Vec<Dependency>>> {
    let query = sqlx::query_as(dags.narrow(include_str!("dependencies.sql"), 1)).bind_dags(dags);
    let rows: Vec<(String, Option<Value>)> = query.fetch_all(pool).await?;
    let resolver = Resolver::load(pool).await?;
    let mut dependencies = BTreeMap::new();
    for (dag_id, stored) in rows {
        let stored: Vec<Dependency> = stored.and_then(|stored| serde_json::from_value(stored).ok()).unwrap_or_default();
        let stored = stored.into_iter().filter(|dependency| dependency.dags().all(|dag_id| dags.contains(dag_id)));
        dependencies.insert(dag_id, stored.flat_map(|dependency| resolver.resolve(dependency)).collect());
    }
    Ok(dependencies)
}

/// Knows the assets by name, URI and alias.
#[derive(Default)]
struct Resolver {
    by_key: HashMap<(String, String), i32>,
    active_by_name: HashMap<String, (i32, String)>,
    active_by_uri: HashMap<String, (i32, String)>,
    by_alias: HashMap<String, Vec<(i32, String)>>,
}

impl Resolver {
    async fn load(pool: &PgPool) -> ApiResult<Self> {
        let assets: Vec<(i32, String, String, bool)> = sqlx::query_as(
            "SELECT a.id, a.name, a.uri, \
             EXISTS (SELECT FROM asset_active act WHERE act.name = a.name AND act.uri = a.uri) FROM asset a",
        )
        .fetch_all(pool)
        .await?;
        let aliases: Vec<(String, i32, String)> = sqlx::query_as(
            "SELECT al.name, a.id, a.name FROM asset_alias al \
             JOIN asset_alias_asset aa ON aa.alias_id = al.id JOIN asset a ON a.id = aa.asset_id ORDER BY a.id",
        )
        .fetch_all(pool)
        .await?;
        let mut resolver = Self::default();
        for (id, name, uri, active) in assets {
            if active {
                resolver.active_by_name.insert(name.clone(), (id, name.clone()));
                resolver.active_by_uri.insert(uri.clone(), (id, name.clone()));
            }
            resolver.by_key.insert((name, uri), id);
        }
        for (alias, id, name) in aliases {
            resolver.by_alias.entry(alias).or_default().push((id, name));
        }
        Ok(resolver)
    }

    fn resolve(&self, dependency: Dependency) -> Vec<Dependency> {
        let id = dependency.dependency_id.clone().unwrap_or_default();
        match dependency.dependency_type.as_str() {
            "asset" => {
                let resolved = self.asset_id(&id).map(|id| id.to_string());
                vec![Dependency { dependency_id: resolved.or(dependency.dependency_id), ..dependency }]
            }
            "asset-name-ref" => vec![reference(dependency, self.active_by_name.get(&id))],
            "asset-uri-ref" => vec![reference(dependency, self.active_by_uri.get(&id))],
            "asset-alias" => self.alias(dependency, &id),
            _ => vec![Dependency {
                source: self.node(dependency.source),
                target: self.node(dependency.target),
                ..dependency
            }],
        }
    }

    /// The id of an asset that is stored as a JSON object of name and URI.
    fn asset_id(&self, key: &str) -> Option<i32> {
        let key: Value = serde_json::from_str(key).ok()?;
        let part = |name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned);
        self.by_key.get(&(part("name")?, part("uri")?)).copied()
    }

    fn node(&self, node: String) -> String {
        let id = node.strip_prefix("asset:").and_then(|key| self.asset_id(key));
        id.map_or(node, |id| format!("asset:{id}"))
    }

    /// An alias leads to each of its assets; to none, it stands for itself.
    fn alias(&self, dependency: Dependency, alias: &str) -> Vec<Dependency> {
        let Some(assets) = self.by_alias.get(alias) else { return vec![dependency] };
        let is_source = dependency.source == "asset-alias";
        let mut resolved = Vec::new();
        for (id, name) in assets {
            let alias_node = format!("asset-alias:{alias}");
            let (source, target) =
                if is_source { ("asset".to_owned(), alias_node) } else { (alias_node, "asset".to_owned()) };
            resolved.push(Dependency {
                source,
                target,
                label: name.clone(),
                dependency_type: "asset".to_owned(),
                dependency_id: Some(id.to_string()),
            });
            let asset_node = format!("asset:{id}");
            let (source, target) = if is_source {
                (asset_node, dependency.target.clone())
            } else {
                (dependency.source.clone(), asset_node)
            };
            resolved.push(Dependency {
                source,
                target,
                label: alias.to_owned(),
                dependency_type: "asset-alias".to_owned(),
                dependency_id: Some(alias.to_owned()),
            });
        }
        resolved
    }
}

/// A reference becomes the asset it names, once there is one.
fn reference(dependency: Dependency, asset: Option<&(i32, String)>) -> Dependency {
    let Some((id, name)) = asset else { return dependency };
    let is_source = dependency.source == dependency.dependency_type;
    Dependency {
        source: if is_source { "asset".to_owned() } else { dependency.source },
        target: if is_source { dependency.target } else { "asset".to_owned() },
        label: name.clone(),
        dependency_type: "asset".to_owned(),
        dependency_id: Some(id.to_string()),
    }
}
