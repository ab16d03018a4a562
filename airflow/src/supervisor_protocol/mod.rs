//! Messages between a supervisor and its children.
//!
//! Source: `airflow/sdk/execution_time/comms.py`; shapes in `airflow/sdk/execution_time/schema/schema.json`.

pub mod dag_processor;
pub mod duration;
pub mod response;
pub mod task;
pub mod to_supervisor;
