//! The worker fleet: as many workers as the queued and running tasks of each queue need, between two bounds; and the web servers
//! beside the first one ([`web`]).
//!
//! What is done is decided by a pure function ([`decision`]) from what the database says of tasks and workers; how a worker is
//! started and ended is a driver's business ([`Driver`]), or that of a service which is told how many it is to have ([`Service`]).
//! Of several schedulers one decides, by an advisory lock.
#![forbid(unsafe_code)]

pub mod decision;
mod docker;
mod driver;
mod ecs;
mod options;
mod process;
mod service;
mod staffing;
mod watch;
pub mod web;

pub use docker::DockerDriver;
pub use driver::{Driver, DriverError};
pub use ecs::{EcsDriver, EcsServices};
pub use options::{DriverKind, Options};
pub use process::ProcessDriver;
pub use service::{Roster, Service};
pub use staffing::Staffing;
pub use watch::Fleet;
