//! Partitions of assets: which partition of a Dag an asset event is for, and when a partition has all it needs.
//!
//! The classes and their answers are those of `airflow.partition_mappers` 3.3.2; the crate's tests replay answers
//! recorded from it.

mod mapper;
pub(crate) mod strftime;
mod strptime;
mod temporal;
mod wait_policy;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, FixedOffset, NaiveDateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::asset::AssetCondition;
pub use mapper::{Mapped, PartitionMapper};
pub(crate) use strptime::strptime;
pub use temporal::{Period, TemporalMapper};
pub use wait_policy::{Satisfaction, WaitPolicy};
pub use window::{Direction, Window};

/// Why a mapper gives no answer. The first two are told in the words of Python, as the audit log holds them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// The mapper does not take this key.
    #[error("ValueError: {0}")]
    Value(String),
    /// Mappers that do not fit together.
    #[error("TypeError: {0}")]
    Type(String),
    /// What Python says of a plugin's own class: class and text of the error.
    #[error("{0}")]
    Python(String),
    /// Only Python knows this class.
    #[error("{type_name} is a plugin's own and can be evaluated in Python only")]
    Foreign {
        /// The import path of the class.
        type_name: String,
    },
    /// The serialised form is not that of the class.
    #[error("{type_name} is not as Airflow 3.3 serialises it: {detail}")]
    Serialized {
        /// The class.
        type_name: String,
        /// What is wrong.
        detail: String,
    },
}

/// What a window is enumerated in: a key as it is, or the date that a temporal mapper reads from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A key.
    Text(String),
    /// A date, with the offset that its key named, if any.
    Date(NaiveDateTime, Option<FixedOffset>),
}

/// The mappers of a Dag's partitioned schedule (`PartitionedAssetTimetable`).
#[derive(Debug, Clone)]
pub struct PartitionMappers {
    by_name: BTreeMap<String, Encoded>,
    by_uri: BTreeMap<String, Encoded>,
    default: Encoded,
}

/// An asset of a schedule, by what the schedule knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AssetIdentity<'a> {
    /// Name and URI.
    Asset(&'a str, &'a str),
    /// The name alone.
    Name(&'a str),
    /// The URI alone.
    Uri(&'a str),
}

/// A mapper with its serialised form.
#[derive(Debug, Clone)]
struct Encoded {
    form: Value,
    mapper: PartitionMapper,
}

#[derive(Deserialize)]
struct Arguments {
    default_partition_mapper: Value,
    #[serde(default)]
    partition_mapper_config: Vec<(Value, Value)>,
}

impl PartitionMappers {
    /// Reads the arguments (`__var`) of a serialised `PartitionedAssetTimetable`.
    ///
    /// # Errors
    /// When they are not as Airflow writes them, or name mappers that do not fit together.
    pub fn from_serialized(arguments: &Value) -> Result<Self, PartitionError> {
        let Arguments { default_partition_mapper, partition_mapper_config } =
            decode("PartitionedAssetTimetable", arguments.clone())?;
        let (mut by_name, mut by_uri) = (BTreeMap::new(), BTreeMap::new());
        for (assets, form) in partition_mapper_config {
            let assets = AssetCondition::from_serialized(&assets)
                .map_err(|error| serialized("PartitionedAssetTimetable", error.to_string()))?;
            let encoded = Encoded::read(form)?;
            for leaf in assets.leaves() {
                match leaf {
                    AssetCondition::Asset(key) => {
                        by_name.insert(key.name.clone(), encoded.clone());
                        by_uri.insert(key.uri.clone(), encoded.clone());
                    }
                    AssetCondition::NameRef(name) => drop(by_name.insert(name.clone(), encoded.clone())),
                    AssetCondition::UriRef(uri) => drop(by_uri.insert(uri.clone(), encoded.clone())),
                    // Aliases have no mapper, as in Airflow.
                    AssetCondition::Alias(_) | AssetCondition::All(_) | AssetCondition::Any(_) => {}
                }
            }
        }
        Ok(Self { by_name, by_uri, default: Encoded::read(default_partition_mapper)? })
    }

    /// The mapper of an asset (`get_partition_mapper`): where the name is known, the URI is not asked for.
    #[must_use]
    pub fn of(&self, asset: AssetIdentity<'_>) -> &PartitionMapper {
        &self.encoded(asset).mapper
    }

    /// Whether one of the mappers is of a class of a plugin.
    #[must_use]
    pub fn has_foreign(&self) -> bool {
        let configured = self.by_name.values().chain(self.by_uri.values());
        configured.chain([&self.default]).any(|encoded| encoded.mapper.is_foreign())
    }

    /// The serialised form of an asset's mapper, from which Python makes it again.
    #[must_use]
    pub fn form_of(&self, asset: AssetIdentity<'_>) -> &Value {
        &self.encoded(asset).form
    }

    fn encoded(&self, asset: AssetIdentity<'_>) -> &Encoded {
        let configured = match asset {
            AssetIdentity::Asset(name, _) | AssetIdentity::Name(name) if !name.is_empty() => self.by_name.get(name),
            AssetIdentity::Asset(_, uri) | AssetIdentity::Uri(uri) => self.by_uri.get(uri),
            AssetIdentity::Name(_) => None,
        };
        configured.unwrap_or(&self.default)
    }

    /// What tells whether a waiting partition was queued under the mappers of today (`compute_rollup_fingerprint`).
    #[must_use]
    pub fn fingerprint(&self, condition: &AssetCondition) -> Value {
        let entries = identities(condition).into_iter().map(|asset| {
            let key = match asset {
                AssetIdentity::Asset(name, uri) => format!("{name}|{uri}"),
                AssetIdentity::Name(name) => format!("{name}|"),
                AssetIdentity::Uri(uri) => format!("|{uri}"),
            };
            (key, self.encoded(asset).form.clone())
        });
        let sorted: BTreeMap<String, Value> = entries.collect();
        Value::Object(Map::from_iter(sorted))
    }

    /// The date of a partition, from the key and the assets that contributed to it. `None` when no mapper reads a date
    /// from the key. `of_plugin` tells what Python says where the mapper of an asset is a plugin's own.
    ///
    /// # Errors
    /// [`DateError`] when a mapper fails, or two of them disagree.
    pub fn partition_date<'a>(
        &self,
        assets: impl IntoIterator<Item = AssetIdentity<'a>>,
        key: &str,
        of_plugin: impl Fn(AssetIdentity<'a>, PartitionError) -> Result<Option<DateTime<Utc>>, PartitionError>,
    ) -> Result<Option<DateTime<Utc>>, DateError> {
        let mut dates = BTreeSet::new();
        for asset in assets {
            dates.extend(match self.of(asset).to_partition_date(key) {
                Err(foreign @ PartitionError::Foreign { .. }) => of_plugin(asset, foreign)?,
                date => date?,
            });
        }
        if dates.len() > 1 {
            return Err(DateError::Conflict(dates.into_iter().collect()));
        }
        Ok(dates.pop_first())
    }
}

/// Why a partition has no date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    /// A mapper does not take the key.
    #[error(transparent)]
    Mapper(#[from] PartitionError),
    /// The assets' mappers read different dates from the key.
    #[error("the mappers of its assets read different dates from the key: {0:?}")]
    Conflict(Vec<DateTime<Utc>>),
}

impl Encoded {
    fn read(form: Value) -> Result<Self, PartitionError> {
        Ok(Self { mapper: PartitionMapper::from_serialized(&form)?, form })
    }
}

/// The assets that a condition names; aliases name none.
pub(crate) fn identities(condition: &AssetCondition) -> Vec<AssetIdentity<'_>> {
    let leaves = condition.leaves().into_iter();
    leaves
        .filter_map(|leaf| match leaf {
            AssetCondition::Asset(key) => Some(AssetIdentity::Asset(&key.name, &key.uri)),
            AssetCondition::NameRef(name) => Some(AssetIdentity::Name(name)),
            AssetCondition::UriRef(uri) => Some(AssetIdentity::Uri(uri)),
            _ => None,
        })
        .collect()
}

/// `{"__type": class path, "__var": arguments}`.
#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "__type")]
    type_name: String,
    #[serde(rename = "__var", default)]
    arguments: Value,
}

impl Typed {
    fn read(encoded: &Value) -> Result<Self, PartitionError> {
        decode("partition mapper", encoded.clone())
    }

    /// The name of a class of Airflow's own, from the scheduler's or the SDK's package.
    fn class(&self) -> Result<&str, PartitionError> {
        let core = ["airflow.partition_mappers.", "airflow.sdk.definitions.partition_mappers."];
        core.iter()
            .find_map(|package| self.type_name.strip_prefix(package))
            .and_then(|path| path.rsplit('.').next())
            .ok_or_else(|| self.foreign())
    }

    fn foreign(&self) -> PartitionError {
        PartitionError::Foreign { type_name: self.type_name.clone() }
    }
}

fn decode<T: DeserializeOwned>(type_name: &str, arguments: Value) -> Result<T, PartitionError> {
    serde_json::from_value(arguments).map_err(|error| serialized(type_name, error.to_string()))
}

pub(crate) fn serialized(type_name: &str, detail: String) -> PartitionError {
    PartitionError::Serialized { type_name: type_name.to_owned(), detail }
}

/// A text as Python's `repr` shows it.
pub(crate) fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            other if other == quote => shown.extend(['\\', other]),
            other => shown.push(other),
        }
    }
    shown.push(quote);
    shown
}
