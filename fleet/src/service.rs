//! Workers that a service starts and ends by itself, as many as it is told.
//!
//! What a service is told is its only memory of what was decided: it is read before each decision, so that an answer that got lost, or
//! another scheduler, changes nothing. Which worker a service ends is its own choice among those that are not protected, so that one
//! that was told to end may find that another has ended in its place; it is then asked to work again, or to end anew.

use std::fmt::Debug;
use std::time::Duration;

use futures::future::BoxFuture;
use uuid::Uuid;

use crate::decision::{Action, Bounds, Member, Phase};
use crate::driver::Result;

/// What a service says of itself and of workers that have made themselves known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    /// Workers that it is to have.
    pub desired: usize,
    /// Those that it does not have: they have ended, or are of another service.
    pub gone: Vec<String>,
    /// Those that it is ending.
    pub leaving: Vec<String>,
    /// What it last told, for people.
    pub event: Option<String>,
}

/// Services that keep as many workers as they are told, one for each queue.
pub trait Service: Debug + Send + Sync {
    /// Their name in the database and in the log.
    fn name(&self) -> &'static str;

    /// How the service of a queue stands, and what is with these workers of it.
    fn look<'a>(&'a self, queue: &'a str, handles: &'a [String]) -> BoxFuture<'a, Result<Roster>>;

    /// Tells the service of a queue how many workers it is to have.
    fn scale<'a>(&'a self, queue: &'a str, desired: usize) -> BoxFuture<'a, Result<()>>;

    /// Ends a worker that gives no sign of life; the service starts another one.
    fn replace<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<()>>;
}

/// A worker that has made itself known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// What names it.
    pub(crate) id: Uuid,
    /// What it does, by what it was asked.
    pub(crate) phase: Phase,
    /// Where it was asked to end: what it does if the service has ended another one.
    pub(crate) kept: Option<Phase>,
    /// Whether the service is ending it.
    pub(crate) is_leaving: bool,
}

/// Workers that a service is to have, and that have not made themselves known.
pub(crate) fn missing(known: &[Known], desired: usize) -> usize {
    desired.saturating_sub(present(known))
}

fn present(known: &[Known]) -> usize {
    known.iter().filter(|worker| !worker.is_leaving).count()
}

/// The workers of a service, for a decision: those that are known, and those that are missing, for so long. Of those that were told
/// to end as many do as the service has too many.
pub(crate) fn members(known: &[Known], desired: usize, missing_for: Duration) -> Vec<Member> {
    let mut too_many = present(known).saturating_sub(desired);
    let phase = |worker: &Known| match worker.kept {
        _ if worker.is_leaving => Phase::Ending,
        Some(kept) if too_many == 0 => kept,
        Some(_) => {
            too_many -= 1;
            worker.phase
        }
        None => worker.phase,
    };
    let phases: Vec<Phase> = known.iter().map(phase).collect();
    let there = known.iter().zip(phases).map(|(worker, phase)| Member { id: worker.id, phase });
    let starting = Phase::Starting { since: missing_for };
    let missing =
        (1..).take(missing(known, desired)).map(|number| Member { id: Uuid::from_u128(number), phase: starting });
    there.chain(missing).collect()
}

/// Workers that a service is to have once this is done: never fewer than are required, whatever somebody else has set.
pub(crate) fn desired_after(desired: usize, actions: &[Action], required: usize, bounds: &Bounds) -> usize {
    let more = actions.iter().filter(|action| **action == Action::Launch).count();
    let fewer = actions.iter().filter(|action| matches!(action, Action::End(_) | Action::GiveUp(_))).count();
    // Where it is more than we would set, workers leave one by one.
    (desired + more).saturating_sub(fewer).max(required).min(bounds.max_workers.max(desired))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Facts, decide, required};

    const SECOND: Duration = Duration::from_secs(1);
    const BOUNDS: Bounds = Bounds {
        min_workers: 0,
        max_workers: 4,
        tasks_per_worker: 2,
        scale_in_delay: Duration::from_secs(60),
        drain_wait: Duration::from_secs(20),
        launch_timeout: Duration::from_secs(600),
    };

    fn known(phase: Phase) -> Known {
        let kept = Phase::Draining { since: 30 * SECOND, has_stopped: true, running: 0 };
        let kept = (phase == Phase::Ending).then_some(kept);
        Known { id: Uuid::new_v4(), phase, kept, is_leaving: false }
    }

    /// What the service is to have after a decision.
    fn decided(queued: usize, known: &[Known], desired: usize, missing_for: Duration) -> (Vec<Action>, usize) {
        let members = members(known, desired, missing_for);
        let facts = Facts { queued, running: 0, members, surplus_for: Some(120 * SECOND) };
        let actions = decide(&facts, &BOUNDS);
        let after = desired_after(desired, &actions, required(queued, 0, &BOUNDS), &BOUNDS);
        (actions, after)
    }

    #[test]
    fn a_service_is_told_once_what_is_needed() {
        assert_eq!(decided(6, &[], 0, Duration::ZERO), (vec![Action::Launch; 3], 3));
        assert_eq!(decided(6, &[], 3, SECOND), (vec![], 3), "they are on their way");
        let one = [known(Phase::Working { running: 0 })];
        assert_eq!(decided(6, &one, 3, SECOND), (vec![], 3));
        assert_eq!(decided(60, &one, 3, SECOND).1, 4, "the bound");
        assert_eq!(
            decided(0, &[known(Phase::Working { running: 1 }); 6], 6, Duration::ZERO).1,
            6,
            "set by somebody else"
        );
        assert_eq!(decided(6, &[known(Phase::Working { running: 1 }); 3], 1, Duration::ZERO).1, 3, "likewise");
    }

    #[test]
    fn one_that_was_told_to_end_is_kept_when_another_has_ended_in_its_place() {
        let ending = known(Phase::Ending);
        let other = known(Phase::Working { running: 0 });
        assert_eq!(decided(1, &[ending, other], 1, Duration::ZERO), (vec![], 1), "the service has not chosen yet");
        assert_eq!(decided(1, &[ending], 1, Duration::ZERO), (vec![Action::Resume(ending.id)], 1));
        assert_eq!(decided(0, &[ending], 1, Duration::ZERO), (vec![Action::End(ending.id)], 0));
    }

    #[test]
    fn one_that_the_service_is_ending_does_not_count() {
        let leaving = Known { is_leaving: true, ..known(Phase::Working { running: 1 }) };
        assert_eq!(missing(&[leaving], 1), 1);
        assert_eq!(decided(1, &[leaving], 0, Duration::ZERO), (vec![Action::Launch], 1));
    }

    #[test]
    fn what_a_service_cannot_start_is_given_up_when_nobody_needs_it() {
        let late = BOUNDS.launch_timeout;
        assert_eq!(decided(0, &[], 2, late).1, 0);
        assert_eq!(decided(4, &[], 2, late).1, 2, "it goes on trying");
    }
}
