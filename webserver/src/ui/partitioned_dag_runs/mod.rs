//! `/ui/partitioned_dag_runs` and `/ui/pending_partitioned_dag_run/{dag_id}`: partitions of Dags that wait for events of
//! assets, and those that have got their run.

pub(super) mod progress;

use crate::auth::{BindDags as _, Dags, Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use progress::{AssetProgress, PartitionedDag};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use std::collections::BTreeMap;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/partitioned_dag_runs", get(list))
        .route("/pending_partitioned_dag_run/{dag_id}", get(read_pending))
}

#[derive(FromRow)]
struct Partition {
    id: i32,
    target_dag_id: String,
    partition_key: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    has_run: bool,
    run_id: Option<String>,
    run_state: Option<String>,
}

/// A partition in few words.
#[derive(Serialize)]
struct PartitionedDagRun {
    id: i32,
    dag_id: String,
    partition_key: String,
    created_at: String,
    total_received: usize,
    total_required: usize,
    state: Option<String>,
    created_dag_run_id: Option<String>,
}

#[derive(Serialize)]
struct Collection {
    partitioned_dag_runs: Vec<PartitionedDagRun>,
    total: usize,
    /// Of every Dag that has partitions here; none when the request names the Dag.
    asset_expressions: Option<BTreeMap<String, Option<Value>>>,
}

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Asset)?;
    let dag_id = params.text("dag_id");
    let has_run = params.bool("has_created_dag_run_id");
    params.check()?;
    let partitions: Vec<Partition> = sqlx::query_as(user.readable().narrow(include_str!("list.sql"), 3))
        .bind(&dag_id)
        .bind(has_run)
        .bind_dags(user.readable())
        .fetch_all(&app.pool)
        .await?;
    if partitions.is_empty() {
        if let Some(dag_id) = &dag_id {
            require_dag(&app, user.readable(), dag_id).await?;
        }
        return Ok(Json(Collection { partitioned_dag_runs: Vec::new(), total: 0, asset_expressions: None }));
    }
    let dags = PartitionedDag::load(&app, partitions.iter().map(|it| it.target_dag_id.clone()).collect()).await?;
    let mut received = progress::received(&app, partitions.iter().map(|it| it.id).collect()).await?;
    let shown = partitions.into_iter().map(|partition| {
        let received = received.remove(&partition.id).unwrap_or_default();
        let dag = dags.get(&partition.target_dag_id);
        let totals = dag.map_or((0, 0), |dag| dag.totals(&partition.partition_key, &received));
        PartitionedDagRun {
            id: partition.id,
            dag_id: partition.target_dag_id,
            partition_key: partition.partition_key,
            created_at: partition.created_at.isoformat(),
            total_received: totals.0,
            total_required: totals.1,
            state: if partition.has_run { partition.run_state } else { Some("pending".to_owned()) },
            created_dag_run_id: partition.run_id,
        }
    });
    let shown: Vec<_> = shown.collect();
    let expressions = dags.into_iter().map(|(dag_id, dag)| (dag_id, dag.asset_expression));
    Ok(Json(Collection {
        total: shown.len(),
        partitioned_dag_runs: shown,
        asset_expressions: dag_id.is_none().then(|| expressions.collect()),
    }))
}

/// One that may not be read is as good as none.
async fn require_dag(app: &App, readable: &Dags, dag_id: &str) -> ApiResult<()> {
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM dag WHERE dag_id = $1)")
        .bind(dag_id)
        .fetch_one(&app.pool)
        .await?;
    if exists && readable.contains(dag_id) {
        Ok(())
    } else {
        Err(ApiError::not_found(format!("Dag with id {dag_id} was not found")))
    }
}

/// A partition that waits, with every asset that it waits for.
#[derive(Serialize)]
struct PendingPartition {
    id: i32,
    dag_id: String,
    partition_key: String,
    created_at: String,
    updated_at: String,
    created_dag_run_id: Option<String>,
    assets: Vec<AssetProgress>,
    total_required: usize,
    total_received: usize,
    asset_expression: Option<Value>,
}

async fn read_pending(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<Json<PendingPartition>> {
    user.may_read(Resource::Asset)?;
    user.may_read(Resource::Dag)?;
    let key = params.text("partition_key");
    if key.is_none() {
        params.missing("partition_key");
    }
    params.check()?;
    let key = key.unwrap_or_default();
    let partition: Option<Partition> =
        sqlx::query_as(include_str!("pending.sql")).bind(&dag_id).bind(&key).fetch_optional(&app.pool).await?;
    let partition = partition
        .ok_or_else(|| ApiError::not_found(format!("No PartitionedDagRun for dag={dag_id} partition={key}")))?;
    let mut dags = PartitionedDag::load(&app, [dag_id.clone()].into()).await?;
    let received = progress::received(&app, vec![partition.id]).await?.remove(&partition.id).unwrap_or_default();
    let dag = dags.remove(&dag_id).unwrap_or_default();
    let assets = dag.progress(&key, &received);
    Ok(Json(PendingPartition {
        id: partition.id,
        dag_id,
        partition_key: key,
        created_at: partition.created_at.isoformat(),
        updated_at: partition.updated_at.isoformat(),
        created_dag_run_id: partition.run_id,
        total_required: assets.iter().map(|asset| asset.required_count).sum(),
        total_received: assets.iter().map(|asset| asset.received_count).sum(),
        assets,
        asset_expression: dag.asset_expression,
    }))
}
