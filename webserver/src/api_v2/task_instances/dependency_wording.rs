//! How official Airflow words the dependencies of a task.
//!
//! Source: `airflow/ti_deps/deps/`. Python prints sets of tasks in an order that differs between processes; here they are
//! sorted.

use super::dependencies::Dependency;
use crate::python::repr_set;
use tradewind_model::dag::{Dag, TaskIndex};
use tradewind_model::scheduling::{PreviousRunUnmet, Unmet};
use tradewind_model::trigger_rule::{TriggerRule, UpstreamStates};

/// The words for an unmet dependency; none for those that task instances without state cannot have.
pub(super) fn of_unmet(dag: &Dag, task: TaskIndex, unmet: &Unmet) -> Option<Dependency> {
    let names = |tasks: &mut dyn Iterator<Item = TaskIndex>| -> Vec<&str> {
        tasks.map(|task| dag.at(task).task_id.as_str()).collect()
    };
    let upstream = names(&mut dag.upstream(task));
    let (name, reason) = match unmet {
        Unmet::TriggerRule { rule, states } => ("Trigger Rule", trigger_rule(*rule, states, &upstream)),
        Unmet::Setups { states } => {
            let setups = dag.structure().indirect_setups(task).iter().map(|setup| dag.at(*setup));
            let shown: Vec<String> = setups
                .map(|setup| format!("'{}': <SerializedTask({}): {0}>", setup.task_id, setup.task_type))
                .collect();
            let reason = format!(
                "All setup tasks must complete successfully. Relevant setups: {{{}}}: {}",
                shown.join(", "),
                seen(states, &upstream)
            );
            ("Trigger Rule", reason)
        }
        Unmet::TeardownScope { unfinished } => {
            let scope = names(&mut dag.structure().teardown_scope(task).iter().copied());
            let rule = dag.at(task).trigger_rule.as_str();
            let reason = format!(
                "Task's trigger rule '{rule}' requires all tasks between setup and teardown to have completed, but found \
                 {unfinished} in-scope task(s) not done. in_scope_task_ids={}",
                repr_set(&scope)
            );
            ("Trigger Rule", reason)
        }
        Unmet::PreviousRun(unmet) => ("Previous Dagrun State", previous_run(*unmet)),
        Unmet::PreviouslySkipped { by } => {
            let parent = &dag.at(*by).task_id;
            let reason = format!("Skipping because of previous XCom result from parent task {parent}");
            ("Not Previously Skipped", reason)
        }
        Unmet::MappedDependency => {
            let reason = "At least one of task's mapped dependencies has not succeeded!";
            ("Mapped dependencies have succeeded", reason.to_owned())
        }
        Unmet::RetryPeriod { .. } | Unmet::ReschedulePeriod { .. } => return None,
    };
    Some(Dependency::new(name, reason))
}

fn previous_run(unmet: PreviousRunUnmet) -> String {
    match unmet {
        PreviousRunUnmet::NotRun => {
            "depends_on_past is true for this task's DAG, but the previous task instance has not run yet.".to_owned()
        }
        PreviousRunUnmet::Unsuccessful { count } => format!(
            "depends_on_past is true for this task, but {count} previous task instance(s) are not in a successful state."
        ),
        PreviousRunUnmet::DownstreamUnsuccessful => {
            "The tasks downstream of the previous task instance(s) haven't completed, and wait_for_downstream is True."
                .to_owned()
        }
    }
}

fn trigger_rule(rule: TriggerRule, states: &UpstreamStates, upstream: &[&str]) -> String {
    format!(
        "Task's trigger rule '{}' {}. {}",
        rule.as_str(),
        wanted(rule, states, upstream.len()),
        seen(states, upstream)
    )
}

/// What the rule requires and what was found. `tasks` is how many tasks are upstream.
fn wanted(rule: TriggerRule, states: &UpstreamStates, tasks: usize) -> String {
    let UpstreamStates { success, skipped, failed, upstream_failed, removed, upstream, .. } = *states;
    let without = |count: u64| upstream.saturating_sub(count);
    let not_done = || i128::try_from(tasks).unwrap_or_default() - i128::from(states.done());
    let neither_failed_nor_waiting = |non_successes: u64| {
        format!(
            "requires all upstream tasks to have succeeded or been skipped, but found {non_successes} non-success(es)"
        )
    };
    match rule {
        TriggerRule::OneSuccess => "requires one upstream task success, but none were found".to_owned(),
        TriggerRule::OneFailed => "requires one upstream task failure, but none were found".to_owned(),
        TriggerRule::OneDone => {
            "requires at least one upstream task failure or success but none were failed or success".to_owned()
        }
        TriggerRule::AllSuccess => format!(
            "requires all upstream tasks to have succeeded, but found {} non-success(es)",
            without(success + removed)
        ),
        TriggerRule::AllFailed => format!(
            "requires all upstream tasks to have failed, but found {} non-failure(s)",
            without(failed + upstream_failed + removed)
        ),
        TriggerRule::AllDone => {
            format!(
                "requires all upstream tasks to have completed, but found {} task(s) that were not done",
                not_done()
            )
        }
        TriggerRule::NoneFailed => neither_failed_nor_waiting(without(success + skipped + removed)),
        TriggerRule::NoneFailedMinOneSuccess => match without(success + skipped + removed) {
            0 => "requires at least one upstream task success, but none were found".to_owned(),
            non_successes => neither_failed_nor_waiting(non_successes),
        },
        TriggerRule::NoneSkipped => {
            format!("requires all upstream tasks to not have been skipped, but found {skipped} task(s) skipped")
        }
        TriggerRule::AllSkipped => format!(
            "requires all upstream tasks to have been skipped, but found {} task(s) in non skipped state",
            without(skipped)
        ),
        TriggerRule::AllDoneSetupSuccess if states.done() < upstream => {
            format!(
                "requires all upstream tasks to have completed, but found {} task(s) that were not done",
                not_done()
            )
        }
        TriggerRule::AllDoneSetupSuccess => format!(
            "requires at least one upstream setup task be successful, but found {} task(s) that were not",
            states.upstream_setup.saturating_sub(states.success_setup)
        ),
        TriggerRule::AllDoneMinOneSuccess => all_done_min_one_success(states),
        TriggerRule::Always => "requires nothing".to_owned(),
    }
}

fn all_done_min_one_success(states: &UpstreamStates) -> String {
    let required = "requires all non-skipped upstream tasks to have completed";
    let not_done = states
        .upstream
        .saturating_sub(states.skipped + states.removed)
        .saturating_sub(states.success + states.failed + states.upstream_failed);
    if states.skipped > 0 {
        format!("{required}, but found {} skipped task(s)", states.skipped)
    } else if not_done > 0 {
        format!("{required}, but found {not_done} task(s) that were not done")
    } else {
        format!(
            "{required} and at least one upstream task has succeeded, but found {} successful task(s)",
            states.success
        )
    }
}

/// Python's picture of the counts and of the set of tasks.
fn seen(states: &UpstreamStates, upstream: &[&str]) -> String {
    format!(
        "upstream_states=_UpstreamTIStates(success={}, skipped={}, failed={}, upstream_failed={}, removed={}, done={}, \
         success_setup={}, skipped_setup={}), upstream_task_ids={}",
        states.success,
        states.skipped,
        states.failed,
        states.upstream_failed,
        states.removed,
        states.done(),
        states.success_setup,
        states.skipped_setup,
        repr_set(upstream)
    )
}
