//! Rows of `asset` and `asset_alias`, and which assets are active.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, query, query_as};

use super::{Asset, ParsedDag};
use crate::Result;

/// The ids of a file's assets and aliases.
#[derive(Debug, Default)]
pub(super) struct AssetIds {
    assets: HashMap<(String, String), i32>,
    aliases: HashMap<String, i32>,
}

impl AssetIds {
    /// The id of an asset.
    pub(super) fn asset(&self, asset: &Asset) -> Option<i32> {
        self.assets.get(&(asset.name.clone(), asset.uri.clone())).copied()
    }

    /// The id of an alias.
    pub(super) fn alias(&self, name: &str) -> Option<i32> {
        self.aliases.get(name).copied()
    }

    /// Adds the ids to the assets of an expression (`update_dag_asset_expression`).
    pub(super) fn number(&self, mut expression: Value) -> Value {
        self.number_in_place(&mut expression);
        expression
    }

    fn number_in_place(&self, expression: &mut Value) {
        let Value::Object(parts) = expression else { return };
        for (kind, part) in parts {
            match (kind.as_str(), part) {
                ("any" | "all", Value::Array(members)) => {
                    members.iter_mut().for_each(|member| self.number_in_place(member))
                }
                ("asset", Value::Object(asset)) => {
                    let text = |key: &str| asset.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                    if let Some(id) = self.assets.get(&(text("name"), text("uri"))) {
                        asset.insert("id".to_owned(), (*id).into());
                    }
                }
                _ => {}
            }
        }
    }
}

#[derive(FromRow)]
struct StoredAsset {
    id: i32,
    name: String,
    uri: String,
    group: String,
    extra: Value,
}

/// Creates and updates the assets and aliases of the Dags, makes the assets active where no other asset has their name
/// or URI, and returns the ids.
pub(super) async fn sync(connection: &mut PgConnection, dags: &[ParsedDag], now: DateTime<Utc>) -> Result<AssetIds> {
    Ok(AssetIds { assets: sync_assets(connection, dags, now).await?, aliases: sync_aliases(connection, dags).await? })
}

async fn sync_assets(
    connection: &mut PgConnection,
    dags: &[ParsedDag],
    now: DateTime<Utc>,
) -> Result<HashMap<(String, String), i32>> {
    let declared: BTreeMap<(&str, &str), &Asset> = dags
        .iter()
        .flat_map(ParsedDag::assets)
        .map(|asset| ((asset.name.as_str(), asset.uri.as_str()), asset))
        .collect();
    if declared.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<&str> = declared.keys().map(|key| key.0).collect();
    let uris: Vec<&str> = declared.keys().map(|key| key.1).collect();
    let mut stored = stored_assets(connection, &names, &uris).await?;
    // A plain upsert would take a number from the sequence on every parse.
    let changed: Vec<&Asset> = declared
        .values()
        .copied()
        .filter(|asset| !stored.iter().any(|known| known.is(asset) && known.says_the_same(asset)))
        .collect();
    if !changed.is_empty() {
        write_assets(connection, &changed, now).await?;
        stored = stored_assets(connection, &names, &uris).await?;
    }
    query("INSERT INTO asset_active (name, uri) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING")
        .bind(&names)
        .bind(&uris)
        .execute(connection)
        .await?;
    Ok(stored.into_iter().map(|asset| ((asset.name, asset.uri), asset.id)).collect())
}

impl StoredAsset {
    fn is(&self, asset: &Asset) -> bool {
        self.name == asset.name && self.uri == asset.uri
    }

    fn says_the_same(&self, asset: &Asset) -> bool {
        self.group == asset.group && self.extra == asset.extra
    }
}

async fn stored_assets(connection: &mut PgConnection, names: &[&str], uris: &[&str]) -> Result<Vec<StoredAsset>> {
    Ok(query_as(
        r#"SELECT asset.id, asset.name, asset.uri, asset."group", asset.extra
           FROM asset JOIN unnest($1::text[], $2::text[]) AS wanted (name, uri) USING (name, uri)
           ORDER BY name, uri FOR NO KEY UPDATE OF asset"#,
    )
    .bind(names)
    .bind(uris)
    .fetch_all(connection)
    .await?)
}

async fn write_assets(connection: &mut PgConnection, assets: &[&Asset], now: DateTime<Utc>) -> Result<()> {
    query(include_str!("../../queries/parse_result/upsert_asset.sql"))
        .bind(assets.iter().map(|asset| asset.name.as_str()).collect::<Vec<_>>())
        .bind(assets.iter().map(|asset| asset.uri.as_str()).collect::<Vec<_>>())
        .bind(assets.iter().map(|asset| asset.group.as_str()).collect::<Vec<_>>())
        .bind(assets.iter().map(|asset| asset.extra.clone()).collect::<Vec<_>>())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

async fn sync_aliases(connection: &mut PgConnection, dags: &[ParsedDag]) -> Result<HashMap<String, i32>> {
    let declared: BTreeMap<&str, &str> =
        dags.iter().flat_map(ParsedDag::aliases).map(|alias| (alias.name.as_str(), alias.group.as_str())).collect();
    if declared.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<&str> = declared.keys().copied().collect();
    let mut stored = stored_aliases(connection, &names).await?;
    let known: HashMap<&str, &str> = stored.iter().map(|(_, name, group)| (name.as_str(), group.as_str())).collect();
    let changed: BTreeMap<&str, &str> =
        declared.into_iter().filter(|(name, group)| known.get(name) != Some(group)).collect();
    if !changed.is_empty() {
        query(
            r#"INSERT INTO asset_alias (name, "group") SELECT * FROM unnest($1::text[], $2::text[])
               ON CONFLICT (name) DO UPDATE SET "group" = EXCLUDED."group""#,
        )
        .bind(changed.keys().copied().collect::<Vec<_>>())
        .bind(changed.values().copied().collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
        stored = stored_aliases(connection, &names).await?;
    }
    Ok(stored.into_iter().map(|(id, name, _)| (name, id)).collect())
}

async fn stored_aliases(connection: &mut PgConnection, names: &[&str]) -> Result<Vec<(i32, String, String)>> {
    Ok(query_as(r#"SELECT id, name, "group" FROM asset_alias WHERE name = ANY($1) ORDER BY name"#)
        .bind(names)
        .fetch_all(connection)
        .await?)
}
