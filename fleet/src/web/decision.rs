//! How many web servers there are to be, from what each says of its load. Nothing here has a clock or asks anybody.
//!
//! Source: the MWAA user guide, "Configuring web server automatic scaling": one more when `CPUUtilization` is above 70 or
//! `ActiveConnectionCount` above 15, fewer as both fall. Both are those of a web server on average here: what one more brings
//! down.

use std::time::Duration;

use uuid::Uuid;

/// Percent of processor time above which one more is needed.
pub const BUSY_CPU: f64 = 70.0;

/// Open connections above which one more is needed.
pub const BUSY_CONNECTIONS: usize = 15;

/// What bounds the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Fewest web servers; at least one.
    pub min_servers: usize,
    /// Most.
    pub max_servers: usize,
    /// How long the newest must have served before its effect is known, and another may follow.
    pub settle: Duration,
    /// How long fewer must have been enough before one leaves.
    pub scale_in_delay: Duration,
    /// How long one may take to come up.
    pub launch_timeout: Duration,
}

/// How busy a web server is.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Load {
    /// Processor time, in percent of what it may use.
    pub cpu: f64,
    /// Open connections.
    pub connections: usize,
}

/// A web server that was started in addition to the first one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// What names it.
    pub id: Uuid,
    /// What it does.
    pub phase: Phase,
}

/// What an additional web server does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase {
    /// It has been started, and does not serve yet.
    Starting {
        /// For how long.
        since: Duration,
    },
    /// It serves.
    Serving {
        /// For how long.
        since: Duration,
        /// How busy it is.
        load: Load,
    },
    /// It takes no new connections, and ends when what it has is done.
    Draining,
}

/// What is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// How busy the first one is, which stays as long as there are any.
    pub first: Load,
    /// The others, the oldest first.
    pub others: Vec<Member>,
    /// For how long fewer have been enough; nothing while they are not.
    pub surplus_for: Option<Duration>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start one more.
    Launch,
    /// Have one end when what it has is done.
    Drain(Uuid),
    /// End one that did not come up.
    GiveUp(Uuid),
}

impl Facts {
    /// The load of those that serve.
    fn loads(&self) -> impl Iterator<Item = Load> {
        let others = self.others.iter().filter_map(|member| match member.phase {
            Phase::Serving { load, .. } => Some(load),
            Phase::Starting { .. } | Phase::Draining => None,
        });
        std::iter::once(self.first).chain(others)
    }

    /// Whether so many web servers would be too busy with what all have now.
    #[expect(clippy::cast_precision_loss, reason = "a number of web servers")]
    fn would_be_busy(&self, servers: usize) -> bool {
        let cpu: f64 = self.loads().map(|load| load.cpu).sum();
        let connections: usize = self.loads().map(|load| load.connections).sum();
        cpu > BUSY_CPU * servers as f64 || connections > BUSY_CONNECTIONS * servers
    }

    fn is_starting(&self) -> bool {
        self.others.iter().any(|member| matches!(member.phase, Phase::Starting { .. }))
    }
}

/// Whether one fewer would be enough.
#[must_use]
pub fn has_surplus(facts: &Facts, bounds: &Bounds) -> bool {
    let serving = facts.loads().count();
    !facts.is_starting() && serving > bounds.min_servers.max(1) && !facts.would_be_busy(serving - 1)
}

/// What is to be done now.
#[must_use]
pub fn decide(facts: &Facts, bounds: &Bounds) -> Vec<Action> {
    let given_up = facts.others.iter().filter_map(|member| match member.phase {
        Phase::Starting { since } if since >= bounds.launch_timeout => Some(member.id),
        _ => None,
    });
    let mut actions: Vec<Action> = given_up.map(Action::GiveUp).collect();
    let serving = facts.loads().count();
    let starting = facts.others.iter().filter(|member| matches!(member.phase, Phase::Starting { .. })).count();
    let available = serving + starting - actions.len();
    let missing = bounds.min_servers.saturating_sub(available);
    if missing > 0 {
        actions.extend(std::iter::repeat_n(Action::Launch, missing));
        return actions;
    }
    let has_settled = facts.others.iter().all(|member| match member.phase {
        Phase::Starting { .. } => false,
        Phase::Serving { since, .. } => since >= bounds.settle,
        Phase::Draining => true,
    });
    if has_settled && available < bounds.max_servers && facts.would_be_busy(serving) {
        actions.push(Action::Launch);
    } else if has_surplus(facts, bounds) && facts.surplus_for.is_some_and(|since| since >= bounds.scale_in_delay) {
        let newest = facts.others.iter().rev().find(|member| matches!(member.phase, Phase::Serving { .. }));
        actions.extend(newest.map(|member| Action::Drain(member.id)));
    }
    actions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bounds(min_servers: usize, max_servers: usize) -> Bounds {
        Bounds {
            min_servers,
            max_servers,
            settle: 10 * SECOND,
            scale_in_delay: 60 * SECOND,
            launch_timeout: 600 * SECOND,
        }
    }

    fn load(cpu: f64, connections: usize) -> Load {
        Load { cpu, connections }
    }

    fn serving(seconds: u32, cpu: f64, connections: usize) -> Phase {
        Phase::Serving { since: SECOND * seconds, load: load(cpu, connections) }
    }

    fn facts(first: Load, others: &[Phase]) -> Facts {
        let others = others.iter().map(|phase| Member { id: Uuid::new_v4(), phase: *phase }).collect();
        Facts { first, others, surplus_for: Some(120 * SECOND) }
    }

    #[test]
    fn one_more_is_started_above_either_bound() {
        for (first, expected) in
            [(load(70.0, 15), vec![]), (load(70.1, 0), vec![Action::Launch]), (load(0.0, 16), vec![Action::Launch])]
        {
            assert_eq!(decide(&facts(first, &[]), &bounds(1, 5)), expected, "{first:?}");
        }
        assert_eq!(decide(&facts(load(100.0, 99), &[]), &bounds(1, 1)), vec![]);
    }

    #[test]
    fn what_one_more_brings_is_seen_before_another_follows() {
        let starting = Phase::Starting { since: SECOND };
        assert_eq!(decide(&facts(load(99.0, 40), &[starting]), &bounds(1, 5)), vec![]);
        assert_eq!(decide(&facts(load(99.0, 40), &[serving(9, 99.0, 10)]), &bounds(1, 5)), vec![]);
        assert_eq!(decide(&facts(load(99.0, 40), &[serving(10, 99.0, 10)]), &bounds(1, 5)), vec![Action::Launch]);
        assert_eq!(decide(&facts(load(20.0, 20), &[serving(10, 20.0, 10)]), &bounds(1, 5)), vec![]);
    }

    #[test]
    fn the_fewest_are_there_from_the_beginning() {
        assert_eq!(decide(&facts(load(0.0, 0), &[]), &bounds(3, 5)), vec![Action::Launch; 2]);
    }

    #[test]
    fn the_newest_leaves_when_the_others_are_enough_for_a_while() {
        let quiet = facts(load(5.0, 5), &[serving(600, 5.0, 5), serving(300, 5.0, 5)]);
        assert_eq!(decide(&quiet, &bounds(1, 5)), vec![Action::Drain(quiet.others[1].id)]);
        assert_eq!(decide(&quiet, &bounds(3, 5)), vec![]);
        let since = Some(59 * SECOND);
        assert_eq!(decide(&Facts { surplus_for: since, ..quiet }, &bounds(1, 5)), vec![]);
        let busy_without = facts(load(5.0, 8), &[serving(600, 5.0, 8)]);
        assert_eq!(decide(&busy_without, &bounds(1, 5)), vec![], "sixteen are too many for one");
    }

    #[test]
    fn one_that_does_not_come_up_is_given_up() {
        let stuck = facts(load(5.0, 0), &[Phase::Starting { since: 600 * SECOND }]);
        let id = stuck.others[0].id;
        assert_eq!(decide(&stuck, &bounds(2, 5)), vec![Action::GiveUp(id), Action::Launch]);
    }

    fn phase() -> impl Strategy<Value = Phase> {
        let seconds = || (0_u64..900).prop_map(Duration::from_secs);
        prop_oneof![
            seconds().prop_map(|since| Phase::Starting { since }),
            (seconds(), 0.0_f64..100.0, 0_usize..40)
                .prop_map(|(since, cpu, connections)| Phase::Serving { since, load: load(cpu, connections) }),
            Just(Phase::Draining),
        ]
    }

    proptest! {
        #[test]
        fn the_bounds_are_kept(
            cpu in 0.0_f64..100.0,
            connections in 0_usize..60,
            phases in prop::collection::vec(phase(), 0..6),
            min_servers in 1_usize..4,
            more in 0_usize..4,
            surplus in prop::option::of(0_u64..200),
        ) {
            let bounds = bounds(min_servers, min_servers + more);
            let surplus_for = surplus.map(Duration::from_secs);
            let facts = Facts { surplus_for, ..facts(load(cpu, connections), &phases) };
            let actions = decide(&facts, &bounds);
            let count = |wanted: fn(&Action) -> bool| actions.iter().filter(|action| wanted(action)).count();
            let launched = count(|action| *action == Action::Launch);
            let ended = count(|action| matches!(action, Action::Drain(_) | Action::GiveUp(_)));
            let available = 1 + phases.iter().filter(|phase| **phase != Phase::Draining).count();
            let after = available + launched - ended;
            prop_assert!(after >= bounds.min_servers, "{actions:?}");
            prop_assert!(launched == 0 || after <= bounds.max_servers, "{actions:?}");
            let drained = count(|action| matches!(action, Action::Drain(_)));
            prop_assert!(drained == 0 || (drained == 1 && launched == 0), "{actions:?}");
        }
    }
}
