//! What the Python environment consists of that Dags are parsed in, for the workers that run their tasks.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::types::Json;
use sqlx::{PgPool, query, query_scalar};

use crate::Result;

/// What was published last; `M` is its manifest. None: the packages of the installation are the environment.
pub async fn current<M>(pool: &PgPool) -> Result<Option<M>>
where
    M: DeserializeOwned + Send + Unpin + 'static,
{
    let manifest: Option<Json<M>> =
        query_scalar("SELECT manifest FROM tradewind.environment").fetch_optional(pool).await?;
    Ok(manifest.map(|Json(manifest)| manifest))
}

/// Publishes an environment in place of the last one.
pub async fn publish<M: Serialize + Sync>(pool: &PgPool, manifest: &M) -> Result<()> {
    query(
        "INSERT INTO tradewind.environment (manifest) VALUES ($1) \
         ON CONFLICT (is_the_only) DO UPDATE SET manifest = $1, published_at = now()",
    )
    .bind(Json(manifest))
    .execute(pool)
    .await?;
    Ok(())
}
