//! Serialized Dags, parsed and kept: a version is read from the database once.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use sqlx::{PgConnection, query_as};
use tradewind_airflow::serialized_dag;
use tradewind_model::dag::Dag;
use uuid::Uuid;

use crate::{MetadataError, Result, dag_document};

/// Dags kept at most.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// Tasks of all Dags kept together, at most; a single larger Dag is kept all the same. A task takes one to two kilobytes.
const TASKS: usize = 15_000;

/// Parsed Dags with the hash they were stored under, by version.
#[derive(Debug)]
struct Kept {
    dags: LruCache<Uuid, (String, Arc<Dag>)>,
    tasks: usize,
}

impl Kept {
    fn put(&mut self, version: Uuid, hash: String, dag: Arc<Dag>) {
        self.tasks += dag.task_count();
        // What is replaced, or is one too many.
        if let Some((_, (_, dag))) = self.dags.push(version, (hash, dag)) {
            self.tasks -= dag.task_count();
        }
        while self.tasks > TASKS && self.dags.len() > 1 {
            let Some((_, (_, dag))) = self.dags.pop_lru() else { return };
            self.tasks -= dag.task_count();
        }
    }
}

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
        Self { dags: Arc::new(Mutex::new(Kept { dags: LruCache::new(CAPACITY), tasks: 0 })) }
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
        if let Some((kept, dag)) = self.kept().dags.get(&version)
            && *kept == hash
        {
            return Ok(Arc::clone(dag));
        }
        let text = dag_document::text_of_version(connection, version)
            .await?
            .ok_or_else(|| MetadataError::NotFound(format!("version {version} of a Dag has no document")))?;
        let dag = serialized_dag::parse_text(&text)
            .map_err(|error| MetadataError::Corrupt(format!("serialized_dag, version {version}: {error}")))?;
        let dag = Arc::new(dag);
        self.kept().put(version, hash, Arc::clone(&dag));
        Ok(dag)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.dags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tradewind_model::dag::{DagSettings, Task};

    use super::*;

    fn dag(tasks: usize) -> Arc<Dag> {
        let tasks = (0..tasks).map(|number| Task::new(format!("task_{number}"))).collect();
        Arc::new(Dag::new("dag".to_owned(), DagSettings::default(), tasks, Vec::new()).expect("a Dag"))
    }

    #[test]
    fn dags_are_kept_as_long_as_their_tasks_are_not_too_many() {
        let mut kept = Kept { dags: LruCache::new(CAPACITY), tasks: 0 };
        let [first, second, third] = [1, 2, 3].map(Uuid::from_u128);
        kept.put(first, "a".to_owned(), dag(3));
        kept.put(first, "b".to_owned(), dag(5));
        assert_eq!((kept.dags.len(), kept.tasks), (1, 5), "a version that was rewritten is kept once");
        kept.put(second, "a".to_owned(), dag(TASKS - 5));
        assert_eq!((kept.dags.len(), kept.tasks), (2, TASKS));
        kept.put(third, "a".to_owned(), dag(TASKS + 1));
        assert!(kept.dags.contains(&third) && kept.dags.len() == 1 && kept.tasks == TASKS + 1);
    }
}
