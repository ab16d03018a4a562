//! The PostgreSQL servers that are installed on this machine.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::failure::{Failure, Kind};

/// The oldest major version that will do.
const OLDEST: u32 = 15;

/// Where Debian puts the programs of each major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The programs of an installed Postgres server.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    major: u32,
    binaries: PathBuf,
}

impl Installation {
    /// One of the programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }
}

/// The Postgres servers that are installed on this machine; at least one.
#[derive(Debug)]
pub(crate) struct Installations {
    newest_first: Vec<Installation>,
}

impl Installations {
    /// Finds them: in Debian's folders, and on `PATH`.
    ///
    /// # Errors
    /// When there is none that will do.
    pub(crate) fn find() -> Result<Self> {
        let debian = std::fs::read_dir(DEBIAN).into_iter().flatten().filter_map(|entry| {
            let path = entry.ok()?.path();
            let major = path.file_name()?.to_str()?.parse().ok()?;
            Some(Installation { major, binaries: path.join("bin") })
        });
        let mut found: Vec<Installation> = debian
            .chain(on_path())
            .filter(|installation| {
                installation.major >= OLDEST
                    && installation.program("initdb").exists()
                    && installation.program("postgres").exists()
            })
            .collect();
        if found.is_empty() {
            bail!(Failure::new(
                Kind::Missing,
                format!("no PostgreSQL server ({OLDEST} or later) is installed"),
                "apt-get install postgresql, or name a running server with AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
            ));
        }
        found.sort_by_key(|installation| Reverse(installation.major));
        Ok(Self { newest_first: found })
    }

    /// The one for a data folder: of the version that made it, or the newest for one that is not there yet.
    ///
    /// # Errors
    /// When the data was made by a version that is not installed.
    pub(crate) fn choose(&self, data: &Path) -> Result<Installation> {
        let made_by = std::fs::read_to_string(data.join("PG_VERSION")).ok();
        let fits = |installation: &&Installation| {
            made_by.as_deref().is_none_or(|version| version.trim() == installation.major.to_string())
        };
        self.newest_first.iter().find(fits).cloned().ok_or_else(|| {
            let version = made_by.as_deref().unwrap_or_default().trim();
            Failure::new(
                Kind::Missing,
                format!("{} was made by PostgreSQL {version}, which is not installed", data.display()),
                format!("apt-get install postgresql-{version}, or move the data with pg_upgrade"),
            )
            .into()
        })
    }
}

/// The server on `PATH`, asked for its version: `postgres (PostgreSQL) 15.14`.
fn on_path() -> Option<Installation> {
    let path = std::env::var_os("PATH")?;
    let binaries = std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())?;
    let output = std::process::Command::new(binaries.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let major = version.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()?;
    Some(Installation { major, binaries })
}
