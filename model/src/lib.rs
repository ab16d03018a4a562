//! The pure domain of Tradewind: states, Dags, timetables, trigger rules and the scheduling step.
//!
//! Nothing here does I/O, reads a clock or draws a random number; see this crate's `README.md` for the
//! properties that hold.
#![forbid(unsafe_code)]

pub mod asset;
pub mod dag;
pub mod explanation;
pub mod limits;
pub mod mapping;
pub mod partition;
pub mod scheduling;
pub mod state;
pub mod timetable;
pub mod trigger_rule;
