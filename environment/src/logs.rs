//! What the programs of a build say: a file for each of them, whose content also goes to CloudWatch where the group of the component
//! is switched on.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tradewind_airflow::config::{Config, ConfigError, Origin};
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_remote_log::{self as remote_log, Follow, Kind, Shipping};
use tradewind_supervisor::pyhost;

use crate::manifest::Component;

/// What the names of logs begin with, those of Amazon MWAA's streams too.
pub(crate) const REQUIREMENTS: &str = "requirements_install";
pub(crate) const SCRIPT: &str = "startup_script_execution";

/// What begins the names of variables that hold connections.
const CONNECTION: &str = "AIRFLOW_CONN_";

/// What begins those of options, whose own table says which are secret.
const OPTION: &str = "AIRFLOW__";

/// How long what is left may take to be sent when the process ends.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Lines of a log that are shown when a program fails.
const SHOWN_LINES: usize = 20;

/// Bytes at the end of a log that are looked at for them.
const SHOWN_BYTES: u64 = 4096;

/// The logs of what a component builds. Clones share what is sent.
#[derive(Debug, Clone)]
pub struct BuildLogs {
    folder: PathBuf,
    hostname: String,
    masker: SecretsMasker,
    shipping: Option<Shipping>,
}

impl BuildLogs {
    /// Those of a component on this machine, whose programs begin with the variables of `children`. As in Amazon MWAA, streams are
    /// in the group of the component that `MWAA_AIRFLOW_COMPONENT` names.
    ///
    /// # Errors
    /// An option has a value that cannot be used.
    pub(crate) fn from_config(
        config: &Config,
        component: Component,
        children: &pyhost::Options,
        hostname: &str,
    ) -> Result<Self, ConfigError> {
        let group = match Kind::of_component(component.name()) {
            Some(kind) => remote_log::group(config, kind)?,
            None => None,
        };
        let masker = masker(config, children)?;
        Ok(Self {
            folder: PathBuf::from(config.string("logging", "base_log_folder")?).join("python_environments"),
            hostname: hostname.to_owned(),
            shipping: group.map(|group| Shipping::of_programs(group, masker.clone())),
            masker,
        })
    }

    /// Begins, or goes on with, the log of what is done for a version.
    ///
    /// # Errors
    /// There is no folder for it.
    pub(crate) fn begin(&self, what: &str, version: &str) -> io::Result<BuildLog> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{what}_{version}.log"));
        let stream = remote_log::stream_of(what, &self.hostname);
        let shipping = self.shipping.as_ref();
        let sent = shipping.map(|shipping| shipping.follow(path.clone(), Path::new(&stream)));
        Ok(BuildLog { path, masker: self.masker.clone(), _sent: sent })
    }

    /// Hides a variable that a script has exported, if its name says that it is a secret.
    pub(crate) fn learn(&self, name: &str, value: &str) {
        learn(&self.masker, name, value);
    }

    /// Sends what is left, for a while. Nothing is built any more.
    pub async fn stop(&self) {
        if let Some(shipping) = &self.shipping {
            shipping.stop(TIMEOUT).await;
        }
    }
}

/// Knows the secrets of the configuration, and of the variables that programs begin with.
fn masker(config: &Config, children: &pyhost::Options) -> Result<SecretsMasker, ConfigError> {
    let masker = SecretsMasker::from_config(config)?;
    for value in config.list().filter(|value| value.option.sensitive && value.origin != Origin::Default) {
        masker.add(&value.text.clone().into(), None);
    }
    for (name, value) in &children.environment {
        learn(&masker, &name.to_string_lossy(), &value.to_string_lossy());
    }
    Ok(masker)
}

fn learn(masker: &SecretsMasker, name: &str, value: &str) {
    if name.starts_with(CONNECTION) {
        masker.add(&value.into(), None);
        // What is no JSON is an address.
        let parts: Value = serde_json::from_str(value).unwrap_or_default();
        masker.add(&parts["password"], None);
        masker.add(&parts["extra"], None);
    } else if !name.starts_with(OPTION) {
        masker.add(&value.into(), Some(name));
    }
}

/// The log of what is done for one version. It is complete when this is dropped.
#[derive(Debug)]
pub(crate) struct BuildLog {
    path: PathBuf,
    masker: SecretsMasker,
    _sent: Option<Follow>,
}

impl BuildLog {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, for a program to write to.
    pub(crate) fn open(&self) -> io::Result<File> {
        File::options().create(true).append(true).read(true).open(&self.path)
    }

    /// Adds a line of ours. A log that cannot be written stops no build.
    pub(crate) fn add(&self, line: &str) {
        let added = self.open().and_then(|mut file| {
            let begin = if ends_amid_a_line(&mut file)? { "\n" } else { "" };
            file.write_all(format!("{begin}{line}\n").as_bytes())
        });
        if let Err(error) = added {
            tracing::warn!(%error, log = %self.path.display(), "a log cannot be written");
        }
    }

    /// The end of what was written since it was `begin` bytes long, without secrets.
    pub(crate) fn said_since(&self, begin: u64) -> String {
        // What cannot be read says nothing.
        let said = self.masker.redact_text(&self.end(begin).unwrap_or_default());
        let lines: Vec<&str> = said.trim().lines().collect();
        match &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
            [] => "nothing".to_owned(),
            [line] => (*line).to_owned(),
            lines => format!("\n{}", lines.join("\n")),
        }
    }

    fn end(&self, begin: u64) -> io::Result<String> {
        let mut file = self.open()?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(begin.max(length.saturating_sub(SHOWN_BYTES))))?;
        let mut end = Vec::new();
        file.take(SHOWN_BYTES).read_to_end(&mut end)?;
        Ok(String::from_utf8_lossy(&end).into_owned())
    }
}

fn ends_amid_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
pub(crate) mod tests {
    use tradewind_airflow::config::Environment;

    use super::*;

    /// Logs that are sent nowhere.
    pub(crate) fn logs(folder: &Path) -> BuildLogs {
        let environment = Environment::default()
            .with("AIRFLOW_HOME", folder.to_string_lossy())
            .with("AIRFLOW__LOGGING__BASE_LOG_FOLDER", folder.to_string_lossy())
            .with("AIRFLOW__CORE__FERNET_KEY", "of-the-configuration");
        let config = Config::from_environment(&environment).expect("a configuration");
        let masker = SecretsMasker::from_config(&config).expect("a masker");
        BuildLogs { folder: folder.to_owned(), hostname: "h".to_owned(), masker, shipping: None }
    }

    #[test]
    fn lines_of_ours_stand_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = logs(folder.path()).begin(SCRIPT, "v").expect("a log");
        log.add("first");
        log.open().expect("a file").write_all(b"without an end").expect("written");
        log.add("last");
        let path = folder.path().join("startup_script_execution_v.log");
        assert_eq!(fs::read_to_string(path).expect("a log"), "first\nwithout an end\nlast\n");
        assert_eq!(log.said_since(6), "\nwithout an end\nlast");
        assert_eq!(log.said_since(26), "nothing");
    }

    #[test]
    fn what_is_shown_has_no_secrets() {
        let folder = tempfile::tempdir().expect("a folder");
        let logs = logs(folder.path());
        logs.learn("PIP_TOKEN", "of-a-variable");
        logs.learn("AIRFLOW_CONN_DB", r#"{"conn_type": "postgres", "password": "of-a-connection"}"#);
        logs.learn("AIRFLOW__SECRETS__USE_CACHE", "False");
        logs.learn("STAGE", "production");
        let log = logs.begin(REQUIREMENTS, "v").expect("a log");
        log.add("of-a-variable of-a-connection False production");
        assert_eq!(log.said_since(0), "*** *** False production");
    }
}
