//! The dates that timetables read from the keys of partitions.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Timetable;
use crate::asset::AssetCondition;
use crate::partition::{DateError, PartitionError, PartitionMappers, identities, repr, serialized, strftime, strptime};

/// The date that a timetable reads from the key of a partition (`Timetable.resolve_partition_date`), `arguments` being what
/// the timetable is serialised with. `None` when keys are no dates, or the mappers of a schedule of assets disagree.
///
/// # Errors
/// [`PartitionError::Value`] when the key is not one of this timetable's, in Airflow's words; the others when it cannot be
/// told.
pub fn resolve_partition_date(
    timetable: &Timetable,
    arguments: &Value,
    key: &str,
) -> Result<Option<DateTime<Utc>>, PartitionError> {
    match timetable {
        Timetable::CronPartition(partition) => {
            let (format, zone) = (&partition.key_format, partition.trigger.schedule.zone());
            let (date, offset) = strptime(key, format).map_err(|error| {
                let prefix =
                    format!("Partition key {} does not match the timetable's key_format {}", repr(key), repr(format));
                in_words(error, &prefix)
            })?;
            match offset {
                None => Ok(Some(zone.instant(date))),
                Some(offset) => Err(PartitionError::Value(format!(
                    "make_aware expects a naive datetime, got {}",
                    strftime::isoformat(date, Some(offset)).replacen('T', " ", 1)
                ))),
            }
        }
        Timetable::PartitionedAsset { asset_condition } => {
            let condition = AssetCondition::from_serialized(asset_condition)
                .map_err(|error| serialized("PartitionedAssetTimetable", error.to_string()))?;
            let mappers = PartitionMappers::from_serialized(arguments)?;
            match mappers.partition_date(identities(&condition), key, |_, foreign| Err(foreign)) {
                Ok(date) => Ok(date),
                Err(DateError::Conflict(_)) => Ok(None),
                Err(DateError::Mapper(error)) => {
                    let prefix = format!("Partition key {} is invalid for this timetable's mappers", repr(key));
                    Err(in_words(error, &prefix))
                }
            }
        }
        _ => Ok(None),
    }
}

/// The error with what it is about in front, where the key is at fault.
fn in_words(error: PartitionError, prefix: &str) -> PartitionError {
    match error {
        PartitionError::Value(detail) => PartitionError::Value(format!("{prefix}: {detail}")),
        other => other,
    }
}
