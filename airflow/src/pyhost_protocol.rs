//! Messages on the control socket between `tradewind-pyhost` and the process that started it.
//!
//! The socket is of type `SOCK_SEQPACKET`: one packet is one message of UTF-8 text, its words parted by blanks. Both
//! programs are shipped together, so the format may change between releases.

use std::fmt;

/// The largest message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// What a child runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChildKind {
    /// One attempt of a task: `airflow.sdk.execution_time.task_runner.main`.
    Task,
    /// One Dag file, to parse it or to run its callbacks:
    /// `airflow.dag_processing.processor._parse_file_entrypoint`.
    DagFile,
    /// Questions to timetables and weight rules of plugins ([`crate::evaluation`]).
    Evaluator,
    /// The callback of a missed deadline: `execute_callback` of `airflow.sdk.execution_time.callback_supervisor`.
    Callback,
}

impl ChildKind {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::DagFile => "dag_file",
            Self::Evaluator => "evaluator",
            Self::Callback => "callback",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Task, Self::DagFile, Self::Evaluator, Self::Callback].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What is asked of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// To fork a child. Four descriptors come with it: the child's requests, stdout, stderr and logs.
    Fork {
        /// Returned in the answer.
        id: u64,
        /// What to run.
        kind: ChildKind,
    },
    /// To import the modules of Airflow that a Dag file imports.
    Preload {
        /// The Dag file.
        file: String,
    },
    /// To tie children to a pipe, whose two ends come with it: the reading one, the writing one. The kernel kills them when
    /// nobody holds the writing end any more, that is when both this host and whoever started it are dead.
    Tie,
}

impl Order {
    /// How many descriptors come with a fork; with other orders come fewer.
    pub const DESCRIPTORS: usize = 4;

    /// Reads a message; `None` when it is no order.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "tie" {
            return Some(Self::Tie);
        }
        match text.split_once(' ')? {
            ("fork", rest) => {
                let (id, kind) = rest.split_once(' ')?;
                Some(Self::Fork { id: id.parse().ok()?, kind: ChildKind::named(kind)? })
            }
            ("preload", file) => Some(Self::Preload { file: file.to_owned() }),
            _ => None,
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fork { id, kind } => write!(f, "fork {id} {}", kind.as_str()),
            Self::Preload { file } => write!(f, "preload {file}"),
            Self::Tie => f.write_str("tie"),
        }
    }
}

/// What the host tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Airflow is imported, children can be forked.
    Ready {
        /// Version of CPython.
        python: String,
        /// Version of Airflow.
        airflow: String,
        /// Threads of the process; more than one makes forking unsafe.
        threads: usize,
        /// What `[core] hostname_callable` gives.
        hostname: String,
    },
    /// A child runs.
    Forked {
        /// Of the request.
        id: u64,
        /// Process id, which is its process group too.
        pid: i32,
    },
    /// A child could not be forked.
    Refused {
        /// Of the request.
        id: u64,
        /// Why.
        reason: String,
    },
    /// A Dag file's modules are imported.
    Preloaded {
        /// How many modules are new.
        modules: usize,
    },
    /// A process ended, which may be one that a child left behind.
    Exited {
        /// Which one.
        pid: i32,
        /// Exit code, or the negative number of the signal that ended it.
        code: i32,
    },
}

impl Report {
    /// Reads a message; `None` when it is no report.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(' ')?;
        let words: Vec<&str> = rest.split(' ').collect();
        Some(match (name, &words[..]) {
            ("ready", [python, airflow, threads, hostname]) => Self::Ready {
                python: (*python).to_owned(),
                airflow: (*airflow).to_owned(),
                threads: threads.parse().ok()?,
                hostname: (*hostname).to_owned(),
            },
            ("preloaded", [modules]) => Self::Preloaded { modules: modules.parse().ok()? },
            ("forked", [id, pid]) => Self::Forked { id: id.parse().ok()?, pid: pid.parse().ok()? },
            ("exited", [pid, code]) => Self::Exited { pid: pid.parse().ok()?, code: code.parse().ok()? },
            ("refused", [id, ..]) => {
                let reason = rest.split_once(' ').map_or("", |(_, reason)| reason);
                Self::Refused { id: id.parse().ok()?, reason: reason.to_owned() }
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { python, airflow, threads, hostname } => {
                write!(f, "ready {python} {airflow} {threads} {hostname}")
            }
            Self::Preloaded { modules } => write!(f, "preloaded {modules}"),
            Self::Forked { id, pid } => write!(f, "forked {id} {pid}"),
            Self::Refused { id, reason } => write!(f, "refused {id} {reason}"),
            Self::Exited { pid, code } => write!(f, "exited {pid} {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let orders = [
            Order::Fork { id: 7, kind: ChildKind::Task },
            Order::Fork { id: 8, kind: ChildKind::DagFile },
            Order::Fork { id: 9, kind: ChildKind::Evaluator },
            Order::Fork { id: 10, kind: ChildKind::Callback },
            Order::Preload { file: "/dags/with a blank.py".to_owned() },
            Order::Tie,
        ];
        for order in orders {
            assert_eq!(Order::parse(&order.to_string()), Some(order));
        }
        let reports = [
            Report::Ready {
                python: "3.11.2".to_owned(),
                airflow: "3.3.2".to_owned(),
                threads: 1,
                hostname: "h".to_owned(),
            },
            Report::Preloaded { modules: 12 },
            Report::Forked { id: 7, pid: 4242 },
            Report::Refused { id: 7, reason: "Cannot allocate memory".to_owned() },
            Report::Exited { pid: 4242, code: -9 },
        ];
        for report in reports {
            assert_eq!(Report::parse(&report.to_string()), Some(report));
        }
        assert_eq!(Order::parse("fork 7 thread"), None);
        assert_eq!(Report::parse("exited x 0"), None);
    }
}
