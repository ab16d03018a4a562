//! Workers as child processes on this machine.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::driver::{Driver, DriverError, Result};

/// Starts `tradewind worker` on this machine. A worker ends when this process does, after what it runs has ended.
#[derive(Debug)]
pub struct ProcessDriver {
    program: PathBuf,
    hostname: String,
    /// The workers of this process, whose standard inputs tell them that it lives.
    children: Mutex<HashMap<String, Child>>,
}

impl ProcessDriver {
    /// A driver that starts this program.
    #[must_use]
    pub fn new(program: PathBuf, hostname: String) -> Self {
        Self { program, hostname, children: Mutex::default() }
    }

    fn try_launch(&self, id: Uuid, queue: &str) -> Result<String> {
        let child = Command::new(&self.program)
            .args(["worker", "--with-parent", "--queues", queue])
            .env("TRADEWIND_WORKER_ID", id.to_string())
            // One port is for one worker.
            .env("AIRFLOW__TRADEWIND__WORKER_MONITOR_PORT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| DriverError {
                message: format!("cannot start {}: {error}", self.program.display()),
                hint: "see how many processes and how much memory this machine has left".to_owned(),
            })?;
        let pid = child.id().unwrap_or_default();
        let handle = format!("{}/{pid}/{}", self.hostname, started_at(pid).unwrap_or_default());
        self.children().insert(handle.clone(), child);
        Ok(handle)
    }

    /// The process of a handle, if it runs on this machine still; the time at which it started tells it from a later one.
    fn process(&self, handle: &str) -> Option<Pid> {
        let (host_and_pid, start) = handle.rsplit_once('/')?;
        let (host, pid) = host_and_pid.rsplit_once('/')?;
        let pid: u32 = pid.parse().ok().filter(|_| host == self.hostname)?;
        (started_at(pid)?.to_string() == start).then(|| i32::try_from(pid).ok().map(Pid::from_raw))?
    }

    fn children(&self) -> MutexGuard<'_, HashMap<String, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for ProcessDriver {
    fn name(&self) -> &'static str {
        "process"
    }

    fn launch<'a>(&'a self, id: Uuid, queue: &'a str) -> BoxFuture<'a, Result<String>> {
        async move { self.try_launch(id, queue) }.boxed()
    }

    fn end<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<()>> {
        async move {
            if let Some(pid) = self.process(handle) {
                // An error means that it has ended.
                let _ = kill(pid, Signal::SIGTERM);
            }
            Ok(())
        }
        .boxed()
    }

    fn ended<'a>(&'a self, handles: &'a [String]) -> BoxFuture<'a, Result<Vec<String>>> {
        async move {
            self.children().retain(|_, child| matches!(child.try_wait(), Ok(None)));
            // Nothing is known of other machines: their workers fall silent.
            let here = format!("{}/", self.hostname);
            let ended = handles.iter().filter(|handle| handle.starts_with(&here) && self.process(handle).is_none());
            Ok(ended.cloned().collect())
        }
        .boxed()
    }

    fn release(&self) -> BoxFuture<'_, ()> {
        async move {
            let mut children: Vec<Child> = self.children().drain().map(|(_, child)| child).collect();
            children.iter_mut().for_each(|child| drop(child.stdin.take()));
            for mut child in children {
                // How it ended says nothing any more.
                let _ = child.wait().await;
            }
        }
        .boxed()
    }
}

/// When a process started, in ticks since the machine did; none when it has ended.
fn started_at(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, which may hold anything, is in parentheses.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18)?.parse().ok())?
}
