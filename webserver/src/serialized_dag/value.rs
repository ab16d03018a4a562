//! Values in Airflow's own encoding (`{"__type": …, "__var": …}`) as plain JSON.

use crate::timestamp::Timestamp;
use chrono::DateTime;
use serde_json::{Map, Value};

/// Plain JSON as pydantic would print the Python value.
pub(crate) fn decode(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(decode).collect()),
        Value::Object(object) => match (object.get("__type").and_then(Value::as_str), object.get("__var")) {
            (Some("datetime"), Some(seconds)) => timestamp(seconds).map_or(Value::Null, |time| time.to_string().into()),
            (Some("timedelta"), Some(seconds)) => seconds.as_f64().map_or(Value::Null, |it| duration(it).into()),
            (Some(_), Some(inner)) => decode(inner),
            _ => Value::Object(object.iter().map(|(key, value)| (key.clone(), decode(value))).collect::<Map<_, _>>()),
        },
        other => other.clone(),
    }
}

/// Seconds since the epoch as a point in time.
pub(crate) fn timestamp(seconds: &Value) -> Option<Timestamp> {
    let micros = (seconds.as_f64()? * 1e6).round();
    DateTime::from_timestamp_micros(micros as i64).map(Timestamp)
}

/// A length of time in ISO 8601 as pydantic prints it: `P1DT2H3M4.5S`.
pub(crate) fn duration(seconds: f64) -> String {
    let micros = (seconds.abs() * 1e6).round() as u64;
    let (days, rest) = (micros / 86_400_000_000, micros % 86_400_000_000);
    let (hours, rest) = (rest / 3_600_000_000, rest % 3_600_000_000);
    let (minutes, micros) = (rest / 60_000_000, rest % 60_000_000);
    let mut text = String::from(if seconds < 0.0 { "-P" } else { "P" });
    if days > 0 {
        text.push_str(&format!("{days}D"));
    }
    if hours + minutes + micros > 0 || days == 0 {
        text.push('T');
    }
    if hours > 0 {
        text.push_str(&format!("{hours}H"));
    }
    if minutes > 0 {
        text.push_str(&format!("{minutes}M"));
    }
    if micros > 0 || days + hours + minutes == 0 {
        let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let fraction = format!("{fraction:06}");
        let fraction = fraction.trim_end_matches('0');
        text.push_str(&if fraction.is_empty() { format!("{whole}S") } else { format!("{whole}.{fraction}S") });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_durations_as_pydantic_does() {
        let cases = [(0.0, "PT0S"), (300.0, "PT5M"), (86_400.0, "P1D"), (93_784.5, "P1DT2H3M4.5S"), (-60.0, "-PT1M")];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
