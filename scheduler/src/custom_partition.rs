//! What partition mappers and windows of plugins say. They are asked between the scheduler's turns, never within one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tradewind_airflow::evaluation::{PartitionState, PartitionStateAnswer, PartitionStates};
use tradewind_metadata::evaluation::{self, AskError};
use tradewind_metadata::{Database, partition_event};

use crate::agenda::News;

/// How long a Dag waits after nobody answered.
const PAUSE: Duration = Duration::from_secs(30);

/// What is remembered of partitions at most; with more, all is asked anew.
const CAPACITY: usize = 10_000;

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
    /// Nobody answered, or could ask.
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
            let outcome = self.map_some(&dag_id).await;
            let mut dags = self.dags();
            match outcome {
                Err(error) => {
                    tracing::error!(dag_id, %error, "asset events have to wait for the Dag's partition mapper");
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

    /// Returns how many events were mapped.
    async fn map_some(&self, dag_id: &str) -> Result<usize, AskError> {
        let waiting = partition_event::of_dag(self.database.pool(), dag_id).await?;
        for event in &waiting {
            partition_event::map(self.database.pool(), event).await?;
        }
        Ok(waiting.len())
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
    known: Arc<Mutex<HashMap<Subject, State>>>,
}

/// A partition of a Dag and the mapper of one of its assets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Subject {
    dag_id: String,
    partition_key: String,
    mapper: String,
}

impl Subject {
    fn of(dag_id: &str, asked: &PartitionState) -> Self {
        let (partition_key, mapper) = (asked.partition_key.clone(), asked.mapper.to_string());
        Self { dag_id: dag_id.to_owned(), partition_key, mapper }
    }
}

#[derive(Debug)]
enum State {
    /// To be asked at the end of the turn.
    Wanted(PartitionState),
    /// The question is under way.
    Asked,
    /// The answer, good for what had been received.
    Answered(BTreeSet<String>, PartitionStateAnswer),
    /// Nobody answered.
    NotBefore(Instant),
}

impl States {
    pub(crate) fn new(database: Database, news: News) -> Self {
        Self { database, news, known: Arc::default() }
    }

    /// What the mapper says, once it has been asked; else it is asked by [`Self::ask`].
    pub(crate) fn take(&self, dag_id: &str, asked: PartitionState) -> Option<PartitionStateAnswer> {
        let subject = Subject::of(dag_id, &asked);
        let mut known = self.known();
        match known.get(&subject) {
            Some(State::Answered(received, answer)) if *received == asked.received => return Some(answer.clone()),
            Some(State::Asked) => return None,
            Some(State::NotBefore(at)) if *at > Instant::now() => return None,
            _ => {}
        }
        if known.len() >= CAPACITY {
            known.clear();
        }
        known.insert(subject, State::Wanted(asked));
        None
    }

    /// Forgets what was said of a partition, which has its run.
    pub(crate) fn forget(&self, dag_id: &str, partition_key: &str) {
        self.known().retain(|subject, _| subject.dag_id != dag_id || subject.partition_key != partition_key);
    }

    /// Asks what is wanted, one question for each Dag; upon the answer its Dag is looked at again.
    pub(crate) fn ask(&self) {
        let mut wanted: BTreeMap<String, Vec<(Subject, PartitionState)>> = BTreeMap::new();
        for (subject, state) in self.known().iter_mut().filter(|(_, state)| matches!(state, State::Wanted(_))) {
            if let State::Wanted(asked) = std::mem::replace(state, State::Asked) {
                wanted.entry(subject.dag_id.clone()).or_default().push((subject.clone(), asked));
            }
        }
        for (dag_id, asked) in wanted {
            tokio::spawn(self.clone().ask_about(dag_id, asked));
        }
    }

    async fn ask_about(self, dag_id: String, asked: Vec<(Subject, PartitionState)>) {
        let question = PartitionStates { partitions: asked.iter().map(|(_, asked)| asked.clone()).collect() };
        let answer = evaluation::ask(self.database.pool(), &dag_id, question, evaluation::PATIENCE).await;
        let states = answer.map(|answer| answer.states).unwrap_or_else(|error| {
            // One that hangs or kills its process is not asked again at once.
            tracing::error!(dag_id, %error, "partitions have to wait for the Dag's partition mapper");
            Vec::new()
        });
        let mut known = self.known();
        let states = states.into_iter().map(Some).chain(std::iter::repeat(None));
        for ((subject, asked), state) in asked.into_iter().zip(states) {
            let state = match state {
                Some(state) => State::Answered(asked.received, state),
                None => State::NotBefore(Instant::now() + PAUSE),
            };
            known.insert(subject, state);
        }
        drop(known);
        self.news.add_asset(dag_id);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Subject, State>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
