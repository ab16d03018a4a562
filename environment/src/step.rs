//! A program that takes part in building an environment: what it says goes to a log, and it has a limited time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

/// Lines of a log that are shown when a program fails.
const SHOWN_LINES: usize = 20;

/// Bytes at the end of a log that are looked at for them.
const SHOWN_BYTES: usize = 4096;

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
pub(crate) struct Step {
    /// What it is for, as a message begins.
    pub(crate) what: &'static str,
    /// The program with its arguments and its environment.
    pub(crate) command: Command,
    /// Where what it says goes.
    pub(crate) log: PathBuf,
    /// How long it may take.
    pub(crate) limit: Duration,
}

impl Step {
    /// Runs the program with all that it starts.
    pub(crate) async fn run(mut self) -> Result<(), StepError> {
        let Self { what, limit, .. } = self;
        let start = |source| StepError::Start { what, source };
        let log = File::options().create(true).append(true).open(&self.log).map_err(start)?;
        let begin = log.metadata().map_err(start)?.len();
        let started = Instant::now();
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
            Ok(Ok(status)) if status.success() => {
                tracing::info!(step = what, took = ?started.elapsed(), "done");
                Ok(())
            }
            Ok(Ok(status)) => Err(StepError::Failed { what, status, said: said(&self.log, begin) }),
            Ok(Err(source)) => Err(start(source)),
            Err(_) => {
                // Until it is gone it may still write.
                let _ = child.wait().await;
                Err(StepError::TimedOut { what, limit, said: said(&self.log, begin) })
            }
        }
    }
}

/// The end of what was written to a log since it was `begin` bytes long.
fn said(log: &Path, begin: u64) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let new = text.get(usize::try_from(begin).unwrap_or(usize::MAX)..).unwrap_or_default();
    let shown = String::from_utf8_lossy(&new[new.len().saturating_sub(SHOWN_BYTES)..]).into_owned();
    let lines: Vec<&str> = shown.trim().lines().collect();
    match &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
        [] => "nothing".to_owned(),
        [line] => (*line).to_owned(),
        lines => format!("\n{}", lines.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(folder: &Path, script: &str, limit: Duration) -> Step {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Step { what: "the script", command, log: folder.join("log"), limit }
    }

    #[tokio::test]
    async fn what_a_program_said_is_told_when_it_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let patience = Duration::from_secs(60);
        step(folder.path(), "echo fine", patience).run().await.expect("success");
        let error = step(folder.path(), "echo one; echo two >&2; exit 3", patience).run().await.expect_err("a failure");
        assert_eq!(error.to_string(), "the script failed (exit status: 3): \none\ntwo");
    }

    #[tokio::test]
    async fn one_that_hangs_is_stopped_with_what_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "echo begun; sleep 1000 & echo $! > pid; wait";
        let mut hanging = step(folder.path(), script, Duration::from_millis(500));
        hanging.command.current_dir(folder.path());
        let error = hanging.run().await.expect_err("a failure").to_string();
        assert_eq!(error, "the script did not end within 500ms and was stopped; it had said: begun");
        let pid = std::fs::read_to_string(folder.path().join("pid")).expect("a process id");
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // The system ends it in its own time; the runner of tests limits ours.
        while !(state().is_empty() || state().contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
