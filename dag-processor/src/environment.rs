//! Publishes what only Python knows of the installed packages and the plugins, for the web server.
//!
//! Finding it out takes a process of its own and seconds of computing, so it is done only when packages or plugins have
//! changed since it was last published. Plugins that change while the Dag processor runs are seen at its next start, as in
//! Airflow.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use sha2::{Digest as _, Sha256};
use tradewind_airflow::evaluation::Environment;
use tradewind_metadata::{Database, MetadataError, python_environment};
use tradewind_supervisor::evaluator::{EvaluationError, Evaluator};
use walkdir::WalkDir;

/// What stands for a Dag in questions that are about none; no Dag can be called so.
const SUBJECT: &str = "<environment>";

/// How long to wait before it is tried again.
const PAUSE: Duration = Duration::from_secs(60);

/// Where packages and plugins lie.
#[derive(Debug, Clone)]
pub struct Places {
    /// `[core] plugins_folder`.
    pub plugins: PathBuf,
    /// The folder of the installed packages, if known.
    pub packages: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error("a folder cannot be read: {0}")]
    Folder(#[from] io::Error),
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// Publishes the environment unless it is the one published last; tries until it succeeds.
pub(crate) async fn publish(database: Database, evaluator: Evaluator, places: Places) {
    while let Err(error) = try_publish(&database, &evaluator, &places).await {
        tracing::warn!(%error, "the lists of plugins and connection types cannot be published yet; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn try_publish(database: &Database, evaluator: &Evaluator, places: &Places) -> Result<(), PublishError> {
    let fingerprint = places.fingerprint()?;
    if python_environment::fingerprint(database.pool()).await?.as_ref() == Some(&fingerprint) {
        return Ok(());
    }
    let environment = evaluator.ask(SUBJECT, Environment {}).await?;
    Ok(python_environment::publish(database.pool(), &fingerprint, &environment).await?)
}

impl Places {
    /// What changes when packages are installed or removed, or plugins are edited.
    fn fingerprint(&self) -> io::Result<String> {
        let mut lines = vec![format!("tradewind {}", env!("CARGO_PKG_VERSION"))];
        if let Some(packages) = &self.packages {
            for entry in fs::read_dir(packages)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                lines.extend(name.ends_with(".dist-info").then_some(name));
            }
        }
        if self.plugins.is_dir() {
            lines.extend(files_below(&self.plugins)?);
        }
        lines.sort();
        let digest = Sha256::digest(lines.join("\n"));
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A line for every file: where it is, how long, and when it was written.
fn files_below(folder: &Path) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let is_cache = |name: &std::ffi::OsStr| name == "__pycache__";
    for entry in WalkDir::new(folder).follow_links(true).into_iter().filter_entry(|it| !is_cache(it.file_name())) {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            let written = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            lines.push(format!("{} {} {}", entry.path().display(), metadata.len(), written.as_nanos()));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_changes_with_plugins_and_packages_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let places = Places { plugins: folder.path().join("plugins"), packages: Some(folder.path().join("packages")) };
        let make = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("written");
        };
        let fingerprint = || places.fingerprint().expect("a fingerprint");
        make("packages/airflow/__init__.py", "");
        let empty = fingerprint();
        make("packages/airflow/other.py", "");
        assert_eq!(fingerprint(), empty);
        make("packages/provider-1.dist-info/METADATA", "");
        let provided = fingerprint();
        make("plugins/inner/mine.py", "a");
        let with_plugin = fingerprint();
        make("plugins/inner/mine.py", "ab");
        let edited = fingerprint();
        make("plugins/inner/__pycache__/mine.pyc", "x");
        assert_eq!(fingerprint(), edited);
        let all = [&empty, &provided, &with_plugin, &edited];
        assert!(all.iter().enumerate().all(|(index, one)| !all[..index].contains(one)));
    }
}
