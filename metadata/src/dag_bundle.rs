//! Rows of `dag_bundle`: the folders that Dags come from.

use chrono::{DateTime, Utc};
use sqlx::{PgPool, query, query_scalar};

use crate::Result;

/// Makes the rows follow the configuration (`DagBundlesManager.sync_bundles_to_db`): the named bundles exist and are
/// active, all others are inactive and their import errors forgotten. Returns the names that became inactive.
pub async fn sync(pool: &PgPool, names: &[String]) -> Result<Vec<String>> {
    let mut transaction = pool.begin().await?;
    query(include_str!("../queries/dag_bundle/activate.sql")).bind(names).execute(&mut *transaction).await?;
    let removed: Vec<String> = query_scalar(
        "UPDATE dag_bundle SET active = false WHERE active IS NOT FALSE AND name <> ALL($1) RETURNING name",
    )
    .bind(names)
    .fetch_all(&mut *transaction)
    .await?;
    query("DELETE FROM import_error WHERE bundle_name = ANY($1)").bind(&removed).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(removed)
}

/// Says when the files of a bundle were last looked for.
pub async fn set_refreshed(pool: &PgPool, name: &str, at: DateTime<Utc>) -> Result<()> {
    query("UPDATE dag_bundle SET last_refreshed = $2 WHERE name = $1").bind(name).bind(at).execute(pool).await?;
    Ok(())
}
