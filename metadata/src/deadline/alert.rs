//! What a row of `deadline_alert` says.
//!
//! Source: `decode_deadline_alert` in `airflow/serialization/decoders.py`, `airflow/serialization/definitions/deadline.py`.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use tradewind_airflow::encoded_value::{extended_dict, sdk_to_extended};

/// Prefix of the metrics of such callbacks (`CALLBACK_METRICS_PREFIX`).
const METRICS_PREFIX: &str = "deadline_alerts";

/// Why an alert cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// The stored form is not Airflow's.
    #[error("its {0} cannot be read")]
    Unreadable(&'static str),
    /// The moment does not exist.
    #[error("it lies beyond the calendar")]
    OutOfRange,
}

/// What a deadline counts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reference {
    FixedDatetime(DateTime<Utc>),
    LogicalDate,
    QueuedAt,
    AverageRuntime {
        max_runs: i64,
        min_runs: i64,
    },
    /// An object of a plugin's class.
    Custom,
}

/// How long after that it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Interval {
    /// So long.
    Length(TimeDelta),
    /// As many seconds as the Variable of this key says.
    Variable(String),
}

/// What is called when the deadline is missed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Callback {
    /// `callback.type`.
    pub(super) kind: &'static str,
    /// The arguments of the class, in the encoding of the Task SDK.
    arguments: Map<String, Value>,
}

/// An alert of a Dag.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alert {
    pub(super) reference: Reference,
    pub(super) interval: Interval,
    pub(super) callback: Callback,
}

impl Alert {
    pub(super) fn read(reference: &Value, interval: &Value, callback: &Value) -> Result<Self, AlertError> {
        Ok(Self {
            reference: read_reference(reference)?,
            interval: read_interval(interval)?,
            callback: Callback::read(callback)?,
        })
    }
}

fn read_reference(reference: &Value) -> Result<Reference, AlertError> {
    const UNREADABLE: AlertError = AlertError::Unreadable("reference");
    // A class of a plugin may have the name of one of Airflow's.
    if reference.get("__class_path").is_some() {
        return Ok(Reference::Custom);
    }
    let kind = reference.get("reference_type").and_then(Value::as_str).ok_or(UNREADABLE)?;
    match kind {
        "FixedDatetimeDeadline" => {
            let timestamp = reference.get("datetime").and_then(Value::as_f64).ok_or(UNREADABLE)?;
            let date = seconds(timestamp).and_then(|since| DateTime::UNIX_EPOCH.checked_add_signed(since));
            date.map(Reference::FixedDatetime).ok_or(AlertError::OutOfRange)
        }
        "DagRunLogicalDateDeadline" => Ok(Reference::LogicalDate),
        "DagRunQueuedAtDeadline" => Ok(Reference::QueuedAt),
        "AverageRuntimeDeadline" => {
            let max_runs = reference.get("max_runs").and_then(Value::as_i64).ok_or(UNREADABLE)?;
            let min_runs = reference.get("min_runs").and_then(Value::as_i64).unwrap_or(max_runs);
            Ok(Reference::AverageRuntime { max_runs, min_runs })
        }
        _ => Err(UNREADABLE),
    }
}

/// Older versions stored the number of seconds alone.
fn read_interval(interval: &Value) -> Result<Interval, AlertError> {
    const UNREADABLE: AlertError = AlertError::Unreadable("interval");
    let data = interval.get("__data__").unwrap_or(interval);
    if let Some(key) = data.get("key").and_then(Value::as_str) {
        return Ok(Interval::Variable(key.to_owned()));
    }
    data.as_f64().and_then(seconds).map(Interval::Length).ok_or(UNREADABLE)
}

/// A length of time, exact to the microsecond as in Python.
pub(super) fn seconds(number: f64) -> Option<TimeDelta> {
    let micros = (number * 1e6).round();
    #[expect(clippy::cast_possible_truncation, reason = "within the range of the calendar")]
    (micros.abs() < 1e18).then(|| TimeDelta::microseconds(micros as i64))
}

impl Callback {
    fn read(stored: &Value) -> Result<Self, AlertError> {
        const UNREADABLE: AlertError = AlertError::Unreadable("callback");
        let class = stored.get("__classname__").and_then(Value::as_str).ok_or(UNREADABLE)?;
        let kind = match class.rsplit('.').next() {
            Some("AsyncCallback") => "triggerer",
            Some("SyncCallback") => "executor",
            _ => return Err(UNREADABLE),
        };
        let arguments = stored.get("__data__").and_then(Value::as_object).cloned().ok_or(UNREADABLE)?;
        Ok(Self { kind, arguments })
    }

    /// `callback.data`: what the scheduler adds for metrics, and the callback itself.
    pub(super) fn data(&self, dag_id: &str) -> Value {
        let mut data = Map::new();
        data.insert("dag_id".to_owned(), json!(dag_id));
        data.insert("prefix".to_owned(), json!(METRICS_PREFIX));
        data.extend(self.arguments.iter().map(|(key, value)| (key.clone(), sdk_to_extended(value))));
        extended_dict(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timedelta(seconds: f64) -> Value {
        json!({"__classname__": "datetime.timedelta", "__version__": 2, "__data__": seconds})
    }

    fn callback() -> Value {
        json!({
            "__classname__": "airflow.sdk.definitions.callback.SyncCallback", "__version__": 0,
            "__data__": {"path": "m.f", "kwargs": {"a": 1}, "executor": null},
        })
    }

    #[test]
    fn alerts_are_read_as_airflow_stores_them() {
        let read =
            |reference: Value| Alert::read(&reference, &timedelta(1.5), &callback()).map(|alert| alert.reference);
        let fixed = json!({"reference_type": "FixedDatetimeDeadline", "datetime": 86_400.25});
        let date = DateTime::from_timestamp_millis(86_400_250).expect("a date");
        assert_eq!(read(fixed).expect("a reference"), Reference::FixedDatetime(date));
        let average = json!({"reference_type": "AverageRuntimeDeadline", "max_runs": 10, "min_runs": null});
        let expected = Reference::AverageRuntime { max_runs: 10, min_runs: 10 };
        assert_eq!(read(average).expect("a reference"), expected);
        for name in ["Mine", "DagRunQueuedAtDeadline"] {
            let custom = json!({"reference_type": name, "__class_path": format!("plugin.{name}")});
            assert_eq!(read(custom).expect("a reference"), Reference::Custom);
        }
        assert!(matches!(read(json!({"reference_type": "Mine"})), Err(AlertError::Unreadable("reference"))));
    }

    #[test]
    fn intervals_are_lengths_of_time_or_bare_seconds() {
        let read = |interval: &Value| read_interval(interval).expect("an interval");
        assert_eq!(read(&timedelta(-1.5)), Interval::Length(TimeDelta::milliseconds(-1_500)));
        assert_eq!(read(&json!(60)), Interval::Length(TimeDelta::minutes(1)));
        let variable = json!({"__classname__": "a.VariableInterval", "__version__": 0, "__data__": {"key": "k"}});
        assert_eq!(read(&variable), Interval::Variable("k".to_owned()));
    }

    #[test]
    fn the_data_of_a_callback_are_airflows() {
        let alert = Alert::read(&json!({"reference_type": "DagRunQueuedAtDeadline"}), &timedelta(1.0), &callback());
        let callback = alert.expect("an alert").callback;
        assert_eq!(callback.kind, "executor");
        let kwargs = json!({"__type": "dict", "__var": {"a": 1}});
        let expected = json!({"__type": "dict", "__var": {
            "dag_id": "d", "prefix": "deadline_alerts", "path": "m.f", "kwargs": kwargs, "executor": null,
        }});
        assert_eq!(callback.data("d"), expected);
    }
}
