//! Serialized Dags, parsed and kept: a version is read from the database once.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{PgConnection, query_as};
use tradewind_airflow::serialized_dag;
use tradewind_model::dag::Dag;
use uuid::Uuid;

use crate::weighted_lru::WeightedLru;
use crate::{MetadataError, Result, dag_document};

/// Dags kept at most.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// Tasks of all Dags kept together, at most; a single larger Dag is kept all the same. A task takes one to two kilobytes.
const TASKS: usize = 15_000;

/// Dags with the hash they were stored under, by version.
type Kept = WeightedLru<Uuid, (String, Arc<Dag>)>;

/// Parsed Dags by version. Cheap to clone; clones share what they keep.
///
/// A version that no task instance ran may be rewritten in place, so an entry counts only while the stored hash is the
/// same.
#[derive(Debug, Clone)]
pub struct Cache {
    dags: Arc<Mutex<Kept>>,
}

impl Default for Cache {
    fn default() -> Self {
        Self { dags: Arc::new(Mutex::new(Kept::new(CAPACITY, TASKS))) }
    }
}

impl Cache {
    /// The Dag in a version.
    ///
    /// # Errors
    /// [`MetadataError::NotFound`] when there is no such version, [`MetadataError::Corrupt`] when it cannot be read.
    pub async fn version(&self, connection: &mut PgConnection, dag_version_id: Uuid) -> Result<Arc<Dag>> {
        let hash: Option<(String,)> = query_as("SELECT dag_hash FROM serialized_dag WHERE dag_version_id = $1")
            .bind(dag_version_id)
            .fetch_optional(&mut *connection)
            .await?;
        self.version_of_hash(connection, dag_version_id, hash.as_ref().map(|(hash,)| hash.as_str())).await
    }

    /// The same for who knows the hash of the version's document, none when there is no document.
    ///
    /// # Errors
    /// As [`version`](Self::version).
    pub async fn version_of_hash(
        &self,
        connection: &mut PgConnection,
        dag_version_id: Uuid,
        hash: Option<&str>,
    ) -> Result<Arc<Dag>> {
        let hash = hash.ok_or_else(|| {
            MetadataError::NotFound(format!("version {dag_version_id} of a Dag is not in the table serialized_dag"))
        })?;
        self.load(connection, dag_version_id, hash.to_owned()).await
    }

    /// The latest version of a Dag; `None` when it was never serialized.
    pub async fn latest(&self, connection: &mut PgConnection, dag_id: &str) -> Result<Option<Arc<Dag>>> {
        let latest: Option<(Uuid, String)> = query_as(
            "SELECT dag_version.id, dag_hash FROM dag_version \
             JOIN serialized_dag ON serialized_dag.dag_version_id = dag_version.id \
             WHERE dag_version.dag_id = $1 ORDER BY version_number DESC LIMIT 1",
        )
        .bind(dag_id)
        .fetch_optional(&mut *connection)
        .await?;
        match latest {
            Some((version, hash)) => self.load(connection, version, hash).await.map(Some),
            None => Ok(None),
        }
    }

    async fn load(&self, connection: &mut PgConnection, version: Uuid, hash: String) -> Result<Arc<Dag>> {
        if let Some((kept, dag)) = self.kept().get(&version)
            && *kept == hash
        {
            return Ok(Arc::clone(dag));
        }
        let dag = dag_document::read_version(connection, version, serialized_dag::parse_text)
            .await?
            .ok_or_else(|| MetadataError::NotFound(format!("version {version} of a Dag has no document")))?
            .map_err(|error| MetadataError::Corrupt(format!("serialized_dag, version {version}: {error}")))?;
        let dag = Arc::new(dag);
        let tasks = dag.task_count();
        self.kept().put(version, (hash, Arc::clone(&dag)), tasks);
        Ok(dag)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.dags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
