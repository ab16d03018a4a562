//! Cron schedules with official Airflow's semantics: `croniter`'s grammar and Airflow's own rules for zones.

mod description;
mod expression;
mod field;
mod schedule;

use chrono::NaiveDateTime;

pub use description::describe;
pub use expression::CronExpression;
pub use schedule::CronSchedule;

/// Why a cron schedule gives no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The expression is not one that Airflow accepts.
    #[error("cron expression {expression:?} is not valid: {detail}")]
    Syntax {
        /// The expression, presets resolved.
        expression: String,
        /// What is wrong with it.
        detail: String,
    },
    /// No date matches, for example the 30th of February.
    #[error("cron expression {expression:?} matches no date within 50 years of {at}")]
    NoOccurrence {
        /// The expression, presets resolved.
        expression: String,
        /// The wall-clock time the search started from.
        at: NaiveDateTime,
    },
    /// A date lies outside what the calendar can hold.
    #[error("cron expression {expression:?} leads to a date outside the calendar")]
    OutOfRange {
        /// The expression, presets resolved.
        expression: String,
    },
}
