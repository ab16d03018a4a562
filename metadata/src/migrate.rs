//! Which schema we need, and our own part of it.
//!
//! Airflow's tables are made by the official `airflow db migrate` of the installed package; ours live in the Postgres
//! schema `tradewind`.

use sqlx::postgres::PgPool;
use sqlx::{PgConnection, query_scalar};
use tradewind_airflow::config::AIRFLOW_VERSION;

use crate::{MetadataError, Result};

/// The alembic revision of Airflow 3.3.2's metadata schema.
pub const REVISION: &str = "d2f4e1b3c5a7";

/// The revision that the database is at; `None` when it holds no Airflow schema.
pub async fn revision(connection: &mut PgConnection) -> Result<Option<String>> {
    let exists: bool =
        query_scalar("SELECT to_regclass('alembic_version') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(None);
    }
    Ok(query_scalar("SELECT version_num FROM alembic_version").fetch_optional(connection).await?)
}

/// Refuses a schema we do not know.
///
/// # Errors
/// [`MetadataError::Revision`] with the revision found and the one needed.
pub async fn check(pool: &PgPool) -> Result<()> {
    let mut connection = pool.acquire().await?;
    let found = revision(&mut connection).await?;
    if found.as_deref() != Some(REVISION) {
        return Err(MetadataError::Revision {
            found: found.unwrap_or_else(|| "none (the schema is empty)".to_owned()),
            needed: REVISION,
            version: AIRFLOW_VERSION,
            hint: "run `tradewind db migrate`, which also migrates the schema of an older Airflow; a newer one needs a \
                   newer Tradewind",
        });
    }
    if !own_is_applied(&mut connection).await? {
        return Err(MetadataError::Revision {
            found: format!("{REVISION}, without all of Tradewind's own tables"),
            needed: REVISION,
            version: AIRFLOW_VERSION,
            hint: "run `tradewind db migrate`",
        });
    }
    Ok(())
}

/// Whether our own tables are all there.
async fn own_is_applied(connection: &mut PgConnection) -> Result<bool> {
    let exists: bool =
        query_scalar("SELECT to_regclass('tradewind.migration') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(false);
    }
    let applied: Vec<i64> =
        query_scalar("SELECT version FROM tradewind.migration WHERE success").fetch_all(connection).await?;
    let ours = sqlx::migrate!("./migrations");
    Ok(ours.iter().all(|migration| applied.contains(&migration.version)))
}

/// Makes or updates our own tables. Safe to run at any time and from several places at once.
pub async fn own(pool: &PgPool) -> Result<()> {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name("tradewind.migration");
    migrator.create_schema("tradewind");
    migrator.run(pool).await?;
    Ok(())
}
