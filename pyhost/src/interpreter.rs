//! Starts the CPython of a virtual environment inside this process.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, bail};
use pyo3::ffi;

/// Starts the interpreter as if `python` (the program in the environment's `bin`) had been run.
///
/// # Errors
/// The environment is of another minor version than the CPython which this program links, or CPython cannot start.
pub(crate) fn start(python: &Path) -> anyhow::Result<()> {
    let environment =
        python.parent().and_then(Path::parent).context("the path of the interpreter names no environment")?;
    check_version(environment, &linked_version()?)?;
    initialize(python)
}

/// The version of the CPython which this program runs, such as `3.11.2`.
pub(crate) fn linked_version() -> anyhow::Result<String> {
    // SAFETY: returns a static string, callable before the interpreter starts.
    let text = unsafe { CStr::from_ptr(ffi::Py_GetVersion()) };
    let version = text.to_str()?.split_whitespace().next().unwrap_or_default();
    Ok(version.to_owned())
}

/// Compares with `pyvenv.cfg`; a folder without one is no virtual environment and is left to CPython.
fn check_version(environment: &Path, linked: &str) -> anyhow::Result<()> {
    let file = environment.join("pyvenv.cfg");
    let Ok(text) = std::fs::read_to_string(&file) else { return Ok(()) };
    let Some(version) = version_in(&text) else { return Ok(()) };
    if minor(&version) == minor(linked) {
        return Ok(());
    }
    bail!(
        "{} is an environment of Python {version}, but tradewind-pyhost is linked with Python {linked}\n\
         hint: build tradewind-pyhost with PYO3_PYTHON={}/bin/python, or make the environment with Python {}",
        environment.display(),
        environment.display(),
        minor(linked),
    )
}

fn version_in(pyvenv_cfg: &str) -> Option<String> {
    pyvenv_cfg
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| matches!(key.trim(), "version" | "version_info"))
        .map(|(_, value)| value.trim().to_owned())
}

fn minor(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn initialize(python: &Path) -> anyhow::Result<()> {
    let program = CString::new(python.as_os_str().as_bytes())?;
    // SAFETY: the configuration is initialised before use, cleared after it, and not used by anybody else; the
    // interpreter is started once, on the only thread of the process.
    unsafe {
        let mut config: ffi::PyConfig = std::mem::zeroed();
        ffi::PyConfig_InitPythonConfig(&raw mut config);
        config.parse_argv = 0;
        config.buffered_stdio = 0;
        let executable = &raw mut config.executable;
        let program_name = &raw mut config.program_name;
        let status = ffi::PyConfig_SetBytesString(&raw mut config, executable, program.as_ptr());
        check(status)?;
        let status = ffi::PyConfig_SetBytesString(&raw mut config, program_name, program.as_ptr());
        check(status)?;
        let mut argument = program.as_ptr();
        let status = ffi::PyConfig_SetBytesArgv(&raw mut config, 1, &raw mut argument);
        check(status)?;
        let status = ffi::Py_InitializeFromConfig(&raw const config);
        ffi::PyConfig_Clear(&raw mut config);
        check(status)?;
        // `Python::attach` takes the interpreter lock; until then nobody may hold it.
        ffi::PyEval_SaveThread();
    }
    Ok(())
}

/// Turns CPython's status into a result.
unsafe fn check(status: ffi::PyStatus) -> anyhow::Result<()> {
    // SAFETY: reads the fields of the status.
    if unsafe { ffi::PyStatus_Exception(status) } == 0 {
        return Ok(());
    }
    let message = if status.err_msg.is_null() {
        "no message".into()
    } else {
        // SAFETY: CPython's messages are static strings.
        unsafe { CStr::from_ptr(status.err_msg) }.to_string_lossy()
    };
    bail!(
        "CPython cannot start: {message}\nhint: check that the environment is complete and that PYTHONHOME is not set"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_versions_are_compared() {
        let folder = std::env::temp_dir().join(format!("pyvenv-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("pyvenv.cfg"), "home = /usr/bin\nversion_info = 3.11.2\n").expect("written");
        assert!(check_version(&folder, "3.11.9").is_ok());
        let refused = check_version(&folder, "3.12.1").expect_err("another minor version").to_string();
        assert!(refused.contains("Python 3.11.2") && refused.contains("linked with Python 3.12.1"), "{refused}");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
