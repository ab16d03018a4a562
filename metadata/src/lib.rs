//! Airflow's metadata database, through sqlx: one module per entity, long statements in `queries/`.
//!
//! Two functions alone change states: [`task_instance::transition`] and [`dag_run::set_state`]; both compare before
//! they set.
#![forbid(unsafe_code)]

mod database;
mod error;

pub mod asset;
pub mod asset_event;
mod asset_partition;
pub mod attempt;
pub mod audit_log;
pub mod backfill;
pub mod bundle_snapshot;
pub mod clear;
pub mod connection;
pub mod connection_test;
pub mod dag_bundle;
pub mod dag_document;
pub mod dag_run;
pub mod dag_run_lookup;
pub mod dag_run_range;
pub mod dag_run_trigger;
pub mod dag_run_version;
pub mod deadline;
pub mod environment;
pub mod evaluation;
pub mod explanation;
pub mod failpoint;
pub mod fleet;
pub mod hitl;
pub mod job;
pub mod migrate;
pub mod notify;
pub mod output_length;
pub mod parse_result;
pub mod partition_event;
pub mod priority_weight;
pub mod publication;
pub mod python_environment;
pub mod queue;
pub mod rendered_fields;
pub mod run_facts;
pub mod serialized_dag;
pub mod state_store;
pub mod task_callback;
pub mod task_instance;
pub mod task_instance_lookup;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trace_context;
pub mod trigger;
pub mod variable;
pub mod weighted_lru;
pub mod worker;
pub mod xcom;

pub use database::{Database, connect_options};
pub use error::MetadataError;

/// The result of a database operation.
pub type Result<T, E = MetadataError> = std::result::Result<T, E>;
