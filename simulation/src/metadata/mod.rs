//! What the crate `metadata` does to the database, statement by statement.

pub(crate) mod attempt;
pub(crate) mod clear;
pub(crate) mod dag_run;
pub(crate) mod queue;
pub(crate) mod task_instance;
