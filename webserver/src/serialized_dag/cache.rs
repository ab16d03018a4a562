//! Dags kept in memory, so that pages do not parse them again and again.

use super::SerializedDag;
use crate::error::{ApiError, ApiResult};
use sqlx::{FromRow, PgPool};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tradewind_metadata::dag_document;
use tradewind_metadata::weighted_lru::WeightedLru;
use uuid::Uuid;

/// Which stored Dag is meant: a row may be rewritten while its version has no runs, so the hash belongs to the key.
type Key = (Uuid, String);

/// Tasks of all Dags kept together, at most; a single larger Dag is kept all the same. A task takes a few kilobytes.
const TASKS: usize = 10_000;

type Kept = WeightedLru<Key, Arc<SerializedDag>>;

/// Dags kept, up to a number of them and a number of tasks.
#[derive(Debug)]
pub(crate) struct DagCache(Mutex<Kept>);

#[derive(FromRow)]
struct Stored {
    id: Uuid,
    dag_hash: String,
}

/// What statements that read other things too say of the latest version of a Dag: nothing, if it was never serialized.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Latest {
    latest_id: Option<Uuid>,
    latest_hash: Option<String>,
}

impl DagCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Mutex::new(Kept::new(NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN), TASKS)))
    }

    /// The latest version of a Dag; 404 when it was never serialized.
    pub(crate) async fn latest(&self, pool: &PgPool, dag_id: &str) -> ApiResult<Arc<SerializedDag>> {
        self.find_latest(pool, dag_id).await?.ok_or_else(|| not_found(dag_id))
    }

    /// The same for who knows already what the latest version is.
    pub(crate) async fn load_latest(
        &self,
        pool: &PgPool,
        dag_id: &str,
        latest: Latest,
    ) -> ApiResult<Arc<SerializedDag>> {
        let stored = latest.latest_id.zip(latest.latest_hash).map(|(id, dag_hash)| Stored { id, dag_hash });
        self.load(pool, stored).await?.ok_or_else(|| not_found(dag_id))
    }

    /// The latest version of a Dag, if any.
    pub(crate) async fn find_latest(&self, pool: &PgPool, dag_id: &str) -> ApiResult<Option<Arc<SerializedDag>>> {
        let statement = "SELECT id, dag_hash FROM serialized_dag WHERE dag_id = $1 ORDER BY created_at DESC LIMIT 1";
        let stored = sqlx::query_as(statement).bind(dag_id).fetch_optional(pool).await?;
        self.load(pool, stored).await
    }

    /// A Dag as of a version.
    pub(crate) async fn version(&self, pool: &PgPool, dag_version_id: Uuid) -> ApiResult<Option<Arc<SerializedDag>>> {
        let statement = "SELECT id, dag_hash FROM serialized_dag WHERE dag_version_id = $1";
        let stored = sqlx::query_as(statement).bind(dag_version_id).fetch_optional(pool).await?;
        self.load(pool, stored).await
    }

    /// The Dag as of the version that a run is pinned to, or the latest; 404 when it was never serialized.
    pub(crate) async fn of_run(
        &self,
        pool: &PgPool,
        dag_id: &str,
        version: Option<Uuid>,
    ) -> ApiResult<Arc<SerializedDag>> {
        if let Some(version) = version
            && let Some(dag) = self.version(pool, version).await?
        {
            return Ok(dag);
        }
        self.latest(pool, dag_id).await
    }

    async fn load(&self, pool: &PgPool, stored: Option<Stored>) -> ApiResult<Option<Arc<SerializedDag>>> {
        let Some(stored) = stored else { return Ok(None) };
        let key = (stored.id, stored.dag_hash);
        if let Some(dag) = self.entries().get(&key) {
            return Ok(Some(Arc::clone(dag)));
        }
        let Some((version, text)) = dag_document::text_of_row(pool, key.0).await? else { return Ok(None) };
        let dag = SerializedDag::parse(version, key.1.clone(), &text).map_err(|error| ApiError::internal(&error))?;
        let dag = Arc::new(dag);
        let tasks = dag.tasks.len();
        self.entries().put(key, Arc::clone(&dag), tasks);
        Ok(Some(dag))
    }

    fn entries(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_found(dag_id: &str) -> ApiError {
    ApiError::not_found(format!("The Dag with ID: `{dag_id}` was not found"))
}
