//! Assets and their aliases.
//!
//! Source: `airflow/models/asset.py` and `airflow/api_fastapi/execution_api/routes/assets.py`.

use std::collections::BTreeSet;

use serde_json::Value;
use sqlx::{FromRow, PgConnection, query_as, query_scalar};
use tradewind_model::asset::{AssetCondition, AssetKey, KnownAssets};

use crate::Result;

/// An asset.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Asset {
    /// `asset.id`.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Its URI.
    pub uri: String,
    /// Its group.
    pub group: String,
    /// What the Dag's author wrote about it.
    pub extra: Value,
}

/// The active asset with a name. Names and URIs of active assets are unique.
pub async fn active_by_name(connection: &mut PgConnection, name: &str) -> Result<Option<Asset>> {
    let statement = "SELECT asset.* FROM asset JOIN asset_active USING (name, uri) WHERE asset.name = $1";
    Ok(query_as(statement).bind(name).fetch_optional(connection).await?)
}

/// The active asset with a URI.
pub async fn active_by_uri(connection: &mut PgConnection, uri: &str) -> Result<Option<Asset>> {
    let statement = "SELECT asset.* FROM asset JOIN asset_active USING (name, uri) WHERE asset.uri = $1";
    Ok(query_as(statement).bind(uri).fetch_optional(connection).await?)
}

/// The assets that an alias has resolved to so far.
pub async fn of_alias(connection: &mut PgConnection, alias: &str) -> Result<Vec<Asset>> {
    let statement = "SELECT asset.* FROM asset JOIN asset_alias_asset link ON link.asset_id = asset.id \
                     JOIN asset_alias alias ON alias.id = link.alias_id WHERE alias.name = $1 ORDER BY asset.id";
    Ok(query_as(statement).bind(alias).fetch_all(connection).await?)
}

/// Those of the given assets, by name and URI, that are active.
pub async fn active_among(connection: &mut PgConnection, assets: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
    let (names, uris): (Vec<&str>, Vec<&str>) = assets.iter().copied().unzip();
    let statement = "SELECT name, uri FROM asset_active JOIN unnest($1::text[], $2::text[]) AS wanted (n, u) \
                     ON wanted.n = name AND wanted.u = uri";
    Ok(query_as(statement).bind(names).bind(uris).fetch_all(connection).await?)
}

/// Looks an asset up by name and URI, active or not, and creates it when an alias brings it up for the first time.
pub(crate) async fn get_or_create(connection: &mut PgConnection, name: &str, uri: &str, extra: &Value) -> Result<i32> {
    let found = query_scalar("SELECT id FROM asset WHERE name = $1 AND uri = $2")
        .bind(name)
        .bind(uri)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(id) = found {
        return Ok(id);
    }
    let id = query_scalar(
        "INSERT INTO asset (name, uri, \"group\", extra, created_at, updated_at) VALUES ($1, $2, 'asset', $3, now(), now()) \
         ON CONFLICT (name, uri) DO UPDATE SET name = excluded.name RETURNING id",
    )
    .bind(name)
    .bind(uri)
    .bind(sqlx::types::Json(extra))
    .fetch_one(connection)
    .await?;
    Ok(id)
}

/// What the references and aliases in conditions mean at this moment.
pub async fn known<'a>(
    connection: &mut PgConnection,
    conditions: impl Iterator<Item = &'a AssetCondition>,
) -> Result<KnownAssets> {
    let (mut names, mut uris, mut aliases) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for leaf in conditions.flat_map(AssetCondition::leaves) {
        match leaf {
            AssetCondition::NameRef(name) => drop(names.insert(name.as_str())),
            AssetCondition::UriRef(uri) => drop(uris.insert(uri.as_str())),
            AssetCondition::Alias(alias) => drop(aliases.insert(alias.as_str())),
            AssetCondition::Asset(_) | AssetCondition::All(_) | AssetCondition::Any(_) => {}
        }
    }
    let mut known = KnownAssets::default();
    if names.is_empty() && uris.is_empty() && aliases.is_empty() {
        return Ok(known);
    }
    let rows: Vec<(String, String, String, String)> = query_as(include_str!("../queries/asset/known.sql"))
        .bind(names.into_iter().collect::<Vec<_>>())
        .bind(uris.into_iter().collect::<Vec<_>>())
        .bind(aliases.into_iter().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    for (kind, referred, name, uri) in rows {
        let key = AssetKey { name, uri };
        match kind.as_str() {
            "name" => drop(known.by_name.insert(referred, key)),
            "uri" => drop(known.by_uri.insert(referred, key)),
            _ => known.by_alias.entry(referred).or_default().push(key),
        }
    }
    Ok(known)
}
