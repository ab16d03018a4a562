//! Why a Dag run or a task instance waits, and why no run is made of a Dag: loads the facts that [`tradewind_model::explanation`] judges.
//!
//! The facts of the run are loaded as for the scheduling step, but not held. A fixed number of statements, whatever the
//! run's size, all of one moment.

mod options;
mod schedule;
mod surroundings;

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use tradewind_model::dag::{Dag, DagSettings};
use tradewind_model::explanation::{Explainer, Surroundings};
use tradewind_model::scheduling::{PreviousRunFacts, RunView, TaskInstanceFacts, XComFacts};

pub use options::Options;
pub use schedule::schedule;

use crate::run_facts::StoredRun;
use crate::serialized_dag::Cache;
use crate::{MetadataError, Result};

/// Everything that decides whether a run moves, at one moment.
#[derive(Debug)]
pub struct Situation {
    run: StoredRun,
    dag: Arc<Dag>,
    task_instances: Vec<TaskInstanceFacts>,
    xcoms: XComFacts,
    previous: Option<PreviousRunFacts>,
    surroundings: Surroundings,
    max_retry_delay: TimeDelta,
    now: DateTime<Utc>,
}

impl Situation {
    /// Loads the situation of a run; `None` when there is no such run.
    pub async fn load(
        pool: &PgPool,
        dags: &Cache,
        options: &Options,
        dag_id: &str,
        run_id: &str,
    ) -> Result<Option<Self>> {
        let mut snapshot = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let Some(run) = StoredRun::find(&mut snapshot, dag_id, run_id).await? else { return Ok(None) };
        let now = Utc::now().trunc_subsecs(6);
        let stored = dag_of(&mut snapshot, dags, &run).await?;
        let was_never_serialized = stored.is_none();
        let dag = stored.map_or_else(|| nothing_of(dag_id), Ok)?;
        let (task_instances, _) = run.task_instances(&mut snapshot).await?;
        let xcoms = run.xcoms(&mut snapshot, &dag, &task_instances).await?;
        let previous = run.previous(&mut snapshot, &dag).await?;
        let mut surroundings = surroundings::load(&mut snapshot, options, &run, &dag, now).await?;
        surroundings.dag.was_never_serialized = was_never_serialized;
        snapshot.rollback().await?;
        let max_retry_delay = options.max_retry_delay;
        Ok(Some(Self { run, dag, task_instances, xcoms, previous, surroundings, max_retry_delay, now }))
    }

    /// The same, with no other Dags named than those that may be: who holds slots of a pool counts, and stays unnamed.
    #[must_use]
    pub fn naming_only(mut self, may_be_named: impl Fn(&str) -> bool) -> Self {
        for pool in self.surroundings.pools.values_mut() {
            pool.holders.retain(|holder| may_be_named(&holder.dag_id));
        }
        self
    }

    /// Judges the situation.
    pub fn explainer(&self) -> Explainer<'_> {
        Explainer::new(self.view(), &self.surroundings)
    }

    /// What the scheduling step sees of it.
    pub fn view(&self) -> RunView<'_> {
        RunView {
            dag: &self.dag,
            run: &self.run.facts,
            task_instances: &self.task_instances,
            xcoms: &self.xcoms,
            previous: self.previous.as_ref(),
            max_retry_delay: self.max_retry_delay,
            now: self.now,
        }
    }

    /// Whether a user stopped the Dag.
    pub fn is_paused(&self) -> bool {
        self.run.is_paused
    }
}

/// The Dag in the version by which the run is scheduled; `None` when none is stored.
async fn dag_of(connection: &mut PgConnection, dags: &Cache, run: &StoredRun) -> Result<Option<Arc<Dag>>> {
    let Some((version, hash)) = run.dag_version() else { return Ok(None) };
    match dags.version_of_hash(connection, version, hash).await {
        Ok(dag) => Ok(Some(dag)),
        Err(MetadataError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is known of a Dag that was never serialized.
fn nothing_of(dag_id: &str) -> Result<Arc<Dag>> {
    let dag = Dag::new(dag_id.to_owned(), DagSettings::default(), Vec::new(), Vec::new());
    dag.map(Arc::new).map_err(|error| MetadataError::Corrupt(error.to_string()))
}
