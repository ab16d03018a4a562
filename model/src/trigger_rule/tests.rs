use proptest::prelude::*;

use super::TriggerRule::*;
use super::*;
use crate::state::TaskInstanceState::{Removed, Skipped, UpstreamFailed};

/// Upstream task instances as a word of letters: success, skipped, failed, upstream failed, removed and not ended
/// (`.`); capitals are setups.
fn states(word: &str) -> UpstreamStates {
    let mut states = UpstreamStates::default();
    for letter in word.chars() {
        let is_setup = letter.is_ascii_uppercase();
        states.upstream += 1;
        states.upstream_setup += u64::from(is_setup);
        match letter.to_ascii_lowercase() {
            's' => states.count(TaskInstanceState::Success, is_setup),
            'k' => states.count(Skipped, is_setup),
            'f' => states.count(TaskInstanceState::Failed, is_setup),
            'u' => states.count(UpstreamFailed, is_setup),
            'r' => states.count(Removed, is_setup),
            _ => {}
        }
    }
    states
}

fn check(rule: TriggerRule, word: &str, is_met: bool, becomes: Option<TaskInstanceState>) {
    let verdict = judge(rule, -1, &states(word));
    assert_eq!(verdict, Verdict { is_met, becomes }, "{} of {word:?}", rule.as_str());
}

#[test]
fn verdicts_are_those_of_airflow() {
    // Rule, upstream, whether it is met, what the task instance becomes; worked out from trigger_rule_dep.py.
    check(AllSuccess, "ss", true, None);
    check(AllSuccess, "s.", false, None);
    check(AllSuccess, "k.", false, Some(Skipped));
    check(AllSuccess, "kf", false, Some(UpstreamFailed));
    check(AllSuccess, "sr", true, None);
    check(AllFailed, "fu", true, None);
    check(AllFailed, "f.", false, None);
    check(AllFailed, "s.", false, Some(Skipped));
    check(AllFailed, "k.", false, Some(Skipped));
    check(AllDone, "sfkur", true, None);
    check(AllDone, "s.", false, None);
    check(AllDoneMinOneSuccess, "sf", true, None);
    check(AllDoneMinOneSuccess, "fu", false, Some(UpstreamFailed));
    check(AllDoneMinOneSuccess, "sk", false, Some(Skipped));
    check(AllDoneMinOneSuccess, "s.", false, None);
    check(AllDoneSetupSuccess, "Sf", true, None);
    check(AllDoneSetupSuccess, "Ks", false, Some(Skipped));
    check(AllDoneSetupSuccess, "Fs", false, Some(UpstreamFailed));
    check(AllDoneSetupSuccess, "FS", true, None);
    check(AllDoneSetupSuccess, "S.", false, None);
    check(AllDoneSetupSuccess, "ff", true, None);
    check(OneSuccess, "s.", true, None);
    check(OneSuccess, "f.", false, None);
    check(OneSuccess, "kk", false, Some(Skipped));
    check(OneSuccess, "kf", false, Some(UpstreamFailed));
    check(OneFailed, "f.", true, None);
    check(OneFailed, "u.", true, None);
    check(OneFailed, "sk", false, Some(Skipped));
    check(OneFailed, "s.", false, None);
    check(OneDone, "f.", true, None);
    check(OneDone, "ku", false, Some(Skipped));
    check(OneDone, "k.", false, None);
    check(NoneFailed, "sk", true, None);
    check(NoneFailed, "k.", false, None);
    check(NoneFailed, "f.", false, Some(UpstreamFailed));
    check(NoneSkipped, "sf", true, None);
    check(NoneSkipped, "k.", false, Some(Skipped));
    check(NoneFailedMinOneSuccess, "sk", true, None);
    check(NoneFailedMinOneSuccess, "kk", false, Some(Skipped));
    check(NoneFailedMinOneSuccess, "kr", false, Some(UpstreamFailed));
    check(NoneFailedMinOneSuccess, "uk", false, Some(UpstreamFailed));
    check(AllSkipped, "kk", true, None);
    check(AllSkipped, "k.", false, None);
    check(AllSkipped, "s.", false, Some(Skipped));
    check(Always, "f.", true, None);
}

#[test]
fn an_instance_beyond_a_shortened_upstream_is_removed() {
    let upstream = states("ssr");
    assert_eq!(judge(AllSuccess, 1, &upstream).becomes, None);
    assert_eq!(judge(AllSuccess, 2, &upstream).becomes, Some(Removed));
    assert_eq!(judge(AllSuccess, -1, &upstream).becomes, None);
}

#[test]
fn setups_must_all_succeed() {
    assert_eq!(judge_setups(-1, &states("SS")), Verdict { is_met: true, becomes: None });
    assert_eq!(judge_setups(-1, &states("S.")), Verdict { is_met: false, becomes: None });
    assert_eq!(judge_setups(-1, &states("K.")), Verdict { is_met: false, becomes: Some(Skipped) });
    assert_eq!(judge_setups(-1, &states("FK")), Verdict { is_met: false, becomes: Some(UpstreamFailed) });
    assert_eq!(judge_setups(0, &states("SR")), Verdict { is_met: true, becomes: None });
    assert_eq!(judge_setups(-1, &states("SR")), Verdict { is_met: false, becomes: None });
}

#[test]
fn names_are_read_back() {
    for rule in TriggerRule::ALL {
        assert_eq!(TriggerRule::parse(rule.as_str()), Some(*rule));
    }
    assert_eq!(TriggerRule::parse("dummy"), None);
}

proptest! {
    #[test]
    fn once_everything_upstream_has_ended_a_task_runs_or_ends(
        word in "[skfur]{1,6}", rule in prop::sample::select(TriggerRule::ALL)
    ) {
        let verdict = judge(rule, -1, &states(&word));
        // With removed task instances upstream Airflow lets some rules wait for ever: the run ends as a deadlock.
        prop_assert!(verdict.is_met || verdict.becomes.is_some() || word.contains('r'));
    }

    #[test]
    fn what_is_met_does_not_end(word in "[skfu.]{1,6}", rule in prop::sample::select(TriggerRule::ALL)) {
        let verdict = judge(rule, -1, &states(&word));
        prop_assert!(!verdict.is_met || verdict.becomes.is_none());
    }

    #[test]
    fn the_order_of_upstream_does_not_matter(word in "[skfurSKFUR.]{0,8}", rule in prop::sample::select(TriggerRule::ALL)) {
        let reversed: String = word.chars().rev().collect();
        prop_assert_eq!(judge(rule, 0, &states(&word)), judge(rule, 0, &states(&reversed)));
    }

    #[test]
    fn counting_can_be_taken_back(word in "[skfurSKFUR]{1,8}", other in "[skfurSKFUR]{1,8}") {
        let (old, new) = (states(&word), states(&other));
        let mut sum = old;
        sum.add(&new);
        sum.replace(&old, &new);
        let mut twice = new;
        twice.add(&new);
        prop_assert_eq!(sum, twice);
    }
}
