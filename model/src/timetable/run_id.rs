//! Ids of Dag runs.

use std::fmt::Display;

use chrono::{DateTime, TimeZone};

use super::Timetable;
use crate::state::DagRunType;

/// How many letters and digits [`Timetable::generate_run_id`] and [`generate_run_id`] ask for as random text.
pub const RANDOM_TEXT_LENGTH: usize = 8;

/// What a run id is made of.
#[derive(Debug, Clone, Copy)]
pub struct RunIdParts<'a, Tz: TimeZone> {
    /// What made the run.
    pub run_type: DagRunType,
    /// When the run may start; its text keeps the offset it has.
    pub run_after: &'a DateTime<Tz>,
    /// Partition the run is for.
    pub partition_key: Option<&'a str>,
}

impl Timetable {
    /// The id of a run that this timetable makes or that is made by hand (`Timetable.generate_run_id`):
    /// `scheduled__2024-01-01T00:00:00+00:00`.
    ///
    /// `random` gives [`RANDOM_TEXT_LENGTH`] ASCII letters and digits; only partitioned runs ask for them.
    pub fn generate_run_id<Tz: TimeZone>(&self, parts: RunIdParts<'_, Tz>, random: impl FnOnce() -> String) -> String
    where
        Tz::Offset: Display,
    {
        let RunIdParts { run_type, run_after, partition_key } = parts;
        let at = isoformat(run_after);
        match self {
            Self::AssetOrTime { timetable, .. } if run_type != DagRunType::AssetTriggered => {
                timetable.generate_run_id(parts, random)
            }
            Self::CronPartition(_) => match partition_key.filter(|key| !key.is_empty()) {
                Some(key) => format!("{run_type}__{at}__{key}__{}", random()),
                None => format!("{run_type}__{at}__{}", random()),
            },
            _ => format!("{run_type}__{at}"),
        }
    }
}

/// The id of a run that no timetable names (`DagRun.generate_run_id`): asset events, backfills of partitions,
/// `TriggerDagRunOperator`. Without a logical date, random text keeps it unique.
pub fn generate_run_id<Tz: TimeZone>(
    run_type: DagRunType,
    has_logical_date: bool,
    run_after: &DateTime<Tz>,
    random: impl FnOnce() -> String,
) -> String
where
    Tz::Offset: Display,
{
    let at = isoformat(run_after);
    if has_logical_date { format!("{run_type}__{at}") } else { format!("{run_type}__{at}_{}", random()) }
}

/// As Python's `datetime.isoformat`: microseconds only when there are some.
pub fn isoformat<Tz: TimeZone>(at: &DateTime<Tz>) -> String
where
    Tz::Offset: Display,
{
    let format = if at.timestamp_subsec_micros() == 0 { "%Y-%m-%dT%H:%M:%S%:z" } else { "%Y-%m-%dT%H:%M:%S%.6f%:z" };
    at.format(format).to_string()
}
