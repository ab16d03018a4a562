//! Who starts and ends workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use tradewind_metadata::fleet::Member as Row;

use crate::driver::{Driver, DriverError, Result};
use crate::service::{Roster, Service};

/// Who starts and ends workers.
#[derive(Debug, Clone)]
pub enum Staffing {
    /// The scheduler itself, one by one.
    Driver(Arc<dyn Driver>),
    /// Services, which are told how many they are to have.
    Services(Arc<dyn Service>),
}

/// What is known of workers besides what they say of themselves.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Handles of those that have ended.
    pub(crate) ended: Vec<String>,
    /// What services say, by queue; none where there are no services, or where one does not answer.
    pub(crate) rosters: BTreeMap<String, Roster>,
    /// What could not be seen.
    pub(crate) errors: Vec<DriverError>,
}

impl Staffing {
    /// Its name in the database and in the log.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Driver(driver) => driver.name(),
            Self::Services(services) => services.name(),
        }
    }

    /// Looks after the workers of these queues.
    pub(crate) async fn look(&self, queues: impl Iterator<Item = &String>, rows: &[Row]) -> Seen {
        let handles = |queue: Option<&str>| -> Vec<String> {
            let rows = rows.iter().filter(|row| queue.is_none_or(|queue| row.queue == queue));
            rows.filter_map(|row| row.handle.clone()).collect()
        };
        let mut seen = Seen::default();
        match self {
            Self::Driver(driver) => match driver.ended(&handles(None)).await {
                Ok(ended) => seen.ended = ended,
                Err(error) => seen.errors.push(error),
            },
            Self::Services(services) => {
                for queue in queues {
                    match services.look(queue, &handles(Some(queue))).await {
                        Ok(roster) => {
                            seen.ended.extend(roster.gone.iter().cloned());
                            seen.rosters.insert(queue.clone(), roster);
                        }
                        Err(error) => seen.errors.push(error),
                    }
                }
            }
        }
        seen
    }

    /// Ends a worker that is not to live on.
    pub(crate) async fn end(&self, handle: &str) -> Result<()> {
        match self {
            Self::Driver(driver) => driver.end(handle).await,
            Self::Services(services) => services.replace(handle).await,
        }
    }

    /// Lets go of the workers, since this process ends.
    pub(crate) async fn release(&self) {
        match self {
            Self::Driver(driver) => driver.release().await,
            // They live on.
            Self::Services(_) => {}
        }
    }
}
