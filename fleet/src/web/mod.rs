//! Additional web servers: processes on the machine of the first one, which take connections from the same socket.
//!
//! They inherit the socket as their standard input, and say how busy they are on their standard output. So every connection is
//! somebody's: one that leaves stops taking, and what waits in the socket's queue is taken by the others. (With a socket each,
//! by `SO_REUSEPORT`, the system would close what waits for the one that leaves.) The broken pipe tells them that the first one
//! is gone.

pub mod decision;

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use metrics::{counter, gauge};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_broker::BackOff;
use uuid::Uuid;

use decision::{Action, Bounds, Facts, Load, Member, Phase};

/// The variable that names an additional web server.
pub const ID: &str = "TRADEWIND_WEBSERVER_ID";

/// Looks for which the newest must have served before another may follow.
const SETTLE: u32 = 3;

/// Options of additional web servers.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many there may be.
    pub bounds: Bounds,
    /// How often is decided, and a load told.
    pub interval: Duration,
}

impl Options {
    /// Reads the options; `None` where there is to be one web server and no other.
    ///
    /// # Errors
    /// When a value cannot be used.
    pub fn from_config(config: &Config) -> Result<Option<Self>, ConfigError> {
        let number = |key: &str, least: usize| -> Result<usize, ConfigError> {
            let number = usize::try_from(config.int("tradewind", key)?).ok().filter(|number| *number >= least);
            number.ok_or_else(|| config.invalid("tradewind", key, format!("a whole number of at least {least}")))
        };
        let min_servers = number("min_webservers", 1)?;
        let max_servers = number("max_webservers", min_servers)?;
        let interval = config.seconds("tradewind", "fleet_interval")?.max(Duration::from_millis(100));
        let bounds = Bounds {
            min_servers,
            max_servers,
            settle: interval * SETTLE,
            scale_in_delay: config.seconds("tradewind", "fleet_scale_in_delay")?,
            launch_timeout: config.seconds("tradewind", "fleet_launch_timeout")?,
        };
        Ok((max_servers > 1).then_some(Self { bounds, interval }))
    }
}

/// A web server as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// Its process.
    pub pid: u32,
    /// `starting`, `serving` or `draining`.
    pub phase: &'static str,
    /// How busy it is; none as long as it has not said so.
    pub load: Option<Load>,
}

/// How an additional web server is started.
#[derive(Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The socket.
    pub listener: TcpListener,
}

/// The additional web servers of a first one.
#[derive(Debug)]
pub struct WebFleet {
    launch: Launch,
    options: Options,
    others: Vec<Other>,
    surplus_since: Option<Instant>,
    shown: watch::Sender<Vec<Shown>>,
    back_off: BackOff,
    no_launch_before: Option<Instant>,
}

/// An additional web server.
#[derive(Debug)]
struct Other {
    id: Uuid,
    child: Child,
    started: Instant,
    /// Since when it serves, and how busy it is.
    load: watch::Receiver<Option<(Instant, Load)>>,
    is_draining: bool,
}

impl WebFleet {
    /// None yet.
    #[must_use]
    pub fn new(launch: Launch, options: Options) -> Self {
        let (others, surplus_since, shown) = (Vec::new(), None, watch::Sender::new(Vec::new()));
        Self { launch, options, others, surplus_since, shown, back_off: BackOff::default(), no_launch_before: None }
    }

    /// What is known of them.
    #[must_use]
    pub fn shown(&self) -> watch::Receiver<Vec<Shown>> {
        self.shown.subscribe()
    }

    /// Looks again and again at how busy all are, `first` being the first one, until the shutdown; then has the others end, and
    /// waits for them.
    pub async fn run(mut self, mut first: impl FnMut() -> Load + Send, shutdown: CancellationToken) {
        let mut ticks = interval(self.options.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look(first()),
                () = shutdown.cancelled() => break,
            }
        }
        self.others.iter_mut().for_each(Other::drain);
        for mut other in self.others {
            // How it ended says nothing any more.
            let _ = other.child.wait().await;
        }
    }

    /// Looks once, and does what is to be done.
    fn look(&mut self, first: Load) {
        self.forget_ended();
        let mut facts = Facts { first, others: self.others.iter().map(Other::member).collect(), surplus_for: None };
        if decision::has_surplus(&facts, &self.options.bounds) {
            facts.surplus_for = Some(self.surplus_since.get_or_insert_with(Instant::now).elapsed());
        } else {
            self.surplus_since = None;
        }
        for action in decision::decide(&facts, &self.options.bounds) {
            self.carry_out(action, &facts);
        }
        self.show();
    }

    fn forget_ended(&mut self) {
        self.others.retain_mut(|other| match other.child.try_wait() {
            Ok(Some(status)) if !other.is_draining => {
                tracing::warn!(webserver = %other.id, %status, "an additional web server has ended by itself");
                self.no_launch_before = Some(Instant::now() + self.back_off.failed());
                false
            }
            Ok(Some(_)) => {
                tracing::info!(webserver = %other.id, "an additional web server has ended");
                false
            }
            Ok(None) => true,
            Err(error) => {
                tracing::warn!(webserver = %other.id, %error, "nothing is known of an additional web server");
                false
            }
        });
        if self.others.iter().any(|other| other.load.borrow().is_some()) {
            self.back_off.succeeded();
        }
    }

    fn carry_out(&mut self, action: Action, facts: &Facts) {
        let (cpu, connections) = (facts.first.cpu, facts.first.connections);
        match action {
            Action::Launch if self.no_launch_before.is_some_and(|at| Instant::now() < at) => return,
            Action::Launch => match self.launch.start() {
                Ok(other) => {
                    tracing::info!(webserver = %other.id, cpu, connections, "an additional web server is started");
                    self.others.push(other);
                }
                Err(error) => {
                    tracing::error!(%error, "an additional web server cannot be started; see how many processes and how much \
                                             memory this machine has left");
                    self.no_launch_before = Some(Instant::now() + self.back_off.failed());
                }
            },
            Action::Drain(id) => {
                tracing::info!(webserver = %id, cpu, connections, "a web server takes no more connections, and ends");
                self.surplus_since = None;
                self.others.iter_mut().filter(|other| other.id == id).for_each(Other::drain);
            }
            Action::GiveUp(id) => {
                tracing::warn!(webserver = %id, "an additional web server did not come up in time, and is given up");
                self.others.iter_mut().filter(|other| other.id == id).for_each(Other::drain);
            }
        }
        let name = match action {
            Action::Launch => "launch",
            Action::Drain(_) => "drain",
            Action::GiveUp(_) => "give_up",
        };
        counter!("tradewind.webservers.actions", "action" => name).increment(1);
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of web servers")]
    fn show(&self) {
        gauge!("tradewind.webservers").set((1 + self.others.len()) as f64);
        self.shown.send_replace(self.others.iter().map(Other::shown).collect());
    }
}

impl Launch {
    fn start(&self) -> io::Result<Other> {
        let id = Uuid::now_v7();
        let socket = OwnedFd::from(self.listener.try_clone()?);
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env(ID, id.to_string())
            // One port is for one process.
            .env("AIRFLOW__TRADEWIND__WEBSERVER_MONITOR_PORT", "0")
            .stdin(Stdio::from(socket))
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (sender, load) = watch::channel(None);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(hear(output, sender));
        }
        Ok(Other { id, child, started: Instant::now(), load, is_draining: false })
    }
}

impl Other {
    fn member(&self) -> Member {
        let phase = match *self.load.borrow() {
            _ if self.is_draining => Phase::Draining,
            None => Phase::Starting { since: self.started.elapsed() },
            Some((since, load)) => Phase::Serving { since: since.elapsed(), load },
        };
        Member { id: self.id, phase }
    }

    fn shown(&self) -> Shown {
        let phase = match self.member().phase {
            Phase::Starting { .. } => "starting",
            Phase::Serving { .. } => "serving",
            Phase::Draining => "draining",
        };
        let load = self.load.borrow().map(|(_, load)| load);
        Shown { pid: self.child.id().unwrap_or_default(), phase, load }
    }

    fn drain(&mut self) {
        self.is_draining = true;
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            // An error means that it has ended.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

/// Reads what an additional web server says of its load, until it says no more. Other lines are for people.
async fn hear(output: ChildStdout, loads: watch::Sender<Option<(Instant, Load)>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(load) = serde_json::from_str::<Load>(&line) {
            let since = loads.borrow().map_or_else(Instant::now, |(since, _)| since);
            loads.send_replace(Some((since, load)));
        }
    }
}

/// Tells the first web server how busy this additional one is, again and again; ends when it is gone.
pub async fn report(mut load: impl FnMut() -> Load, interval: Duration) -> io::Error {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut output = tokio::io::stdout();
    loop {
        ticks.tick().await;
        let told = match serde_json::to_string(&load()) {
            Ok(line) => output.write_all(format!("{line}\n").as_bytes()).await,
            Err(error) => Err(error.into()),
        };
        let told = match told {
            Ok(()) => output.flush().await,
            error => error,
        };
        if let Err(error) = told {
            return error;
        }
    }
}
