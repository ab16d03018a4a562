//! Some hundred seeds, and proof that the simulation would notice.

use tradewind_simulation::{Coverage, Invariant, Safeguards, simulate};

/// Seeds that a test looks for a violation in, when a safeguard is off.
const PATIENCE: u64 = 400;

fn all_pass(seeds: std::ops::Range<u64>) {
    let mut covered = Coverage::default();
    for seed in seeds {
        match simulate(seed, Safeguards::default()) {
            Ok(coverage) => covered.add(&coverage),
            Err(failure) => panic!("{failure}"),
        }
    }
    // A pass in which nothing happened would be none.
    for name in [
        "fault:process killed within a transaction",
        "fault:deadlock or serialisation failure",
        "fault:commit whose answer got lost",
        "fault:notification lost",
        "fault:message lost",
        "work:messages written anew",
        "work:silent attempts ended",
        "work:runs made by a timetable",
        "user:cleared",
        "user:Dag paused",
        "edge:running → up_for_retry",
        "edge:running → up_for_reschedule",
        "edge:running → deferred",
        "edge:running → restarting",
        "edge:restarting → none",
        "edge:none → upstream_failed",
        "end:success (success)",
        "end:failed (task_failure)",
    ] {
        assert!(covered.of(name) > 0, "{name} never happened:\n{covered}");
    }
}

// One test per core and more, so that they run side by side.
#[test]
fn seeds_pass_1() {
    all_pass(0..100);
}

#[test]
fn seeds_pass_2() {
    all_pass(100..200);
}

#[test]
fn seeds_pass_3() {
    all_pass(200..300);
}

#[test]
fn a_seed_replays_itself() {
    for seed in 0..5 {
        assert_eq!(simulate(seed, Safeguards::default()), simulate(seed, Safeguards::default()), "seed {seed}");
    }
}

/// Takes a safeguard away, and looks for a seed in which the invariant does not hold, beginning where there was one.
fn is_noticed_from(first: u64, invariant: Invariant, safeguard: &str) {
    assert!(Safeguards::NAMES.contains(&safeguard), "no safeguard is called {safeguard}");
    let safeguards = Safeguards::without(safeguard);
    let mut others = Vec::new();
    for seed in first..first + PATIENCE {
        match simulate(seed, safeguards) {
            Err(failure) if failure.violation.invariant == invariant => return,
            Err(failure) => others.push(failure.violation),
            Ok(_) => {}
        }
    }
    panic!("{invariant:?} held in {PATIENCE} seeds without what keeps it; seen instead: {others:?}");
}

fn is_noticed(invariant: Invariant, safeguard: &str) {
    is_noticed_from(0, invariant, safeguard);
}

#[test]
fn a_claim_that_does_not_compare_is_noticed() {
    is_noticed(Invariant::OneAttempt, "claim_compares");
}

#[test]
fn a_report_that_does_not_compare_is_noticed() {
    is_noticed(Invariant::LegalEdges, "report_compares");
}

#[test]
fn a_report_that_is_not_fenced_is_noticed() {
    is_noticed_from(130, Invariant::OneAttempt, "report_is_fenced");
}

#[test]
fn a_report_answered_too_early_is_noticed() {
    is_noticed(Invariant::DurableReports, "report_waits_for_commit");
}

#[test]
fn dispatch_without_the_critical_section_is_noticed() {
    is_noticed(Invariant::Limits, "critical_section");
}

#[test]
fn counts_from_before_the_lock_are_noticed() {
    is_noticed(Invariant::Limits, "counts_are_fresh");
}

#[test]
fn runs_started_without_holding_their_dag_are_noticed() {
    is_noticed(Invariant::Limits, "run_start_holds_dags");
}

#[test]
fn a_message_written_later_is_noticed() {
    is_noticed(Invariant::Messages, "outbox");
}

#[test]
fn lost_messages_that_stay_lost_are_noticed() {
    is_noticed(Invariant::Termination, "resend");
}

#[test]
fn silent_attempts_that_nobody_ends_are_noticed() {
    is_noticed(Invariant::Termination, "reaper");
}

#[test]
fn lost_notifications_without_a_sweep_are_noticed() {
    is_noticed(Invariant::Termination, "sweep");
}

#[test]
fn starvation_behind_a_limit_is_noticed() {
    is_noticed_from(360, Invariant::NoStarvation, "starved_step_aside");
}

#[test]
fn a_step_that_does_not_hold_its_run_is_noticed() {
    is_noticed(Invariant::RunState, "step_holds_run");
}

#[test]
fn the_end_of_a_run_that_a_pause_cut_short_is_noticed() {
    is_noticed(Invariant::RunState, "end_waits_for_step");
}

#[test]
fn a_run_that_is_made_twice_is_noticed() {
    is_noticed(Invariant::Timetable, "runs_are_unique");
}
