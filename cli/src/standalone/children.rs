//! The components as children of standalone: started, watched, started again, ended.

use std::collections::BTreeSet;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::home::{ComponentLog, Home};
use super::preparation::{Plan, Variables};
use super::process_tree::kill_tree;
use crate::shutdown::Signals;

/// What a component gets to end by itself.
const GRACE: Duration = Duration::from_millis(6500);

/// Pauses before a component starts again; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A component that lived so long starts again after the first pause.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// Lines of a component's log that are shown when it dies.
const LAST_LINES: usize = 5;

/// What happened to a component.
#[derive(Debug)]
pub(crate) enum Event {
    /// It is well.
    Healthy {
        /// Its name.
        name: &'static str,
        /// What it says.
        line: String,
    },
    /// It ended by itself.
    Ended {
        /// Its name.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Whether it ever was well.
        was_healthy: bool,
        /// The end of its log.
        last_lines: String,
        /// Until it starts again.
        pause: Duration,
    },
}

/// All components.
#[derive(Debug)]
pub(crate) struct Children {
    keepers: JoinSet<()>,
    events: mpsc::Receiver<Event>,
    never_healthy: BTreeSet<&'static str>,
    shutdown: CancellationToken,
    kill: CancellationToken,
}

impl Children {
    /// Starts one process per component.
    pub(crate) fn start(environment: &Variables, home: &Home, plan: &Plan) -> Result<Self> {
        let (report, events) = mpsc::channel(16);
        let (shutdown, kill) = (CancellationToken::new(), CancellationToken::new());
        let mut keepers = JoinSet::new();
        let mut never_healthy = BTreeSet::new();
        for (name, arguments) in components(plan) {
            never_healthy.insert(name);
            let keeper = Keeper {
                name,
                command: command(name, &arguments, environment)?,
                log: home.log(name),
                report: report.clone(),
                shutdown: shutdown.clone(),
                kill: kill.clone(),
            };
            keepers.spawn(keeper.run());
        }
        Ok(Self { keepers, events, never_healthy, shutdown, kill })
    }

    /// The next thing that happens.
    pub(crate) async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            // The keepers hold the other end until they are stopped.
            None => std::future::pending().await,
        }
    }

    /// Notes that a component is well; true when it was the last one missing.
    pub(crate) fn completed_by(&mut self, name: &str) -> bool {
        self.never_healthy.remove(name) && self.never_healthy.is_empty()
    }

    /// Ends all of them at once; a signal meanwhile kills them.
    pub(crate) async fn stop(mut self, signals: &mut Signals) {
        self.shutdown.cancel();
        // Keepers that wait to report something go on.
        self.events.close();
        while !self.keepers.is_empty() {
            tokio::select! {
                _ = self.keepers.join_next() => {}
                () = signals.next() => self.kill.cancel(),
            }
        }
    }
}

/// The components and their arguments, in the order in which they are started. The scheduler starts the workers of a fleet.
fn components(plan: &Plan) -> Vec<(&'static str, Vec<String>)> {
    let address = plan.address();
    let webserver =
        vec!["--host".to_owned(), address.ip().to_string(), "--port".to_owned(), address.port().to_string()];
    let mut components = vec![("dag-processor", vec![]), ("scheduler", vec![]), ("webserver", webserver)];
    if !plan.has_fleet() {
        components.insert(0, ("worker", vec![]));
    }
    components
}

/// The command that starts a component: this program, in a process group of its own, so that Ctrl-C reaches standalone
/// alone, and with a pipe that tells it when standalone is gone.
fn command(name: &str, arguments: &[String], environment: &Variables) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command
        .arg(name)
        .args(arguments)
        .arg("--with-parent")
        .envs(environment.iter())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0);
    Ok(command)
}

/// Keeps one component running.
struct Keeper {
    name: &'static str,
    command: Command,
    log: ComponentLog,
    report: mpsc::Sender<Event>,
    shutdown: CancellationToken,
    kill: CancellationToken,
}

impl Keeper {
    /// Runs the component until the shutdown, again and again.
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            let (was_healthy, last_lines, status) = match self.run_once().await {
                Ok(Ended::Stopped) => return,
                Ok(Ended::ByItself { status, was_healthy }) => (was_healthy, self.log.last_lines(LAST_LINES), status),
                Err(error) => (true, format!("{error:#}"), ExitStatus::default()),
            };
            if started.elapsed() > STEADY_AFTER {
                pause = FIRST_PAUSE;
            }
            let ended = Event::Ended { name: self.name, status, was_healthy, last_lines, pause };
            // Nobody listens any more once everything stops.
            drop(self.report.send(ended).await);
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = LONGEST_PAUSE.min(pause * 2),
                () = self.shutdown.cancelled() => return,
            }
        }
    }

    async fn run_once(&mut self) -> Result<Ended> {
        let mut child = self.command.stderr(self.log.open()?).spawn().context("cannot start the process")?;
        // Waiting for a child closes its standard input, which would end it.
        let _lifeline = child.stdin.take();
        let mut lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        let mut was_healthy = false;
        loop {
            tokio::select! {
                line = next_line(&mut lines) => {
                    was_healthy = true;
                    drop(self.report.send(Event::Healthy { name: self.name, line }).await);
                }
                status = child.wait() => {
                    let status = status.context("cannot wait for the process")?;
                    return Ok(Ended::ByItself { status, was_healthy });
                }
                () = self.shutdown.cancelled() => {
                    self.stop(child).await;
                    return Ok(Ended::Stopped);
                }
            }
        }
    }

    /// Asks the component to end, and kills it with all it started if it takes too long.
    async fn stop(&self, mut child: Child) {
        let Some(pid) = child.id() else { return };
        if let Ok(pid) = i32::try_from(pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        tokio::select! {
            ended = timeout(GRACE, child.wait()) => if ended.is_ok() { return },
            () = self.kill.cancelled() => {}
        }
        kill_tree(pid);
        drop(child.wait().await);
    }
}

/// How a component ended.
enum Ended {
    /// Because it was asked to.
    Stopped,
    /// On its own account.
    ByItself { status: ExitStatus, was_healthy: bool },
}

/// The next line; never, once there are no more.
async fn next_line(lines: &mut Option<Lines<BufReader<ChildStdout>>>) -> String {
    if let Some(open) = lines {
        if let Ok(Some(line)) = open.next_line().await {
            return line;
        }
        *lines = None;
    }
    std::future::pending().await
}
