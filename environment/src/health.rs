//! How the environment is, for those who watch a process.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// How the environment is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EnvironmentState {
    /// The version in use; none: the installed packages.
    pub version: Option<String>,
    /// When that was last found to be what it should be.
    pub last_checked: Option<DateTime<Utc>>,
    /// What is wrong with the newest version.
    pub error: Option<String>,
}

/// How the environment is. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct EnvironmentHealth(Arc<Mutex<EnvironmentState>>);

impl EnvironmentHealth {
    /// How it is now.
    #[must_use]
    pub fn state(&self) -> EnvironmentState {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut EnvironmentState)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
