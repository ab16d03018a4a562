//! Where Dags come from: the Dag bundles of the configuration, and immutable snapshots of those that lie in S3.
//!
//! Each state of a bucket's prefix is a version, named by what it consists of. Its files are a folder of their own, which is
//! put in place whole and never changes, so that a run keeps its code while newer code arrives. The Dag processor makes
//! snapshots as the bucket changes ([`s3::S3Bundle`]); a worker makes the one that its attempt is pinned to, unless it lies on
//! its machine already ([`provider::SnapshotProvider`]).
#![forbid(unsafe_code)]

pub mod build;
pub mod configuration;
pub mod health;
pub mod key;
pub mod manifest;
pub mod provider;
pub mod retention;
pub mod s3;
pub mod store;
