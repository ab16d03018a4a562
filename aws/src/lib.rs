//! Amazon Web Services: everything of Tradewind that speaks to them, and nothing that decides.
//!
//! The only crate that knows the SDK, since its clients take longest to compile. What is decided about buckets, queues and
//! fleets stands with those who use this crate.
#![forbid(unsafe_code)]

mod account;
pub mod agent;
pub mod cloudwatch;
pub mod ecs;
mod error;
pub mod logs;
pub mod s3;
pub mod secrets;
pub mod sqs;

pub use account::{Account, Choices};
pub use error::{AwsError, Kind, reasons};
