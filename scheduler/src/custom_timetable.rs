//! What timetables of plugins say about runs that are due. They are asked between the scheduler's turns, never within one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tradewind_airflow::evaluation::{CreateRun, CreateRunAnswer, PythonError};
use tradewind_metadata::Database;
use tradewind_metadata::evaluation::{self, AskError};

use crate::agenda::News;

/// How long a Dag waits after nobody answered.
const PAUSE: Duration = Duration::from_secs(30);

/// What is known about a run that is due.
#[derive(Debug)]
enum Plan {
    /// The question is under way.
    Asked,
    /// The answer, good for this question alone.
    Answered(Box<(CreateRun, Result<CreateRunAnswer, PythonError>)>),
    /// Nobody answered.
    NotBefore(Instant),
}

/// Plans by Dag. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Plans {
    database: Database,
    news: News,
    by_dag: Arc<Mutex<HashMap<String, Plan>>>,
}

impl Plans {
    pub(crate) fn new(database: Database, news: News) -> Self {
        Self { database, news, by_dag: Arc::default() }
    }

    /// The answer to the question, once it is there; else sees to it that it will be, upon which there is news.
    pub(crate) fn take(&self, dag_id: &str, question: &CreateRun) -> Option<Result<CreateRunAnswer, PythonError>> {
        let mut plans = self.plans();
        match plans.remove(dag_id) {
            Some(Plan::Answered(plan)) if plan.0 == *question => return Some(plan.1),
            Some(waiting @ Plan::Asked) => {
                plans.insert(dag_id.to_owned(), waiting);
                return None;
            }
            Some(Plan::NotBefore(at)) if at > Instant::now() => {
                plans.insert(dag_id.to_owned(), Plan::NotBefore(at));
                return None;
            }
            _ => {}
        }
        plans.insert(dag_id.to_owned(), Plan::Asked);
        drop(plans);
        tokio::spawn(self.clone().ask(dag_id.to_owned(), question.clone()));
        None
    }

    /// The Dags that need not be looked at before there is news.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let mut plans = self.plans();
        let now = Instant::now();
        plans.retain(|_, plan| !matches!(plan, Plan::NotBefore(at) if *at <= now));
        let waiting = plans.iter().filter(|(_, plan)| !matches!(plan, Plan::Answered(_)));
        waiting.map(|(dag_id, _)| dag_id.clone()).collect()
    }

    async fn ask(self, dag_id: String, question: CreateRun) {
        let answer = evaluation::ask(self.database.pool(), &dag_id, question.clone(), evaluation::PATIENCE).await;
        let plan = match answer {
            Ok(answer) => Plan::Answered(Box::new((question, Ok(answer)))),
            Err(AskError::Python(error)) => Plan::Answered(Box::new((question, Err(error)))),
            Err(error @ (AskError::Nobody { .. } | AskError::Metadata(_))) => {
                tracing::error!(dag_id, %error, "the run that is due has to wait");
                Plan::NotBefore(Instant::now() + PAUSE)
            }
        };
        self.plans().insert(dag_id, plan);
        self.news.add_dags();
    }

    fn plans(&self) -> MutexGuard<'_, HashMap<String, Plan>> {
        self.by_dag.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
