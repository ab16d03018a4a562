//! The home folder of a standalone deployment.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tradewind_airflow::config::Config;

use crate::configuration::{self, write_secret};
use crate::failure::{Failure, Kind};

/// A log that is larger when standalone starts makes room for a new one.
const LOG_LIMIT: u64 = 10 << 20;

/// The home folder; held by one standalone at a time.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes the folder if need be, and holds it.
    ///
    /// # Errors
    /// When it cannot be written, or another standalone holds it.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let lock = folder.join("standalone.lock");
        let made = fs::create_dir_all(folder.join("logs/tradewind"))
            .and_then(|()| OpenOptions::new().create(true).truncate(false).write(true).open(&lock));
        let file = made.map_err(|error| not_writable(folder, &error.to_string()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: file }),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                Kind::InUse,
                format!("another `tradewind standalone` runs in {}", folder.display()),
                "stop it first, or choose another folder with --home",
            )
            .into()),
            Err(TryLockError::Error(error)) => Err(not_writable(folder, &error.to_string()).into()),
        }
    }

    /// Writes the smallest useful `airflow.cfg` if there is none. And makes the folder of the Dag files if it is the default one.
    pub(crate) fn write_configuration(&self, config: &Config) -> Result<()> {
        let dags_folder = PathBuf::from(config.string("core", "dags_folder")?);
        if dags_folder.starts_with(&self.folder) {
            fs::create_dir_all(&dags_folder).with_context(|| format!("cannot create {}", dags_folder.display()))?;
        }
        configuration::write_new(config).map(drop)
    }

    /// Writes what a shell needs to run official commands such as `airflow connections add` on this deployment.
    pub(crate) fn write_environment(&self, sql_alchemy_conn: &str) -> Result<()> {
        let path = self.folder.join("environment.sh");
        let home = self.folder.to_string_lossy().replace('\'', r"'\''");
        let text = format!(
            "# For the official command line, while this deployment runs: . environment.sh\n\
             export AIRFLOW_HOME='{home}'\n\
             export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN='{sql_alchemy_conn}'\n"
        );
        write_secret(&path, &text)
    }

    /// The log of a component.
    pub(crate) fn log(&self, component: &str) -> ComponentLog {
        ComponentLog { path: self.folder.join("logs/tradewind").join(format!("{component}.log")) }
    }
}

/// What a component writes to standard error.
#[derive(Debug)]
pub(crate) struct ComponentLog {
    path: PathBuf,
}

impl ComponentLog {
    /// Opens it for writing at its end; a large one is put aside first.
    pub(crate) fn open(&self) -> Result<File> {
        let is_large = fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > LOG_LIMIT);
        let put_aside = if is_large { fs::rename(&self.path, self.path.with_extension("log.1")) } else { Ok(()) };
        put_aside
            .and_then(|()| OpenOptions::new().create(true).append(true).open(&self.path))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Its last lines, as far as it can be read.
    pub(crate) fn last_lines(&self, count: usize) -> String {
        last_lines(&self.path, count)
    }
}

/// The last lines of a file, as far as it can be read.
pub(crate) fn last_lines(path: &Path, count: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines: Vec<&str> = text.lines().rev().take(count).collect();
    lines.reverse();
    lines.join("\n")
}

/// The failure that says a home folder is of no use.
pub(crate) fn not_writable(folder: &Path, reason: &str) -> Failure {
    Failure::new(
        Kind::Missing,
        format!("the home folder {} cannot be written: {reason}", folder.display()),
        "choose another one with --home, or mend its permissions",
    )
}
