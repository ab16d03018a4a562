//! The Dag processor: finds Dag files, has each parsed by official Airflow in a child of its own, and writes what they
//! gave to the metadata database.
//!
//! A file is parsed at once when it changes, and again from time to time, because what it gives may depend on more than
//! its text. How often that is follows from what it gave before, see [`queue::Pace`].
#![forbid(unsafe_code)]

pub mod archive;
pub mod asset_condition;
pub mod bundle;
pub mod connection_test;
mod custom_timetable;
pub mod deadline_callback;
mod deadline_request;
pub mod discovery;
mod environment;
mod file_parse;
pub mod ignore;
mod log_file;
mod metric;
pub mod options;
mod parse;
pub mod parsed_dag;
mod parsing_result;
mod processor;
pub mod queue;
mod reply;
mod snapshots;
pub mod watch;

pub use environment::Places;
pub use options::Options;
pub use processor::{DagProcessor, DagProcessorError, Summary};
