//! Looks at tasks and workers again and again, and does what is decided.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metrics::{counter, gauge};
use sqlx::PgConnection;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgListener, Postgres};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tradewind_broker::BackOff;
use tradewind_metadata::fleet::{self, Asked, Demand, Member as Row};
use tradewind_metadata::{Database, Result, notify};
use uuid::Uuid;

use crate::decision::{self, Action, Bounds, Facts, Member, Phase};
use crate::options::Options;
use crate::service::{self, Known, Roster};
use crate::staffing::Staffing;

/// A worker takes nothing for so long although it was asked to work: it is ending by itself.
const HEARING: f64 = 15.0;

/// How long the end of this process waits for its workers.
const RELEASE: Duration = Duration::from_secs(5);

/// Keeps a fleet as large as it has to be.
#[derive(Debug)]
pub struct Fleet {
    database: Database,
    staffing: Staffing,
    options: Options,
    /// Since when fewer workers would be enough, by queue.
    surplus_since: BTreeMap<String, Instant>,
    /// Workers that services miss, and since when it is so many, by queue.
    missing_since: BTreeMap<String, (usize, Instant)>,
    /// What the driver could not do, as it was last said.
    complaints: BTreeSet<String>,
    back_off: BackOff,
    /// Before that, no worker is started: the last one could not be.
    no_launch_before: Option<Instant>,
}

impl Fleet {
    /// A fleet whose workers are started and ended so.
    #[must_use]
    pub fn new(database: Database, staffing: Staffing, options: Options) -> Self {
        Self {
            database,
            staffing,
            options,
            surplus_since: BTreeMap::new(),
            missing_since: BTreeMap::new(),
            complaints: BTreeSet::new(),
            back_off: BackOff::default(),
            no_launch_before: None,
        }
    }

    /// Watches until the shutdown. While another scheduler decides, only waits to take its place.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut lead: Option<PoolConnection<Postgres>> = None;
        let mut listener: Option<PgListener> = None;
        while !shutdown.is_cancelled() {
            match self.turn(&mut lead).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%error, "the fleet cannot be looked after now; it will be tried again");
                    // The lock goes with the connection.
                    close(lead.take()).await;
                }
            }
            if listener.is_none() {
                listener = notify::listen(self.database.pool(), &[notify::QUEUE]).await.ok();
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sleep(self.options.interval) => {}
                // The first task of an empty fleet does not wait.
                () = heard(&mut listener), if lead.is_some() => sleep(self.options.interval / 10).await,
            }
        }
        // Another one may decide at once.
        close(lead.take()).await;
        if timeout(RELEASE, self.staffing.release()).await.is_err() {
            tracing::info!("busy workers end when their tasks have ended");
        }
    }

    async fn turn(&mut self, lead: &mut Option<PoolConnection<Postgres>>) -> Result<()> {
        let connection = match lead {
            Some(connection) => connection,
            None => {
                let mut connection = self.database.pool().acquire().await?;
                if !fleet::try_lead(&mut connection).await? {
                    return Ok(());
                }
                tracing::info!(driver = self.staffing.name(), "this scheduler looks after the worker fleet");
                lead.insert(connection)
            }
        };
        self.look(connection).await
    }

    /// Looks at everything once, and does what is to be done.
    async fn look(&mut self, connection: &mut PgConnection) -> Result<()> {
        let queues: Vec<String> = self.options.queues.keys().cloned().collect();
        let demand = fleet::demand(connection, &queues).await?;
        let rows = fleet::members(connection, self.staffing.name()).await?;
        let seen = self.staffing.look(self.options.queues.keys(), &rows).await;
        seen.errors.iter().for_each(|error| self.complain("the workers cannot be listed", error));
        let rows = self.without_gone(rows, &seen.ended).await?;
        for (queue, bounds) in self.options.queues.clone() {
            let of_queue: Vec<&Row> = rows.iter().filter(|row| row.queue == queue).collect();
            let roster = seen.rosters.get(&queue);
            let members = match roster {
                Some(roster) => self.members_of_service(&queue, &of_queue, roster),
                // The service has not told how it stands.
                None if matches!(self.staffing, Staffing::Services(_)) => continue,
                None => of_queue.iter().map(|row| Member { id: row.id, phase: phase(row) }).collect(),
            };
            let facts = self.facts(&queue, &demand, members, &bounds);
            show(&queue, &facts, &bounds);
            let actions = decision::decide(&facts, &bounds);
            for action in &actions {
                self.carry_out(&queue, *action, &of_queue, &facts).await?;
            }
            if let Some(roster) = roster {
                self.scale(&queue, roster, &actions, &facts, &bounds).await;
            }
        }
        Ok(())
    }

    /// Forgets workers that have ended, or were never started.
    async fn without_gone(&mut self, rows: Vec<Row>, ended: &[String]) -> Result<Vec<Row>> {
        let (gone, rest): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| match &row.handle {
            Some(handle) => ended.contains(handle) || (row.was_seen && !row.lives),
            None => row.age > HEARING,
        });
        // Services end whom they like.
        let is_odd =
            |row: &&Row| row.asked() != Asked::End && row.was_seen && matches!(self.staffing, Staffing::Driver(_));
        for row in gone.iter().filter(is_odd) {
            tracing::warn!(worker = %row.id, queue = row.queue, "a worker of the fleet has ended by itself");
        }
        // One that is merely silent is not to live on unknown.
        for handle in gone.iter().filter_map(|row| row.handle.as_ref()).filter(|handle| !ended.contains(handle)) {
            if let Err(error) = self.staffing.end(handle).await {
                self.complain("a worker that is silent cannot be ended", &error);
            }
        }
        let ids: Vec<Uuid> = gone.iter().map(|row| row.id).collect();
        if !ids.is_empty() {
            fleet::forget(self.database.pool(), &ids).await?;
        }
        let seen: Vec<Uuid> = rest.iter().filter(|row| row.lives && !row.was_seen).map(|row| row.id).collect();
        if !seen.is_empty() {
            fleet::set_seen(self.database.pool(), &seen).await?;
        }
        Ok(rest)
    }

    /// The workers that a service has, and those that it is to have besides.
    fn members_of_service(&mut self, queue: &str, rows: &[&Row], roster: &Roster) -> Vec<Member> {
        let is_leaving = |row: &Row| row.handle.as_ref().is_some_and(|handle| roster.leaving.contains(handle));
        let known = |row: &&Row| Known {
            id: row.id,
            phase: phase(row),
            kept: (row.asked() == Asked::End).then(|| draining(row)),
            is_leaving: is_leaving(row),
        };
        let known: Vec<Known> = rows.iter().map(known).collect();
        let missing = service::missing(&known, roster.desired);
        let since = self.missing_since.entry(queue.to_owned()).or_insert((missing, Instant::now()));
        // More or fewer: something has happened since.
        if since.0 != missing {
            *since = (missing, Instant::now());
        }
        service::members(&known, roster.desired, since.1.elapsed())
    }

    /// Tells a service how many workers it is to have, where that has changed.
    async fn scale(&mut self, queue: &str, roster: &Roster, actions: &[Action], facts: &Facts, bounds: &Bounds) {
        let Staffing::Services(services) = self.staffing.clone() else { return };
        if actions.iter().any(|action| matches!(action, Action::GiveUp(_))) {
            let event = roster.event.as_deref().unwrap_or("nothing");
            tracing::warn!(
                queue,
                desired = roster.desired,
                event,
                "a service does not bring up the workers that it is to have"
            );
            self.missing_since.remove(queue);
        }
        let required = decision::required(facts.queued, facts.running, bounds);
        let desired = service::desired_after(roster.desired, actions, required, bounds);
        if desired == roster.desired || self.no_launch_before.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let (queued, running) = (facts.queued, facts.running);
        match services.scale(queue, desired).await {
            Ok(()) => {
                tracing::info!(
                    queue,
                    queued,
                    running,
                    before = roster.desired,
                    desired,
                    "a service is to have so many workers"
                );
                self.back_off.succeeded();
            }
            Err(error) => {
                self.complain("a service cannot be told how many workers it is to have", &error);
                self.no_launch_before = Some(Instant::now() + self.back_off.failed());
            }
        }
    }

    fn facts(&mut self, queue: &str, demand: &[Demand], members: Vec<Member>, bounds: &Bounds) -> Facts {
        let of_queue = demand.iter().find(|demand| demand.queue == queue);
        let count = |number: i64| usize::try_from(number).unwrap_or(0);
        let mut facts = Facts {
            queued: of_queue.map_or(0, |demand| count(demand.queued)),
            running: of_queue.map_or(0, |demand| count(demand.running)),
            members,
            surplus_for: None,
        };
        if decision::has_surplus(&facts, bounds) {
            let since = *self.surplus_since.entry(queue.to_owned()).or_insert_with(Instant::now);
            facts.surplus_for = Some(since.elapsed());
        } else {
            self.surplus_since.remove(queue);
        }
        facts
    }

    async fn carry_out(&mut self, queue: &str, action: Action, rows: &[&Row], facts: &Facts) -> Result<()> {
        let pool = self.database.pool();
        let (queued, running) = (facts.queued, facts.running);
        counter!("tradewind.fleet.actions", "queue" => queue.to_owned(), "action" => name(action)).increment(1);
        match action {
            Action::Launch => self.launch(queue, facts).await?,
            Action::Drain(id) => {
                tracing::info!(worker = %id, queue, queued, running, "a worker has nothing to do and takes nothing more");
                fleet::ask(pool, id, Asked::Drain).await?;
            }
            Action::Resume(id) => {
                tracing::info!(worker = %id, queue, queued, running, "a worker is kept");
                fleet::ask(pool, id, Asked::Work).await?;
            }
            Action::End(id) | Action::GiveUp(id) => {
                // A worker that a service has not started is nobody's yet.
                let Some(row) = rows.iter().find(|row| row.id == id) else { return Ok(()) };
                let is_given_up = matches!(action, Action::GiveUp(_));
                if is_given_up {
                    tracing::warn!(worker = %id, queue, "a worker did not come up in time, and is given up");
                } else {
                    tracing::info!(worker = %id, queue, "a worker that has nothing to do is ended");
                }
                fleet::ask(pool, id, Asked::End).await?;
                // A service ends one when it is to have one less.
                let is_ours = is_given_up || matches!(self.staffing, Staffing::Driver(_));
                if let Some(handle) = row.handle.as_ref().filter(|_| is_ours)
                    && let Err(error) = self.staffing.end(handle).await
                {
                    self.complain("a worker cannot be ended", &error);
                }
            }
        }
        Ok(())
    }

    /// Starts a worker, unless the last one could not be started a moment ago. A service is told of all at once.
    async fn launch(&mut self, queue: &str, facts: &Facts) -> Result<()> {
        let Staffing::Driver(driver) = self.staffing.clone() else { return Ok(()) };
        if self.no_launch_before.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        let (id, queued, running) = (Uuid::now_v7(), facts.queued, facts.running);
        fleet::add(self.database.pool(), id, queue, driver.name()).await?;
        match driver.launch(id, queue).await {
            Ok(handle) => {
                tracing::info!(worker = %id, queue, queued, running, handle, "a worker is started");
                fleet::set_handle(self.database.pool(), id, &handle).await?;
                self.back_off.succeeded();
            }
            Err(error) => {
                self.complain("a worker cannot be started", &error);
                self.no_launch_before = Some(Instant::now() + self.back_off.failed());
                fleet::forget(self.database.pool(), &[id]).await?;
            }
        }
        Ok(())
    }

    /// Says what the driver could not do, once until something else goes wrong.
    fn complain(&mut self, what: &str, error: &crate::DriverError) {
        counter!("tradewind.fleet.failures", "driver" => self.staffing.name()).increment(1);
        let complaint = format!("{what}: {error}");
        if self.complaints.len() > 100 {
            self.complaints.clear();
        }
        if self.complaints.insert(complaint) {
            tracing::error!(driver = self.staffing.name(), %error, "{what}");
        }
    }
}

/// Gives the lock up, if this process has it.
async fn close(lead: Option<PoolConnection<Postgres>>) {
    if let Some(connection) = lead {
        // An error means that it is closed.
        let _ = timeout(Duration::from_secs(1), connection.close()).await;
    }
}

/// Waits for a notification, and takes all that have come.
async fn heard(listener: &mut Option<PgListener>) {
    match listener {
        None => std::future::pending().await,
        Some(open) => match open.recv().await {
            Ok(_) => while open.next_buffered().is_some() {},
            // It is opened anew after the next turn.
            Err(_) => *listener = None,
        },
    }
}

fn phase(row: &Row) -> Phase {
    match row.asked() {
        Asked::End => Phase::Ending,
        _ if !row.lives => Phase::Starting { since: seconds(row.age) },
        Asked::Drain => draining(row),
        Asked::Work if !row.takes && row.asked_for > HEARING => Phase::Ending,
        Asked::Work => Phase::Working { running: running(row) },
    }
}

fn draining(row: &Row) -> Phase {
    Phase::Draining { since: seconds(row.asked_for), has_stopped: !row.takes, running: running(row) }
}

fn running(row: &Row) -> usize {
    usize::try_from(row.running).unwrap_or(0)
}

fn seconds(time: f64) -> Duration {
    Duration::try_from_secs_f64(time).unwrap_or_default()
}

fn name(action: Action) -> &'static str {
    match action {
        Action::Launch => "launch",
        Action::Drain(_) => "drain",
        Action::Resume(_) => "resume",
        Action::End(_) => "end",
        Action::GiveUp(_) => "give_up",
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of workers")]
fn show(queue: &str, facts: &Facts, bounds: &Bounds) {
    let required = decision::required(facts.queued, facts.running, bounds);
    let draining = facts.members.iter().filter(|member| matches!(member.phase, Phase::Draining { .. })).count();
    for (name, value) in [
        ("tradewind.fleet.required_workers", required),
        ("tradewind.fleet.workers", facts.members.len()),
        ("tradewind.fleet.draining_workers", draining),
    ] {
        gauge!(name, "queue" => queue.to_owned()).set(value as f64);
    }
}
