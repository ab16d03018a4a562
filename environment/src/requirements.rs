//! What pip is told: the requirements, and what they may not change.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use regex::Regex;
use tokio::process::Command;

use crate::packages::Packages;

/// Where an Amazon MWAA environment unpacks its plugins, which requirements may name (`--find-links`).
const PLUGINS: &str = "/usr/local/airflow/plugins";

/// Where it has the Dags, among which files of constraints may be.
const DAGS: &str = "/usr/local/airflow/dags/";

/// Packages that make the release of Airflow: no requirement replaces them.
const AIRFLOW: &[&str] = &["apache_airflow", "apache_airflow_core", "apache_airflow_task_sdk"];

/// Programs that install packages, which may be replaced.
const INSTALLERS: &[&str] = &["pip", "setuptools", "wheel"];

/// Whether the requirements name a file of constraints. If not, they get one, as in Amazon MWAA.
pub(crate) fn has_constraint(requirements: &str) -> bool {
    // The pattern is right: a test uses it.
    Regex::new(r"(?m)^\s*(-c|--constraint)[\s=]").is_ok_and(|pattern| pattern.is_match(requirements))
}

/// The requirements as pip gets them: the plugins are where this environment has them.
pub(crate) fn with_plugins_at(requirements: &str, plugins: &Path) -> String {
    requirements.replace(PLUGINS, &plugins.to_string_lossy())
}

/// Files among the Dags that the requirements name, by their path there.
pub(crate) fn files_among_dags(requirements: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (at, _) in requirements.match_indices(DAGS) {
        let rest = &requirements[at + DAGS.len()..];
        let path =
            rest.split(|letter: char| letter.is_whitespace() || "\"'#;".contains(letter)).next().unwrap_or_default();
        // What is no path within the folder is left to pip, which does not find it.
        let is_within = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if is_within && !path.is_empty() {
            paths.insert(path.to_owned());
        }
    }
    paths
}

/// The requirements as pip gets them: files among the Dags are where they were put.
pub(crate) fn with_dags_at(requirements: &str, dags: &Path) -> String {
    requirements.replace(DAGS, &format!("{}/", dags.display()))
}

/// Lines that keep packages in the versions they have: those of Airflow's release alone, or all.
pub(crate) fn constraints(names: &[String], all: bool) -> String {
    let mut lines = String::new();
    for (name, version) in names.iter().filter_map(|name| name.rsplit_once('-')) {
        if AIRFLOW.contains(&name) || (all && !INSTALLERS.contains(&name)) {
            lines.push_str(&format!("{name}=={version}\n"));
        }
    }
    lines
}

/// What installs packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Installer {
    /// The environment's own pip.
    Pip,
    /// `uv`, which made an environment that has no pip.
    Uv,
}

impl Installer {
    /// What an environment has.
    pub(crate) fn of(packages: &Packages) -> Self {
        let has_pip = packages.folder().is_ok_and(|folder| folder.join("pip").is_dir());
        if has_pip { Self::Pip } else { Self::Uv }
    }

    /// The command that installs requirements.
    pub(crate) fn install(self, packages: &Packages, requirements: &Path, constraints: &[PathBuf]) -> Command {
        let mut command = self.command(packages, "install");
        if self == Self::Pip {
            command.args(["--no-input", "--progress-bar", "off"]);
        }
        command.arg("--requirement").arg(requirements);
        for file in constraints {
            command.arg("--constraint").arg(file);
        }
        command
    }

    /// The command that tells which packages do not go together.
    pub(crate) fn check(self, packages: &Packages) -> Command {
        self.command(packages, "check")
    }

    fn command(self, packages: &Packages, action: &str) -> Command {
        let python = packages.program("python");
        match self {
            Self::Pip => {
                let mut command = Command::new(python);
                command.args(["-m", "pip", "--disable-pip-version-check", "--no-color", action]);
                command
            }
            Self::Uv => {
                let mut command = Command::new("uv");
                command.args(["--color", "never", "pip", action, "--python"]).arg(python);
                command
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_is_seen_in_each_of_its_forms() {
        for text in ["-c x.txt", "a\n  --constraint \"https://x/y.txt\"\nb", "--constraint=x"] {
            assert!(has_constraint(text), "{text}");
        }
        for text in ["", "a-c==1", "# none: -c", "--constraints-are-no-option"] {
            assert!(!has_constraint(text), "{text}");
        }
    }

    #[test]
    fn what_is_installed_stays_as_it_is() {
        let names = ["apache_airflow_core-3.3.2", "pip-25.0", "requests-2.34.2"].map(str::to_owned);
        assert_eq!(constraints(&names, true), "apache_airflow_core==3.3.2\nrequests==2.34.2\n");
        assert_eq!(constraints(&names, false), "apache_airflow_core==3.3.2\n");
    }

    #[test]
    fn files_among_the_dags_are_found() {
        let text = "-c \"/usr/local/airflow/dags/a/c.txt\"\n-r /usr/local/airflow/dags/r.txt\n-c /usr/local/airflow/dags/../x\n";
        assert_eq!(files_among_dags(text), BTreeSet::from(["a/c.txt".to_owned(), "r.txt".to_owned()]));
        assert!(with_dags_at(text, Path::new("/e/dags")).starts_with("-c \"/e/dags/a/c.txt\"\n-r /e/dags/r.txt\n"));
    }

    #[test]
    fn wheels_among_the_plugins_are_found() {
        let text = with_plugins_at("--find-links /usr/local/airflow/plugins\n--no-index\nx", Path::new("/e/plugins"));
        assert_eq!(text, "--find-links /e/plugins\n--no-index\nx");
    }
}
