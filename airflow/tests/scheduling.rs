//! Random Dags and runs, and what the scheduler of official Airflow 3.3.2 made of them.
//!
//! Each recorded case holds a serialized Dag, the task instances of a run in some states, and the states after
//! `DagRun.update_state` and `DagRun.schedule_tis` were called until nothing changed any more.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde::Deserialize;
use serde_json::Value;
use tradewind_airflow::serialized_dag;
use tradewind_model::dag::Dag;
use tradewind_model::scheduling::{
    RunFacts, RunView, TaskInstanceFacts, XComFacts, initial_task_instances, step, xcom_needs,
};
use tradewind_model::state::{DagRunState, DagRunType, TaskInstanceState};
use uuid::Uuid;

#[derive(Deserialize)]
struct Case {
    name: String,
    document: Value,
    created: BTreeSet<(String, i32)>,
    task_instances: Vec<Instance>,
    task_map_lengths: HashMap<String, u64>,
    return_value_counts: HashMap<String, u64>,
    run_state: DagRunState,
    after: BTreeSet<(String, i32, Option<TaskInstanceState>, i32)>,
}

#[derive(Deserialize)]
struct Instance {
    id: Uuid,
    task_id: String,
    map_index: i32,
    state: Option<TaskInstanceState>,
    try_number: i32,
    max_tries: i32,
    end_date: Option<DateTime<Utc>>,
}

impl Case {
    fn facts(&self) -> Vec<TaskInstanceFacts> {
        let facts = |instance: &Instance| TaskInstanceFacts {
            id: instance.id,
            task_id: instance.task_id.clone(),
            map_index: instance.map_index,
            state: instance.state,
            try_number: instance.try_number,
            max_tries: instance.max_tries,
            start_date: None,
            end_date: instance.end_date,
            next_reschedule_at: None,
            retry_delay_override: None,
        };
        self.task_instances.iter().map(facts).collect()
    }

    /// Only what is asked for is given, as a scheduler would load it.
    fn xcoms(&self, dag: &Dag, instances: &[TaskInstanceFacts]) -> XComFacts {
        let needs = xcom_needs(dag, instances);
        let pick = |wanted: Vec<String>, known: &HashMap<String, u64>| {
            wanted.into_iter().filter_map(|task| known.get(&task).map(|length| (task.clone(), *length))).collect()
        };
        XComFacts {
            task_map_lengths: pick(needs.task_map_lengths, &self.task_map_lengths),
            return_value_counts: pick(needs.return_value_counts, &self.return_value_counts),
            skip_decisions: HashMap::new(),
        }
    }
}

fn run() -> RunFacts {
    let start = Utc.timestamp_opt(1_704_067_200, 0).single();
    RunFacts {
        run_id: "r".to_owned(),
        run_type: DagRunType::Manual,
        state: DagRunState::Running,
        logical_date: start,
        start_date: start,
        is_first_of_backfill: false,
    }
}

/// Steps until nothing is left to do; gives the run's state and the task instances.
fn settle(case: &Case, dag: &Dag) -> (DagRunState, Vec<TaskInstanceFacts>) {
    let now = Utc::now();
    let mut instances = case.facts();
    let mut run = run();
    for _ in 0..20 {
        let xcoms = case.xcoms(dag, &instances);
        let view = RunView {
            dag,
            run: &run,
            task_instances: &instances,
            xcoms: &xcoms,
            previous: None,
            max_retry_delay: TimeDelta::days(1),
            now,
        };
        let step = step(&view);
        if step.is_idle() {
            break;
        }
        step.apply(dag, &mut instances, now, Uuid::now_v7);
        if let Some(end) = step.end_run {
            run.state = end.state;
        }
    }
    (run.state, instances)
}

fn differences(case: &Case) -> Option<String> {
    let dag = serialized_dag::parse(&case.document).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let created = initial_task_instances(&dag, &run());
    let created: BTreeSet<_> = created.iter().map(|new| (dag.at(new.task).task_id.clone(), new.map_index)).collect();
    assert_eq!(created, case.created, "{}: task instances of a new run", case.name);
    let (run_state, instances) = settle(case, &dag);
    let after: BTreeSet<_> =
        instances.into_iter().map(|facts| (facts.task_id, facts.map_index, facts.state, facts.try_number)).collect();
    if after == case.after && run_state == case.run_state {
        return None;
    }
    let missing: Vec<_> = case.after.difference(&after).collect();
    let surplus: Vec<_> = after.difference(&case.after).collect();
    Some(format!(
        "{}: the run is {run_state}, official {}; official has {missing:?}, we have {surplus:?}",
        case.name, case.run_state
    ))
}

#[test]
fn runs_settle_as_in_official_airflow() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scheduling.json");
    // Another recording may be checked the same way.
    let path = std::env::var_os("TRADEWIND_SCHEDULING_CASES").map_or(recorded, PathBuf::from);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
    assert!(!cases.is_empty());
    let differences: Vec<String> = cases.iter().filter_map(differences).collect();
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), cases.len(), differences.join("\n"));
}
