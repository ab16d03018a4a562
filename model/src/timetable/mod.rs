//! Timetables: when a Dag's runs happen and which data intervals they cover.
//!
//! The classes and their answers are those of `airflow.timetables` 3.3.2; the crate's tests replay answers
//! recorded from it. Every function takes the current time as an argument. All instants are UTC.
//!
//! Invariant I8: a run-by-run catch-up strictly increases, and never yields an empty interval twice.

pub mod cron;
pub mod custom;
pub mod delta;
pub mod events;
mod interval;
mod partition_date;
pub mod relativedelta;
mod run_id;
mod run_info;
mod serialized;
pub mod trigger;
pub mod zone;

use chrono::{DateTime, FixedOffset, Utc};
use serde_json::Value;

use cron::{CronError, CronSchedule};
use custom::CustomTimetable;
use delta::Delta;
use events::Events;
use interval::{IntervalSchedule, manual_cron_interval};
pub use partition_date::resolve_partition_date;
pub use run_id::{RANDOM_TEXT_LENGTH, RunIdParts, generate_run_id, isoformat};
pub use run_info::{AutomatedRun, DagRunInfo, DataInterval, DateRange, TimeRestriction};
use trigger::{CronPartition, CronTrigger, DeltaTrigger, TriggerSchedule, first_of_many};
use zone::Zone;

/// Why a timetable gives no answer.
///
/// The official scheduler logs such an error and treats the Dag as having no next run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TimetableError {
    /// The cron expression is not valid, or never matches.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// The serialised form is not that of the class.
    #[error("timetable {type_name} is not as Airflow 3.3 serialises it: {detail}")]
    Serialized {
        /// The class.
        type_name: String,
        /// What is wrong.
        detail: String,
    },
    /// Only Python knows this timetable.
    #[error("timetable {type_name} is a plugin's own and can be evaluated in Python only")]
    Custom {
        /// The import path of the class.
        type_name: String,
    },
    /// The schedule stands still or runs backwards.
    #[error("the schedule does not advance past {at}; its delta must be positive")]
    NoAdvance {
        /// Where it stands still.
        at: DateTime<Utc>,
    },
    /// A date lies outside what the calendar can hold.
    #[error("the schedule leads from {at} to a date outside the calendar")]
    OutOfRange {
        /// The last date inside.
        at: DateTime<Utc>,
    },
    /// A partition key cannot be written.
    #[error("partition key format {format:?} is not a strftime format")]
    KeyFormat {
        /// The format.
        format: String,
    },
}

/// When a Dag runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Timetable {
    /// `schedule=<cron>`.
    CronDataInterval(CronSchedule),
    /// `schedule=<delta>`.
    DeltaDataInterval(Delta),
    /// Points of a cron expression.
    CronTrigger(CronTrigger),
    /// Points at a distance from each other.
    DeltaTrigger(DeltaTrigger),
    /// Points of several cron expressions, at least one.
    MultipleCronTrigger(Vec<CronTrigger>),
    /// Points of a cron expression, each for a partition.
    CronPartition(CronPartition),
    /// Listed points.
    Events(Events),
    /// `schedule="@once"`.
    Once,
    /// `schedule="@continuous"`.
    Continuous,
    /// `schedule=None`.
    Null,
    /// By hand only; tasks choose their partitions.
    PartitionedAtRuntime,
    /// `schedule=<assets>`.
    AssetTriggered {
        /// The condition over assets, serialised.
        asset_condition: Value,
    },
    /// Assets, by partition.
    PartitionedAsset {
        /// The condition over assets, serialised.
        asset_condition: Value,
    },
    /// Assets or time.
    AssetOrTime {
        /// The condition over assets, serialised.
        asset_condition: Value,
        /// The time part.
        timetable: Box<Timetable>,
    },
    /// A plugin's own class, which only Python can evaluate.
    Custom(CustomTimetable),
}

/// The next run of a Dag: what both the Dag processor and the scheduler store in the `next_dagrun…` columns
/// (`DagModel.calculate_dagrun_date_fields`, `SerializedDAG.next_dagrun_info`). `None`: store nulls.
///
/// # Errors
/// When the timetable gives no answer; official Airflow logs the error and stores nulls.
pub fn next_run(
    timetable: &Timetable,
    restriction: TimeRestriction,
    last: Option<&AutomatedRun>,
    now: DateTime<Utc>,
) -> Result<Option<DagRunInfo>, TimetableError> {
    let last = last.map(|run| timetable.run_info_from_dag_run(run)).transpose()?;
    timetable.next_dagrun_info(last.as_ref(), restriction, now)
}

impl Timetable {
    /// The run after `last` (`next_dagrun_info_v2`), or the first one.
    ///
    /// # Errors
    /// When the timetable gives no answer.
    pub fn next_dagrun_info(
        &self,
        last: Option<&DagRunInfo>,
        restriction: TimeRestriction,
        now: DateTime<Utc>,
    ) -> Result<Option<DagRunInfo>, TimetableError> {
        let last_interval = last.and_then(|last| last.data_interval);
        match self {
            Self::CronDataInterval(schedule) => {
                IntervalSchedule::next_dagrun_info(schedule, last_interval, restriction, now)
            }
            Self::DeltaDataInterval(delta) => delta.next_dagrun_info(last_interval, restriction, now),
            Self::CronTrigger(trigger) => trigger.next_dagrun_info(last_interval, restriction, now),
            Self::DeltaTrigger(trigger) => trigger.next_dagrun_info(last_interval, restriction, now),
            Self::MultipleCronTrigger(triggers) => first_of_many(triggers, last_interval, restriction, now),
            Self::CronPartition(partition) => {
                partition.next_dagrun_info(last.map(|last| last.run_after), restriction, now)
            }
            Self::Events(events) => Ok(events.next_dagrun_info(last_interval, restriction, now)),
            Self::Once => Ok(once(last_interval, restriction, now)),
            Self::Continuous => Ok(continuous(last_interval, restriction, now)),
            Self::AssetOrTime { timetable, .. } => timetable.next_dagrun_info(last, restriction, now),
            Self::Null | Self::PartitionedAtRuntime | Self::AssetTriggered { .. } | Self::PartitionedAsset { .. } => {
                Ok(None)
            }
            Self::Custom(custom) => Err(TimetableError::Custom { type_name: custom.type_name.clone() }),
        }
    }

    /// What a run that exists says about the next one (`Timetable.run_info_from_dag_run`). A run of a version
    /// before data intervals gets that of a manual run.
    ///
    /// # Errors
    /// When the timetable gives no answer.
    pub fn run_info_from_dag_run(&self, run: &AutomatedRun) -> Result<DagRunInfo, TimetableError> {
        let data_interval = match (&run.partition_key, run.data_interval) {
            (Some(_), _) => None,
            (None, Some(interval)) => Some(interval),
            (None, None) => Some(self.infer_manual_data_interval(run.run_after)?),
        };
        Ok(DagRunInfo {
            run_after: run.run_after,
            data_interval,
            partition_date: None,
            partition_key: run.partition_key.clone(),
        })
    }

    /// The data interval of a run made by hand for `run_after`: its logical date where it has one.
    ///
    /// # Errors
    /// When the timetable gives no answer.
    pub fn infer_manual_data_interval(&self, run_after: DateTime<Utc>) -> Result<DataInterval, TimetableError> {
        match self {
            Self::CronDataInterval(schedule) => manual_cron_interval(schedule, run_after),
            Self::DeltaDataInterval(delta) => {
                Ok(DataInterval { start: delta.subtract_from(run_after)?, end: run_after })
            }
            Self::CronTrigger(trigger) => trigger.manual_interval(run_after),
            Self::DeltaTrigger(trigger) => trigger.manual_interval(run_after),
            // All members share one interval.
            Self::MultipleCronTrigger(triggers) => triggers
                .first()
                .map_or(Ok(DataInterval::exact(run_after)), |trigger| trigger.manual_interval(run_after)),
            Self::CronPartition(partition) => partition.trigger.manual_interval(run_after),
            Self::Events(events) => Ok(events.infer_manual_data_interval(run_after)),
            Self::AssetOrTime { timetable, .. } => timetable.infer_manual_data_interval(run_after),
            Self::Once
            | Self::Continuous
            | Self::Null
            | Self::PartitionedAtRuntime
            | Self::AssetTriggered { .. }
            | Self::PartitionedAsset { .. } => Ok(DataInterval::exact(run_after)),
            Self::Custom(custom) => Err(TimetableError::Custom { type_name: custom.type_name.clone() }),
        }
    }

    /// The name to filter Dags by (`dag.timetable_type`): the class of Airflow's own, the import path of others.
    pub fn type_name(&self) -> &str {
        match self {
            Self::CronDataInterval(_) => "CronDataIntervalTimetable",
            Self::DeltaDataInterval(_) => "DeltaDataIntervalTimetable",
            Self::CronTrigger(_) => "CronTriggerTimetable",
            Self::DeltaTrigger(_) => "DeltaTriggerTimetable",
            Self::MultipleCronTrigger(_) => "MultipleCronTriggerTimetable",
            Self::CronPartition(_) => "CronPartitionTimetable",
            Self::Events(_) => "EventsTimetable",
            Self::Once => "OnceTimetable",
            Self::Continuous => "ContinuousTimetable",
            Self::Null => "NullTimetable",
            Self::PartitionedAtRuntime => "PartitionedAtRuntime",
            Self::AssetTriggered { .. } => "AssetTriggeredTimetable",
            Self::PartitionedAsset { .. } => "PartitionedAssetTimetable",
            Self::AssetOrTime { .. } => "AssetOrTimeSchedule",
            Self::Custom(custom) => &custom.type_name,
        }
    }

    /// The short text shown in lists (`dag.timetable_summary`).
    pub fn summary(&self) -> String {
        match self {
            Self::CronDataInterval(schedule) => schedule.expression().to_string(),
            Self::DeltaDataInterval(delta) => delta.to_string(),
            Self::CronTrigger(trigger) => trigger.schedule.expression().to_string(),
            Self::DeltaTrigger(trigger) => trigger.delta.to_string(),
            Self::MultipleCronTrigger(triggers) => join(triggers, |schedule| schedule.expression().to_string()),
            Self::CronPartition(partition) => partition.trigger.schedule.expression().to_string(),
            Self::Events(events) => events.summary.clone(),
            Self::Once => "@once".to_owned(),
            Self::Continuous => "@continuous".to_owned(),
            Self::Null => "None".to_owned(),
            Self::PartitionedAtRuntime => "PartitionedAtRuntime".to_owned(),
            Self::AssetTriggered { .. } => "Asset".to_owned(),
            Self::PartitionedAsset { .. } => "Partitioned Asset".to_owned(),
            Self::AssetOrTime { timetable, .. } => format!("Asset or {}", timetable.summary()),
            Self::Custom(custom) => custom.attributes.summary.clone(),
        }
    }

    /// The sentence shown to users (`dag.timetable_description`), empty when there is none.
    pub fn description(&self) -> String {
        match self {
            Self::CronDataInterval(schedule) => cron::describe(schedule.expression()),
            Self::CronTrigger(trigger) => cron::describe(trigger.schedule.expression()),
            Self::MultipleCronTrigger(triggers) => join(triggers, |schedule| cron::describe(schedule.expression())),
            Self::CronPartition(partition) => cron::describe(partition.trigger.schedule.expression()),
            Self::Events(events) => events.description.clone(),
            Self::Once => "Once, as soon as possible".to_owned(),
            Self::Continuous => "As frequently as possible, but only one run at a time.".to_owned(),
            Self::Null => "Never, external triggers only".to_owned(),
            Self::PartitionedAtRuntime => "Never, partition key(s) set at runtime".to_owned(),
            Self::AssetTriggered { .. } | Self::PartitionedAsset { .. } => "Triggered by assets".to_owned(),
            Self::AssetOrTime { timetable, .. } => {
                format!("Triggered by assets or {}", timetable.description())
            }
            Self::Custom(custom) => custom.attributes.description.clone(),
            Self::DeltaDataInterval(_) | Self::DeltaTrigger(_) => String::new(),
        }
    }

    /// Whether runs recur (`dag.timetable_periodic`).
    pub fn periodic(&self) -> bool {
        match self {
            Self::AssetOrTime { timetable, .. } => timetable.periodic(),
            Self::Custom(custom) => custom.attributes.periodic,
            Self::Once
            | Self::Continuous
            | Self::Null
            | Self::PartitionedAtRuntime
            | Self::AssetTriggered { .. }
            | Self::PartitionedAsset { .. } => false,
            _ => true,
        }
    }

    /// Whether anything but a person starts runs, be it time or assets.
    pub fn can_be_scheduled(&self) -> bool {
        match self {
            Self::AssetOrTime { timetable, .. } => timetable.can_be_scheduled(),
            Self::Custom(custom) => custom.attributes.can_be_scheduled,
            Self::Null | Self::PartitionedAtRuntime => false,
            _ => true,
        }
    }

    /// The limit this timetable sets to the Dag's active runs.
    pub fn active_runs_limit(&self) -> Option<u32> {
        match self {
            Self::Continuous => Some(1),
            Self::AssetOrTime { timetable, .. } => timetable.active_runs_limit(),
            _ => None,
        }
    }

    /// Whether scheduling goes by partitions instead of data intervals (`dag.timetable_partitioned`).
    pub fn partitioned(&self) -> bool {
        match self {
            Self::CronPartition(_) | Self::PartitionedAsset { .. } => true,
            Self::Custom(custom) => custom.attributes.partitioned,
            _ => false,
        }
    }

    /// The zone in which times of its own are meant; `None`: it has none, times are instants
    /// (`localize_partition_datetime`).
    pub fn zone(&self) -> Option<Zone> {
        match self {
            Self::CronDataInterval(schedule) => Some(schedule.zone()),
            Self::CronTrigger(trigger) => Some(trigger.schedule.zone()),
            Self::CronPartition(partition) => Some(partition.trigger.schedule.zone()),
            _ => None,
        }
    }

    /// The instant that is meant by a date of a partition (`localize_partition_datetime`): the clock on the wall counts
    /// where the timetable has a zone, the instant elsewhere.
    pub fn localize_partition_date(&self, at: DateTime<FixedOffset>) -> DateTime<Utc> {
        self.zone().map_or(at.to_utc(), |zone| zone.instant(at.naive_local()))
    }

    /// The runs of all partitions between two dates, both inclusive, in order (`iter_partition_dagrun_infos`): `limit` of
    /// them at most. Partitions that no clock makes have none.
    ///
    /// # Errors
    /// When the timetable gives no answer.
    pub fn partition_runs_between(
        &self,
        earliest: DateTime<FixedOffset>,
        latest: DateTime<FixedOffset>,
        limit: usize,
    ) -> Result<Vec<DagRunInfo>, TimetableError> {
        let (earliest, latest) = (self.localize_partition_date(earliest), self.localize_partition_date(latest));
        match self {
            Self::CronPartition(partition) => partition.runs_between(earliest, latest, limit),
            Self::Custom(custom) => Err(TimetableError::Custom { type_name: custom.type_name.clone() }),
            _ => Ok(Vec::new()),
        }
    }

    /// The columns of `dag_run` that order this Dag's runs in the UI, the first one first.
    pub fn run_ordering(&self) -> &'static [&'static str] {
        match self {
            Self::Once
            | Self::Continuous
            | Self::Null
            | Self::PartitionedAtRuntime
            | Self::AssetTriggered { .. }
            | Self::PartitionedAsset { .. }
            | Self::AssetOrTime { .. } => &["logical_date"],
            _ => &["data_interval_end", "logical_date"],
        }
    }

    /// The part of a plugin, for which Python must be asked when runs happen.
    pub fn custom(&self) -> Option<&CustomTimetable> {
        match self {
            Self::Custom(custom) => Some(custom),
            Self::AssetOrTime { timetable, .. } => timetable.custom(),
            _ => None,
        }
    }

    /// The same, to tell it what Python said.
    pub fn custom_mut(&mut self) -> Option<&mut CustomTimetable> {
        match self {
            Self::Custom(custom) => Some(custom),
            Self::AssetOrTime { timetable, .. } => timetable.custom_mut(),
            _ => None,
        }
    }

    /// The serialised condition over assets that starts runs.
    pub fn asset_condition(&self) -> Option<&Value> {
        match self {
            Self::AssetTriggered { asset_condition }
            | Self::PartitionedAsset { asset_condition }
            | Self::AssetOrTime { asset_condition, .. } => Some(asset_condition),
            _ => None,
        }
    }
}

/// `OnceTimetable`: at the start date, whether it has passed or not, else now.
fn once(last: Option<DataInterval>, restriction: TimeRestriction, now: DateTime<Utc>) -> Option<DagRunInfo> {
    if last.is_some() {
        return None;
    }
    let run_after = restriction.earliest.unwrap_or(now);
    restriction.latest.is_none_or(|latest| run_after <= latest).then(|| DagRunInfo::exact(run_after))
}

/// `ContinuousTimetable`: from the end of the last run to now.
fn continuous(last: Option<DataInterval>, restriction: TimeRestriction, now: DateTime<Utc>) -> Option<DagRunInfo> {
    let earliest = restriction.earliest.unwrap_or(now);
    let (start, end) = match last {
        // The start date is in the future.
        Some(last) if last.end > now => (earliest, earliest + (last.end - last.start)),
        Some(last) => (last.end, now),
        None => (earliest, earliest.max(now)),
    };
    restriction.latest.is_none_or(|latest| end <= latest).then(|| DagRunInfo::interval(start, end))
}

fn join(triggers: &[CronTrigger], text: impl Fn(&CronSchedule) -> String) -> String {
    triggers.iter().map(|trigger| text(&trigger.schedule)).collect::<Vec<_>>().join(", ")
}
