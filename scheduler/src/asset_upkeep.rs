//! Which assets are active: those that a Dag, a task or an alias still names.
//!
//! Source: `SchedulerJobRunner._update_asset_orphanage`.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use metrics::gauge;
use sqlx::{FromRow, PgConnection, query, query_as, query_scalar};
use tradewind_metadata::{Database, Result};

/// Names the lock that one scheduler takes to do this; the others need not.
const LOCK: &str = "SELECT pg_try_advisory_xact_lock(hashtextextended('upkeep of assets', 0))";

#[derive(Debug, FromRow)]
struct Inactive {
    id: i32,
    name: String,
    uri: String,
    group: String,
    active_uri: Option<String>,
    active_name: Option<String>,
}

/// Assets that become active, and what keeps others from it.
#[derive(Debug, Default)]
struct Activation {
    names: Vec<String>,
    uris: Vec<String>,
    conflicts: HashMap<i32, String>,
}

/// Retires assets that nobody names any more, activates those that somebody names, and warns the Dags whose assets cannot
/// be activated, because another one has the name or the URI.
pub(crate) async fn update(database: &Database, now: DateTime<Utc>) -> Result<()> {
    let mut transaction = database.pool().begin().await?;
    let alone: bool = query_scalar(LOCK).fetch_one(&mut *transaction).await?;
    if !alone {
        return Ok(());
    }
    let orphaned = query(include_str!("../queries/orphan_assets.sql")).execute(&mut *transaction).await?;
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    gauge!("asset.orphaned").set(orphaned.rows_affected() as f64);
    let inactive: Vec<Inactive> =
        query_as(include_str!("../queries/inactive_assets.sql")).fetch_all(&mut *transaction).await?;
    let activation = activate(&inactive);
    if !activation.names.is_empty() {
        query(
            "INSERT INTO asset_active (name, uri) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING",
        )
        .bind(&activation.names)
        .bind(&activation.uris)
        .execute(&mut *transaction)
        .await?;
    }
    warn(&mut transaction, &activation.conflicts, now).await?;
    query(include_str!("../queries/forget_assets.sql")).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// Decides in turn: of two assets with one name or one URI, the first becomes active.
fn activate(inactive: &[Inactive]) -> Activation {
    let (mut uri_of, mut name_of) = (HashMap::new(), HashMap::new());
    let mut activation = Activation::default();
    for asset in inactive {
        let other_uri = asset.active_uri.as_ref().or_else(|| uri_of.get(&asset.name).copied());
        let other_name = asset.active_name.as_ref().or_else(|| name_of.get(&asset.uri).copied());
        let taken = match (other_uri, other_name) {
            (Some(uri), _) if *uri != asset.uri => Some(("name", uri)),
            (_, Some(name)) if *name != asset.name => Some(("uri", name)),
            _ => None,
        };
        if let Some((what, by)) = taken {
            let Inactive { id, name, uri, group, .. } = asset;
            let message = format!(
                "Cannot activate asset Asset(name=\"{name}\", uri=\"{uri}\", group=\"{group}\"); {what} is already \
                 associated to '{by}'"
            );
            activation.conflicts.insert(*id, message);
            continue;
        }
        uri_of.insert(&asset.name, &asset.uri);
        name_of.insert(&asset.uri, &asset.name);
        activation.names.push(asset.name.clone());
        activation.uris.push(asset.uri.clone());
    }
    activation
}

/// Warns the Dags that name the assets, once for every way in which they do.
async fn warn(connection: &mut PgConnection, conflicts: &HashMap<i32, String>, now: DateTime<Utc>) -> Result<()> {
    let mut messages: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    if !conflicts.is_empty() {
        let naming: Vec<(i32, String)> = query_as(include_str!("../queries/dags_naming_assets.sql"))
            .bind(conflicts.keys().copied().collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
        for (asset_id, dag_id) in naming {
            messages.entry(dag_id).or_default().extend(conflicts.get(&asset_id).map(String::as_str));
        }
    }
    let (dag_ids, messages): (Vec<String>, Vec<String>) =
        messages.into_iter().map(|(dag_id, lines)| (dag_id, lines.join("\n"))).unzip();
    query(include_str!("../queries/set_asset_warnings.sql"))
        .bind(dag_ids)
        .bind(messages)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inactive(id: i32, name: &str, uri: &str, active_uri: Option<&str>, active_name: Option<&str>) -> Inactive {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Inactive {
            id,
            name: name.to_owned(),
            uri: uri.to_owned(),
            group: "asset".to_owned(),
            active_uri: owned(active_uri),
            active_name: owned(active_name),
        }
    }

    #[test]
    fn names_and_uris_of_active_assets_stay_unique() {
        let assets = [
            inactive(1, "a", "s3://a", None, None),
            inactive(2, "a", "s3://other", None, None),
            inactive(3, "b", "s3://a", None, None),
            inactive(4, "c", "s3://c", Some("s3://active"), None),
            inactive(5, "d", "s3://d", None, Some("active")),
            inactive(6, "e", "s3://e", None, None),
        ];
        let activation = activate(&assets);
        assert_eq!(activation.names, ["a", "e"]);
        assert_eq!(activation.uris, ["s3://a", "s3://e"]);
        let about = |id: i32| activation.conflicts[&id].split("; ").nth(1).unwrap();
        assert_eq!(about(2), "name is already associated to 's3://a'");
        assert_eq!(about(3), "uri is already associated to 'a'");
        assert_eq!(about(4), "name is already associated to 's3://active'");
        assert_eq!(about(5), "uri is already associated to 'active'");
    }
}
