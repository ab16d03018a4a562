//! Timetables out of the serialised Dag: `{"__type": class path, "__var": arguments}`.
//!
//! Source: `serialize` and `deserialize` of the classes in `airflow.timetables`, and
//! `airflow/serialization/encoders.py`.

use chrono::DateTime;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cron::{CronExpression, CronSchedule};
use super::custom::CustomTimetable;
use super::delta::{self, Delta};
use super::events::Events;
use super::trigger::{CronPartition, CronTrigger, DeltaTrigger, RunImmediately};
use super::zone::Zone;
use super::{Timetable, TimetableError};

#[derive(Deserialize)]
struct Encoded {
    #[serde(rename = "__type")]
    type_name: String,
    #[serde(rename = "__var", default)]
    arguments: Value,
}

#[derive(Deserialize)]
struct CronArguments {
    expression: String,
    timezone: Value,
    #[serde(default = "no_interval")]
    interval: Delta,
    #[serde(default)]
    run_immediately: Value,
}

#[derive(Deserialize)]
struct MultipleCronArguments {
    expressions: Vec<String>,
    timezone: Value,
    interval: Delta,
    run_immediately: Value,
}

#[derive(Deserialize)]
struct PartitionArguments {
    #[serde(flatten)]
    cron: CronArguments,
    run_offset: Option<i64>,
    key_format: String,
}

#[derive(Deserialize)]
struct DeltaArguments {
    delta: Delta,
    #[serde(default = "no_interval")]
    interval: Delta,
}

#[derive(Deserialize)]
struct EventsArguments {
    event_dates: Vec<String>,
    restrict_to_events: bool,
    description: String,
    #[serde(rename = "_summary")]
    summary: Option<String>,
}

#[derive(Deserialize)]
struct AssetArguments {
    asset_condition: Value,
    #[serde(default)]
    timetable: Value,
}

fn no_interval() -> Delta {
    Delta::ZERO
}

impl Timetable {
    /// Reads a timetable of a serialised Dag.
    ///
    /// A class of a plugin, which only Python can evaluate, becomes [`Timetable::Custom`].
    ///
    /// # Errors
    /// [`TimetableError::Serialized`] when a class of Airflow's own does not have the arguments it should,
    /// and [`TimetableError::Cron`] when it holds an expression that Airflow refuses.
    pub fn from_serialized(serialized: &Value) -> Result<Self, TimetableError> {
        let Encoded { type_name, arguments } = decode("timetable", serialized.clone())?;
        let core = type_name
            .strip_prefix("airflow.timetables.")
            .or_else(|| type_name.strip_prefix("airflow.sdk.definitions.timetables."));
        let class = core.and_then(|path| path.rsplit('.').next());
        let known = match class {
            Some(class) => from_class(class, arguments.clone())?,
            None => None,
        };
        Ok(known.unwrap_or_else(|| Self::Custom(CustomTimetable::new(type_name, arguments))))
    }
}

/// A timetable of Airflow's own. `None` when the class is not known.
fn from_class(class: &str, arguments: Value) -> Result<Option<Timetable>, TimetableError> {
    Ok(Some(match class {
        "NullTimetable" => Timetable::Null,
        "OnceTimetable" => Timetable::Once,
        "ContinuousTimetable" => Timetable::Continuous,
        "PartitionedAtRuntime" => Timetable::PartitionedAtRuntime,
        "CronDataIntervalTimetable" => {
            let CronArguments { expression, timezone, .. } = decode(class, arguments)?;
            Timetable::CronDataInterval(schedule(class, &expression, &timezone)?)
        }
        "CronTriggerTimetable" => Timetable::CronTrigger(cron_trigger(class, decode(class, arguments)?)?),
        "CronPartitionTimetable" => {
            let PartitionArguments { cron, run_offset, key_format } = decode(class, arguments)?;
            let trigger = cron_trigger(class, cron)?;
            let run_offset = run_offset.unwrap_or(0);
            Timetable::CronPartition(CronPartition { trigger, run_offset, key_format })
        }
        "MultipleCronTriggerTimetable" => multiple_cron_trigger(class, decode(class, arguments)?)?,
        "DeltaDataIntervalTimetable" => {
            let DeltaArguments { delta, .. } = decode(class, arguments)?;
            Timetable::DeltaDataInterval(delta)
        }
        "DeltaTriggerTimetable" => {
            let DeltaArguments { delta, interval } = decode(class, arguments)?;
            Timetable::DeltaTrigger(DeltaTrigger { delta, interval })
        }
        "EventsTimetable" => Timetable::Events(events(class, decode(class, arguments)?)?),
        "AssetTriggeredTimetable" => {
            let AssetArguments { asset_condition, .. } = decode(class, arguments)?;
            Timetable::AssetTriggered { asset_condition }
        }
        "PartitionedAssetTimetable" => {
            let AssetArguments { asset_condition, .. } = decode(class, arguments)?;
            Timetable::PartitionedAsset { asset_condition }
        }
        "AssetOrTimeSchedule" => {
            let AssetArguments { asset_condition, timetable } = decode(class, arguments)?;
            let timetable = Box::new(Timetable::from_serialized(&timetable)?);
            Timetable::AssetOrTime { asset_condition, timetable }
        }
        _ => return Ok(None),
    }))
}

fn decode<T: DeserializeOwned>(class: &str, arguments: Value) -> Result<T, TimetableError> {
    serde_json::from_value(arguments).map_err(|error| serialized_error(class, error.to_string()))
}

fn serialized_error(class: &str, detail: String) -> TimetableError {
    TimetableError::Serialized { type_name: class.to_owned(), detail }
}

fn schedule(class: &str, expression: &str, timezone: &Value) -> Result<CronSchedule, TimetableError> {
    let zone = match timezone {
        Value::String(name) => Zone::named(name),
        offset => offset.as_i64().and_then(|seconds| i32::try_from(seconds).ok()).and_then(Zone::fixed),
    };
    let zone = zone.ok_or_else(|| serialized_error(class, format!("time zone {timezone} is not known")))?;
    Ok(CronSchedule::new(CronExpression::parse(expression)?, zone))
}

fn cron_trigger(class: &str, arguments: CronArguments) -> Result<CronTrigger, TimetableError> {
    let CronArguments { expression, timezone, interval, run_immediately } = arguments;
    Ok(CronTrigger {
        schedule: schedule(class, &expression, &timezone)?,
        interval,
        run_immediately: decode_run_immediately(&run_immediately),
    })
}

fn multiple_cron_trigger(class: &str, arguments: MultipleCronArguments) -> Result<Timetable, TimetableError> {
    let MultipleCronArguments { expressions, timezone, interval, run_immediately } = arguments;
    if expressions.is_empty() {
        return Err(serialized_error(class, "it has no cron expression".to_owned()));
    }
    let members = expressions.into_iter().map(|expression| {
        let (timezone, interval, run_immediately) = (timezone.clone(), interval.clone(), run_immediately.clone());
        cron_trigger(class, CronArguments { expression, timezone, interval, run_immediately })
    });
    members.collect::<Result<_, _>>().map(Timetable::MultipleCronTrigger)
}

/// Only a number with a fraction part is a duration; an integer is taken as `False`, as
/// `decode_run_immediately` does.
fn decode_run_immediately(value: &Value) -> RunImmediately {
    match value {
        Value::Bool(true) => RunImmediately::Always,
        Value::Number(seconds) if seconds.is_f64() => {
            seconds.as_f64().and_then(delta::from_seconds).map_or(RunImmediately::WithinTenth, RunImmediately::Within)
        }
        _ => RunImmediately::WithinTenth,
    }
}

fn events(class: &str, arguments: EventsArguments) -> Result<Events, TimetableError> {
    let EventsArguments { event_dates, restrict_to_events, description, summary } = arguments;
    let parse = |text: &String| {
        DateTime::parse_from_rfc3339(text)
            .map(|date| date.to_utc())
            .map_err(|error| serialized_error(class, format!("event date {text:?}: {error}")))
    };
    let dates = event_dates.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let summary = summary.unwrap_or_else(|| description.clone());
    Ok(Events { dates, restrict_to_events, description, summary })
}
