//! Python values within JSON, in the two encodings that Airflow has: that of the Task SDK (`airflow/sdk/serde`:
//! `{"__classname__", "__version__", "__data__"}`), used by arguments of triggers and callbacks of Dags, and the one that
//! columns of the type `ExtendedJSON` hold (`BaseSerialization` in `airflow/serialization/serialized_objects.py`:
//! `{"__type", "__var"}`, also around every dictionary).

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

/// A moment in the encoding of the Task SDK.
pub fn sdk_datetime(date: DateTime<Utc>) -> Value {
    sdk_moment(&json!(timestamp(date)))
}

/// A moment in the encoding of `ExtendedJSON`.
pub fn extended_datetime(date: DateTime<Utc>) -> Value {
    json!({"__type": "datetime", "__var": timestamp(date)})
}

#[expect(clippy::cast_precision_loss, reason = "Python keeps timestamps as floats, too")]
fn timestamp(date: DateTime<Utc>) -> f64 {
    date.timestamp_micros() as f64 / 1e6
}

fn sdk_moment(timestamp: &Value) -> Value {
    let tz = sdk_object("builtins.tuple", 1, json!(["UTC", "pendulum.tz.timezone.Timezone", 1, true]));
    sdk_object("datetime.datetime", 2, json!({"timestamp": timestamp, "tz": tz}))
}

fn sdk_object(class: &str, version: i32, data: Value) -> Value {
    json!({"__classname__": class, "__version__": version, "__data__": data})
}

/// From the encoding of the Task SDK to that of `ExtendedJSON`, as reading and writing it again in Python does. An object
/// of another class than dates, lengths of time, tuples and sets becomes a dictionary.
pub fn sdk_to_extended(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sdk_to_extended).collect(),
        Value::Object(map) => {
            let class = map.get("__classname__").and_then(Value::as_str);
            match (class, map.get("__data__")) {
                (Some("datetime.datetime" | "pendulum.datetime.DateTime"), Some(data)) => {
                    json!({"__type": "datetime", "__var": data.get("timestamp").unwrap_or(data)})
                }
                (Some("datetime.timedelta"), Some(data)) => json!({"__type": "timedelta", "__var": data}),
                (Some("builtins.tuple"), Some(data)) => json!({"__type": "tuple", "__var": sdk_to_extended(data)}),
                (Some("builtins.set"), Some(data)) => json!({"__type": "set", "__var": sdk_to_extended(data)}),
                _ => extended_dict(map.iter().map(|(key, value)| (key.clone(), sdk_to_extended(value))).collect()),
            }
        }
        plain => plain.clone(),
    }
}

/// A dictionary in the encoding of `ExtendedJSON`, of values that are in it already.
pub fn extended_dict(map: Map<String, Value>) -> Value {
    json!({"__type": "dict", "__var": map})
}

/// Plain JSON in the encoding of `ExtendedJSON`.
pub fn plain_to_extended(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(plain_to_extended).collect(),
        Value::Object(map) => {
            extended_dict(map.iter().map(|(key, value)| (key.clone(), plain_to_extended(value))).collect())
        }
        plain => plain.clone(),
    }
}

/// From the encoding of `ExtendedJSON` to that of the Task SDK.
pub fn extended_to_sdk(value: &Value) -> Value {
    let all = |map: &Map<String, Value>| -> Value {
        map.iter().map(|(key, value)| (key.clone(), extended_to_sdk(value))).collect()
    };
    match value {
        Value::Array(items) => items.iter().map(extended_to_sdk).collect(),
        Value::Object(map) => match (map.get("__type").and_then(Value::as_str), map.get("__var")) {
            (Some("dict"), Some(Value::Object(inner))) => all(inner),
            (Some("datetime"), Some(timestamp)) => sdk_moment(timestamp),
            (Some("timedelta"), Some(seconds)) => sdk_object("datetime.timedelta", 2, seconds.clone()),
            (Some("tuple"), Some(items)) => sdk_object("builtins.tuple", 1, extended_to_sdk(items)),
            (Some("set"), Some(items)) => sdk_object("builtins.set", 1, extended_to_sdk(items)),
            _ => all(map),
        },
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both forms as Airflow 3.3.2 writes them.
    #[test]
    fn both_encodings_are_airflows() {
        let utc = json!({
            "__classname__": "builtins.tuple", "__version__": 1,
            "__data__": ["UTC", "pendulum.tz.timezone.Timezone", 1, true],
        });
        let sdk = json!({
            "a": [1, {"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1, {"x": null}]}],
            "when": {
                "__classname__": "datetime.datetime", "__version__": 2,
                "__data__": {"timestamp": 1_767_229_261.5, "tz": utc},
            },
            "long": {"__classname__": "datetime.timedelta", "__version__": 2, "__data__": 5.0},
            "some": {"__classname__": "builtins.set", "__version__": 1, "__data__": [1]},
        });
        let extended = json!({"__type": "dict", "__var": {
            "a": [1, {"__type": "tuple", "__var": [1, {"__type": "dict", "__var": {"x": null}}]}],
            "when": {"__type": "datetime", "__var": 1_767_229_261.5},
            "long": {"__type": "timedelta", "__var": 5.0},
            "some": {"__type": "set", "__var": [1]},
        }});
        assert_eq!(sdk_to_extended(&sdk), extended);
        assert_eq!(extended_to_sdk(&extended), sdk);
        let date = DateTime::from_timestamp_millis(1_767_229_261_500).expect("a date");
        assert_eq!(sdk_datetime(date), sdk["when"]);
        assert_eq!(extended_datetime(date), extended["__var"]["when"]);
        assert_eq!(plain_to_extended(&json!([{"x": 1}])), json!([{"__type": "dict", "__var": {"x": 1}}]));
    }
}
