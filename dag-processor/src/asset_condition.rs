//! Assets in a serialized Dag: what triggers it, and what its tasks read and write.

use serde_json::{Value, json};
use tradewind_metadata::parse_result::{Asset, AssetAlias, AssetUse, AssetWatcher};

/// Anything that stands for assets in a serialized Dag (`decode_asset_like` in `airflow/serialization/decoders.py`).
#[derive(Debug, Clone, PartialEq)]
pub enum AssetLike {
    /// An asset.
    Asset(Asset),
    /// An alias.
    Alias(AssetAlias),
    /// An asset by name alone.
    NameRef(String),
    /// An asset by URI alone.
    UriRef(String),
    /// All of them.
    All(Vec<AssetLike>),
    /// Any of them.
    Any(Vec<AssetLike>),
}

impl AssetLike {
    /// Reads `{"__type": …, "__var": {…}}`, or the form without `__var`; `None` for anything else.
    #[must_use]
    pub fn read(encoded: &Value) -> Option<Self> {
        let part = encoded.get("__var").unwrap_or(encoded);
        let text = |key: &str| part.get(key).and_then(Value::as_str).map(str::to_owned);
        let members = || part.get("objects")?.as_array()?.iter().map(Self::read).collect::<Option<Vec<_>>>();
        match encoded.get("__type")?.as_str()? {
            "asset" => Some(Self::Asset(Asset {
                name: text("name")?,
                uri: text("uri")?,
                group: text("group").unwrap_or_default(),
                extra: part.get("extra").cloned().unwrap_or_else(|| json!({})),
                watchers: part
                    .get("watchers")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(watcher)
                    .collect(),
                access_control: part.get("access_control").cloned().unwrap_or_else(|| json!({})),
            })),
            "asset_alias" => {
                Some(Self::Alias(AssetAlias { name: text("name")?, group: text("group").unwrap_or_default() }))
            }
            "asset_ref" => text("name").map(Self::NameRef).or_else(|| text("uri").map(Self::UriRef)),
            "asset_all" => Some(Self::All(members()?)),
            "asset_any" => Some(Self::Any(members()?)),
            _ => None,
        }
    }

    /// The expression kept in `dag.asset_expression`, without the ids of the assets.
    #[must_use]
    pub fn expression(&self) -> Value {
        let all = |members: &[Self]| members.iter().map(Self::expression).collect::<Value>();
        match self {
            Self::Asset(asset) => json!({"asset": {"uri": asset.uri, "name": asset.name, "group": asset.group}}),
            Self::Alias(alias) => json!({"alias": {"name": alias.name, "group": alias.group}}),
            Self::NameRef(name) => json!({"asset_ref": {"name": name}}),
            Self::UriRef(uri) => json!({"asset_ref": {"uri": uri}}),
            Self::All(members) => json!({"all": all(members)}),
            Self::Any(members) => json!({"any": all(members)}),
        }
    }

    /// What the condition is made of, from left to right.
    #[must_use]
    pub fn leaves(&self) -> Vec<&Self> {
        match self {
            Self::All(members) | Self::Any(members) => members.iter().flat_map(Self::leaves).collect(),
            leaf => vec![leaf],
        }
    }
}

fn watcher(encoded: &Value) -> Option<AssetWatcher> {
    let trigger = encoded.get("trigger")?;
    Some(AssetWatcher {
        name: encoded.get("name")?.as_str()?.to_owned(),
        classpath: trigger.get("classpath")?.as_str()?.to_owned(),
        kwargs: trigger.get("kwargs").cloned().unwrap_or_else(|| json!({})),
    })
}

/// Assets and aliases among the `inlets` or `outlets` (`port`) of the tasks.
#[must_use]
pub fn of_tasks(tasks: &[Value], port: &str) -> (Vec<AssetUse>, Vec<AssetAlias>) {
    let (mut assets, mut aliases) = (Vec::new(), Vec::new());
    for task in tasks {
        let task = task.get("__var").unwrap_or(task);
        let is_mapped = task.get("_is_mapped").and_then(Value::as_bool).unwrap_or(false);
        let holder = if is_mapped { task.get("partial_kwargs") } else { Some(task) };
        let ports = holder.and_then(|holder| holder.get(port)).map(|ports| ports.get("__var").unwrap_or(ports));
        let task_id = task.get("task_id").and_then(Value::as_str).unwrap_or_default();
        for encoded in ports.and_then(Value::as_array).into_iter().flatten() {
            match AssetLike::read(encoded) {
                Some(AssetLike::Asset(asset)) => assets.push(AssetUse { task_id: task_id.to_owned(), asset }),
                Some(AssetLike::Alias(alias)) => aliases.push(alias),
                _ => {}
            }
        }
    }
    (assets, aliases)
}

/// `dag.partition_mapper_info`: for every asset of a partitioned schedule whether its mapper gathers several partitions
/// into one (`PartitionedAssetTimetable.partition_mapper_info` in `airflow/timetables/simple.py`).
#[must_use]
pub fn partition_mapper_info(timetable: &Value, condition: &AssetLike) -> Vec<Value> {
    let part = timetable.get("__var").unwrap_or(timetable);
    let Some(default) = part.get("default_partition_mapper") else {
        return Vec::new();
    };
    let configured: Vec<(AssetLike, &Value)> = part
        .get("partition_mapper_config")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|pair| Some((AssetLike::read(pair.get(0)?)?, pair.get(1)?)))
        .collect();
    // The last entry that speaks of an asset counts; a name says more than a URI.
    let mapper = |name: Option<&str>, uri: Option<&str>| {
        let speaks = |like: &AssetLike| {
            like.leaves().into_iter().any(|leaf| match (leaf, name, uri) {
                (AssetLike::Asset(asset), Some(name), _) => asset.name == name,
                (AssetLike::NameRef(wanted), Some(name), _) => wanted == name,
                (AssetLike::Asset(asset), None, Some(uri)) => asset.uri == uri,
                (AssetLike::UriRef(wanted), None, Some(uri)) => wanted == uri,
                _ => false,
            })
        };
        configured.iter().rev().find(|(like, _)| speaks(like)).map_or(default, |(_, mapper)| *mapper)
    };
    let leaves = condition.leaves();
    let assets = leaves.iter().filter_map(|leaf| match leaf {
        AssetLike::Asset(asset) => Some(json!({
            "name": asset.name,
            "uri": asset.uri,
            "is_rollup": is_rollup(mapper(Some(&asset.name), None)),
        })),
        _ => None,
    });
    let references = leaves.iter().filter_map(|leaf| match leaf {
        AssetLike::NameRef(name) => Some(json!({"name": name, "is_rollup": is_rollup(mapper(Some(name), None))})),
        AssetLike::UriRef(uri) => Some(json!({"uri": uri, "is_rollup": is_rollup(mapper(None, Some(uri)))})),
        _ => None,
    });
    assets.chain(references).collect()
}

fn is_rollup(mapper: &Value) -> bool {
    mapper.get("__type").and_then(Value::as_str).is_some_and(|path| path.ends_with(".RollupMapper"))
}
