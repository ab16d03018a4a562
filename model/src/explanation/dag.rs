//! Why no run is made of a Dag.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::partition::PartitionSchedule;
use super::reason::{AwaitedAsset, Reason, serialize_told};
use super::surroundings::{Component, DagFacts};
use crate::asset::{AssetCondition, AssetKey, KnownAssets};

/// What decides whether a run is made of a Dag.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    /// The Dag.
    pub dag_id: String,
    /// Its state and limits.
    pub dag: DagFacts,
    /// Its schedule in words.
    pub summary: Option<String>,
    /// When the timetable wants the next run.
    pub next_run_after: Option<DateTime<Utc>>,
    /// Whether the Dag allows runs of its schedule.
    pub may_be_scheduled: bool,
    /// Runs that are queued or running, without those of backfills.
    pub active_runs: i64,
    /// The assets that it is scheduled by, and how they must come together.
    pub asset_condition: Option<AssetCondition>,
    /// Whether the condition or its partition mappers cannot be read: then nothing is said of assets.
    pub is_unreadable: bool,
    /// What references and aliases in it mean.
    pub known_assets: KnownAssets,
    /// Assets that were updated since the last run that asset events made.
    pub updated: BTreeSet<AssetKey>,
    /// The partitions that it is scheduled by, in place of plain assets.
    pub partitions: Option<PartitionSchedule>,
    /// Asset events that wait for a plugin's partition mapper.
    pub unmapped: UnmappedEvents,
    /// The timetable where it is a plugin's.
    pub custom_timetable: Option<TimetableQuestion>,
    /// The schedulers.
    pub scheduler: Component,
    /// The present.
    pub now: DateTime<Utc>,
}

/// Asset events of which a plugin's partition mapper has still to say which partitions they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnmappedEvents {
    /// How many.
    pub count: u64,
    /// The time of the oldest.
    pub since: Option<DateTime<Utc>>,
}

/// A timetable of a plugin, and whether it is being asked about the run that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimetableQuestion {
    /// Its class.
    pub class: String,
    /// Since when it is asked; none: it is not.
    pub asked_at: Option<DateTime<Utc>>,
    /// Whether a process has taken the question.
    pub is_taken: bool,
}

/// Why no run is made of a Dag, or when one is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DagExplanation {
    /// The Dag.
    pub dag_id: String,
    /// Its schedule in words.
    pub schedule: Option<String>,
    /// When the timetable wants the next run.
    pub next_run_after: Option<DateTime<Utc>>,
    /// Runs that are queued or running, without those of backfills.
    pub active_runs: i64,
    /// The moment at which all this is true.
    pub at: DateTime<Utc>,
    /// What keeps the next run from being made.
    #[serde(serialize_with = "serialize_told")]
    pub reasons: Vec<Reason>,
}

impl Schedule {
    /// Every reason. Source: `DagModel.dags_needing_dagruns`.
    pub fn explain(&self) -> DagExplanation {
        let dag_id = || self.dag_id.clone();
        let dag = &self.dag;
        let mut reasons = Vec::new();
        let mut when = |holds: bool, reason: Reason| reasons.extend(holds.then_some(reason));
        when(dag.is_paused, Reason::DagPaused { dag_id: dag_id() });
        when(dag.is_stale, Reason::DagStale { dag_id: dag_id() });
        when(dag.was_never_serialized, Reason::DagNotSerialized { dag_id: dag_id() });
        when(dag.has_import_errors, Reason::DagImportErrors { dag_id: dag_id() });
        when(!self.scheduler.is_alive, Reason::NoScheduler { last_heartbeat: self.scheduler.last_heartbeat });
        when(!self.may_be_scheduled, Reason::ScheduledRunsNotAllowed { dag_id: dag_id() });
        match (&self.asset_condition, &self.partitions) {
            _ if self.is_unreadable => reasons.extend(self.unmapped_events()),
            (None, _) => {
                let limit =
                    Reason::DagMaxActiveRuns { dag_id: dag_id(), limit: dag.max_active_runs, active: self.active_runs };
                when(self.next_run_after.is_some() && self.active_runs >= dag.max_active_runs, limit);
                when(self.next_run_after.is_none(), Reason::NoNextRun { schedule: self.summary.clone() });
            }
            (Some(condition), Some(partitions)) => {
                reasons.extend(self.unmapped_events());
                reasons.extend(partitions.awaited(condition, &self.known_assets));
            }
            (Some(condition), None) => {
                let (assets, aliases) = self.awaited_assets(condition);
                let is_met = condition.is_fulfilled(&self.updated, &self.known_assets);
                when(!is_met, Reason::AssetsAwaited { assets, aliases });
            }
        }
        if let Some(until) = self.next_run_after.filter(|until| *until > self.now) {
            reasons.push(Reason::NextRunAfter { until });
        }
        if reasons.is_empty() && !self.is_unreadable {
            reasons.push(self.next_step());
        }
        DagExplanation {
            dag_id: dag_id(),
            schedule: self.summary.clone(),
            next_run_after: self.next_run_after,
            active_runs: self.active_runs,
            at: self.now,
            reasons,
        }
    }
    /// What makes the next run, when nothing keeps it.
    fn next_step(&self) -> Reason {
        match &self.custom_timetable {
            Some(TimetableQuestion { class, asked_at, is_taken }) if self.next_run_after.is_some() => {
                Reason::TimetableAwaited { timetable: class.clone(), since: *asked_at, is_taken: *is_taken }
            }
            _ => Reason::Ready { before: 0 },
        }
    }

    fn unmapped_events(&self) -> Option<Reason> {
        let UnmappedEvents { count: events, since } = self.unmapped;
        (events > 0).then(|| Reason::PartitionMapperAwaited { dag_id: self.dag_id.clone(), events, since })
    }

    /// The assets of the condition, each once, and the aliases in it that have led to none.
    fn awaited_assets(&self, condition: &AssetCondition) -> (Vec<AwaitedAsset>, Vec<String>) {
        let (mut assets, mut aliases): (Vec<AwaitedAsset>, Vec<String>) = (Vec::new(), Vec::new());
        let mut add = |key: AssetKey, alias: Option<&String>| {
            if !assets.iter().any(|asset| asset.name == key.name && asset.uri == key.uri) {
                let has_event = self.updated.contains(&key);
                assets.push(AwaitedAsset { name: key.name, uri: key.uri, has_event, alias: alias.cloned() });
            }
        };
        for leaf in condition.leaves() {
            let keys = condition_assets(leaf, &self.known_assets);
            match leaf {
                AssetCondition::Alias(alias) if keys.is_empty() => aliases.push(alias.clone()),
                AssetCondition::Alias(alias) => keys.into_iter().for_each(|key| add(key, Some(alias))),
                _ => keys.into_iter().for_each(|key| add(key, None)),
            }
        }
        (assets, aliases)
    }
}

/// The assets that a part of a condition means. A reference to an asset that is not active is told as it is written.
pub(super) fn condition_assets(leaf: &AssetCondition, known: &KnownAssets) -> Vec<AssetKey> {
    let written = |name: &str, uri: &str| AssetKey { name: name.to_owned(), uri: uri.to_owned() };
    match leaf {
        AssetCondition::Asset(key) => vec![key.clone()],
        AssetCondition::NameRef(name) => vec![known.by_name.get(name).cloned().unwrap_or_else(|| written(name, ""))],
        AssetCondition::UriRef(uri) => vec![known.by_uri.get(uri).cloned().unwrap_or_else(|| written("", uri))],
        AssetCondition::Alias(alias) => known.by_alias.get(alias).cloned().unwrap_or_default(),
        AssetCondition::All(_) | AssetCondition::Any(_) => Vec::new(),
    }
}
