//! Airflow's public REST API, version 2: one module per entity.

mod assets;
pub(crate) mod backfills;
mod bulk;
mod configuration;
mod connections;
pub(crate) mod dag_runs;
mod dag_sources;
mod dag_stats;
pub(crate) mod dag_versions;
mod dag_warnings;
pub(crate) mod dags;
mod event_logs;
mod extra_links;
pub(crate) mod hitl_details;
mod import_errors;
mod jobs;
pub(crate) mod logs;
mod monitor;
mod plugins;
mod pools;
mod state_store;
pub(crate) mod task_instances;
mod tasks;
mod teams;
mod variables;
mod xcom;

use crate::state::App;
use axum::Router;

/// Routes under `/api/v2`.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .merge(assets::routes())
        .merge(backfills::routes())
        .merge(configuration::routes())
        .merge(connections::routes())
        .merge(dag_runs::routes())
        .merge(dag_sources::routes())
        .merge(dag_stats::routes())
        .merge(dag_versions::routes())
        .merge(dag_warnings::routes())
        .merge(dags::routes())
        .merge(event_logs::routes())
        .merge(extra_links::routes())
        .merge(hitl_details::routes())
        .merge(import_errors::routes())
        .merge(jobs::routes())
        .merge(logs::routes())
        .merge(monitor::routes())
        .merge(plugins::routes())
        .merge(pools::routes())
        .merge(state_store::routes())
        .merge(task_instances::routes())
        .merge(tasks::routes())
        .merge(variables::routes())
        .merge(xcom::routes())
}
