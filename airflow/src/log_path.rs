//! Where the log of an attempt lies: `[logging] base_log_folder` and `log_filename_template`.
//!
//! Source: `log_filename_template_renderer` in `airflow/utils/helpers.py`, `init_log_file` in
//! `airflow/sdk/_shared/logging/structlog.py`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, Utc};
use minijinja::{Environment, context};
use serde::Serialize;

use crate::config::{Config, ConfigError};

/// The attempt a log belongs to.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// Dag.
    pub dag_id: String,
    /// Dag run.
    pub run_id: String,
    /// Task.
    pub task_id: String,
    /// Index of a mapped task instance; -1 when not mapped.
    pub map_index: i32,
    /// Number of the attempt, from 1.
    pub try_number: i32,
    /// Logical date of the Dag run.
    pub logical_date: Option<DateTime<Utc>>,
}

/// Why there is no log file.
#[derive(Debug, thiserror::Error)]
pub enum LogPathError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The template fails.
    #[error(
        "[logging] log_filename_template cannot be rendered: {0}\nhint: the template may use ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number and ti.logical_date"
    )]
    Template(String),
    /// The template leads out of the log folder.
    #[error("[logging] log_filename_template gives {path}, which is not a path inside the log folder", path = .0.display())]
    Outside(PathBuf),
    /// The file system refuses.
    #[error("cannot create the log file {path}: {source}\nhint: the user of this process must be able to write below [logging] base_log_folder", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The rule for names of log files.
#[derive(Debug, Clone)]
pub struct LogPaths {
    base: PathBuf,
    template: String,
    folder_mode: u32,
    file_mode: u32,
}

impl LogPaths {
    /// The rule as configured.
    ///
    /// # Errors
    /// An option has a wrong value.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            base: PathBuf::from(config.string("logging", "base_log_folder")?),
            template: config.string("logging", "log_filename_template")?,
            folder_mode: mode(config, "file_task_handler_new_folder_permissions")?,
            file_mode: mode(config, "file_task_handler_new_file_permissions")?,
        })
    }

    /// The folder that holds all logs.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The path of the attempt's log below [`Self::base`].
    ///
    /// # Errors
    /// The template fails or leads out of the folder.
    pub fn relative(&self, attempt: &Attempt) -> Result<PathBuf, LogPathError> {
        let rendered = if self.template.contains("{{") {
            Environment::new()
                .render_str(&self.template, context! { ti => attempt })
                .map_err(|error| LogPathError::Template(error.to_string()))?
        } else {
            let logical_date = attempt.logical_date.map(|date| date.to_rfc3339()).unwrap_or_default();
            self.template
                .replace("{dag_id}", &attempt.dag_id)
                .replace("{task_id}", &attempt.task_id)
                .replace("{logical_date}", &logical_date)
                .replace("{try_number}", &attempt.try_number.to_string())
        };
        let path = PathBuf::from(rendered);
        let stays_inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if stays_inside && path.file_name().is_some() { Ok(path) } else { Err(LogPathError::Outside(path)) }
    }

    /// Opens the attempt's log to append to it; missing folders and the file get the configured permissions, less the
    /// umask of the process.
    ///
    /// # Errors
    /// The path cannot be rendered, or the file system refuses.
    pub fn open(&self, attempt: &Attempt) -> Result<File, LogPathError> {
        self.open_relative(&self.relative(attempt)?)
    }

    /// Opens any log below [`Self::base`] in the same way.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn open_relative(&self, relative: &Path) -> Result<File, LogPathError> {
        let path = self.base.join(relative);
        self.open_path(&path).map_err(|source| LogPathError::File { path, source })
    }

    fn open_path(&self, path: &Path) -> io::Result<File> {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            // Python's `Path.mkdir(mode, parents=True)`: the mode is for the last folder alone.
            if let Some(parents) = folder.parent() {
                std::fs::create_dir_all(parents)?;
            }
            let created = DirBuilder::new().mode(self.folder_mode).create(folder);
            created.or_else(|error| if folder.is_dir() { Ok(()) } else { Err(error) })?;
        }
        OpenOptions::new().append(true).create(true).mode(self.file_mode).open(path)
    }
}

/// Reads permissions in Python's form, such as `0o775`.
fn mode(config: &Config, key: &'static str) -> Result<u32, ConfigError> {
    let text = config.string("logging", key)?;
    let digits = text.trim().trim_start_matches("0o").trim_start_matches("0O");
    u32::from_str_radix(digits, 8).map_err(|_| config.invalid("logging", key, "permissions in octal such as 0o775"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Environment as Variables;

    fn paths(variables: &[(&str, &str)]) -> LogPaths {
        let variables = variables.iter().fold(Variables::default(), |all, (name, value)| all.with(*name, *value));
        LogPaths::from_config(&Config::from_environment(&variables).expect("sound options")).expect("sound options")
    }

    fn attempt(map_index: i32) -> Attempt {
        Attempt {
            dag_id: "d".to_owned(),
            run_id: "manual__2026-01-01T00:00:00+00:00".to_owned(),
            task_id: "group.t".to_owned(),
            map_index,
            try_number: 2,
            logical_date: None,
        }
    }

    #[test]
    fn the_default_template_is_airflows() {
        let check = |map_index, expected: &str| {
            assert_eq!(paths(&[]).relative(&attempt(map_index)).expect("a path"), Path::new(expected));
        };
        check(-1, "dag_id=d/run_id=manual__2026-01-01T00:00:00+00:00/task_id=group.t/attempt=2.log");
        check(3, "dag_id=d/run_id=manual__2026-01-01T00:00:00+00:00/task_id=group.t/map_index=3/attempt=2.log");
    }

    #[test]
    fn format_strings_work_and_no_template_leads_outside() {
        let template = |text| paths(&[("AIRFLOW__LOGGING__LOG_FILENAME_TEMPLATE", text)]).relative(&attempt(-1));
        assert_eq!(template("{dag_id}/{task_id}/{try_number}.log").expect("a path"), Path::new("d/group.t/2.log"));
        assert!(matches!(template("/tmp/{{ ti.dag_id }}.log"), Err(LogPathError::Outside(_))));
        assert!(matches!(template("../{{ ti.dag_id }}.log"), Err(LogPathError::Outside(_))));
        assert!(matches!(template("{{ ti.dag_id "), Err(LogPathError::Template(_))));
    }

    #[test]
    fn a_log_is_appended_to_and_has_its_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path().to_string_lossy().into_owned();
        let paths = paths(&[
            ("AIRFLOW__LOGGING__BASE_LOG_FOLDER", &base),
            ("AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS", "0o600"),
        ]);
        for text in ["a", "b"] {
            io::Write::write_all(&mut paths.open(&attempt(-1)).expect("a file"), text.as_bytes()).expect("written");
        }
        let path = paths.base().join(paths.relative(&attempt(-1)).expect("a path"));
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "ab");
        assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    }
}
