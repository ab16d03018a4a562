//! Runs are made together with those that others ask for at the same time.

use super::{DagRun, gone, without_versions};
use crate::api_v2::dag_versions::DagVersion;
use crate::batches::Work;
use crate::error::{ApiError, ApiResult};
use chrono::Utc;
use sqlx::{PgConnection, PgPool};
use std::collections::HashMap;
use std::sync::Arc;
use tradewind_metadata::MetadataError;
use tradewind_metadata::dag_run::{self, Created, NewDagRun, Wanted};
use tradewind_model::dag::Dag;
use uuid::Uuid;

/// A transaction whose statements are planned once for all that is bound to them: to plan for each batch takes Postgres as long as
/// a run takes it, and comes out the same.
const PLANNED_ONCE: &str = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan";

/// Makes runs of the latest versions of Dags.
pub(crate) struct NewRuns(pub(crate) PgPool);

impl Work for NewRuns {
    type Item = (Arc<Dag>, NewDagRun);
    type Outcome = DagRun;

    async fn run(&self, items: &[Self::Item]) -> ApiResult<Vec<ApiResult<DagRun>>> {
        let mut transaction = self.0.begin_with(PLANNED_ONCE).await?;
        let wanted: Vec<Wanted<'_>> = items.iter().map(|(dag, run)| Wanted { dag, run }).collect();
        let created = dag_run::create_all(&mut transaction, &wanted, Utc::now()).await?;
        let mut shown = shown(&mut transaction, &wanted, &created).await?;
        let mut outcomes = Vec::with_capacity(items.len());
        for (wanted, created) in wanted.iter().zip(&created) {
            outcomes.push(match created {
                Some(created) => shown.remove(&created.id).ok_or_else(gone),
                None => Err(refusal(dag_run::refusal(&mut transaction, *wanted).await?)),
            });
        }
        transaction.commit().await?;
        Ok(outcomes)
    }
}

/// What was made, by `dag_run.id`. The task instances of a new run, if it has any, are all of one version; those of others Postgres
/// would take longer to plan for than to find.
async fn shown(
    connection: &mut PgConnection,
    wanted: &[Wanted<'_>],
    created: &[Option<Created>],
) -> ApiResult<HashMap<i32, DagRun>> {
    let made: Vec<(&Wanted<'_>, Created)> =
        wanted.iter().zip(created).filter_map(|(wanted, created)| created.map(|created| (wanted, created))).collect();
    let ids: Vec<i32> = made.iter().map(|(_, created)| created.id).collect();
    let runs = without_versions(connection, &ids).await?;
    let mut runs: HashMap<i32, DagRun> = runs.into_iter().map(|run| (run.id, run)).collect();
    let versions: Vec<Uuid> = made.iter().filter_map(|(_, created)| created.dag_version_id).collect();
    let versions = DagVersion::of_ids(connection, &versions).await?;
    for (wanted, created) in made {
        let version = created.dag_version_id.and_then(|id| versions.get(&id));
        if let Some(run) = runs.get_mut(&created.id)
            && (wanted.dag.task_count() > 0 || run.bundle_version.is_some())
        {
            run.dag_versions.extend(version.cloned());
        }
    }
    Ok(runs)
}

fn refusal(error: MetadataError) -> ApiError {
    match error {
        MetadataError::Conflict(detail) => ApiError::unique_violation(&detail),
        MetadataError::NotFound(detail) => ApiError::not_found(detail),
        other => other.into(),
    }
}
