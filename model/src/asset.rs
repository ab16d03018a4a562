//! Conditions over assets: which events start a Dag.
//!
//! Source: `airflow/assets/evaluation.py` and `decode_asset_like` in `airflow/serialization/decoders.py`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What identifies an asset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetKey {
    /// Its name.
    pub name: String,
    /// Its URI.
    pub uri: String,
}

/// A serialized condition is not as Airflow writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("asset condition is not as Airflow 3.3 serialises it: {0}")]
pub struct AssetConditionError(String);

impl AssetConditionError {
    fn about(encoded: &Value) -> Self {
        Self(encoded.to_string().chars().take(200).collect())
    }
}

/// What has to happen to assets before a Dag runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetCondition {
    /// An asset.
    Asset(AssetKey),
    /// Any of the assets that an alias has led to so far.
    Alias(String),
    /// The active asset of a name.
    NameRef(String),
    /// The active asset of a URI.
    UriRef(String),
    /// All of them.
    All(Vec<AssetCondition>),
    /// Any of them.
    Any(Vec<AssetCondition>),
}

/// What the database knows about the references and aliases of conditions.
#[derive(Debug, Clone, Default)]
pub struct KnownAssets {
    /// Active assets by name.
    pub by_name: BTreeMap<String, AssetKey>,
    /// Active assets by URI.
    pub by_uri: BTreeMap<String, AssetKey>,
    /// The assets that an alias has led to.
    pub by_alias: BTreeMap<String, Vec<AssetKey>>,
}

impl AssetCondition {
    /// Reads `{"__type": …}`, whose arguments lie beside the type or in `__var`.
    ///
    /// # Errors
    /// When the type is not known or an argument is missing.
    pub fn from_serialized(encoded: &Value) -> Result<Self, AssetConditionError> {
        let broken = || AssetConditionError::about(encoded);
        let part = encoded.get("__var").unwrap_or(encoded);
        let text = |key: &str| part.get(key).and_then(Value::as_str).map(str::to_owned);
        let members = || {
            let objects = part.get("objects").and_then(Value::as_array).ok_or_else(broken)?;
            objects.iter().map(Self::from_serialized).collect::<Result<Vec<_>, _>>()
        };
        match encoded.get("__type").and_then(Value::as_str).ok_or_else(broken)? {
            "asset" => Ok(Self::Asset(AssetKey {
                name: text("name").ok_or_else(broken)?,
                uri: text("uri").ok_or_else(broken)?,
            })),
            "asset_alias" => Ok(Self::Alias(text("name").ok_or_else(broken)?)),
            "asset_ref" => text("name").map(Self::NameRef).or_else(|| text("uri").map(Self::UriRef)).ok_or_else(broken),
            "asset_all" => Ok(Self::All(members()?)),
            "asset_any" => Ok(Self::Any(members()?)),
            _ => Err(broken()),
        }
    }

    /// Reads the form that is kept for display (`dag.asset_expression`).
    ///
    /// # Errors
    /// When it is not as Airflow writes it.
    pub fn from_expression(expression: &Value) -> Result<Self, AssetConditionError> {
        let broken = || AssetConditionError::about(expression);
        let members = |members: &Value| {
            let members = members.as_array().ok_or_else(broken)?;
            members.iter().map(Self::from_expression).collect::<Result<Vec<_>, _>>()
        };
        let (kind, part) = expression.as_object().and_then(|parts| parts.iter().next()).ok_or_else(broken)?;
        let text = |key: &str| part.get(key).and_then(Value::as_str).map(str::to_owned);
        match kind.as_str() {
            "asset" => Ok(Self::Asset(AssetKey {
                name: text("name").ok_or_else(broken)?,
                uri: text("uri").ok_or_else(broken)?,
            })),
            "alias" => Ok(Self::Alias(text("name").ok_or_else(broken)?)),
            "asset_ref" => text("name").map(Self::NameRef).or_else(|| text("uri").map(Self::UriRef)).ok_or_else(broken),
            "all" => members(part).map(Self::All),
            "any" => members(part).map(Self::Any),
            _ => Err(broken()),
        }
    }

    /// Whether events of `happened` fulfil the condition. An empty `All` is fulfilled, an empty `Any` never.
    #[must_use]
    pub fn is_fulfilled(&self, happened: &BTreeSet<AssetKey>, known: &KnownAssets) -> bool {
        let has = |key: Option<&AssetKey>| key.is_some_and(|key| happened.contains(key));
        match self {
            Self::Asset(key) => happened.contains(key),
            Self::NameRef(name) => has(known.by_name.get(name)),
            Self::UriRef(uri) => has(known.by_uri.get(uri)),
            Self::Alias(alias) => known.by_alias.get(alias).into_iter().flatten().any(|key| happened.contains(key)),
            Self::All(members) => members.iter().all(|member| member.is_fulfilled(happened, known)),
            Self::Any(members) => members.iter().any(|member| member.is_fulfilled(happened, known)),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> AssetKey {
        AssetKey { name: name.to_owned(), uri: format!("s3://{name}") }
    }

    fn happened(names: &[&str]) -> BTreeSet<AssetKey> {
        names.iter().copied().map(key).collect()
    }

    #[test]
    fn references_and_aliases_mean_what_the_database_knows() {
        let asset = |name: &str| json!({"__type": "asset", "name": name, "uri": format!("s3://{name}")});
        let encoded = json!({"__type": "asset_all", "objects": [
            asset("a"),
            {"__type": "asset_any", "objects": [
                {"__type": "asset_ref", "name": "n"},
                {"__type": "asset_ref", "uri": "s3://u"},
                {"__type": "asset_alias", "__var": {"name": "al", "group": ""}},
            ]},
        ]});
        let condition = AssetCondition::from_serialized(&encoded).unwrap();
        let known = KnownAssets {
            by_name: [("n".to_owned(), key("n"))].into(),
            by_uri: [("s3://u".to_owned(), key("u"))].into(),
            by_alias: [("al".to_owned(), vec![key("x"), key("y")])].into(),
        };
        for second in ["n", "u", "x", "y"] {
            assert!(condition.is_fulfilled(&happened(&["a", second]), &known), "{second}");
            assert!(!condition.is_fulfilled(&happened(&["a", second]), &KnownAssets::default()), "{second}");
            assert!(!condition.is_fulfilled(&happened(&[second]), &known), "{second}");
        }
        assert!(!condition.is_fulfilled(&happened(&["a", "b"]), &known));
    }

    #[test]
    fn what_airflow_does_not_write_is_refused() {
        for encoded in [json!(null), json!({"__type": "asset", "name": "a"}), json!({"__type": "asset_none"})] {
            assert!(AssetCondition::from_serialized(&encoded).is_err(), "{encoded}");
        }
    }

    fn condition() -> impl Strategy<Value = AssetCondition> {
        let leaf = (0..6_u8).prop_map(|n| AssetCondition::Asset(key(&n.to_string())));
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(AssetCondition::All),
                prop::collection::vec(inner, 1..4).prop_map(AssetCondition::Any),
            ]
        })
    }

    /// The dual: what must not happen for the condition to stay unfulfilled.
    fn dual(condition: &AssetCondition) -> AssetCondition {
        match condition {
            AssetCondition::All(members) => AssetCondition::Any(members.iter().map(dual).collect()),
            AssetCondition::Any(members) => AssetCondition::All(members.iter().map(dual).collect()),
            leaf => leaf.clone(),
        }
    }

    proptest! {
        #[test]
        fn more_events_never_unfulfil(
            condition in condition(),
            few in prop::collection::btree_set(0..6_u8, 0..6),
            more in prop::collection::btree_set(0..6_u8, 0..6),
        ) {
            let named = |numbers: &BTreeSet<u8>| numbers.iter().map(|n| key(&n.to_string())).collect::<BTreeSet<_>>();
            let known = KnownAssets::default();
            let all: BTreeSet<u8> = few.union(&more).copied().collect();
            if condition.is_fulfilled(&named(&few), &known) {
                prop_assert!(condition.is_fulfilled(&named(&all), &known));
            }
            // De Morgan: fulfilled by some, unless the dual is fulfilled by all others.
            let others: BTreeSet<u8> = (0..6).filter(|n| !few.contains(n)).collect();
            prop_assert_ne!(
                condition.is_fulfilled(&named(&few), &known),
                dual(&condition).is_fulfilled(&named(&others), &known)
            );
            // Everything it is made of together fulfils it; nothing at all does not.
            prop_assert!(condition.is_fulfilled(&named(&(0..6).collect()), &known));
            prop_assert!(!condition.is_fulfilled(&BTreeSet::new(), &known));
        }
    }
}
