//! The task that owns pyhost: the only one that talks to it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};
use tokio::net::UnixStream;
use tokio::process;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tradewind_airflow::pyhost_protocol::{ChildKind, MAX_MESSAGE_BYTES, Order, Report};

use super::control::Control;
use super::{Idle, Options, PyHostError};
use crate::child::{Child, ExitStatus, Output, Process, Requests};

/// How long the import of Airflow may take.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// How long pyhost may take to end its children and itself; it kills them after 5 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// How long the system may take to end killed processes.
const REAP_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause before the second start after a death; doubled each time, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A pyhost that lived so long starts again without a pause.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

type Answer = oneshot::Sender<Result<Child, PyHostError>>;

/// What handles ask of the keeper.
#[derive(Debug)]
pub(super) enum Command {
    Spawn {
        kind: ChildKind,
        answer: Answer,
    },
    Preload {
        file: String,
    },
    Pid {
        answer: oneshot::Sender<Option<u32>>,
    },
    /// Nobody asks for further children: it ends after the last one.
    Retire,
    Stop {
        answer: oneshot::Sender<()>,
    },
}

/// What the keeper waits for.
enum Event {
    Command(Option<Command>),
    Report(io::Result<Option<Report>>),
    Started(Result<Host, PyHostError>),
    ChildEnded,
    Quiet,
}

/// A fork that was asked for.
struct Pending {
    kind: ChildKind,
    sockets: Sockets,
    /// Nobody waits for a child that shall be in reserve.
    answer: Option<Answer>,
}

/// This process's ends of a child's sockets.
struct Sockets {
    requests: UnixStream,
    output: Output,
}

/// A running pyhost.
struct Host {
    process: process::Child,
    control: Control,
    started: Instant,
    hostname: String,
}

/// A pipe that children of every pyhost of this process are tied to: the reading end, the writing end. While this process
/// lives it holds the writing end, so that children outlive a pyhost that dies, but not both.
type Tie = Arc<[OwnedFd; 2]>;

pub(super) struct Keeper {
    options: Options,
    tie: Tie,
    commands: mpsc::Receiver<Command>,
    children_ended: SignalStream,
    host: State,
    next_fork: u64,
    pending: HashMap<u64, Pending>,
    idle: HashMap<ChildKind, VecDeque<Child>>,
    last_spawn: Instant,
    running: HashMap<i32, watch::Sender<Option<ExitStatus>>>,
    /// Children of a pyhost that died; now children of this process.
    orphans: HashMap<i32, watch::Sender<Option<ExitStatus>>>,
    /// Who waits for a child while there is no pyhost.
    waiting: VecDeque<(ChildKind, Answer)>,
    pause: Duration,
    is_retired: bool,
}

/// Whether there is a pyhost.
enum State {
    Running(Box<Host>),
    Starting(BoxFuture<'static, Result<Host, PyHostError>>),
}

impl Keeper {
    pub(super) async fn start(
        options: Options,
        commands: mpsc::Receiver<Command>,
    ) -> Result<(Self, String), PyHostError> {
        prctl::set_child_subreaper(true)
            .map_err(|error| PyHostError::System { action: "becoming a subreaper", source: error.into() })?;
        let children_ended = signal(SignalKind::child())
            .map_err(|source| PyHostError::System { action: "watching for ended children", source })?;
        let (read, write) = pipe2(OFlag::O_CLOEXEC)
            .map_err(|error| PyHostError::System { action: "making a pipe", source: error.into() })?;
        let tie = Arc::new([read, write]);
        let host = Host::start(&options, &tie).await?;
        let hostname = host.hostname.clone();
        let mut keeper = Self {
            options,
            tie,
            commands,
            children_ended,
            host: State::Running(Box::new(host)),
            next_fork: 0,
            pending: HashMap::new(),
            idle: HashMap::new(),
            last_spawn: Instant::now(),
            running: HashMap::new(),
            orphans: HashMap::new(),
            waiting: VecDeque::new(),
            pause: FIRST_PAUSE,
            is_retired: false,
        };
        keeper.fill_reserve().await;
        Ok((keeper, hostname))
    }

    /// Serves until it is told to stop or no handle is left.
    pub(super) async fn run(mut self) {
        loop {
            if self.is_retired && !self.has_children() {
                tracing::info!("a tradewind-pyhost that was replaced has no children any more, and ends");
                return self.stop().await;
            }
            let has_reserve = self.idle.values().any(|reserve| !reserve.is_empty());
            let event = match &mut self.host {
                State::Running(host) => tokio::select! {
                    command = self.commands.recv() => Event::Command(command),
                    report = host.control.receive() => Event::Report(report),
                    _ = self.children_ended.recv() => Event::ChildEnded,
                    () = sleep_until(self.last_spawn + self.options.reserve_for), if has_reserve => Event::Quiet,
                },
                State::Starting(start) => tokio::select! {
                    command = self.commands.recv() => Event::Command(command),
                    started = start => Event::Started(started),
                    _ = self.children_ended.recv() => Event::ChildEnded,
                },
            };
            let command = match event {
                Event::Command(command) => command,
                Event::Report(report) => {
                    self.on_report(report).await;
                    continue;
                }
                Event::Started(started) => {
                    self.on_started(started).await;
                    continue;
                }
                Event::ChildEnded => {
                    self.reap_orphans();
                    continue;
                }
                Event::Quiet => {
                    // Their sockets close, upon which they end.
                    self.idle.clear();
                    continue;
                }
            };
            match command {
                Some(Command::Spawn { kind, answer }) => self.spawn(kind, answer).await,
                Some(Command::Preload { file }) => self.preload(file).await,
                Some(Command::Pid { answer }) => {
                    let _ = answer.send(self.running_host().and_then(|host| host.process.id()));
                }
                Some(Command::Retire) => self.retire(),
                Some(Command::Stop { answer }) => {
                    self.stop().await;
                    let _ = answer.send(());
                    return;
                }
                None => return self.stop().await,
            }
        }
    }

    fn retire(&mut self) {
        self.is_retired = true;
        // Their sockets close, upon which they end.
        self.idle.clear();
        self.options.idle = Idle::default();
    }

    fn has_children(&self) -> bool {
        !(self.running.is_empty() && self.orphans.is_empty() && self.pending.is_empty() && self.waiting.is_empty())
    }

    fn running_host(&self) -> Option<&Host> {
        match &self.host {
            State::Running(host) => Some(host),
            State::Starting(_) => None,
        }
    }

    async fn spawn(&mut self, kind: ChildKind, answer: Answer) {
        self.last_spawn = Instant::now();
        let reserve = self.idle.entry(kind).or_default();
        while let Some(child) = reserve.pop_front() {
            if child.process.status().is_none() {
                let _ = answer.send(Ok(child));
                return self.fill_reserve().await;
            }
        }
        if self.running_host().is_none() {
            return self.waiting.push_back((kind, answer));
        }
        self.fork(kind, Some(answer)).await;
        self.fill_reserve().await;
    }

    /// Has as many children forked as are missing in reserve, unless nobody has asked for one for long.
    async fn fill_reserve(&mut self) {
        if self.last_spawn.elapsed() >= self.options.reserve_for {
            return;
        }
        let wanted = [(ChildKind::Task, self.options.idle.tasks), (ChildKind::DagFile, self.options.idle.dag_files)];
        for (kind, wanted) in wanted {
            let there = self.idle.get(&kind).map_or(0, VecDeque::len);
            let coming = self.pending.values().filter(|fork| fork.kind == kind && fork.answer.is_none()).count();
            for _ in there + coming..wanted {
                self.fork(kind, None).await;
            }
        }
    }

    async fn fork(&mut self, kind: ChildKind, answer: Option<Answer>) {
        let State::Running(host) = &self.host else { return };
        let (sockets, theirs) = match Sockets::make() {
            Ok(made) => made,
            Err(source) => return refuse(answer, PyHostError::System { action: "making sockets for a child", source }),
        };
        let id = self.next_fork;
        self.next_fork += 1;
        // When it fails, pyhost is dead, which the next read of the control socket tells too.
        if let Err(error) = host.control.send(&Order::Fork { id, kind }, &theirs).await {
            tracing::debug!(%error, "a request did not reach tradewind-pyhost");
        }
        self.pending.insert(id, Pending { kind, sockets, answer });
    }

    /// Has the modules of a Dag file imported; a pyhost that is being started again does without.
    async fn preload(&mut self, file: String) {
        let State::Running(host) = &self.host else { return };
        let order = Order::Preload { file };
        if order.to_string().len() > MAX_MESSAGE_BYTES {
            return;
        }
        if let Err(error) = host.control.send(&order, &[]).await {
            tracing::debug!(%error, "an order did not reach tradewind-pyhost");
        }
    }

    /// Replaces children in reserve, which lack the modules that are new.
    async fn on_preloaded(&mut self, modules: usize) {
        tracing::debug!(modules, "tradewind-pyhost has imported the modules of a Dag file");
        if modules > 0 {
            // Their sockets close, upon which they end.
            self.idle.clear();
            self.fill_reserve().await;
        }
    }

    async fn on_report(&mut self, report: io::Result<Option<Report>>) {
        match report {
            Ok(Some(Report::Forked { id, pid })) => self.on_forked(id, pid),
            Ok(Some(Report::Refused { id, reason })) => {
                tracing::error!(reason, "tradewind-pyhost cannot fork");
                refuse(self.pending.remove(&id).and_then(|fork| fork.answer), PyHostError::Fork(reason));
            }
            Ok(Some(Report::Exited { pid, code })) => self.on_exited(pid, code).await,
            Ok(Some(Report::Preloaded { modules })) => self.on_preloaded(modules).await,
            Ok(Some(Report::Ready { .. })) => {}
            Ok(None) => self.on_death().await,
            Err(error) => {
                tracing::error!(%error, "the control socket of tradewind-pyhost fails");
                self.on_death().await;
            }
        }
    }

    fn on_forked(&mut self, id: u64, pid: i32) {
        let (ended, status) = watch::channel(None);
        self.running.insert(pid, ended);
        // Without an entry nobody holds the child's sockets: it ends by itself.
        let Some(fork) = self.pending.remove(&id) else { return };
        let requests = Requests::new(fork.sockets.requests);
        let child = Child { process: Process::new(pid, status), requests, output: fork.sockets.output };
        match fork.answer {
            // Whoever waited may be gone; then the child is dropped, its sockets close, and it ends.
            Some(answer) => drop(answer.send(Ok(child))),
            None => self.idle.entry(fork.kind).or_default().push_back(child),
        }
    }

    /// Tells who waits for the child how it ended; returns whether it was one of ours.
    fn settle(&mut self, pid: i32, status: ExitStatus) -> bool {
        let ended = self.running.remove(&pid);
        ended.map(|ended| ended.send_replace(Some(status))).is_some()
    }

    async fn on_exited(&mut self, pid: i32, code: i32) {
        if !self.settle(pid, ExitStatus::from_code(code)) {
            return;
        }
        let mut lost = false;
        for reserve in self.idle.values_mut() {
            let before = reserve.len();
            reserve.retain(|child| child.process.pid() != pid);
            lost |= reserve.len() < before;
        }
        if lost {
            tracing::warn!(pid, code, "a child in reserve ended before it had work");
            self.fill_reserve().await;
        }
    }

    /// Pyhost died: its children live on as children of this process, and a new one is started.
    async fn on_death(&mut self) {
        let State::Running(host) = &mut self.host else { return };
        let _ = host.process.start_kill();
        // Only when it is gone have its children become this process's.
        let status = host.process.wait().await;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let lived = host.started.elapsed();
        tracing::error!(%status, children = self.running.len(), "tradewind-pyhost died; its children go on, a new one is started");
        metrics::counter!("tradewind.pyhost.deaths").increment(1);
        self.orphans.extend(self.running.drain());
        self.reap_orphans();
        // What it has forked without a word ends by itself as the sockets close.
        for fork in std::mem::take(&mut self.pending).into_values() {
            self.waiting.extend(fork.answer.map(|answer| (fork.kind, answer)));
        }
        if lived >= HEALTHY_AFTER {
            self.pause = FIRST_PAUSE;
            self.start_after(Duration::ZERO);
        } else {
            self.start_after_pause();
        }
    }

    fn start_after_pause(&mut self) {
        let pause = self.pause;
        self.pause = (pause * 2).min(MAX_PAUSE);
        self.start_after(pause);
    }

    fn start_after(&mut self, pause: Duration) {
        let (options, tie) = (self.options.clone(), Arc::clone(&self.tie));
        self.host = State::Starting(Box::pin(async move {
            sleep(pause).await;
            Host::start(&options, &tie).await
        }));
    }

    async fn on_started(&mut self, started: Result<Host, PyHostError>) {
        match started {
            Ok(host) => self.host = State::Running(Box::new(host)),
            Err(error) => {
                tracing::error!(%error, pause = ?self.pause, "tradewind-pyhost does not start again yet");
                return self.start_after_pause();
            }
        }
        for (kind, answer) in std::mem::take(&mut self.waiting) {
            self.fork(kind, Some(answer)).await;
        }
        self.fill_reserve().await;
    }

    /// Learns how children of a dead pyhost ended.
    fn reap_orphans(&mut self) {
        self.orphans.retain(|pid, ended| {
            let status = match waitpid(Pid::from_raw(*pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => ExitStatus::Exited(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => ExitStatus::Signaled(signal as i32),
                Ok(_) => return true,
                Err(_) => ExitStatus::Unknown,
            };
            ended.send_replace(Some(status));
            false
        });
    }

    /// Closes the control socket for writing, upon which pyhost ends its children and itself, and learns how they end.
    async fn stop(mut self) {
        self.idle.clear();
        self.signal_orphans(Signal::SIGTERM);
        if let State::Running(mut host) = std::mem::replace(&mut self.host, State::Starting(pending().boxed())) {
            host.control.close();
            let reports = async {
                while let Ok(Some(report)) = host.control.receive().await {
                    if let Report::Exited { pid, code } = report {
                        self.settle(pid, ExitStatus::from_code(code));
                    }
                }
                host.process.wait().await
            };
            if timeout(STOP_TIMEOUT, reports).await.is_err() {
                tracing::warn!("tradewind-pyhost did not end in time and is killed");
                let _ = host.process.kill().await;
            }
        }
        self.orphans.extend(self.running.drain());
        self.signal_orphans(Signal::SIGKILL);
        let reaped = async {
            while !self.orphans.is_empty() {
                self.reap_orphans();
                sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = timeout(REAP_TIMEOUT, reaped).await;
    }

    fn signal_orphans(&self, signal: Signal) {
        for pid in self.orphans.keys() {
            // An error means that the group is gone.
            let _ = killpg(Pid::from_raw(*pid), signal);
        }
    }
}

/// Tells whoever waits that there will be no child.
fn refuse(answer: Option<Answer>, error: PyHostError) {
    if let Some(answer) = answer {
        let _ = answer.send(Err(error));
    }
}

impl Sockets {
    fn make() -> io::Result<(Self, [OwnedFd; Order::DESCRIPTORS])> {
        let pair = || -> io::Result<(UnixStream, OwnedFd)> {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            Ok((UnixStream::from_std(ours)?, theirs.into()))
        };
        let (requests, their_requests) = pair()?;
        let (stdout, their_stdout) = pair()?;
        let (stderr, their_stderr) = pair()?;
        let (logs, their_logs) = pair()?;
        let theirs = [their_requests, their_stdout, their_stderr, their_logs];
        Ok((Self { requests, output: Output { stdout, stderr, logs } }, theirs))
    }
}

impl Host {
    async fn start(options: &Options, tie: &Tie) -> Result<Self, PyHostError> {
        let system = |action| move |source| PyHostError::System { action, source };
        let (control, theirs) = Control::pair().map_err(system("making a control socket"))?;
        let own_stderr = io::stderr();
        let stdout =
            std::os::fd::AsFd::as_fd(&own_stderr).try_clone_to_owned().map_err(system("sharing standard error"))?;
        let process = process::Command::new(&options.program)
            .arg(&options.python)
            .env_clear()
            .envs(options.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(stdout))
            // Signals of the terminal are for this process, which tells pyhost when to end.
            .process_group(0)
            .spawn()
            .map_err(system("starting tradewind-pyhost"))?;
        let mut unready = Unready(Some(process));
        // When it fails, pyhost is dead, which the next read says better.
        let _ = control.send(&Order::Tie, &tie[..]).await;
        match timeout(START_TIMEOUT, control.receive()).await {
            Ok(Ok(Some(Report::Ready { python, airflow, threads, hostname }))) => {
                let process = unready.take()?;
                tracing::info!(python, airflow, pid = process.id(), "tradewind-pyhost is ready");
                if threads > 1 {
                    tracing::warn!(
                        threads,
                        "tradewind-pyhost has several threads; a plugin or Airflow local settings must have started them, and forking is not safe so"
                    );
                }
                Ok(Self { process, control, started: Instant::now(), hostname })
            }
            Ok(Ok(Some(other))) => Err(PyHostError::Start(format!("it reported {other} before it was ready"))),
            Ok(Ok(None)) => {
                let status = unready.take()?.wait().await.map_err(system("waiting for tradewind-pyhost"))?;
                Err(PyHostError::Start(format!("it ended with {status}")))
            }
            Ok(Err(source)) => Err(PyHostError::System { action: "reading the control socket", source }),
            Err(_) => Err(PyHostError::Start(format!("Airflow was not imported within {START_TIMEOUT:?}"))),
        }
    }
}

/// A pyhost that has not said yet that it is ready, and so has no children: killed when nobody waits for it any more.
struct Unready(Option<process::Child>);

impl Unready {
    fn take(&mut self) -> Result<process::Child, PyHostError> {
        self.0.take().ok_or(PyHostError::Stopped)
    }
}

impl Drop for Unready {
    fn drop(&mut self) {
        if let Some(process) = &mut self.0 {
            // An error means that it has ended.
            let _ = process.start_kill();
        }
    }
}
