//! What partition mappers and windows of plugins say. They are asked between the scheduler's turns, never within one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tradewind_airflow::evaluation::{PartitionState, PartitionStateAnswer, PartitionStates};
use tradewind_metadata::evaluation;
use tradewind_metadata::{Database, partition_event};

use crate::agenda::News;
use crate::partition_memory::Memory;

/// How long a Dag waits after its events could not be read.
const PAUSE: Duration = Duration::from_secs(30);

/// Has asset events mapped to the partitions they are for, those of one Dag one after the other. Clones share what is
/// under way.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    database: Database,
    dags: Arc<Mutex<HashMap<String, Progress>>>,
}

/// How far it is with a Dag.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Progress {
    /// Its mappers are being asked.
    Asking,
    /// The same, and there may be more events by now.
    AskingAndMore,
    /// The database did not answer, or the Dag cannot be read.
    NotBefore(Instant),
}

impl Mapping {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, dags: Arc::default() }
    }

    /// Sees to it that the events that wait are mapped soon, of which their Dags are told then.
    pub(crate) fn begin(&self) {
        let mapping = self.clone();
        tokio::spawn(async move {
            match partition_event::dags(mapping.database.pool()).await {
                Ok(dag_ids) => dag_ids.into_iter().for_each(|dag_id| mapping.begin_with(dag_id)),
                // The next sweep looks again.
                Err(error) => tracing::error!(%error, "asset events that wait for plugins cannot be read"),
            }
        });
    }

    fn begin_with(&self, dag_id: String) {
        let mut dags = self.dags();
        match dags.get_mut(&dag_id) {
            Some(progress @ (Progress::Asking | Progress::AskingAndMore)) => *progress = Progress::AskingAndMore,
            Some(Progress::NotBefore(at)) if *at > Instant::now() => {}
            _ => {
                dags.insert(dag_id.clone(), Progress::Asking);
                drop(dags);
                tokio::spawn(self.clone().map_all(dag_id));
            }
        }
    }

    async fn map_all(self, dag_id: String) {
        loop {
            let outcome = partition_event::map_some(self.database.pool(), &dag_id).await;
            let mut dags = self.dags();
            match outcome {
                Err(error) => {
                    tracing::error!(dag_id, %error, "asset events that wait for the Dag's partition mapper are not mapped");
                    dags.insert(dag_id, Progress::NotBefore(Instant::now() + PAUSE));
                    return;
                }
                Ok(0) if dags.get(&dag_id) == Some(&Progress::Asking) => {
                    dags.remove(&dag_id);
                    return;
                }
                Ok(_) => drop(dags.insert(dag_id.clone(), Progress::Asking)),
            }
        }
    }

    fn dags(&self) -> MutexGuard<'_, HashMap<String, Progress>> {
        self.dags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What mappers say of partitions that wait, kept until the partition has its run. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct States {
    database: Database,
    news: News,
    memory: Arc<Mutex<Memory>>,
}

impl States {
    pub(crate) fn new(database: Database, news: News) -> Self {
        Self { database, news, memory: Arc::default() }
    }

    /// What the mapper says, once it has been asked; else it is asked by [`Self::ask`]. In a sweep it is asked again in a
    /// while when the partition has not enough.
    pub(crate) fn take(&self, dag_id: &str, asked: PartitionState, is_sweep: bool) -> Option<PartitionStateAnswer> {
        self.memory().take(dag_id, asked, is_sweep, Instant::now())
    }

    /// Forgets what was said of a partition, which has its run.
    pub(crate) fn forget(&self, dag_id: &str, partition_key: &str) {
        self.memory().forget(dag_id, partition_key);
    }

    /// Asks what is wanted, one question of each Dag at a time; upon the last answer its Dag is looked at again.
    pub(crate) fn ask(&self) {
        for dag_id in self.memory().begin() {
            tokio::spawn(self.clone().ask_about(dag_id));
        }
    }

    async fn ask_about(self, dag_id: String) {
        loop {
            let Some(wanted) = self.memory().next(&dag_id) else { break };
            let question = PartitionStates { partitions: wanted.iter().map(|(_, asked)| asked.clone()).collect() };
            let answer = evaluation::ask(self.database.pool(), &dag_id, question, evaluation::PATIENCE).await;
            let states = answer.map(|answer| answer.states).unwrap_or_else(|error| {
                // One that hangs or kills its process is not asked again at once.
                tracing::error!(dag_id, %error, "partitions have to wait for the Dag's partition mapper");
                Vec::new()
            });
            let (mut memory, now) = (self.memory(), Instant::now());
            let states = states.into_iter().map(Some).chain(std::iter::repeat(None));
            for ((subject, asked), state) in wanted.into_iter().zip(states) {
                memory.learn(&subject, asked, state, now);
            }
        }
        self.news.add_asset(dag_id);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
