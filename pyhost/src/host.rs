//! Serves the control socket: forks children, reports their ends.

use std::collections::BTreeSet;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use pyo3::prelude::*;
use pyo3::types::PyModule;
use tradewind_airflow::pyhost_protocol::{ChildKind, MAX_MESSAGE_BYTES, Order, Report};

use crate::interpreter;

/// How long children may take to end themselves once the supervisor is gone: as long as Airflow's supervisor waits
/// before it takes a stronger signal.
const GRACE: Duration = Duration::from_secs(5);

/// How long the system may take to end killed children.
const KILL_PATIENCE: Duration = Duration::from_secs(1);

/// The host: an interpreter that has imported Airflow, and its children.
pub(crate) struct Host<'py> {
    control: OwnedFd,
    children_ended: SignalFd,
    module: Bound<'py, PyModule>,
    children: BTreeSet<i32>,
    /// The pipe that children are tied to: the reading end, the writing end.
    tie: Option<[OwnedFd; 2]>,
}

enum Received {
    Order(Order, Vec<OwnedFd>),
    Nonsense,
    Closed,
}

impl<'py> Host<'py> {
    pub(crate) fn new(control: OwnedFd, module: Bound<'py, PyModule>) -> anyhow::Result<Self> {
        // What children leave behind becomes a child of this process instead of one of init.
        prctl::set_child_subreaper(true).context("cannot become a subreaper")?;
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None)?;
        let children_ended = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { control, children_ended, module, children: BTreeSet::new(), tie: None })
    }

    /// Imports Airflow, says so, and serves requests until the control socket closes.
    pub(crate) fn serve(mut self) -> anyhow::Result<()> {
        let (airflow, hostname) = self.module.call_method0("preload")?.extract()?;
        let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        self.report(&Report::Ready { python: interpreter::linked_version()?, airflow, threads, hostname })?;
        loop {
            self.wait(PollTimeout::NONE)?;
            self.reap()?;
            match self.receive()? {
                Some(Received::Order(Order::Fork { id, kind }, descriptors)) => self.fork(id, kind, &descriptors)?,
                Some(Received::Order(Order::Preload { file }, _)) => self.preload_modules_of(&file)?,
                // A tie without its two descriptors ties nothing.
                Some(Received::Order(Order::Tie, descriptors)) => self.tie = descriptors.try_into().ok(),
                Some(Received::Nonsense) | None => {}
                Some(Received::Closed) => return self.end_children(),
            }
        }
    }

    fn wait(&self, timeout: PollTimeout) -> anyhow::Result<()> {
        let mut sources = [
            PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.children_ended.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut sources, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for the control socket"),
        }
    }

    /// The next message, if there is one.
    fn receive(&self) -> anyhow::Result<Option<Received>> {
        let mut buffer = [0_u8; MAX_MESSAGE_BYTES];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; Order::DESCRIPTORS]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<()>(self.control.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(Errno::ECONNRESET) => return Ok(Some(Received::Closed)),
            Err(error) => return Err(error).context("cannot read the control socket"),
        };
        let mut descriptors = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = part {
                // SAFETY: the kernel has just made these descriptors for this process.
                descriptors.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let length = message.bytes;
        if length == 0 && descriptors.is_empty() {
            return Ok(Some(Received::Closed));
        }
        let order = std::str::from_utf8(&buffer[..length]).ok().and_then(Order::parse);
        Ok(Some(order.map_or(Received::Nonsense, |order| Received::Order(order, descriptors))))
    }

    fn fork(&mut self, id: u64, kind: ChildKind, descriptors: &[OwnedFd]) -> anyhow::Result<()> {
        let [requests, stdout, stderr, logs] = descriptors else {
            let reason = format!("{} descriptors came instead of {}", descriptors.len(), Order::DESCRIPTORS);
            return self.report(&Report::Refused { id, reason });
        };
        let [requests, stdout, stderr, logs] = [requests, stdout, stderr, logs].map(AsRawFd::as_raw_fd);
        let mut private = vec![self.control.as_raw_fd(), self.children_ended.as_raw_fd()];
        let tie = self.tie.as_ref().map(|[read, write]| {
            private.push(write.as_raw_fd());
            read.as_raw_fd()
        });
        let forked = self
            .module
            .call_method1("fork", (kind.as_str(), requests, stdout, stderr, logs, private, tie))
            .and_then(|pid| pid.extract::<i32>());
        match forked {
            Ok(pid) => {
                // The child does the same; whoever comes first, the group exists once the supervisor knows the pid.
                let _ = nix::unistd::setpgid(Pid::from_raw(pid), Pid::from_raw(pid));
                self.children.insert(pid);
                self.report(&Report::Forked { id, pid })
            }
            Err(error) => self.report(&Report::Refused { id, reason: error.to_string() }),
        }
    }

    /// A module that cannot be imported is the children's business, so an error only means that nothing is new.
    fn preload_modules_of(&self, file: &str) -> anyhow::Result<()> {
        let imported = self.module.call_method1("preload_modules_of", (file,));
        let modules = imported.and_then(|modules| modules.extract()).unwrap_or_default();
        self.report(&Report::Preloaded { modules })
    }

    /// Reports every process that ended, then lets the kernel forget it: if this process dies in between, the
    /// supervisor inherits the ended child and finds its status itself.
    fn reap(&mut self) -> anyhow::Result<()> {
        while self.children_ended.read_signal()?.is_some() {}
        loop {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            let (pid, code) = match waitid(Id::All, flags) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, -(signal as i32)),
                Ok(_) | Err(Errno::ECHILD) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error).context("cannot wait for children"),
            };
            self.report(&Report::Exited { pid: pid.as_raw(), code })?;
            waitpid(pid, None)?;
            self.children.remove(&pid.as_raw());
        }
    }

    fn report(&self, report: &Report) -> anyhow::Result<()> {
        let mut text = report.to_string();
        text.truncate(text.floor_char_boundary(MAX_MESSAGE_BYTES));
        match sendmsg::<()>(
            self.control.as_raw_fd(),
            &[IoSlice::new(text.as_bytes())],
            &[],
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            // The supervisor is gone: the next read of the socket says so.
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(error) => Err(error).context("cannot write to the control socket"),
        }
    }

    /// Asks the process groups of all children to end, and kills those that do not.
    fn end_children(mut self) -> anyhow::Result<()> {
        for (signal, patience) in [(Signal::SIGTERM, GRACE), (Signal::SIGKILL, KILL_PATIENCE)] {
            self.signal_children(signal);
            let deadline = Instant::now() + patience;
            loop {
                self.reap()?;
                let left = deadline.saturating_duration_since(Instant::now());
                if self.children.is_empty() {
                    return Ok(());
                }
                if left.is_zero() {
                    break;
                }
                let timeout = PollTimeout::try_from(left.min(Duration::from_millis(100))).unwrap_or(PollTimeout::ZERO);
                let mut source = [PollFd::new(self.children_ended.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut source, timeout);
            }
        }
        Ok(())
    }

    fn signal_children(&self, signal: Signal) {
        for pid in &self.children {
            // An error means that the group is gone.
            let _ = killpg(Pid::from_raw(*pid), signal);
        }
    }
}
