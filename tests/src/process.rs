//! Processes as the kernel lists them in `/proc`.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::patience::eventually;

/// Sends a signal.
///
/// # Panics
/// When there is no such process.
pub fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    kill(pid, signal).unwrap_or_else(|error| panic!("cannot send {signal} to {pid}: {error}"));
}

/// Whether a process exists and has not ended.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != "Z")
}

/// The process that a process is a child of.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn parent(pid: u32) -> u32 {
    parent_of(pid).unwrap_or_else(|| panic!("process {pid} has ended"))
}

/// The same; none when there is no such process.
#[must_use]
pub fn parent_of(pid: u32) -> Option<u32> {
    state_and_parent(pid).map(|(_, parent)| parent)
}

/// All processes below one.
#[must_use]
pub fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        found.extend(lists.collect::<String>().split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        next += 1;
    }
    found.split_off(1)
}

/// The program and arguments of a process, as it shows them; empty when there is none.
#[must_use]
pub fn title(pid: u32) -> String {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ").trim_end().to_owned()
}

/// All processes that were started for a home folder, whoever their parents are now.
#[must_use]
pub fn started_for(home: &Path) -> Vec<u32> {
    let variable = format!("AIRFLOW_HOME={}", home.display());
    let belongs = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(belongs).collect()
}

/// Waits until a process has ended.
pub async fn end_of(pid: u32) {
    eventually(&format!("the end of process {pid}"), async || (!is_running(pid)).then_some(())).await;
}

/// Fields 3 and 4 of `/proc/pid/stat`; the name before them may hold anything.
fn state_and_parent(pid: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}
