//! Has strategies of plugins give the priority weights that are wanted, between the scheduler's turns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tradewind_airflow::evaluation::{PriorityWeights, Weight};
use tradewind_metadata::evaluation::{self, AskError};
use tradewind_metadata::priority_weight::{self, Wanted};
use tradewind_metadata::{Database, Result};
use uuid::Uuid;

use crate::agenda::News;

/// A run that waits for weights.
#[derive(Debug, Clone)]
pub(crate) struct WaitingRun {
    /// `dag_run.id`.
    pub(crate) id: i32,
    /// The Dag.
    pub(crate) dag_id: String,
    /// The run's id.
    pub(crate) run_id: String,
    /// The version of the Dag for task instances that have none.
    pub(crate) dag_version_id: Uuid,
}

/// Asks for weights, once per run at a time. Clones share what is under way.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    database: Database,
    news: News,
    asking: Arc<Mutex<BTreeSet<i32>>>,
}

impl Weights {
    pub(crate) fn new(database: Database, news: News) -> Self {
        Self { database, news, asking: Arc::default() }
    }

    /// Sees to it that the weights of the run are there soon, upon which there is news of it.
    pub(crate) fn work_out(&self, run: WaitingRun) {
        if self.asking().insert(run.id) {
            tokio::spawn(self.clone().finish(run));
        }
    }

    async fn finish(self, run: WaitingRun) {
        let outcome = self.set_all(&run).await;
        self.asking().remove(&run.id);
        match outcome {
            Ok(()) => self.news.add_run(run.id),
            // The next sweep looks at the run again.
            Err(error) => tracing::error!(dag_id = run.dag_id, run_id = run.run_id, %error, "weights cannot be stored"),
        }
    }

    async fn set_all(&self, run: &WaitingRun) -> Result<()> {
        loop {
            let mut connection = self.database.pool().acquire().await?;
            let wanted = priority_weight::wanted(&mut connection, &run.dag_id, &run.run_id).await?;
            drop(connection);
            if wanted.is_empty() {
                return Ok(());
            }
            let mut by_version: BTreeMap<Uuid, Vec<Wanted>> = BTreeMap::new();
            for wanted in wanted {
                let version = wanted.weighed.dag_version_id.unwrap_or(run.dag_version_id);
                by_version.entry(version).or_default().push(wanted);
            }
            for (version, wanted) in by_version {
                self.set(run, version, &wanted).await?;
            }
        }
    }

    /// Asks for weights and stores them. Where the strategy gives none, the task's own weight stays: a run does not wait for
    /// a plugin that fails.
    async fn set(&self, run: &WaitingRun, dag_version_id: Uuid, wanted: &[Wanted]) -> Result<()> {
        let question = PriorityWeights {
            dag_version_id,
            dag: Value::Null,
            task_instances: wanted.iter().map(|wanted| wanted.weighed.clone()).collect(),
        };
        let pool = self.database.pool();
        let weights = match evaluation::ask(pool, &run.dag_id, question, evaluation::PATIENCE).await {
            Ok(answer) => answer.weights,
            Err(AskError::Metadata(error)) => return Err(error),
            Err(error) => {
                let (dag_id, run_id) = (&run.dag_id, &run.run_id);
                tracing::error!(dag_id, run_id, %error, "tasks have their own weight instead of that of a plugin");
                Vec::new()
            }
        };
        let given = weights.iter().map(Some).chain(std::iter::repeat(None));
        let stored: Vec<(Uuid, Option<i32>)> = wanted
            .iter()
            .zip(given)
            .map(|(wanted, given)| (wanted.id, given.and_then(|given| column(run, wanted, given))))
            .collect();
        let mut connection = pool.acquire().await?;
        priority_weight::set(&mut connection, &stored).await
    }

    fn asking(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The weight as its column holds it: a 32-bit integer.
fn column(run: &WaitingRun, wanted: &Wanted, given: &Weight) -> Option<i32> {
    if let Some(error) = &given.error {
        let (dag_id, run_id, task_id) = (&run.dag_id, &run.run_id, &wanted.weighed.task_id);
        let traceback = &error.traceback;
        tracing::error!(dag_id, run_id, task_id, %error, traceback, "the task has its own weight instead of a plugin's");
    }
    given.weight.map(|weight| i32::try_from(weight).unwrap_or(if weight < 0 { i32::MIN } else { i32::MAX }))
}
