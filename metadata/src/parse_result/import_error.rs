//! Rows of `import_error`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, query};

use super::ParsedFile;
use crate::Result;

/// Stores the errors of a file and forgets those it no longer has. The Dags of a file with an error are stale
/// (`_update_import_errors`).
pub(super) async fn write(
    connection: &mut PgConnection,
    file: &ParsedFile,
    errors: &BTreeMap<String, String>,
    now: DateTime<Utc>,
) -> Result<()> {
    let paths: Vec<&str> = errors.keys().map(String::as_str).collect();
    query(include_str!("../../queries/parse_result/clear_import_errors.sql"))
        .bind(&file.bundle_name)
        .bind(&file.relative_fileloc)
        .bind(&paths)
        .execute(&mut *connection)
        .await?;
    if errors.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = errors.values().map(|text| text.replace('\0', "\u{fffd}")).collect();
    for statement in [
        include_str!("../../queries/parse_result/upsert_import_errors.sql"),
        include_str!("../../queries/parse_result/retire_dags_with_import_errors.sql"),
    ] {
        query(statement).bind(&file.bundle_name).bind(&paths).bind(&texts).bind(now).execute(&mut *connection).await?;
    }
    Ok(())
}
