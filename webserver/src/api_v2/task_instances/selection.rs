//! Which task instances a request means: tasks with their relatives, in one run or in those around it.

use crate::api_v2::dag_runs::RunKey;
use crate::error::ApiResult;
use crate::query::{Clause, Filter};
use crate::serialized_dag::SerializedDag;
use chrono::{DateTime, Utc};
use indexmap::IndexSet;
use sqlx::{FromRow, PgExecutor, Postgres, QueryBuilder};
use uuid::Uuid;

/// A task instance that was selected.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Selected {
    pub(crate) id: Uuid,
    pub(crate) run_id: String,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) state: Option<String>,
}

/// The runs in which task instances are looked for.
#[derive(Debug, Clone)]
pub(crate) enum Runs {
    /// Just this one.
    One(String),
    /// These.
    Several(Vec<String>),
    /// All whose logical date is within the bounds, both inclusive.
    Between(Option<DateTime<Utc>>, Option<DateTime<Utc>>),
}

impl Runs {
    /// A run, with those before and after it when wanted; a run without a logical date stands alone.
    pub(crate) fn around(run_id: &str, run: &RunKey, past: bool, future: bool) -> Self {
        match run.logical_date.map(|date| date.0) {
            Some(date) if past || future => Self::Between((!past).then_some(date), (!future).then_some(date)),
            _ => Self::One(run_id.to_owned()),
        }
    }
}

/// Tasks by id, and single task instances of mapped tasks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    pub(crate) ids: IndexSet<String>,
    pub(crate) mapped: Vec<(String, i32)>,
}

impl Tasks {
    /// A task, or one of its mapped task instances.
    pub(crate) fn one(task_id: &str, map_index: Option<i32>) -> Self {
        match map_index {
            Some(map_index) => Self { mapped: vec![(task_id.to_owned(), map_index)], ..Self::default() },
            None => Self { ids: IndexSet::from([task_id.to_owned()]), ..Self::default() },
        }
    }

    /// Whether none is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.mapped.is_empty()
    }

    /// Every task that is named.
    pub(crate) fn all_ids(&self) -> IndexSet<String> {
        self.ids.iter().cloned().chain(self.mapped.iter().map(|(task_id, _)| task_id.clone())).collect()
    }

    /// Adds what others name.
    pub(crate) fn add(&mut self, others: Self) {
        self.ids.extend(others.ids);
        self.mapped.extend(others.mapped.into_iter().filter(|found| !self.ids.contains(&found.0)));
    }

    /// Adds relatives, and the setups and teardowns that have to come along.
    pub(crate) fn add_related(&mut self, dag: &SerializedDag, upstream: bool, downstream: bool) {
        let named = self.all_ids();
        let related = dag.related(&named, upstream, downstream, None);
        self.ids.extend(related.into_iter().filter(|id| !named.contains(id)));
    }

    fn clause(&self) -> Clause {
        let ids = Clause::sql("ti.task_id = ANY(").bind_texts(self.ids.iter().cloned().collect()).then(")");
        let mapped = self.mapped.iter().map(|(task_id, map_index)| {
            Clause::sql("ti.task_id = ").bind_text(task_id).then(" AND ti.map_index = ").bind_int((*map_index).into())
        });
        Clause::any([ids].into_iter().chain(mapped))
    }
}

/// The task instances of a Dag: in these runs, of these tasks (all when `None`), in these states (all when empty).
pub(crate) async fn select(
    executor: impl PgExecutor<'_>,
    dag_id: &str,
    runs: &Runs,
    tasks: Option<&Tasks>,
    states: &[&str],
) -> ApiResult<Vec<Selected>> {
    let mut filter = Filter::new();
    filter.equal_text("ti.dag_id", dag_id);
    match runs {
        Runs::One(run_id) => filter.equal_text("ti.run_id", run_id),
        Runs::Several(run_ids) => {
            filter.push(Clause::sql("ti.run_id = ANY(").bind_texts(run_ids.clone()).then(")"));
        }
        Runs::Between(start, end) => {
            if let Some(start) = start {
                filter.time_bound("dr.logical_date", ">=", *start, false);
            }
            if let Some(end) = end {
                filter.time_bound("dr.logical_date", "<=", *end, false);
            }
        }
    }
    if let Some(tasks) = tasks {
        filter.push(tasks.clause());
    }
    filter.one_of(states.iter().map(|state| (*state).to_owned()).collect(), "ti.state");
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(
        "SELECT ti.id, ti.run_id, ti.task_id, ti.map_index, ti.state FROM task_instance ti \
         JOIN dag_run dr ON dr.dag_id = ti.dag_id AND dr.run_id = ti.run_id",
    );
    filter.push_to(&mut query);
    query.push(" ORDER BY ti.run_id, ti.task_id, ti.map_index");
    Ok(query.build_query_as().fetch_all(executor).await?)
}
