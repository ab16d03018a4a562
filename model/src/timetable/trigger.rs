//! Timetables that fire at points in time and give their runs a data interval of a chosen length:
//! `CronTriggerTimetable`, `DeltaTriggerTimetable`, `MultipleCronTriggerTimetable`, `CronPartitionTimetable`.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, TimeDelta, Utc};

use super::cron::CronSchedule;
use super::delta::Delta;
use super::{DagRunInfo, DataInterval, TimeRestriction, TimetableError};

/// When the first run of a Dag without a start date happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunImmediately {
    /// At the most recent point in time that has passed.
    Always,
    /// At the most recent point when it is at most this long ago, else at the next.
    Within(TimeDelta),
    /// As `Within` a tenth of the distance between points, but at least five minutes.
    ///
    /// Airflow documents `False` as "wait for the next point", yet treats it as `None`; so do we.
    WithinTenth,
}

impl RunImmediately {
    /// The first run, given the points before (or at) and after (or at) the current time.
    fn first_run(self, past: DateTime<Utc>, next: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let buffer = match self {
            Self::Always => return past,
            Self::Within(buffer) => buffer,
            Self::WithinTenth => ((next - past) / 10).max(TimeDelta::minutes(5)),
        };
        if now - past <= buffer { past } else { next }
    }
}

/// What trigger timetables are made of (`airflow.timetables.trigger._TriggerTimetable`).
pub(super) trait TriggerSchedule {
    fn interval(&self) -> &Delta;
    fn next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError>;
    fn align_to_next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError>;
    fn align_to_previous(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError>;
    fn first_run(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError>;

    /// When the next run happens, `last` being the time of the last one.
    fn next_time(
        &self,
        last: Option<DateTime<Utc>>,
        restriction: TimeRestriction,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, TimetableError> {
        let next = match last {
            Some(last) => Some(self.next(last)?),
            // Running immediately has no effect beside a start date.
            None if restriction.earliest.is_none() => Some(self.first_run(now)?),
            None => None,
        };
        let next = match (next, restriction.earliest) {
            (Some(next), _) if restriction.catchup => next,
            (None, Some(earliest)) if restriction.catchup => self.align_to_next(earliest)?,
            (next, earliest) => {
                let earliest = earliest.map(|earliest| self.align_to_next(earliest)).transpose()?;
                // `None` is smaller than any time.
                self.align_to_previous(now)?.max(next.max(earliest).unwrap_or(DateTime::<Utc>::MIN_UTC))
            }
        };
        Ok((restriction.latest.is_none_or(|latest| next <= latest)).then_some(next))
    }

    /// The next run.
    fn next_dagrun_info(
        &self,
        last: Option<DataInterval>,
        restriction: TimeRestriction,
        now: DateTime<Utc>,
    ) -> Result<Option<DagRunInfo>, TimetableError> {
        let Some(next) = self.next_time(last.map(|last| last.end), restriction, now)? else {
            return Ok(None);
        };
        Ok(Some(DagRunInfo::interval(self.interval().subtract_from(next)?, next)))
    }

    /// The data interval of a manual run: the chosen length, ending when the run happens.
    fn manual_interval(&self, run_after: DateTime<Utc>) -> Result<DataInterval, TimetableError> {
        Ok(DataInterval { start: self.interval().subtract_from(run_after)?, end: run_after })
    }
}

/// `CronTriggerTimetable`.
#[derive(Debug, Clone, PartialEq)]
pub struct CronTrigger {
    /// When runs happen.
    pub schedule: CronSchedule,
    /// Length of the data interval that ends when the run happens.
    pub interval: Delta,
    /// When the first run happens.
    pub run_immediately: RunImmediately,
}

impl TriggerSchedule for CronTrigger {
    fn interval(&self) -> &Delta {
        &self.interval
    }

    fn next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(self.schedule.next(at)?)
    }

    fn align_to_next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(self.schedule.align_to_next(at)?)
    }

    fn align_to_previous(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(self.schedule.align_to_previous(at)?)
    }

    fn first_run(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(self.run_immediately.first_run(self.align_to_previous(now)?, self.align_to_next(now)?, now))
    }
}

/// `DeltaTriggerTimetable`.
#[derive(Debug, Clone, PartialEq)]
pub struct DeltaTrigger {
    /// The distance between runs.
    pub delta: Delta,
    /// Length of the data interval that ends when the run happens.
    pub interval: Delta,
}

impl TriggerSchedule for DeltaTrigger {
    fn interval(&self) -> &Delta {
        &self.interval
    }

    fn next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        self.delta.add_to(at)
    }

    fn align_to_next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(at)
    }

    fn align_to_previous(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(at)
    }

    fn first_run(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(now)
    }
}

/// The next run of `MultipleCronTriggerTimetable`: the one of its members that comes first.
///
/// When runs are not caught up, the members whose time has passed compete for being the latest, and only
/// when none has passed does the earliest future one win.
pub(super) fn first_of_many(
    triggers: &[CronTrigger],
    last: Option<DataInterval>,
    restriction: TimeRestriction,
    now: DateTime<Utc>,
) -> Result<Option<DagRunInfo>, TimetableError> {
    let mut infos = Vec::with_capacity(triggers.len());
    for trigger in triggers {
        infos.extend(trigger.next_dagrun_info(last, restriction, now)?);
    }
    let order = |info: &DagRunInfo| {
        let at = info.logical_date().map_or(i64::MAX, |date| date.timestamp_micros());
        if !restriction.catchup && at <= now.timestamp_micros() { -at } else { at }
    };
    Ok(infos.into_iter().min_by_key(order))
}

/// `CronPartitionTimetable`: runs carry a partition key made from a point of the schedule, and no interval.
#[derive(Debug, Clone, PartialEq)]
pub struct CronPartition {
    /// When runs happen.
    pub trigger: CronTrigger,
    /// How many points of the schedule the partition lies after (or before) the run.
    pub run_offset: i64,
    /// `strftime` format of the partition key, in the schedule's zone.
    pub key_format: String,
}

impl CronPartition {
    /// The next run, `last` being the time of the last one.
    pub(super) fn next_dagrun_info(
        &self,
        last: Option<DateTime<Utc>>,
        restriction: TimeRestriction,
        now: DateTime<Utc>,
    ) -> Result<Option<DagRunInfo>, TimetableError> {
        let Some(run_after) = self.trigger.next_time(last, restriction, now)? else {
            return Ok(None);
        };
        let mut partition_date = run_after;
        for _ in 0..self.run_offset.unsigned_abs() {
            partition_date = if self.run_offset > 0 {
                self.trigger.schedule.next(partition_date)?
            } else {
                self.trigger.schedule.previous(partition_date)?
            };
        }
        Ok(Some(DagRunInfo {
            run_after,
            data_interval: None,
            partition_date: Some(partition_date),
            partition_key: Some(self.format_key(partition_date)?),
        }))
    }

    /// The runs of all partitions between two moments, both inclusive, in order (`iter_partition_dagrun_infos`): `limit`
    /// of them at most. A run may start at once, whatever its offset.
    pub(super) fn runs_between(
        &self,
        earliest: DateTime<Utc>,
        latest: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<DagRunInfo>, TimetableError> {
        let mut infos = Vec::new();
        let mut at = self.trigger.align_to_next(earliest)?;
        while at <= latest && infos.len() < limit {
            let partition_key = Some(self.format_key(at)?);
            infos.push(DagRunInfo { run_after: at, data_interval: None, partition_date: Some(at), partition_key });
            at = self.trigger.next(at)?;
        }
        Ok(infos)
    }

    fn format_key(&self, partition_date: DateTime<Utc>) -> Result<String, TimetableError> {
        let items: Vec<Item<'_>> = StrftimeItems::new(&self.key_format).collect();
        if items.contains(&Item::Error) {
            return Err(TimetableError::KeyFormat { format: self.key_format.clone() });
        }
        let local = self.trigger.schedule.zone().local(partition_date);
        Ok(local.format_with_items(items.into_iter()).to_string())
    }
}
