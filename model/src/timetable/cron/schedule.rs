//! A cron expression in a time zone.

use chrono::{DateTime, Utc};

use super::{CronError, CronExpression};
use crate::timetable::zone::Zone;

/// When a cron expression fires in a time zone, with the rules of `airflow.timetables._cron.CronMixin`:
/// the expression runs on wall-clock time; the result becomes an instant either by the distance on the
/// wall clock (expressions of every hour) or by attaching the zone.
#[derive(Debug, Clone, PartialEq)]
pub struct CronSchedule {
    expression: CronExpression,
    zone: Zone,
}

impl CronSchedule {
    /// An expression in a zone.
    pub fn new(expression: CronExpression, zone: Zone) -> Self {
        Self { expression, zone }
    }

    /// The expression.
    pub fn expression(&self) -> &CronExpression {
        &self.expression
    }

    /// The zone whose wall clock the expression follows.
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// The first occurrence after an instant.
    ///
    /// # Errors
    /// When the expression has none within reach.
    pub fn next(&self, current: DateTime<Utc>) -> Result<DateTime<Utc>, CronError> {
        let wall_clock = self.zone.wall_clock(current);
        let scheduled = self.expression.next_after(wall_clock)?;
        if !self.expression.covers_every_hour() {
            return Ok(self.zone.instant(scheduled));
        }
        current.checked_add_signed(scheduled - wall_clock).ok_or_else(|| self.out_of_range())
    }

    /// The last occurrence before an instant.
    ///
    /// # Errors
    /// When the expression has none within reach.
    pub fn previous(&self, current: DateTime<Utc>) -> Result<DateTime<Utc>, CronError> {
        let wall_clock = self.zone.wall_clock(current);
        let scheduled = self.expression.previous_before(wall_clock)?;
        if !self.expression.covers_every_hour() {
            return Ok(self.zone.instant(scheduled));
        }
        current.checked_sub_signed(wall_clock - scheduled).ok_or_else(|| self.out_of_range())
    }

    /// The instant itself when it is an occurrence, else the next one.
    ///
    /// # Errors
    /// When the expression has no occurrence within reach.
    pub fn align_to_next(&self, current: DateTime<Utc>) -> Result<DateTime<Utc>, CronError> {
        let next = self.next(current)?;
        Ok(if self.previous(next)? == current { current } else { next })
    }

    /// The instant itself when it is an occurrence, else the previous one.
    ///
    /// # Errors
    /// When the expression has no occurrence within reach.
    pub fn align_to_previous(&self, current: DateTime<Utc>) -> Result<DateTime<Utc>, CronError> {
        let previous = self.previous(current)?;
        Ok(if self.next(previous)? == current { current } else { previous })
    }

    fn out_of_range(&self) -> CronError {
        CronError::OutOfRange { expression: self.expression.as_str().to_owned() }
    }
}
