//! Rows of `dag_warning`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, query};

use super::ParsedFile;
use crate::Result;

/// Makes the warnings of the file's Dags what parsing said (`_update_dag_warnings`).
pub(super) async fn write(connection: &mut PgConnection, file: &ParsedFile, now: DateTime<Utc>) -> Result<()> {
    let dag_ids: Vec<&str> = file.dags.iter().map(|dag| dag.dag_id()).collect();
    if dag_ids.is_empty() {
        return Ok(());
    }
    let warnings: BTreeMap<(&str, &str), &str> = file
        .warnings
        .iter()
        .filter(|warning| dag_ids.contains(&warning.dag_id.as_str()))
        .map(|warning| ((warning.dag_id.as_str(), warning.warning_type.as_str()), warning.message.as_str()))
        .collect();
    query(include_str!("../../queries/parse_result/sync_warnings.sql"))
        .bind(&dag_ids)
        .bind(warnings.keys().map(|key| key.0).collect::<Vec<_>>())
        .bind(warnings.keys().map(|key| key.1).collect::<Vec<_>>())
        .bind(warnings.values().copied().collect::<Vec<_>>())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}
