use serde_json::{Value, json};

/// The plain JSON of an encoded value, as a REST client sees it: containers lose their encoding, dates and
/// lengths of time keep their numbers, everything else stays as it is encoded.
pub(super) fn plain(encoded: &Value) -> Value {
    match encoded {
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(fields) => match (fields.get("__type").and_then(Value::as_str), fields.get("__var")) {
            (Some("dict"), Some(Value::Object(inner))) => {
                inner.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
            }
            (Some("set" | "tuple"), Some(Value::Array(items))) => items.iter().map(plain).collect(),
            (Some("datetime"), Some(Value::Number(seconds))) => date_text(seconds.as_f64()),
            (Some("timedelta"), Some(seconds)) => seconds.clone(),
            _ => encoded.clone(),
        },
        other => other.clone(),
    }
}

fn date_text(seconds: Option<f64>) -> Value {
    let date = seconds.and_then(|seconds| chrono::DateTime::from_timestamp_micros((seconds * 1e6).round() as i64));
    date.map_or(Value::Null, |date| json!(date.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, false)))
}
