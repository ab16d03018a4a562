//! OpenTelemetry context of runs and task instances (`context_carrier`): a W3C `traceparent`, in the wrapping of
//! Airflow's extended JSON.

use serde_json::{Value, json};
use uuid::Uuid;

/// A carrier that starts a new trace, not sampled, as Airflow makes for a run while tracing is off. The run's task
/// instances get the same.
pub fn new_root() -> Value {
    let trace_id = Uuid::new_v4().simple().to_string();
    let span_id = &Uuid::new_v4().simple().to_string()[..16];
    json!({"__type": "dict", "__var": {"traceparent": format!("00-{trace_id}-{span_id}-00")}})
}
