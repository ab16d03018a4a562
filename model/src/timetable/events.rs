//! `EventsTimetable`: runs at listed times.

use chrono::{DateTime, Utc};

use super::{DagRunInfo, DataInterval, TimeRestriction};

/// Runs at listed times, in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    /// When runs happen.
    pub dates: Vec<DateTime<Utc>>,
    /// Whether a manual run takes the data interval of the most recent event.
    pub restrict_to_events: bool,
    /// Shown to users.
    pub description: String,
    /// Shown to users in lists.
    pub summary: String,
}

impl Events {
    pub(super) fn next_dagrun_info(
        &self,
        last: Option<DataInterval>,
        restriction: TimeRestriction,
        now: DateTime<Utc>,
    ) -> Option<DagRunInfo> {
        let earliest = if restriction.catchup { restriction.earliest } else { restriction.earliest.max(Some(now)) };
        let next = self.dates.iter().copied().find(|date| {
            earliest.is_none_or(|earliest| *date >= earliest) && last.is_none_or(|last| *date > last.end)
        })?;
        restriction.latest.is_none_or(|latest| next <= latest).then(|| DagRunInfo::exact(next))
    }

    /// The most recent event, or the first when all are in the future.
    pub(super) fn infer_manual_data_interval(&self, run_after: DateTime<Utc>) -> DataInterval {
        let past = self.dates.iter().rev().find(|date| **date <= run_after);
        match past.or(self.dates.first()) {
            Some(event) if self.restrict_to_events => DataInterval::exact(*event),
            _ => DataInterval::exact(run_after),
        }
    }
}
