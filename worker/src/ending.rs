//! What becomes of an attempt whose process has ended, and what its log says about that.
//!
//! Source: `ActivitySubprocess.final_state`, `update_task_state_if_needed` and `_check_subprocess_exit` in
//! `airflow/sdk/execution_time/supervisor.py`.

use chrono::{DateTime, Utc};
use nix::sys::signal::Signal;
use tradewind_airflow::log_format::{Level, LogLine};
use tradewind_airflow::supervisor_protocol::to_supervisor::TerminalState;
use tradewind_model::state::TaskInstanceState;
use tradewind_supervisor::child::ExitStatus;

const MORE_ABOUT_SIGNALS: &str = "For more information, see \
    https://airflow.apache.org/docs/apache-airflow/stable/troubleshooting.html#process-terminated-by-signal.";

/// What the child has said about its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reported {
    /// Nothing.
    Nothing,
    /// A state that the supervisor writes once the process has ended.
    Later(TerminalState, Option<String>),
    /// A state that is written already.
    Written,
    /// That it must not run was said by the database.
    Revoked,
}

/// What is to be written once the process has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing: the state is written already, or not ours to write.
    Nothing,
    /// The attempt ends in a state.
    Finish(TaskInstanceState, Option<String>),
    /// The attempt failed and is followed by another one.
    Retry,
}

/// Decides from what the child said, how it ended, and whether another attempt is allowed.
///
/// A child that ends well without a word leaves its task instance running in Airflow, until the scheduler misses its
/// heartbeats and fails or retries it; here that is done at once.
pub(crate) fn ending(reported: &Reported, status: ExitStatus, should_retry: bool) -> Ending {
    match reported {
        Reported::Written | Reported::Revoked => Ending::Nothing,
        Reported::Later(state, label) if status.success() => Ending::Finish(as_state(*state), label.clone()),
        _ if should_retry => Ending::Retry,
        _ => Ending::Finish(TaskInstanceState::Failed, None),
    }
}

/// What is wrong with an end of which the child itself said nothing although it ended well. Airflow's scheduler finds
/// such an end and has the callbacks called then; a child that was killed has none.
pub(crate) fn mismatch(reported: &Reported, status: ExitStatus) -> Option<&'static str> {
    (*reported == Reported::Nothing && status.success()).then_some(
        "the process of the task ended with exit code 0, but said nothing about the state of the task instance",
    )
}

fn as_state(state: TerminalState) -> TaskInstanceState {
    match state {
        TerminalState::Failed => TaskInstanceState::Failed,
        TerminalState::Skipped => TaskInstanceState::Skipped,
        TerminalState::Removed => TaskInstanceState::Removed,
    }
}

/// The line for the log of the attempt; none for an end as it should be. `asked` says that the supervisor itself sent
/// a signal.
pub(crate) fn line(now: DateTime<Utc>, status: ExitStatus, asked: bool) -> Option<LogLine> {
    let task = |level, event: String| LogLine::new(now, level, event, "task");
    match status {
        ExitStatus::Exited(0) => None,
        ExitStatus::Exited(code) => {
            Some(task(Level::Warning, "Process exited abnormally".to_owned()).with("exit_code", code))
        }
        ExitStatus::Unknown => Some(task(Level::Error, "Process ended, but nobody learned how.".to_owned())),
        ExitStatus::Signaled(number) => {
            let signal = Signal::try_from(number).ok();
            match signal {
                Some(Signal::SIGINT | Signal::SIGTERM | Signal::SIGKILL) if asked => None,
                Some(Signal::SIGSEGV) => Some(task(
                    Level::Critical,
                    "Received SIGSEGV: the process accessed memory that is not its own. The cause is nearly always a \
                     library written in C; set PYTHONFAULTHANDLER=true and run the task again to see where."
                        .to_owned(),
                )),
                Some(Signal::SIGKILL) => {
                    let event =
                        format!("Process terminated by signal. Likely out of memory error (OOM). {MORE_ABOUT_SIGNALS}");
                    Some(with_signal(task(Level::Critical, event), number, Some(Signal::SIGKILL)))
                }
                other => {
                    let event = format!("Process terminated by signal. {MORE_ABOUT_SIGNALS}");
                    Some(with_signal(task(Level::Error, event), number, other))
                }
            }
        }
    }
}

/// Adds the number in Python's form and the name.
fn with_signal(line: LogLine, number: i32, signal: Option<Signal>) -> LogLine {
    let line = match signal {
        Some(signal) => line.with("signal_name", signal.as_str()),
        None => line,
    };
    line.with("signal", -number)
}

#[cfg(test)]
mod tests {
    use tradewind_airflow::config::{Config, Environment};
    use tradewind_airflow::secrets_masker::SecretsMasker;

    use super::*;

    #[test]
    fn the_end_of_an_attempt_is_decided_as_in_airflow() {
        let ok = ExitStatus::Exited(0);
        let later = |state| Reported::Later(state, Some("label".to_owned()));
        let finish = |state| Ending::Finish(state, Some("label".to_owned()));
        let check = |reported: Reported, status, should_retry, expected: Ending| {
            assert_eq!(ending(&reported, status, should_retry), expected, "{reported:?} {status:?} {should_retry}");
        };
        check(Reported::Written, ok, true, Ending::Nothing);
        check(Reported::Written, ExitStatus::Signaled(9), true, Ending::Nothing);
        check(Reported::Revoked, ExitStatus::Signaled(15), true, Ending::Nothing);
        check(later(TerminalState::Failed), ok, true, finish(TaskInstanceState::Failed));
        check(later(TerminalState::Skipped), ok, false, finish(TaskInstanceState::Skipped));
        check(later(TerminalState::Failed), ExitStatus::Exited(1), true, Ending::Retry);
        for status in [ok, ExitStatus::Exited(1), ExitStatus::Signaled(9), ExitStatus::Unknown] {
            check(Reported::Nothing, status, true, Ending::Retry);
            check(Reported::Nothing, status, false, Ending::Finish(TaskInstanceState::Failed, None));
        }
    }

    #[test]
    fn only_an_end_that_looks_well_is_a_mismatch() {
        assert!(mismatch(&Reported::Nothing, ExitStatus::Exited(0)).is_some());
        assert!(mismatch(&Reported::Nothing, ExitStatus::Signaled(9)).is_none());
        assert!(mismatch(&Reported::Nothing, ExitStatus::Exited(1)).is_none());
        assert!(mismatch(&Reported::Revoked, ExitStatus::Exited(0)).is_none());
        assert!(mismatch(&Reported::Later(TerminalState::Failed, None), ExitStatus::Exited(0)).is_none());
    }

    #[test]
    fn the_log_says_how_a_process_ended() {
        let config = Config::from_environment(&Environment::default()).expect("defaults");
        let masker = SecretsMasker::from_config(&config).expect("defaults");
        let text = |status, asked| {
            line(DateTime::UNIX_EPOCH, status, asked).map(|line| {
                let mut out = Vec::new();
                line.write(&masker, &mut out);
                String::from_utf8(out).expect("UTF-8")
            })
        };
        assert_eq!(text(ExitStatus::Exited(0), false), None);
        assert_eq!(text(ExitStatus::Signaled(9), true), None);
        let killed = text(ExitStatus::Signaled(9), false).expect("a line");
        assert!(
            killed.contains(
                r#""level":"critical","event":"Process terminated by signal. Likely out of memory error (OOM)."#
            ),
            "{killed}"
        );
        assert!(killed.contains(r#""signal":-9,"signal_name":"SIGKILL","logger":"task""#), "{killed}");
        let terminated = text(ExitStatus::Signaled(15), false).expect("a line");
        assert!(terminated.contains(r#""level":"error""#) && !terminated.contains("OOM"), "{terminated}");
        let odd = text(ExitStatus::Exited(126), false).expect("a line");
        assert!(odd.contains(r#""level":"warning","event":"Process exited abnormally","exit_code":126"#), "{odd}");
    }
}
