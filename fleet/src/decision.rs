//! What a fleet does next, from what is known of it. Nothing here has a clock or asks anybody.
//!
//! A worker leaves in Amazon MWAA's order: it is told to stop receiving and gives back what it has not started; after a while
//! it is looked at again; only when it still has nothing to do it is ended, and one that got work again is kept.

use std::time::Duration;

use uuid::Uuid;

/// What bounds the fleet of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Fewest workers; may be none.
    pub min_workers: usize,
    /// Most workers.
    pub max_workers: usize,
    /// Task instances that a worker runs at once.
    pub tasks_per_worker: usize,
    /// How long fewer workers must have been enough before one leaves.
    pub scale_in_delay: Duration,
    /// How long a worker that takes nothing is watched before it is ended.
    pub drain_wait: Duration,
    /// How long a worker may take to say that it lives.
    pub launch_timeout: Duration,
}

/// What is known of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Task instances that wait for a worker.
    pub queued: usize,
    /// Task instances that run.
    pub running: usize,
    /// Its workers.
    pub members: Vec<Member>,
    /// For how long fewer workers have been enough; nothing while they are not.
    pub surplus_for: Option<Duration>,
}

/// A worker of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// What names it.
    pub id: Uuid,
    /// What it does.
    pub phase: Phase,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It has been started, and has not said yet that it lives.
    Starting {
        /// For how long.
        since: Duration,
    },
    /// It takes task instances.
    Working {
        /// Those that it runs.
        running: usize,
    },
    /// It was told to take nothing more.
    Draining {
        /// For how long.
        since: Duration,
        /// Whether it has said that it takes nothing.
        has_stopped: bool,
        /// What it still runs.
        running: usize,
    },
    /// It was told to end.
    Ending,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start one more worker.
    Launch,
    /// Tell a worker to take nothing more.
    Drain(Uuid),
    /// Tell a worker to take task instances again.
    Resume(Uuid),
    /// End a worker that has nothing to do.
    End(Uuid),
    /// End a worker that never said that it lives.
    GiveUp(Uuid),
}

/// Workers that a queue needs.
#[must_use]
pub fn required(queued: usize, running: usize, bounds: &Bounds) -> usize {
    let needed = queued.saturating_add(running).div_ceil(bounds.tasks_per_worker.max(1));
    needed.clamp(bounds.min_workers.min(bounds.max_workers), bounds.max_workers)
}

/// Whether fewer workers would be enough.
#[must_use]
pub fn has_surplus(facts: &Facts, bounds: &Bounds) -> bool {
    available(facts) > required(facts.queued, facts.running, bounds)
}

/// Workers that take task instances, or are about to.
fn available(facts: &Facts) -> usize {
    let is_available = |member: &&Member| matches!(member.phase, Phase::Starting { .. } | Phase::Working { .. });
    facts.members.iter().filter(is_available).count()
}

/// What is to be done for a queue now.
#[must_use]
pub fn decide(facts: &Facts, bounds: &Bounds) -> Vec<Action> {
    let required = required(facts.queued, facts.running, bounds);
    let mut actions = Vec::new();
    let mut available = available(facts);
    let mut alive = facts.members.iter().filter(|member| member.phase != Phase::Ending).count();

    for member in &facts.members {
        match member.phase {
            Phase::Starting { since } if since >= bounds.launch_timeout => {
                actions.push(Action::GiveUp(member.id));
                available -= 1;
                alive -= 1;
            }
            // It had taken something before it heard.
            Phase::Draining { running, .. } if running > 0 => {
                actions.push(Action::Resume(member.id));
                available += 1;
            }
            _ => {}
        }
    }

    let draining = facts.members.iter().filter_map(|member| match member.phase {
        Phase::Draining { since, has_stopped, running: 0 } => {
            Some((member.id, has_stopped && since >= bounds.drain_wait))
        }
        _ => None,
    });
    for (id, is_done) in draining {
        if available < required {
            actions.push(Action::Resume(id));
            available += 1;
        } else if is_done {
            actions.push(Action::End(id));
            alive -= 1;
        }
    }

    while available < required && alive < bounds.max_workers {
        actions.push(Action::Launch);
        available += 1;
        alive += 1;
    }

    if facts.surplus_for.is_some_and(|surplus| surplus >= bounds.scale_in_delay) {
        let idle = facts.members.iter().filter(|member| matches!(member.phase, Phase::Working { running: 0 }));
        let surplus = available.saturating_sub(required);
        actions.extend(idle.take(surplus).map(|member| Action::Drain(member.id)));
    }
    actions
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bounds(min_workers: usize, max_workers: usize, tasks_per_worker: usize) -> Bounds {
        Bounds {
            min_workers,
            max_workers,
            tasks_per_worker,
            scale_in_delay: 60 * SECOND,
            drain_wait: 20 * SECOND,
            launch_timeout: 600 * SECOND,
        }
    }

    fn member(phase: Phase) -> Member {
        Member { id: Uuid::new_v4(), phase }
    }

    fn facts(queued: usize, running: usize, phases: &[Phase]) -> Facts {
        let members = phases.iter().copied().map(member).collect();
        Facts { queued, running, members, surplus_for: Some(120 * SECOND) }
    }

    #[test]
    fn the_quotient_is_rounded_up_and_bounded() {
        let cases = [((0, 0), 0), ((1, 0), 1), ((5, 0), 1), ((3, 3), 2), ((10, 1), 3), ((1_000, 1_000), 10)];
        for ((queued, running), expected) in cases {
            assert_eq!(required(queued, running, &bounds(0, 10, 5)), expected, "{queued} queued, {running} running");
        }
        assert_eq!(required(0, 0, &bounds(1, 10, 5)), 1);
    }

    #[test]
    fn a_fleet_grows_from_nothing_at_once() {
        assert_eq!(decide(&facts(12, 0, &[]), &bounds(0, 10, 5)), vec![Action::Launch; 3]);
        let one_starts = [Phase::Starting { since: SECOND }];
        assert_eq!(decide(&facts(12, 0, &one_starts), &bounds(0, 10, 5)), vec![Action::Launch; 2]);
    }

    #[test]
    fn a_busy_worker_is_never_told_to_leave() {
        let phases = [Phase::Working { running: 1 }, Phase::Working { running: 0 }, Phase::Working { running: 1 }];
        let facts = facts(0, 2, &phases);
        assert_eq!(decide(&facts, &bounds(0, 10, 5)), vec![Action::Drain(facts.members[1].id)]);
    }

    #[test]
    fn a_worker_leaves_step_by_step() {
        let bounds = bounds(0, 10, 5);
        let told = facts(0, 0, &[Phase::Draining { since: 30 * SECOND, has_stopped: false, running: 0 }]);
        assert_eq!(decide(&told, &bounds), vec![], "it has not heard yet");
        let watched = facts(0, 0, &[Phase::Draining { since: 19 * SECOND, has_stopped: true, running: 0 }]);
        assert_eq!(decide(&watched, &bounds), vec![], "it is watched for a while");
        let done = facts(0, 0, &[Phase::Draining { since: 20 * SECOND, has_stopped: true, running: 0 }]);
        assert_eq!(decide(&done, &bounds), vec![Action::End(done.members[0].id)]);
    }

    #[test]
    fn a_worker_that_got_work_again_is_kept_and_comes_before_a_new_one() {
        let bounds = bounds(0, 10, 5);
        let busy = facts(0, 1, &[Phase::Draining { since: 60 * SECOND, has_stopped: true, running: 1 }]);
        assert_eq!(decide(&busy, &bounds), vec![Action::Resume(busy.members[0].id)]);
        let wanted = facts(7, 0, &[Phase::Draining { since: 60 * SECOND, has_stopped: true, running: 0 }]);
        assert_eq!(decide(&wanted, &bounds), vec![Action::Resume(wanted.members[0].id), Action::Launch]);
    }

    #[test]
    fn a_worker_that_does_not_come_up_is_replaced() {
        let stuck = facts(1, 0, &[Phase::Starting { since: 600 * SECOND }]);
        let id = stuck.members[0].id;
        assert_eq!(decide(&stuck, &bounds(0, 1, 5)), vec![Action::GiveUp(id), Action::Launch]);
    }

    fn phase() -> impl Strategy<Value = Phase> {
        let seconds = (0_u64..900).prop_map(Duration::from_secs);
        prop_oneof![
            seconds.clone().prop_map(|since| Phase::Starting { since }),
            (0_usize..6).prop_map(|running| Phase::Working { running }),
            (seconds, any::<bool>(), 0_usize..3).prop_map(|(since, has_stopped, running)| Phase::Draining {
                since,
                has_stopped,
                running
            }),
            Just(Phase::Ending),
        ]
    }

    prop_compose! {
        fn situation()(
            queued in 0_usize..200,
            running in 0_usize..200,
            phases in prop::collection::vec(phase(), 0..12),
            surplus in prop::option::of(0_u64..200),
            bounds in (0_usize..6, 0_usize..8, 1_usize..20),
        ) -> (Facts, Bounds) {
            let members = phases.into_iter().map(member).collect();
            let surplus_for = surplus.map(Duration::from_secs);
            (Facts { queued, running, members, surplus_for }, self::bounds(bounds.0, bounds.0 + bounds.1, bounds.2))
        }
    }

    /// The phases after the actions, had they been carried out at once.
    fn after(facts: &Facts, actions: &[Action]) -> Vec<Phase> {
        let change = |member: &Member| {
            let done = actions.iter().find(|action| match action {
                Action::Launch => false,
                Action::Drain(id) | Action::Resume(id) | Action::End(id) | Action::GiveUp(id) => *id == member.id,
            });
            match (done, member.phase) {
                (None | Some(Action::Launch), phase) => phase,
                (Some(Action::Drain(_)), Phase::Working { running }) => {
                    Phase::Draining { since: Duration::ZERO, has_stopped: false, running }
                }
                (Some(Action::Resume(_)), Phase::Draining { running, .. }) => Phase::Working { running },
                (Some(Action::End(_) | Action::GiveUp(_)), _) => Phase::Ending,
                (Some(action), phase) => panic!("{action:?} of a worker in {phase:?}"),
            }
        };
        let launched = actions.iter().filter(|action| **action == Action::Launch);
        facts.members.iter().map(change).chain(launched.map(|_| Phase::Starting { since: Duration::ZERO })).collect()
    }

    proptest! {
        #[test]
        fn no_worker_with_work_is_ended_or_told_to_leave((facts, bounds) in situation()) {
            for action in decide(&facts, &bounds) {
                let (Action::Drain(id) | Action::End(id)) = action else { continue };
                let phase = facts.members.iter().find(|member| member.id == id).expect("a member").phase;
                let is_idle = matches!(phase, Phase::Working { running: 0 } | Phase::Draining { running: 0, .. });
                prop_assert!(is_idle, "{action:?} in {phase:?}");
            }
        }

        #[test]
        fn a_worker_is_ended_only_after_it_was_told_and_watched((facts, bounds) in situation()) {
            for action in decide(&facts, &bounds) {
                let Action::End(id) = action else { continue };
                let phase = facts.members.iter().find(|member| member.id == id).expect("a member").phase;
                let watched = matches!(phase, Phase::Draining { since, has_stopped: true, .. } if since >= bounds.drain_wait);
                prop_assert!(watched, "{phase:?}");
            }
        }

        #[test]
        fn what_is_required_is_there_afterwards_as_far_as_the_bound_allows((facts, bounds) in situation()) {
            let phases = after(&facts, &decide(&facts, &bounds));
            let alive = phases.iter().filter(|phase| **phase != Phase::Ending).count();
            let available = phases.iter().filter(|phase| matches!(phase, Phase::Starting { .. } | Phase::Working { .. })).count();
            let required = required(facts.queued, facts.running, &bounds);
            prop_assert!(available >= required || alive >= bounds.max_workers, "{available} of {required}: {phases:?}");
        }

        #[test]
        fn none_is_launched_above_the_bound((facts, bounds) in situation()) {
            let actions = decide(&facts, &bounds);
            if actions.contains(&Action::Launch) {
                let alive = after(&facts, &actions).iter().filter(|phase| **phase != Phase::Ending).count();
                prop_assert!(alive <= bounds.max_workers);
            }
        }

        #[test]
        fn scaling_in_leaves_what_is_required((facts, bounds) in situation()) {
            let actions = decide(&facts, &bounds);
            if actions.iter().any(|action| matches!(action, Action::Drain(_) | Action::End(_))) {
                let phases = after(&facts, &actions);
                let available = phases.iter().filter(|phase| matches!(phase, Phase::Starting { .. } | Phase::Working { .. }));
                prop_assert!(available.count() >= required(facts.queued, facts.running, &bounds));
            }
        }

        #[test]
        fn nobody_is_told_two_things((facts, bounds) in situation()) {
            let mut told = HashSet::new();
            for action in decide(&facts, &bounds) {
                if let Action::Drain(id) | Action::Resume(id) | Action::End(id) | Action::GiveUp(id) = action {
                    prop_assert!(told.insert(id), "{action:?}");
                }
            }
        }

        #[test]
        fn nothing_is_done_twice((facts, bounds) in situation()) {
            let members = after(&facts, &decide(&facts, &bounds)).into_iter().map(member).collect();
            let settled = Facts { members, surplus_for: None, ..facts };
            let again = decide(&settled, &bounds);
            prop_assert!(!again.contains(&Action::Launch), "{again:?}");
        }
    }
}
