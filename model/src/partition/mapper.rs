//! Partition mappers: from the partition of an asset event to the partitions of a Dag.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::temporal::{Period, TemporalMapper};
use super::wait_policy::{Satisfaction, WaitPolicy};
use super::window::Window;
use super::{Decoded, PartitionError, Typed, decode, repr, serialized};

/// A partition mapper with the limit it sets to itself.
#[derive(Debug, Clone)]
pub struct PartitionMapper {
    /// `max_downstream_keys`: how many keys it may give at most; none leaves it to the configuration.
    pub max_downstream_keys: Option<usize>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Identity,
    Fixed(String),
    Allowed(Vec<String>),
    Temporal(TemporalMapper),
    Product { mappers: Vec<PartitionMapper>, delimiter: String },
    Chain(Vec<PartitionMapper>),
    Rollup { upstream: Box<PartitionMapper>, window: Window, wait_policy: WaitPolicy },
    FanOut { upstream: Box<PartitionMapper>, window: Window, downstream: Box<PartitionMapper> },
    Foreign(String),
}

/// What a key is mapped to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapped {
    /// One key.
    One(String),
    /// Any number of keys.
    Many(Vec<String>),
}

impl Mapped {
    /// The keys.
    #[must_use]
    pub fn into_keys(self) -> Vec<String> {
        match self {
            Self::One(key) => vec![key],
            Self::Many(keys) => keys,
        }
    }
}

#[derive(Deserialize)]
struct Arguments {
    #[serde(default)]
    max_downstream_keys: Option<usize>,
}

#[derive(Deserialize)]
struct Composed {
    mappers: Vec<Value>,
    #[serde(default = "product_delimiter")]
    delimiter: String,
}

fn product_delimiter() -> String {
    "|".to_owned()
}

#[derive(Deserialize)]
struct Windowed {
    upstream_mapper: Value,
    window: Value,
    #[serde(default)]
    wait_policy: Value,
    #[serde(default)]
    downstream_mapper: Value,
}

impl PartitionMapper {
    /// Reads `{"__type": class path, "__var": arguments}`. A plugin's own class, which only Python can evaluate, is
    /// read, and refuses every question.
    ///
    /// # Errors
    /// When a class of Airflow's own does not have the arguments it should, or parts that do not fit together.
    pub fn from_serialized(encoded: &Value) -> Result<Self, PartitionError> {
        let typed = Typed::read(encoded)?;
        let Ok(class) = typed.class() else {
            return Ok(Self { max_downstream_keys: None, kind: Kind::Foreign(typed.type_name) });
        };
        let arguments = typed.arguments.clone();
        let kind = match class {
            "IdentityMapper" => Kind::Identity,
            "FixedKeyMapper" => Kind::Fixed(argument(class, &arguments, "downstream_key")?),
            "AllowedKeyMapper" => Kind::Allowed(argument(class, &arguments, "allowed_keys")?),
            "ProductMapper" => {
                let Composed { mappers, delimiter } = decode(class, arguments.clone())?;
                Kind::Product { mappers: read_all(&mappers)?, delimiter }
            }
            "ChainMapper" => Kind::Chain(read_all(&decode::<Composed>(class, arguments.clone())?.mappers)?),
            "RollupMapper" => rollup(decode(class, arguments.clone())?)?,
            "FanOutMapper" => {
                let parts: Windowed = decode(class, arguments.clone())?;
                Kind::FanOut {
                    upstream: Box::new(Self::from_serialized(&parts.upstream_mapper)?),
                    window: Window::from_serialized(&parts.window)?,
                    downstream: Box::new(Self::from_serialized(&parts.downstream_mapper)?),
                }
            }
            _ => match Period::of_class(class) {
                Some(period) => Kind::Temporal(TemporalMapper::read(class, period, arguments.clone())?),
                None => Kind::Foreign(typed.type_name.clone()),
            },
        };
        let max_downstream_keys = match arguments {
            Value::Null => None,
            arguments => decode::<Arguments>(class, arguments)?.max_downstream_keys,
        };
        Ok(Self { max_downstream_keys, kind })
    }

    /// Whether the class is a plugin's own, of which nothing is known without Python.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        matches!(self.kind, Kind::Foreign(_))
    }

    /// The Dag's partitions that an event of a partition is for (`to_downstream`).
    ///
    /// # Errors
    /// When the mapper does not take the key.
    pub fn to_downstream(&self, key: &str) -> Result<Mapped, PartitionError> {
        match &self.kind {
            Kind::Identity => Ok(Mapped::One(key.to_owned())),
            Kind::Fixed(fixed) => Ok(Mapped::One(fixed.clone())),
            Kind::Allowed(allowed) if allowed.iter().any(|one| one == key) => Ok(Mapped::One(key.to_owned())),
            Kind::Allowed(allowed) => {
                let allowed: Vec<String> = allowed.iter().map(|key| repr(key)).collect();
                let message = format!("Key {} not in allowed keys [{}]", repr(key), allowed.join(", "));
                Err(PartitionError::Value(message))
            }
            Kind::Temporal(mapper) => mapper.to_downstream(key).map(Mapped::One),
            Kind::Product { mappers, delimiter } => product(mappers, delimiter, key).map(Mapped::One),
            Kind::Chain(mappers) => chain(mappers, key),
            Kind::Rollup { upstream, .. } => upstream.to_downstream(key),
            Kind::FanOut { upstream, window, downstream } => {
                let Mapped::One(coarse) = upstream.to_downstream(key)? else {
                    return Err(PartitionError::Type(
                        "FanOutMapper.upstream_mapper must produce a single key from to_downstream; chained fan-out \
                         (mapper that itself returns multiple keys) is not supported."
                            .to_owned(),
                    ));
                };
                let members = window.to_upstream(&upstream.decode(&coarse)?)?;
                members.iter().map(|member| downstream.format(member)).collect::<Result<_, _>>().map(Mapped::Many)
            }
            Kind::Foreign(type_name) => Err(PartitionError::Foreign { type_name: type_name.clone() }),
        }
    }

    /// Whether several partitions of an asset make one of the Dag (`is_rollup`).
    #[must_use]
    pub fn is_rollup(&self) -> bool {
        matches!(self.kind, Kind::Rollup { .. })
    }

    /// Whether the keys received so far are enough for a partition of the Dag. Without a roll-up, one is.
    ///
    /// # Errors
    /// When the mapper does not take the Dag's key.
    pub fn satisfaction(&self, downstream: &str, received: &BTreeSet<String>) -> Result<Satisfaction, PartitionError> {
        match &self.kind {
            Kind::Rollup { wait_policy, .. } => Ok(wait_policy.judge(received, &self.to_upstream(downstream)?)),
            Kind::Foreign(type_name) => Err(PartitionError::Foreign { type_name: type_name.clone() }),
            _ => Ok(Satisfaction::Satisfied),
        }
    }

    /// The partitions of the asset that make up a partition of the Dag (`RollupMapper.to_upstream`); none for mappers
    /// that roll nothing up.
    ///
    /// # Errors
    /// When the mapper does not take the key.
    pub fn to_upstream(&self, downstream: &str) -> Result<BTreeSet<String>, PartitionError> {
        let Kind::Rollup { upstream, window, .. } = &self.kind else { return Ok(BTreeSet::new()) };
        let members = window.to_upstream(&upstream.decode(downstream)?)?;
        members.iter().map(|member| upstream.encode(member)).collect()
    }

    /// The moment a partition of the Dag begins (`to_partition_date`); none where keys are no dates.
    ///
    /// # Errors
    /// When the mapper does not take the key.
    pub fn to_partition_date(&self, downstream: &str) -> Result<Option<DateTime<Utc>>, PartitionError> {
        match &self.kind {
            Kind::Identity | Kind::Fixed(_) | Kind::Allowed(_) => Ok(None),
            Kind::Temporal(mapper) => mapper.to_partition_date(downstream).map(Some),
            Kind::Product { mappers, delimiter } => {
                let segments: Vec<&str> = split(downstream, delimiter)?;
                if segments.len() != mappers.len() {
                    return Ok(None);
                }
                let mut dates = Vec::new();
                for (mapper, segment) in mappers.iter().zip(segments) {
                    dates.extend(mapper.to_partition_date(segment)?);
                }
                // Two dates would be ambiguous.
                Ok(if dates.len() == 1 { dates.pop() } else { None })
            }
            Kind::Chain(mappers) => mappers.last().map_or(Ok(None), |last| last.to_partition_date(downstream)),
            Kind::Rollup { upstream, .. } => upstream.to_partition_date(downstream),
            Kind::FanOut { downstream: mapper, .. } => mapper.to_partition_date(downstream),
            Kind::Foreign(type_name) => Err(PartitionError::Foreign { type_name: type_name.clone() }),
        }
    }

    /// The date of the producer's partition where it is the Dag's, too (`carry_partition_date`): where keys stay as
    /// they are.
    #[must_use]
    pub fn carry_partition_date(&self, of_producer: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        if matches!(self.kind, Kind::Identity) { of_producer } else { None }
    }

    /// `decode_downstream`.
    fn decode(&self, key: &str) -> Result<Decoded, PartitionError> {
        match &self.kind {
            Kind::Temporal(mapper) => mapper.decode(key),
            Kind::Foreign(type_name) => Err(PartitionError::Foreign { type_name: type_name.clone() }),
            _ => Ok(Decoded::Text(key.to_owned())),
        }
    }

    /// `encode_upstream`.
    fn encode(&self, member: &Decoded) -> Result<String, PartitionError> {
        match (&self.kind, member) {
            (Kind::Temporal(mapper), Decoded::Date(wall_clock, offset)) => Ok(mapper.encode(*wall_clock, *offset)),
            (Kind::Foreign(type_name), _) => Err(PartitionError::Foreign { type_name: type_name.clone() }),
            (_, Decoded::Text(text)) => Ok(text.clone()),
            _ => Err(PartitionError::Type("the window and the mapper of a RollupMapper do not fit".to_owned())),
        }
    }

    /// The key of a member of a fan-out (`_format_with`).
    fn format(&self, member: &Decoded) -> Result<String, PartitionError> {
        match (&self.kind, member) {
            (Kind::Foreign(type_name), _) => Err(PartitionError::Foreign { type_name: type_name.clone() }),
            (Kind::Temporal(mapper), Decoded::Date(wall_clock, offset)) => mapper.format(*wall_clock, *offset),
            (Kind::Temporal(_), Decoded::Text(_)) => {
                Err(PartitionError::Type("a temporal downstream_mapper needs a temporal window".to_owned()))
            }
            (_, Decoded::Date(wall_clock, offset)) => Ok(super::strftime::isoformat(*wall_clock, *offset)),
            (_, Decoded::Text(text)) => Ok(text.clone()),
        }
    }

    /// Whether decoding gives dates (`expected_decoded_type`).
    fn decodes_dates(&self) -> bool {
        matches!(self.kind, Kind::Temporal(_))
    }
}

fn argument<T: serde::de::DeserializeOwned>(class: &str, arguments: &Value, name: &str) -> Result<T, PartitionError> {
    let value = arguments.get(name).ok_or_else(|| serialized(class, format!("{name} is missing")))?;
    decode(class, value.clone())
}

fn read_all(encoded: &[Value]) -> Result<Vec<PartitionMapper>, PartitionError> {
    encoded.iter().map(PartitionMapper::from_serialized).collect()
}

fn rollup(parts: Windowed) -> Result<Kind, PartitionError> {
    let upstream = PartitionMapper::from_serialized(&parts.upstream_mapper)?;
    let window = Window::from_serialized(&parts.window)?;
    let foreign = matches!(upstream.kind, Kind::Foreign(_)) || matches!(window, Window::Foreign(_));
    if !foreign && upstream.decodes_dates() != window.is_temporal() {
        return Err(PartitionError::Type("the window of a RollupMapper does not fit its upstream_mapper".to_owned()));
    }
    let wait_policy = WaitPolicy::from_serialized(&parts.wait_policy)?;
    Ok(Kind::Rollup { upstream: Box::new(upstream), window, wait_policy })
}

fn split<'a>(key: &'a str, delimiter: &str) -> Result<Vec<&'a str>, PartitionError> {
    if delimiter.is_empty() {
        return Err(PartitionError::Value("empty separator".to_owned()));
    }
    Ok(key.split(delimiter).collect())
}

fn product(mappers: &[PartitionMapper], delimiter: &str, key: &str) -> Result<String, PartitionError> {
    let segments = split(key, delimiter)?;
    if segments.len() != mappers.len() {
        let message = format!("Expected {} segments in key, got {}", mappers.len(), segments.len());
        return Err(PartitionError::Value(message));
    }
    let mapped = mappers.iter().zip(segments).map(|(mapper, segment)| match mapper.to_downstream(segment)? {
        Mapped::One(key) => Ok(key),
        Mapped::Many(_) => {
            let message = format!(
                "ProductMapper child mappers must return a single key, but {} returned multiple keys",
                mapper.class_name()
            );
            Err(PartitionError::Type(message))
        }
    });
    Ok(mapped.collect::<Result<Vec<_>, _>>()?.join(delimiter))
}

fn chain(mappers: &[PartitionMapper], key: &str) -> Result<Mapped, PartitionError> {
    let mut keys = vec![key.to_owned()];
    for mapper in mappers {
        let mapped = keys.iter().map(|key| mapper.to_downstream(key).map(Mapped::into_keys));
        keys = mapped.collect::<Result<Vec<_>, _>>()?.concat();
    }
    Ok(match <[String; 1]>::try_from(keys) {
        Ok([key]) => Mapped::One(key),
        Err(keys) => Mapped::Many(keys),
    })
}

impl PartitionMapper {
    fn class_name(&self) -> &str {
        match &self.kind {
            Kind::Identity => "IdentityMapper",
            Kind::Fixed(_) => "FixedKeyMapper",
            Kind::Allowed(_) => "AllowedKeyMapper",
            Kind::Temporal(mapper) => mapper.class_name(),
            Kind::Product { .. } => "ProductMapper",
            Kind::Chain(_) => "ChainMapper",
            Kind::Rollup { .. } => "RollupMapper",
            Kind::FanOut { .. } => "FanOutMapper",
            Kind::Foreign(type_name) => type_name.rsplit('.').next().unwrap_or(type_name),
        }
    }
}
