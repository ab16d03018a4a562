//! Timetables whose runs each cover a data interval: `CronDataIntervalTimetable`, `DeltaDataIntervalTimetable`.

use chrono::{DateTime, Utc};

use super::cron::CronSchedule;
use super::delta::Delta;
use super::{DagRunInfo, DataInterval, TimeRestriction, TimetableError};

/// Boundaries that are tried to get past the last run. One is enough, or two where the clocks were changed twice between two
/// occurrences; Airflow tries one, and then makes no further run.
const MOST_STEPS_FORWARD: usize = 4;

/// What both data-interval timetables are made of (`airflow.timetables.interval._DataIntervalTimetable`).
pub(super) trait IntervalSchedule {
    fn next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError>;
    fn align_to_next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError>;
    fn align_to_previous(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError>;

    /// The earliest start of an interval when missed intervals are not caught up: the one interval that has
    /// ended, or ends now.
    fn skip_to_latest(
        &self,
        earliest: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, TimetableError>;

    /// The next run. The interval after the last one, or the first one that the restriction allows.
    fn next_dagrun_info(
        &self,
        last: Option<DataInterval>,
        restriction: TimeRestriction,
        now: DateTime<Utc>,
    ) -> Result<Option<DagRunInfo>, TimetableError> {
        let earliest = match restriction.earliest {
            earliest if !restriction.catchup => Some(self.skip_to_latest(earliest, now)?),
            Some(earliest) => Some(self.align_to_next(earliest)?),
            None => None,
        };
        let start = match (last, earliest) {
            (None, None) => return Ok(None),
            (None, Some(earliest)) => earliest,
            (Some(last), earliest) => self.start_after(last, earliest)?,
        };
        if restriction.latest.is_some_and(|latest| start > latest) {
            return Ok(None);
        }
        Ok(Some(DagRunInfo::interval(start, self.next(start)?)))
    }

    /// Where the interval after `last` starts. A coarser schedule than the one `last` was made with, or one of every hour
    /// that lies on other instants since a change of the clocks, can align back onto `last` itself or before it; then the
    /// first boundary after it is taken, so that starts always increase.
    fn start_after(
        &self,
        last: DataInterval,
        earliest: Option<DateTime<Utc>>,
    ) -> Result<DateTime<Utc>, TimetableError> {
        let aligned = self.align_to_previous(last.end)?;
        let start = earliest.map_or(aligned, |earliest| earliest.max(aligned));
        if start > last.start {
            return Ok(start);
        }
        let mut next = start;
        for _ in 0..MOST_STEPS_FORWARD {
            next = self.next(next)?;
            if next > last.start {
                return Ok(next);
            }
        }
        Err(TimetableError::NoAdvance { at: last.start })
    }
}

impl IntervalSchedule for CronSchedule {
    fn next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(CronSchedule::next(self, at)?)
    }

    fn align_to_next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(CronSchedule::align_to_next(self, at)?)
    }

    fn align_to_previous(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(CronSchedule::align_to_previous(self, at)?)
    }

    fn skip_to_latest(
        &self,
        earliest: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, TimetableError> {
        let last_start = self.previous(now)?;
        let next_start = CronSchedule::next(self, last_start)?;
        let latest = match next_start.cmp(&now) {
            // On a boundary, the interval that starts now waits; the one that ends now is the latest.
            std::cmp::Ordering::Equal => last_start,
            std::cmp::Ordering::Greater => self.previous(last_start)?,
            std::cmp::Ordering::Less => return Err(TimetableError::NoAdvance { at: last_start }),
        };
        Ok(match earliest {
            None => latest,
            Some(earliest) => latest.max(CronSchedule::align_to_next(self, earliest)?),
        })
    }
}

impl IntervalSchedule for Delta {
    fn next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        self.add_to(at)
    }

    fn align_to_next(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(at)
    }

    fn align_to_previous(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        Ok(at)
    }

    fn skip_to_latest(
        &self,
        earliest: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, TimetableError> {
        let latest = self.subtract_from(self.floor(now, earliest.unwrap_or(now))?)?;
        Ok(earliest.map_or(latest, |earliest| earliest.max(latest)))
    }
}

/// The data interval of a manual run: the last complete interval before it.
pub(super) fn manual_cron_interval(
    schedule: &CronSchedule,
    run_after: DateTime<Utc>,
) -> Result<DataInterval, TimetableError> {
    let end = schedule.align_to_previous(run_after)?;
    Ok(DataInterval { start: schedule.previous(end)?, end })
}
