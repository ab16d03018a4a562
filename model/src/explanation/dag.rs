//! Why no run is made of a Dag.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::reason::{AwaitedAsset, Reason, serialize_told};
use super::surroundings::{Component, DagFacts};

/// What decides whether a run is made of a Dag.
#[derive(Debug, Clone, PartialEq, Default)]
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
    /// Assets that it is scheduled by.
    pub assets: Vec<AwaitedAsset>,
    /// How they must come together: `{"all": […]}`, `{"any": […]}`, `{"asset": {"name", "uri"}}`, as the Dag processor
    /// stores it.
    pub asset_condition: Option<Value>,
    /// The schedulers.
    pub scheduler: Component,
    /// The present.
    pub now: DateTime<Utc>,
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
        if self.assets.is_empty() {
            let limit =
                Reason::DagMaxActiveRuns { dag_id: dag_id(), limit: dag.max_active_runs, active: self.active_runs };
            when(self.next_run_after.is_some() && self.active_runs >= dag.max_active_runs, limit);
            when(self.next_run_after.is_none(), Reason::NoNextRun { schedule: self.summary.clone() });
        } else {
            let is_met = match &self.asset_condition {
                Some(condition) => is_met(condition, &self.assets),
                None => self.assets.iter().all(|asset| asset.has_event),
            };
            when(!is_met, Reason::AssetsAwaited { assets: self.assets.clone() });
        }
        if let Some(until) = self.next_run_after.filter(|until| *until > self.now) {
            reasons.push(Reason::NextRunAfter { until });
        }
        if reasons.is_empty() {
            reasons.push(Reason::Ready { before: 0 });
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
}

/// Whether assets that were updated satisfy a condition. An alias is no asset, and is never updated.
fn is_met(condition: &Value, assets: &[AwaitedAsset]) -> bool {
    let parts = |name: &str| condition.get(name).and_then(Value::as_array);
    if let Some(parts) = parts("all") {
        return parts.iter().all(|part| is_met(part, assets));
    }
    if let Some(parts) = parts("any") {
        return parts.iter().any(|part| is_met(part, assets));
    }
    let text = |name: &str| condition.get("asset").and_then(|asset| asset.get(name)).and_then(Value::as_str);
    let is_named =
        |asset: &&AwaitedAsset| Some(asset.name.as_str()) == text("name") && Some(asset.uri.as_str()) == text("uri");
    assets.iter().find(is_named).is_some_and(|asset| asset.has_event)
}
