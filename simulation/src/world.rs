//! Time, chance and actors: an executor for one thread, whose clock jumps to the next thing that happens.
//!
//! An actor is an ordinary `async` function. It gives up control wherever the real one would wait for Postgres, for
//! another process or for time, and only there; which actor goes on follows from the dice.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use chrono::{DateTime, TimeDelta, Utc};

use crate::coverage::Coverage;
use crate::database::Database;
use crate::dice::Dice;
use crate::invariants::{Observer, Violation};
use crate::safeguards::Safeguards;
use crate::scenario::Scenario;

/// Milliseconds since the simulation began.
pub(crate) type Millis = i64;

/// Lines of the trace that are kept.
const TRACE: usize = 20_000;

/// The moment at which every simulation begins: 2024-01-01T00:00:00Z.
const BEGINNING: i64 = 1_704_067_200;

/// The time of day at a moment of the simulation.
pub(crate) fn moment(at: Millis) -> DateTime<Utc> {
    DateTime::from_timestamp(BEGINNING, 0).unwrap_or_default() + TimeDelta::milliseconds(at)
}

/// An actor: one line of control of a process.
type ActorId = u64;

/// What a process is; its actors end together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProcessId {
    /// Postgres, the operating systems, fate.
    Environment,
    Scheduler(usize),
    Worker(usize),
    User(usize),
    DagProcessor,
    Triggerer,
}

struct Actor {
    process: ProcessId,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// Everything there is; clones share it.
#[derive(Clone)]
pub(crate) struct World(Rc<Inner>);

struct Inner {
    now: Cell<Millis>,
    dice: RefCell<Dice>,
    database: RefCell<Database>,
    scenario: Scenario,
    safeguards: Safeguards,
    coverage: RefCell<Coverage>,
    observer: RefCell<Observer>,
    violation: RefCell<Option<Violation>>,
    trace: RefCell<Option<VecDeque<String>>>,
    faults: Cell<bool>,
    is_burying: Cell<bool>,
    quiet_since: Cell<Millis>,
    steps: Cell<u64>,
    agenda: RefCell<BTreeSet<(Millis, u64, ActorId)>>,
    actors: RefCell<BTreeMap<ActorId, Actor>>,
    current: Cell<ActorId>,
    numbers: Cell<u64>,
    doomed: RefCell<BTreeSet<ProcessId>>,
    paused: RefCell<BTreeMap<ProcessId, Millis>>,
    skew: RefCell<BTreeMap<ProcessId, Millis>>,
}

impl World {
    pub(crate) fn new(scenario: Scenario, dice: Dice, safeguards: Safeguards, traced: bool) -> Self {
        Self(Rc::new(Inner {
            now: Cell::new(0),
            dice: RefCell::new(dice),
            database: RefCell::new(Database::of(&scenario)),
            observer: RefCell::new(Observer::default()),
            scenario,
            safeguards,
            coverage: RefCell::default(),
            violation: RefCell::default(),
            trace: RefCell::new(traced.then(VecDeque::new)),
            faults: Cell::new(true),
            is_burying: Cell::new(false),
            quiet_since: Cell::new(0),
            steps: Cell::new(0),
            agenda: RefCell::default(),
            actors: RefCell::default(),
            current: Cell::new(0),
            numbers: Cell::new(0),
            doomed: RefCell::default(),
            paused: RefCell::default(),
            skew: RefCell::default(),
        }))
    }

    pub(crate) fn now(&self) -> Millis {
        self.0.now.get()
    }

    pub(crate) fn scenario(&self) -> &Scenario {
        &self.0.scenario
    }

    pub(crate) fn safeguards(&self) -> Safeguards {
        self.0.safeguards
    }

    /// Whether things go wrong: they do until the simulation is to settle.
    pub(crate) fn has_faults(&self) -> bool {
        self.0.faults.get()
    }

    pub(crate) fn stop_faults(&self) {
        self.0.faults.set(false);
        self.0.paused.borrow_mut().clear();
        self.0.skew.borrow_mut().clear();
        self.0.quiet_since.set(self.now());
        // Who was stopped goes on; the others find nothing changed.
        let actors: Vec<ActorId> = self.0.actors.borrow().keys().copied().collect();
        actors.into_iter().for_each(|actor| self.wake(actor));
    }

    /// How long nothing has gone wrong.
    pub(crate) fn quiet_for(&self) -> Millis {
        if self.has_faults() { 0 } else { self.now() - self.0.quiet_since.get() }
    }

    pub(crate) fn steps(&self) -> u64 {
        self.0.steps.get()
    }

    /// A number that was not given before.
    pub(crate) fn number(&self) -> u64 {
        let number = self.0.numbers.get() + 1;
        self.0.numbers.set(number);
        number
    }

    pub(crate) fn dice<T>(&self, roll: impl FnOnce(&mut Dice) -> T) -> T {
        roll(&mut self.0.dice.borrow_mut())
    }

    /// Whether a fault happens that happens `times` in a thousand.
    pub(crate) fn goes_wrong(&self, times: i64) -> bool {
        self.has_faults() && self.dice(|dice| dice.per_mille(times))
    }

    pub(crate) fn database<T>(&self, look: impl FnOnce(&mut Database) -> T) -> T {
        look(&mut self.0.database.borrow_mut())
    }

    pub(crate) fn observer<T>(&self, look: impl FnOnce(&mut Observer) -> T) -> T {
        look(&mut self.0.observer.borrow_mut())
    }

    pub(crate) fn count(&self, name: &str) {
        self.0.coverage.borrow_mut().count(name);
    }

    pub(crate) fn coverage(&self) -> Coverage {
        self.0.coverage.borrow().clone()
    }

    /// Writes down that an invariant does not hold; the first one ends the simulation.
    pub(crate) fn fail(&self, violation: Violation) {
        self.trace(|| format!("VIOLATION {violation}"));
        self.0.violation.borrow_mut().get_or_insert(violation);
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.0.violation.borrow().clone()
    }

    /// A line of the trace, if one is kept.
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut *self.0.trace.borrow_mut() {
            if trace.len() == TRACE {
                trace.pop_front();
            }
            trace.push_back(format!("{:>10.3} s  {}", self.now() as f64 / 1000.0, line()));
        }
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        self.0.trace.borrow_mut().take().unwrap_or_default().into()
    }

    /// Starts an actor of a process; it first acts at `at`.
    pub(crate) fn spawn(&self, process: ProcessId, at: Millis, future: impl Future<Output = ()> + 'static) {
        let id = self.number();
        self.0.actors.borrow_mut().insert(id, Actor { process, future: Box::pin(future) });
        self.put(at, id);
    }

    fn put(&self, at: Millis, actor: ActorId) {
        let number = self.number();
        self.0.agenda.borrow_mut().insert((at.max(self.now()), number, actor));
    }

    /// The actor that acts now, for [`World::wake`].
    pub(crate) fn current(&self) -> u64 {
        self.0.current.get()
    }

    /// Has an actor look again at what it waits for.
    pub(crate) fn wake(&self, actor: u64) {
        self.put(self.now(), actor);
    }

    /// Kills a process as soon as the actor that acts now gives up control.
    pub(crate) fn kill(&self, process: ProcessId) {
        self.0.doomed.borrow_mut().insert(process);
    }

    /// Whether any actor of a process lives.
    pub(crate) fn is_alive(&self, process: ProcessId) -> bool {
        self.0.actors.borrow().values().any(|actor| actor.process == process)
    }

    /// Stops a process until `until`, as a machine that is short of memory would.
    pub(crate) fn pause(&self, process: ProcessId, until: Millis) {
        self.0.paused.borrow_mut().insert(process, until);
    }

    /// Sets how far the clock of a process is ahead.
    pub(crate) fn set_skew(&self, process: ProcessId, skew: Millis) {
        self.0.skew.borrow_mut().insert(process, skew);
    }

    /// What a process takes for the time.
    pub(crate) fn clock_of(&self, process: ProcessId) -> Millis {
        self.now() + self.0.skew.borrow().get(&process).copied().unwrap_or(0)
    }

    /// Waits until a moment.
    pub(crate) async fn until(&self, at: Millis) {
        self.wait_for(at, || false).await;
    }

    /// Waits until something is so, of which the actor is told by [`World::wake`], but not longer than `deadline`.
    pub(crate) async fn wait_for(&self, deadline: Millis, mut is_so: impl FnMut() -> bool) {
        let mut is_noted = false;
        poll_fn(|_| {
            if is_so() || self.now() >= deadline {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut is_noted, true) && deadline < Millis::MAX {
                self.put(deadline, self.current());
            }
            Poll::Pending
        })
        .await;
    }

    /// Waits for a while that the dice choose, in milliseconds.
    pub(crate) async fn dawdle(&self, low: Millis, high: Millis) {
        let at = self.now() + self.dice(|dice| dice.between(low, high));
        self.until(at).await;
    }

    /// Lets the next actor act. Returns whether there was one.
    pub(crate) fn turn(&self) -> bool {
        let Some((at, _, id)) = self.0.agenda.borrow_mut().pop_first() else { return false };
        self.0.now.set(at);
        let actor = self.0.actors.borrow_mut().remove(&id);
        let Some(mut actor) = actor else { return true };
        let paused = self.0.paused.borrow().get(&actor.process).copied().filter(|until| *until > at);
        if let Some(until) = paused {
            self.0.actors.borrow_mut().insert(id, actor);
            self.put(until, id);
            return true;
        }
        self.0.current.set(id);
        self.0.steps.set(self.0.steps.get() + 1);
        let progress = actor.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if progress.is_pending() {
            self.0.actors.borrow_mut().insert(id, actor);
        }
        self.bury();
        true
    }

    /// Ends the actors of processes that were killed.
    fn bury(&self) {
        let doomed = std::mem::take(&mut *self.0.doomed.borrow_mut());
        if doomed.is_empty() {
            return;
        }
        let dead: Vec<Actor> = self
            .0
            .actors
            .borrow_mut()
            .extract_if(.., |_, actor| doomed.contains(&actor.process))
            .map(|(_, actor)| actor)
            .collect();
        // Dropping a future rolls its transaction back, which looks at the world again.
        self.0.is_burying.set(true);
        drop(dead);
        self.0.is_burying.set(false);
    }

    /// Whether what is dropped now belongs to a process that was killed.
    pub(crate) fn is_burying(&self) -> bool {
        self.0.is_burying.get()
    }

    /// Ends everything, so that nothing refers to the world in a circle.
    pub(crate) fn end(&self) {
        self.stop_faults();
        let actors = std::mem::take(&mut *self.0.actors.borrow_mut());
        drop(actors);
    }
}

/// A process as its actors see it.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) world: World,
    pub(crate) id: ProcessId,
}

impl Process {
    /// The time, as far as the process knows.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        moment(self.world.clock_of(self.id))
    }

    /// Starts another actor of the process.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.world.spawn(self.id, self.world.now(), future);
    }

    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        self.world.trace(|| format!("{:?}: {}", self.id, line()));
    }
}
