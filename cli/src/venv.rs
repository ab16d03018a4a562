//! The virtual environment that holds the official Airflow packages.

use std::path::{Path, PathBuf};

use tradewind_airflow::config::{AIRFLOW_VERSION, Config};

use crate::failure::{Failure, Kind};

/// A virtual environment with the Airflow release we need.
#[derive(Debug, Clone)]
pub(crate) struct Venv {
    root: PathBuf,
    airflow: PathBuf,
}

impl Venv {
    /// Finds the environment: `[tradewind] venv`, `VIRTUAL_ENV`, then `.venv` in the home folder, the working folder or
    /// a folder above this program.
    ///
    /// # Errors
    /// When none holds `apache-airflow` in the release we need.
    pub(crate) fn find(config: &Config) -> anyhow::Result<Self> {
        if let Some(root) = config.optional("tradewind", "venv")? {
            return Self::open(Path::new(root)).map_err(Into::into);
        }
        let candidates = Self::candidates(config);
        let mut refusal = None;
        for root in &candidates {
            match Self::open(root) {
                Ok(venv) => return Ok(venv),
                Err(failure) if root.exists() => refusal = refusal.or(Some(failure)),
                Err(_) => {}
            }
        }
        Err(refusal
            .unwrap_or_else(|| {
                Failure::new(
                    Kind::Missing,
                    "no Python environment with the official Airflow packages was found",
                    "run `make setup` in Tradewind's folder, or name one with AIRFLOW__TRADEWIND__VENV",
                )
            })
            .into())
    }

    fn candidates(config: &Config) -> Vec<PathBuf> {
        let mut candidates: Vec<PathBuf> = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from).into_iter().collect();
        candidates.push(config.home().join(".venv"));
        candidates.extend(std::env::current_dir().ok().map(|folder| folder.join(".venv")));
        if let Ok(program) = std::env::current_exe() {
            candidates.extend(program.ancestors().skip(1).map(|folder| folder.join(".venv")));
        }
        candidates
    }

    fn open(root: &Path) -> Result<Self, Failure> {
        let missing = |what: &str| {
            Failure::new(
                Kind::Missing,
                format!("{} {what}", root.display()),
                format!("it must be a virtual environment with apache-airflow=={AIRFLOW_VERSION}: run `make setup`"),
            )
        };
        if !root.join("bin/python").exists() {
            return Err(missing("has no bin/python"));
        }
        let airflow = packages(root).map(|packages| packages.join("airflow")).filter(|folder| folder.is_dir());
        let airflow = airflow.ok_or_else(|| missing("has no Airflow"))?;
        let release = root_of(&airflow).join(format!("apache_airflow_core-{AIRFLOW_VERSION}.dist-info"));
        if !release.is_dir() {
            return Err(missing("has another release of Airflow"));
        }
        Ok(Self { root: root.to_owned(), airflow })
    }

    /// The environment's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The `airflow` package within it.
    pub(crate) fn airflow(&self) -> &Path {
        &self.airflow
    }

    /// A program of the environment.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }
}

fn packages(root: &Path) -> Option<PathBuf> {
    let folders = std::fs::read_dir(root.join("lib")).ok()?;
    folders
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3")))
        .map(|path| path.join("site-packages"))
        .find(|path| path.is_dir())
}

fn root_of(package: &Path) -> &Path {
    package.parent().unwrap_or(package)
}
