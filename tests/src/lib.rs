//! What the end-to-end tests need: a whole deployment, a client of its REST API, and a look at its processes.
//!
//! The tests run the programs that `make test` has built, as a user runs them, on a database of their own.
#![forbid(unsafe_code)]

pub mod aws;
pub mod collector;
pub mod component;
pub mod compose;
pub mod deployment;
pub mod ecs_agent;
pub mod patience;
pub mod process;
pub mod program;
pub mod rest;
pub mod s3;
pub mod sqs;
