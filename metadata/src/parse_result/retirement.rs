//! Dags whose file is gone, or that their file no longer holds, become stale.

use chrono::{DateTime, Duration, Utc};
use sqlx::{PgPool, query, query_scalar};

use crate::{Result, notify};

/// Retires the Dags of a bundle whose file is not among `present` (`DagModel.deactivate_deleted_dags`), and the
/// references to assets of all stale Dags. Returns the Dags that became stale.
pub async fn retire_removed(pool: &PgPool, bundle_name: &str, present: &[String]) -> Result<Vec<String>> {
    let mut transaction = pool.begin().await?;
    let retired: Vec<String> = query_scalar(include_str!("../../queries/parse_result/retire_removed.sql"))
        .bind(bundle_name)
        .bind(present)
        .fetch_all(&mut *transaction)
        .await?;
    if !retired.is_empty() {
        query(include_str!("../../queries/parse_result/remove_references_of_stale_dags.sql"))
            .execute(&mut *transaction)
            .await?;
        notify::send(&mut transaction, notify::DAG, &retired).await?;
    }
    transaction.commit().await?;
    Ok(retired)
}

/// Retires the Dags that their file did not hold when it was last parsed, and those of bundles no longer configured
/// (`DagFileProcessorManager.deactivate_stale_dags`). `parsed` has bundle, file and the time parsing ended; a Dag is
/// stale once its own last parse lies more than `threshold` before that. Returns the Dags that became stale.
pub async fn retire_unseen(
    pool: &PgPool,
    parsed: &[(String, String, DateTime<Utc>)],
    threshold: Duration,
) -> Result<Vec<String>> {
    let mut transaction = pool.begin().await?;
    let retired: Vec<String> = query_scalar(include_str!("../../queries/parse_result/retire_unseen.sql"))
        .bind(parsed.iter().map(|file| file.0.as_str()).collect::<Vec<_>>())
        .bind(parsed.iter().map(|file| file.1.as_str()).collect::<Vec<_>>())
        .bind(parsed.iter().map(|file| file.2 - threshold).collect::<Vec<_>>())
        .fetch_all(&mut *transaction)
        .await?;
    notify::send(&mut transaction, notify::DAG, &retired).await?;
    transaction.commit().await?;
    Ok(retired)
}

/// Forgets import errors of files that a bundle no longer has.
pub async fn clear_orphaned_import_errors(pool: &PgPool, bundle_name: &str, present: &[String]) -> Result<()> {
    query("DELETE FROM import_error WHERE bundle_name = $1 AND filename <> ALL($2)")
        .bind(bundle_name)
        .bind(present)
        .execute(pool)
        .await?;
    Ok(())
}

/// Forgets warnings about stale Dags.
pub async fn purge_warnings_of_stale_dags(pool: &PgPool) -> Result<()> {
    query("DELETE FROM dag_warning USING dag WHERE dag.dag_id = dag_warning.dag_id AND dag.is_stale")
        .execute(pool)
        .await?;
    Ok(())
}
