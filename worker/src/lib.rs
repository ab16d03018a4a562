//! The worker: takes queued task instances, runs each in a child of its own on official Airflow, and reports what
//! became of it.
//!
//! A child is forked by a warm interpreter and supervised over the protocol of Airflow's Task SDK; its requests are
//! answered straight from the metadata database. A claimed task instance has a heartbeat from its first moment, so that
//! the scheduler finds it when the worker is gone.
#![forbid(unsafe_code)]

mod attempt;
mod ending;
mod heartbeat;
mod intake;
mod log_server;
mod metric;
mod options;
mod presence;
mod protection;
mod resources;
mod slots;
mod worker;

pub use intake::Source;
pub use log_server::{LogServer, LogServing};
pub use options::Options;
pub use protection::{Lease, Pace, Protection};
pub use slots::SlotBounds;
pub use worker::{Status, Worker, WorkerError};
