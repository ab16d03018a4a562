//! A deterministic simulation of Tradewind: the real scheduling core, against a model of Postgres, the queue, workers,
//! users and everything that can go wrong, on one thread and from one seed.
//!
//! `README.md` of this crate tells what is modelled, what is not, and how to read a failure.
#![forbid(unsafe_code)]

mod bystanders;
mod coverage;
mod database;
mod dice;
mod invariants;
mod metadata;
mod safeguards;
mod scenario;
mod scheduler;
mod worker;
mod world;

use std::fmt;

pub use coverage::Coverage;
pub use invariants::{Invariant, Violation};
pub use safeguards::Safeguards;

use dice::Dice;
use scenario::Scenario;
use world::{Millis, World};

/// How long a simulation may take to settle once nothing goes wrong any more, in its own time: six hours.
const PATIENCE: Millis = 6 * 3_600_000;

/// How many steps that may take.
const STEPS: u64 = 3_000_000;

/// Lines of the trace that a failure displays.
const SHOWN: usize = 60;

/// A simulation in which an invariant did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed that replays it.
    pub seed: u64,
    /// The step at which it showed.
    pub step: u64,
    /// What did not hold.
    pub violation: Violation,
    /// The last steps before; [`Failure`] displays the last of them.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace[self.trace.len().saturating_sub(SHOWN)..] {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {}, step {}: {}", self.seed, self.step, self.violation)?;
        write!(f, "replay with: SEED={} make simulate", self.seed)
    }
}

/// Simulates from a seed.
///
/// # Errors
/// The first invariant that does not hold, with the trace of the steps before it.
pub fn simulate(seed: u64, safeguards: Safeguards) -> Result<Coverage, Box<Failure>> {
    let (violation, _, _, coverage) = run(seed, safeguards, false);
    if violation.is_none() {
        return Ok(coverage);
    }
    // The same again, keeping a trace this time.
    let (violation, step, trace, _) = run(seed, safeguards, true);
    let violation =
        violation.unwrap_or_else(|| panic!("seed {seed} failed once only: the simulation is not deterministic"));
    Err(Box::new(Failure { seed, step, violation, trace }))
}

fn run(seed: u64, safeguards: Safeguards, is_traced: bool) -> (Option<Violation>, u64, Vec<String>, Coverage) {
    let mut dice = Dice::new(seed);
    let scenario = Scenario::random(&mut dice);
    let trouble = scenario.trouble;
    let world = World::new(scenario, dice, safeguards, is_traced);
    bystanders::start_keeper(&world);
    bystanders::start_fate(&world);
    while world.now() < trouble && world.violation().is_none() && world.turn() {}
    world.stop_faults();
    if world.violation().is_none() {
        bystanders::start_tidying(&world);
        settle(&world);
    }
    world.end();
    (world.violation(), world.steps(), world.take_trace(), world.coverage())
}

/// Lets everything end that will.
fn settle(world: &World) {
    let (deadline, last_step) = (world.now() + PATIENCE, world.steps() + STEPS);
    let mut looked_at = world.now();
    while world.violation().is_none() && world.turn() {
        if world.now() < looked_at + 10_000 {
            continue;
        }
        looked_at = world.now();
        let Some(what) = invariants::unfinished(world) else { return };
        if world.now() > deadline || world.steps() > last_step {
            world.fail(Violation::new(Invariant::Termination, what));
        }
    }
}
