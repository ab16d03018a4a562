//! One process of a deployment, such as `tradewind scheduler`, that a test starts, kills and starts again.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::deployment::{Deployment, END_LIMIT};
use crate::{process, program};

/// A component of a deployment; ended, at the latest, when it is dropped.
pub struct Component {
    name: String,
    command: Command,
    log: PathBuf,
    process: Option<Child>,
}

impl Component {
    /// A component that does not run yet. `name` tells it from others of its kind.
    ///
    /// # Panics
    /// When its log cannot be written.
    #[must_use]
    pub fn new(deployment: &Deployment, name: &str, arguments: &[&str]) -> Self {
        let log = deployment.path().join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        let mut command = deployment.command();
        command.args(arguments).stdout(file.try_clone().expect("another descriptor")).stderr(file);
        command.stdin(Stdio::null());
        Self { name: name.to_owned(), command, log, process: None }
    }

    /// Official Airflow's scheduler on the same database, with an executor of `tests/chaos/official`.
    ///
    /// # Panics
    /// When its log cannot be written.
    #[must_use]
    pub fn official_scheduler(deployment: &Deployment, executor: &str) -> Self {
        Self::official(deployment, "official-scheduler", "airflow", &["scheduler", "--skip-serve-logs"])
            .with("PYTHONPATH", program::workspace().join("tests/chaos/official"))
            .with("AIRFLOW__CORE__EXECUTOR", executor)
            .with("AIRFLOW__API_AUTH__JWT_SECRET", "for tests, and for nothing else at all")
    }

    /// A program of the environment of official Airflow, configured as the deployment is.
    ///
    /// # Panics
    /// When its log cannot be written.
    #[must_use]
    pub fn official(deployment: &Deployment, name: &str, program: &str, arguments: &[&str]) -> Self {
        let mut component = Self::new(deployment, name, &[]);
        let mut command = Command::new(program::workspace().join(".venv/bin").join(program));
        let variables = component.command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        program::without_configuration(&mut command)
            .args(arguments)
            .envs(variables)
            .process_group(0)
            .stdin(Stdio::null());
        let log = File::options().append(true).open(&component.log).expect("a log file");
        command.stdout(log.try_clone().expect("another descriptor")).stderr(log);
        component.command = command;
        component
    }

    /// Adds a variable to its environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What tells it from others.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&mut self) {
        let process = self.command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
        self.process = Some(process);
    }

    /// Kills it at once, with no word to what it has started.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // An error means that it has ended.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Whether it has ended by itself, and how.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.process.as_mut()?.try_wait().ok()??;
        Some(status.to_string())
    }

    /// Asks it to end and asserts that it does so soon and in good order.
    ///
    /// # Panics
    /// When it is otherwise.
    pub fn end(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let begin = Instant::now();
        process::send(process.id(), Signal::SIGTERM);
        let status = process.wait().expect("an exit status");
        assert!(status.success(), "{} ended with {status}: {}", self.name, self.said());
        assert!(begin.elapsed() < END_LIMIT, "{} took {:?} to end", self.name, begin.elapsed());
    }

    /// All it has said since the test began.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Component {
    /// A test that fails leaves no process behind either, and shows what it said.
    fn drop(&mut self) {
        if let Some(pid) = self.pid().filter(|_| self.ended().is_none()) {
            process::send(pid, Signal::SIGTERM);
            drop(self.process.take().map(|mut process| process.wait()));
        }
        if std::thread::panicking() {
            show(&format!("{} said:\n{}", self.name, self.said()));
        }
    }
}

#[expect(clippy::print_stderr, reason = "the test runner shows it beside the failure")]
fn show(text: &str) {
    eprintln!("{text}");
}
