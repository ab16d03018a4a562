//! Runs official Airflow code in children and speaks the supervisor protocol with them.
#![forbid(unsafe_code)]

pub mod child;
pub mod evaluator;
pub mod output;
pub mod pyhost;
pub mod requests;
