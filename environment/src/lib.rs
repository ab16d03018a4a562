//! The Python environment that a bucket describes, as that of an Amazon MWAA environment: `requirements.txt`, `plugins.zip` and a
//! start-up script.
//!
//! Each state of these objects makes a version. A version is built beside the environment in use ([`build`]): a copy of the
//! installed packages, the plugins, what the script exports, and the requirements on top. It is taken into use when it is good,
//! while running attempts end in the one that they began in; what is wrong with a version leaves the last good one in place. The
//! Dag processor decides which version counts, and workers follow ([`keeper`]).
#![forbid(unsafe_code)]

pub mod build;
pub mod configuration;
pub mod health;
pub mod keeper;
pub mod logs;
pub mod manifest;
pub mod packages;
mod plugins;
mod requirements;
mod startup_script;
mod step;
pub mod store;
