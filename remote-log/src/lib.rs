//! Logs beyond the files of a machine: CloudWatch Logs and S3, to and from.
//!
//! - [`Shipping`] sends the logs of attempts, [`Reader`] reads them back where no file has them. It sends other files as well.
//! - [`ProcessLog`] sends what a process says of itself.
//!
//! Sending happens beside the work and holds nothing up. What an attempt writes lies in its file, which is what is read when a
//! request is made: so nothing is lost while a service refuses, and memory stays flat.
#![forbid(unsafe_code)]

mod batch;
mod delivery;
mod object;
mod options;
mod process;
mod reader;
mod shipping;
mod tail;

pub use options::{Folder, Group, Kind, Place, TaskLogs, child_variables, group};
pub use process::{ProcessLog, ProcessLogWriter, Sending, stream_of};
pub use reader::{Reader, RemoteLog, RemotePart};
pub use shipping::{Follow, Shipping, stream_name};
