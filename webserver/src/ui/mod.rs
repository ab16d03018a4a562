//! The API of the official UI, private to it: one module per entity.

mod assets;
mod backfills;
mod calendar;
mod configuration;
mod connections;
mod dag_runs;
mod dags;
mod dashboard;
mod deadlines;
mod dependencies;
mod gantt;
mod graph;
mod grid;
mod partitioned_dag_runs;
mod session;
mod structure;
mod teams;

use crate::state::App;
use axum::Router;

/// Routes under `/ui`.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .merge(assets::routes())
        .merge(backfills::routes())
        .merge(calendar::routes())
        .merge(configuration::routes())
        .merge(connections::routes())
        .merge(dag_runs::routes())
        .merge(dags::routes())
        .merge(dashboard::routes())
        .merge(deadlines::routes())
        .merge(dependencies::routes())
        .merge(gantt::routes())
        .merge(grid::routes())
        .merge(partitioned_dag_runs::routes())
        .merge(session::routes())
        .merge(structure::routes())
        .merge(teams::routes())
}
