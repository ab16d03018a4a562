//! How the bundles in S3 are, for those who watch a Dag processor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// How a bundle is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BundleState {
    /// `dag_bundle.name`.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// The version that is in use, if any.
    pub version: Option<String>,
    /// When the bucket was last found to be in that version.
    pub last_synced: Option<DateTime<Utc>>,
    /// What is wrong with the bucket's newest state.
    pub error: Option<String>,
}

/// How all bundles are. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct BundleHealth(Arc<Mutex<BTreeMap<String, BundleState>>>);

impl BundleHealth {
    /// Every bundle that was looked at, by name.
    #[must_use]
    pub fn states(&self) -> Vec<BundleState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn set(&self, state: &BundleState) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(state.name.clone(), state.clone());
    }
}
