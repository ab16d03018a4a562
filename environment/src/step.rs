//! A program that takes part in building an environment: what it says goes to a log, and it has a limited time.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

use crate::logs::BuildLog;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It cannot be started, or its log cannot be written.
    #[error("{what} cannot be started: {source}")]
    Start {
        /// What it is for.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// It failed.
    #[error("{what} failed ({status}): {said}")]
    Failed {
        /// What it is for.
        what: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it said.
        said: String,
    },
    /// It took too long.
    #[error("{what} did not end within {limit:?} and was stopped; it had said: {said}")]
    TimedOut {
        /// What it is for.
        what: &'static str,
        /// How long it might have taken.
        limit: Duration,
        /// The end of what it said.
        said: String,
    },
}

/// A program that takes part.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// What it is for, as a message begins.
    pub(crate) what: &'static str,
    /// The program with its arguments and its environment.
    pub(crate) command: Command,
    /// Where what it says goes.
    pub(crate) log: &'a BuildLog,
    /// How long it may take.
    pub(crate) limit: Duration,
}

impl Step<'_> {
    /// Runs the program with all that it starts. Its log ends with how it went.
    pub(crate) async fn run(self) -> Result<(), StepError> {
        let Self { what, limit, log, .. } = self;
        let started = Instant::now();
        let outcome = self.run_to_its_end().await;
        let took = started.elapsed();
        match &outcome {
            Ok(()) => {
                tracing::info!(step = what, ?took, "done");
                log.add(&format!("{what} took {:.3} s", took.as_secs_f64()));
            }
            Err(StepError::Start { .. }) => {}
            Err(StepError::Failed { status, .. }) => {
                log.add(&format!("{what} failed ({status}) after {:.3} s", took.as_secs_f64()));
            }
            Err(StepError::TimedOut { .. }) => log.add(&format!("{what} did not end within {limit:?} and was stopped")),
        }
        outcome
    }

    async fn run_to_its_end(mut self) -> Result<(), StepError> {
        let Self { what, limit, .. } = self;
        let start = |source| StepError::Start { what, source };
        let log = self.log.open().map_err(start)?;
        let begin = log.metadata().map_err(start)?.len();
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(start)?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let group = child.id();
        let ended = timeout(limit, child.wait()).await;
        // Nothing that it started goes on without it.
        if let Some(group) = group.and_then(|pid| i32::try_from(pid).ok()) {
            // An error means that nothing is left.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(StepError::Failed { what, status, said: self.log.said_since(begin) }),
            Ok(Err(source)) => Err(start(source)),
            Err(_) => {
                // Until it is gone it may still write.
                let _ = child.wait().await;
                Err(StepError::TimedOut { what, limit, said: self.log.said_since(begin) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::SCRIPT;
    use crate::logs::tests::logs;

    fn step<'a>(log: &'a BuildLog, script: &str, limit: Duration) -> Step<'a> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Step { what: "the script", command, log, limit }
    }

    #[tokio::test]
    async fn what_a_program_said_is_told_when_it_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = logs(folder.path()).begin(SCRIPT, "v").expect("a log");
        let patience = Duration::from_secs(60);
        step(&log, "printf fine", patience).run().await.expect("success");
        let error = step(&log, "echo one; echo two >&2; exit 3", patience).run().await.expect_err("a failure");
        assert_eq!(error.to_string(), "the script failed (exit status: 3): \none\ntwo");
        let text = std::fs::read_to_string(log.path()).expect("a log");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("the script took ") && lines[1].ends_with(" s"), "{text}");
        assert_eq!([lines[0], lines[2], lines[3]], ["fine", "one", "two"]);
        assert!(lines[4].starts_with("the script failed (exit status: 3) after "), "{text}");
    }

    #[tokio::test]
    async fn one_that_hangs_is_stopped_with_what_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = logs(folder.path()).begin(SCRIPT, "v").expect("a log");
        let script = "echo begun; sleep 1000 & echo $! > pid; wait";
        let mut hanging = step(&log, script, Duration::from_millis(500));
        hanging.command.current_dir(folder.path());
        let error = hanging.run().await.expect_err("a failure").to_string();
        assert_eq!(error, "the script did not end within 500ms and was stopped; it had said: begun");
        let text = std::fs::read_to_string(log.path()).expect("a log");
        assert_eq!(text, "begun\nthe script did not end within 500ms and was stopped\n");
        let pid = std::fs::read_to_string(folder.path().join("pid")).expect("a process id");
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // The system ends it in its own time; the runner of tests limits ours.
        while !(state().is_empty() || state().contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
