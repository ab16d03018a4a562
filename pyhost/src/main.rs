//! `tradewind-pyhost`: a CPython that has imported Airflow and forks one child per task or Dag file.
//!
//! It is started by a supervisor with a control socket as its standard input and the path of the virtual environment's
//! interpreter as its argument. It stays single-threaded, because it forks. When the control socket closes, it ends
//! its children and itself.

mod host;
mod interpreter;

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use pyo3::prelude::*;

use crate::host::Host;

const HOST_PY: &CStr = c_str(concat!(include_str!("host.py"), "\0"));
const BUNDLE_PY: &CStr = c_str(concat!(include_str!("bundle.py"), "\0"));
const SECRETS_PY: &CStr = c_str(concat!(include_str!("secrets.py"), "\0"));
const EVALUATOR_PY: &CStr = c_str(concat!(include_str!("evaluator.py"), "\0"));
const CALLBACK_PY: &CStr = c_str(concat!(include_str!("callback.py"), "\0"));

const fn c_str(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("a Python file holds a NUL"),
    }
}

#[expect(clippy::print_stderr, reason = "the supervisor logs what its children write there")]
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tradewind-pyhost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let python = std::env::args_os().nth(1).map(PathBuf::from);
    let python =
        python.context("usage: tradewind-pyhost VENV/bin/python, with the control socket as standard input")?;
    let control = take_control_socket().context("there is no control socket")?;
    interpreter::start(&python)?;
    Python::attach(|py| {
        let module = PyModule::from_code(py, HOST_PY, c"tradewind_pyhost.py", c"tradewind_pyhost")
            .map_err(|error| described(py, &error))
            .with_context(|| {
                format!(
                    "{} cannot import Airflow\nhint: install apache-airflow into that environment",
                    python.display()
                )
            })?;
        let evaluator = PyModule::from_code(py, EVALUATOR_PY, c"tradewind_evaluator.py", c"tradewind_evaluator")?;
        module.setattr("evaluator", evaluator)?;
        let callback = PyModule::from_code(py, CALLBACK_PY, c"tradewind_callback.py", c"tradewind_callback")?;
        module.setattr("callback", callback)?;
        // Known from now on by the name that `tradewind_bundle::configuration` gives it.
        PyModule::from_code(py, BUNDLE_PY, c"tradewind_bundle.py", c"tradewind_bundle")?;
        // The same by `tradewind_secrets::child_variables`.
        PyModule::from_code(py, SECRETS_PY, c"tradewind_secrets.py", c"tradewind_secrets")?;
        Host::new(control, module)?.serve()
    })
}

/// Moves the control socket away from standard input, where user code would find it.
fn take_control_socket() -> std::io::Result<OwnedFd> {
    let control = std::io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(control)
}

/// The error with its traceback, as Python prints it.
fn described(py: Python<'_>, error: &PyErr) -> anyhow::Error {
    let traceback = error.traceback(py).and_then(|traceback| traceback.format().ok()).unwrap_or_default();
    anyhow::anyhow!("{error}\n{traceback}")
}
