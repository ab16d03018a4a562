//! What partitions of a Dag wait for.

use std::collections::{BTreeMap, BTreeSet};

use super::dag::condition_assets;
use super::reason::{AssetOfPartition, AwaitedPartition, Reason};
use crate::asset::{AssetCondition, AssetKey, KnownAssets};
use crate::partition::{AssetIdentity, PartitionMappers, Satisfaction};

/// Partitions told of one Dag at most.
const PARTITIONS_NAMED: usize = 10;

/// Missing partitions told of one asset at most.
const MISSING_NAMED: usize = 5;

/// A schedule of partitions.
#[derive(Debug, Clone)]
pub struct PartitionSchedule {
    /// Its mappers.
    pub mappers: PartitionMappers,
    /// Partitions that wait, the oldest first; not all of them.
    pub waiting: Vec<WaitingPartition>,
    /// How many wait.
    pub count: u64,
}

/// A partition of the Dag that has no run yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingPartition {
    /// Its key.
    pub key: String,
    /// Per asset the partitions of the events that arrived.
    pub received: BTreeMap<AssetKey, BTreeSet<String>>,
}

impl PartitionSchedule {
    /// What is awaited; nothing when a partition has what it needs. Source:
    /// `SchedulerJobRunner._create_dagruns_for_partitioned_asset_dags`.
    pub(super) fn awaited(&self, condition: &AssetCondition, known: &KnownAssets) -> Option<Reason> {
        let mut assets: Vec<AssetKey> = Vec::new();
        for key in condition.leaves().into_iter().flat_map(|leaf| condition_assets(leaf, known)) {
            if !assets.contains(&key) {
                assets.push(key);
            }
        }
        let mut partitions = Vec::new();
        for waiting in &self.waiting {
            let parts: Vec<AssetOfPartition> = assets.iter().map(|asset| self.part(asset, waiting)).collect();
            let enough = parts.iter().zip(&assets).filter(|(part, _)| part.is_enough == Some(true));
            let enough = enough.map(|(_, asset)| asset.clone()).collect();
            if condition.is_fulfilled(&enough, known) {
                return None;
            }
            partitions.push(AwaitedPartition { partition_key: waiting.key.clone(), assets: parts });
        }
        partitions.truncate(PARTITIONS_NAMED);
        let partitions_left_out = self.count.saturating_sub(partitions.len() as u64);
        Some(Reason::PartitionsAwaited { partitions, partitions_left_out })
    }

    fn part(&self, asset: &AssetKey, waiting: &WaitingPartition) -> AssetOfPartition {
        let nothing = BTreeSet::new();
        let received = waiting.received.get(asset).unwrap_or(&nothing);
        let mapper = self.mappers.of(AssetIdentity::Asset(&asset.name, &asset.uri));
        let is_enough = match mapper.satisfaction(&waiting.key, received) {
            _ if received.is_empty() => Some(false),
            Ok(satisfaction) => Some(satisfaction == Satisfaction::Satisfied),
            Err(_) => None,
        };
        let mut missing: Vec<String> = match mapper.to_upstream(&waiting.key) {
            Ok(needed) if is_enough == Some(false) => needed.difference(received).cloned().collect(),
            _ => Vec::new(),
        };
        let missing_left_out = missing.len().saturating_sub(MISSING_NAMED);
        missing.truncate(MISSING_NAMED);
        let AssetKey { name, uri } = asset.clone();
        AssetOfPartition { name, uri, received: received.len(), is_enough, missing, missing_left_out }
    }
}
