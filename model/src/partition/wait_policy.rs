//! When a partition that is rolled up from several has enough of them (`airflow/partition_mappers/wait_policy.py`).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::{PartitionError, Typed, decode};

/// How many of the expected keys must have arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitPolicy {
    /// All.
    WaitForAll,
    /// At least so many; below zero: all but so many.
    MinimumCount(i64),
}

/// What is to be said of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Satisfaction {
    /// It has what it needs.
    Satisfied,
    /// It waits for more.
    Waiting,
    /// It can never have what it needs.
    Unreachable {
        /// The reason, for an operator.
        reason: String,
    },
}

#[derive(Deserialize)]
struct MinimumCountArguments {
    n: i64,
}

impl WaitPolicy {
    /// Reads `{"__type": class path, "__var": arguments}`.
    ///
    /// # Errors
    /// When it is no policy of Airflow's own: Airflow takes no other.
    pub fn from_serialized(encoded: &Value) -> Result<Self, PartitionError> {
        let typed = Typed::read(encoded)?;
        match typed.class()? {
            "WaitForAll" => Ok(Self::WaitForAll),
            class @ "MinimumCount" => {
                let MinimumCountArguments { n } = decode(class, typed.arguments.clone())?;
                if n == 0 {
                    return Err(PartitionError::Value("MinimumCount(0) would always be satisfied".to_owned()));
                }
                Ok(Self::MinimumCount(n))
            }
            _ => Err(typed.foreign()),
        }
    }

    /// Judges by the keys that arrived and those that make up the partition.
    pub(super) fn judge(&self, received: &BTreeSet<String>, expected: &BTreeSet<String>) -> Satisfaction {
        let all = i64::try_from(expected.len()).unwrap_or(i64::MAX);
        let matched = i64::try_from(expected.intersection(received).count()).unwrap_or(i64::MAX);
        let least = match *self {
            Self::WaitForAll => all,
            Self::MinimumCount(n) if n > all => {
                let reason = format!(
                    "wait policy MinimumCount(n={n}) can never be satisfied given the window's cardinality {all}"
                );
                return Satisfaction::Unreachable { reason };
            }
            Self::MinimumCount(n) if n > 0 => n,
            Self::MinimumCount(n) => all.saturating_add(n).max(0),
        };
        if matched >= least { Satisfaction::Satisfied } else { Satisfaction::Waiting }
    }
}
