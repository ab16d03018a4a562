//! Versions of Dag bundles that lie in S3: what they consist of, which of them are needed, and what is wrong with a bundle.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::types::Json;
use sqlx::{FromRow, PgPool, query, query_as, query_scalar};

use crate::Result;

/// A stored version of a bundle; `M` is its manifest.
#[derive(Debug, Clone)]
pub struct StoredSnapshot<M> {
    /// The bucket that its objects are in.
    pub bucket: String,
    /// What their keys start with.
    pub prefix: String,
    /// Its objects.
    pub manifest: M,
}

#[derive(FromRow)]
struct Row<M: DeserializeOwned> {
    bucket: String,
    prefix: String,
    manifest: Json<M>,
}

/// A version of a bundle, if it is known.
pub async fn find<M>(pool: &PgPool, bundle: &str, version: &str) -> Result<Option<StoredSnapshot<M>>>
where
    M: DeserializeOwned + Send + Unpin + 'static,
{
    let row: Option<Row<M>> = query_as(
        "SELECT bucket, prefix, manifest FROM tradewind.bundle_snapshot WHERE bundle_name = $1 AND version = $2",
    )
    .bind(bundle)
    .bind(version)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|Row { bucket, prefix, manifest: Json(manifest) }| StoredSnapshot { bucket, prefix, manifest }))
}

/// Makes a version the bundle's current one. Where it is known already its manifest stays: whoever stored it has seen the
/// same content.
pub async fn make_current<M: Serialize + Sync>(
    pool: &PgPool,
    bundle: &str,
    version: &str,
    snapshot: &StoredSnapshot<M>,
) -> Result<()> {
    let mut transaction = pool.begin().await?;
    query(include_str!("../queries/bundle_snapshot/store.sql"))
        .bind(bundle)
        .bind(version)
        .bind(&snapshot.bucket)
        .bind(&snapshot.prefix)
        .bind(Json(&snapshot.manifest))
        .execute(&mut *transaction)
        .await?;
    query("UPDATE dag_bundle SET version = $2, last_refreshed = now() WHERE name = $1")
        .bind(bundle)
        .bind(version)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// The bundle's current version, if it has any.
pub async fn current(pool: &PgPool, bundle: &str) -> Result<Option<String>> {
    let version: Option<Option<String>> =
        query_scalar("SELECT version FROM dag_bundle WHERE name = $1").bind(bundle).fetch_optional(pool).await?;
    Ok(version.flatten())
}

/// The versions that work may still be done in: the current one, those of Dags, those that unfinished runs are pinned to, and
/// the `newest` that came last.
pub async fn needed(pool: &PgPool, bundle: &str, newest: i64) -> Result<Vec<String>> {
    let needed = query_scalar(include_str!("../queries/bundle_snapshot/needed.sql"));
    Ok(needed.bind(bundle).bind(newest).fetch_all(pool).await?)
}

/// Forgets what nothing names any more: no run, finished ones included, since they may be cleared, and no Dag.
pub async fn forget_unnamed(pool: &PgPool, bundle: &str, newest: i64) -> Result<u64> {
    let forgotten = query(include_str!("../queries/bundle_snapshot/forget_unnamed.sql"));
    Ok(forgotten.bind(bundle).bind(newest).execute(pool).await?.rows_affected())
}

/// Shows beside the import errors of Dag files what is wrong with a whole bundle: one row, under the place it comes from.
pub async fn set_failure(pool: &PgPool, bundle: &str, place: &str, text: &str) -> Result<()> {
    let mut transaction = pool.begin().await?;
    let updated =
        query("UPDATE import_error SET stacktrace = $3, timestamp = now() WHERE bundle_name = $1 AND filename = $2")
            .bind(bundle)
            .bind(place)
            .bind(text)
            .execute(&mut *transaction)
            .await?;
    if updated.rows_affected() == 0 {
        query("INSERT INTO import_error (bundle_name, filename, stacktrace, timestamp) VALUES ($1, $2, $3, now())")
            .bind(bundle)
            .bind(place)
            .bind(text)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Takes that row away.
pub async fn clear_failure(pool: &PgPool, bundle: &str, place: &str) -> Result<()> {
    query("DELETE FROM import_error WHERE bundle_name = $1 AND filename = $2")
        .bind(bundle)
        .bind(place)
        .execute(pool)
        .await?;
    Ok(())
}
