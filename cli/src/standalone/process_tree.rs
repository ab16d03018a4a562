//! A process and all it started.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Kills a process and its descendants. They are all found first, because those of a dead process belong to another.
pub(crate) fn kill_tree(root: u32) {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(pid) = tree.get(next) {
        tree.extend(children_of(*pid));
        next += 1;
    }
    for pid in tree.into_iter().filter_map(|pid| i32::try_from(pid).ok()) {
        // One that has ended meanwhile needs no killing.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// The kernel lists them per thread: proc(5), `/proc/pid/task/tid/children`.
fn children_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")) else {
        return Vec::new();
    };
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn grandchildren_are_found_and_killed() {
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'sleep 600 & echo started; wait' & wait"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let child = children_of(shell.id());
        let grandchild = children_of(child[0]);
        assert_eq!((child.len(), grandchild.len()), (1, 1));
        kill_tree(shell.id());
        shell.wait().expect("an exit status");
        let deadline = Instant::now() + Duration::from_secs(60);
        while is_running(grandchild[0]) {
            assert!(Instant::now() < deadline, "the grandchild goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A process that nobody has waited for yet is listed as a zombie.
    fn is_running(pid: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }
}
