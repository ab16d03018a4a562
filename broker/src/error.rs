//! Why a broker did not do what was asked.

use std::fmt;

/// The kind of a failure: what a person has to do about it, and the label of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no such queue.
    NoQueue,
    /// The credentials may not do this, or there are none.
    Refused,
    /// Too much was asked in too short a time.
    Throttled,
    /// No answer came.
    Unreachable,
    /// Anything else.
    Other,
}

impl Kind {
    /// The label of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoQueue => "no_queue",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
            Self::Other => "other",
        }
    }
}

/// Why a broker did not do what was asked. Every request may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BrokerError {
    /// Its kind.
    pub kind: Kind,
    /// What was asked, and of which queue.
    pub request: String,
    /// What the broker says.
    pub detail: String,
    /// What to do; empty where nothing is to be done.
    pub hint: String,
}

impl BrokerError {
    /// The error of a message that cannot be written: a defect of ours.
    #[must_use]
    pub fn unwritable(error: &serde_json::Error) -> Self {
        let (detail, hint) = (error.to_string(), String::new());
        Self { kind: Kind::Other, request: "writing a message".to_owned(), detail, hint }
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.detail)?;
        if !self.hint.is_empty() {
            write!(f, "\nhint: {}", self.hint)?;
        }
        Ok(())
    }
}
