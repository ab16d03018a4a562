//! Builds a version: packages, plugins, script, requirements, in this order; then looks whether it is good.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::sleep;
use tradewind_airflow::config::{AIRFLOW_VERSION, Config, ConfigError};
use tradewind_aws::Account;
use tradewind_aws::s3::{Bucket, S3Error, Wanted};
use tradewind_bundle::manifest::ObjectState;
use tradewind_supervisor::pyhost;

use crate::configuration::{ObjectPath, Options};
use crate::logs::{self, BuildLog, BuildLogs};
use crate::manifest::{Component, Manifest, Part};
use crate::packages::Packages;
use crate::plugins::{self, PluginsError};
use crate::requirements::{Installer, constraints, files_among_dags, has_constraint, with_dags_at, with_plugins_at};
use crate::startup_script::{self, Exports};
use crate::step::{Step, StepError};
use crate::store::{Begun, Environment, Facts, Place, Store, Unfinished};

/// How often it is looked whether another process has built a version.
const LOOK: Duration = Duration::from_millis(200);

/// How long Airflow may take to be imported, and packages to be checked.
const CHECK_TIMEOUT: Duration = Duration::from_secs(120);

/// What tells of packages that do not go together, in lines of `pip check` and `uv pip check`.
const CONFLICT_WORDS: &[&str] = &[" requires ", " has requirement ", " is not supported on this platform"];

/// The environment of a process.
type Variables = [(OsString, OsString)];

/// Why a version cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct BuildError {
    /// The address of the object that is to be mended.
    pub url: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with an object.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// It is not there.
    #[error(
        "{what} is not in the bucket\nhint: upload it, or correct {option} ([tradewind])",
        what = version.as_ref().map_or_else(|| "it".to_owned(), |version| format!("version {version} of it"))
    )]
    Missing {
        /// The version asked for.
        version: Option<String>,
        /// The option that names it.
        option: &'static str,
    },
    /// The bucket does not give it.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// It is no archive of plugins.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
    /// The script fails or hangs.
    #[error("{0}\nhint: the whole log is {log}", log = .1.display())]
    Script(StepError, PathBuf),
    /// The script has hidden how it ended.
    #[error("the start-up script has replaced the shell or its EXIT trap, so that its variables are not known")]
    NoExports,
    /// The requirements cannot be installed.
    #[error("{0}\nhint: the whole log is {log}", log = .1.display())]
    Requirements(StepError, PathBuf),
    /// It is no text.
    #[error("it is no text in UTF-8")]
    NoText,
    /// Packages do not go together.
    #[error("packages do not go together after the installation: {0}\nhint: choose versions that do")]
    Conflicts(String),
    /// Airflow is no longer what it was.
    #[error(
        "after the installation Airflow is no longer {AIRFLOW_VERSION}\nhint: leave apache-airflow and its parts out of the \
         requirements"
    )]
    OtherAirflow,
    /// The environment cannot be stored.
    #[error(
        "the environment cannot be stored: {0}\nhint: look at python_environments in the home folder, and the space there"
    )]
    Store(#[from] io::Error),
}

/// Builds environments for one component.
#[derive(Debug)]
pub struct Builder {
    options: Options,
    bucket: Bucket,
    base: Packages,
    component: Component,
    store: Store,
    /// How children are started without an environment of the bucket.
    children: pyhost::Options,
    home: PathBuf,
    logs: BuildLogs,
    configured: BTreeSet<String>,
}

impl Builder {
    /// A builder on top of installed packages; `children` says how an interpreter on these is started, and `hostname` what this
    /// machine is called in the names of logs.
    ///
    /// # Errors
    /// When an option is missing.
    pub fn new(
        config: &Config,
        options: Options,
        account: &Account,
        base: &Path,
        component: Component,
        children: pyhost::Options,
        hostname: &str,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            logs: BuildLogs::from_config(config, component, &children, hostname)?,
            bucket: Bucket::new(account, &options.bucket),
            options,
            base: Packages::new(base),
            component,
            store: Store::new(config.home().join("python_environments")),
            children: children.with_variable("MWAA_AIRFLOW_COMPONENT", component.name()),
            home: config.home().to_owned(),
            configured: startup_script::configured(config),
        })
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What is said while it builds.
    #[must_use]
    pub fn logs(&self) -> &BuildLogs {
        &self.logs
    }

    /// How an interpreter is started in an environment; without one: on the installed packages.
    #[must_use]
    pub fn host_options(&self, environment: Option<&Environment>) -> pyhost::Options {
        let children = self.children.clone();
        environment.map_or_else(|| children.clone(), |environment| environment.applied_to(children.clone()))
    }

    /// The newest state of the objects, or that of the versions asked for.
    ///
    /// # Errors
    /// An object is missing, or the bucket cannot be asked.
    pub async fn describe(&self) -> Result<Manifest, BuildError> {
        let options = &self.options;
        Ok(Manifest {
            requirements: self.part(options.requirements.as_ref(), "requirements_s3_path").await?,
            plugins: self.part(options.plugins.as_ref(), "plugins_s3_path").await?,
            startup_script: self.part(options.startup_script.as_ref(), "startup_script_s3_path").await?,
        })
    }

    async fn part(&self, object: Option<&ObjectPath>, option: &'static str) -> Result<Option<Part>, BuildError> {
        let Some(ObjectPath { key, version }) = object else { return Ok(None) };
        let described = self.bucket.describe(key, version.as_deref()).await.map_err(|error| match error {
            S3Error::Changed { .. } => self.failed(key, Reason::Missing { version: version.clone(), option }),
            other => self.failed(key, other.into()),
        })?;
        let state = ObjectState { etag: described.etag, size: described.size, version_id: described.version_id };
        Ok(Some(Part { key: key.clone(), state }))
    }

    /// The version that these objects make.
    ///
    /// # Errors
    /// The installed packages cannot be listed.
    pub fn version(&self, manifest: &Manifest) -> Result<String, BuildError> {
        let names = self.base.names().map_err(|error| self.failed("", error.into()))?;
        Ok(manifest.version(&names, self.component))
    }

    /// The environment of these objects: the one that is there, or a new one.
    ///
    /// # Errors
    /// It cannot be built; nothing is left of it but its logs.
    pub async fn provide(&self, manifest: &Manifest) -> Result<Environment, BuildError> {
        let version = self.version(manifest)?;
        let stored = |error: io::Error| self.failed("", error.into());
        loop {
            match self.store.begin(&version).map_err(stored)? {
                Some(Begun::Complete(environment)) => return Ok(environment),
                Some(Begun::Unfinished(unfinished)) => return self.build(manifest, &version, unfinished).await,
                None => sleep(LOOK).await,
            }
        }
    }

    /// Removes what is not needed any more.
    pub fn clean_up(&self) {
        if let Err(error) = self.store.remove_unused() {
            tracing::warn!(%error, "old Python environments cannot be removed");
        }
    }

    async fn build(
        &self,
        manifest: &Manifest,
        version: &str,
        unfinished: Unfinished,
    ) -> Result<Environment, BuildError> {
        tracing::info!(version, component = self.component.name(), "a Python environment is built");
        match self.fill(manifest, version, &unfinished.place).await {
            Ok(facts) => self.store.finish(unfinished, facts).map_err(|error| self.failed("", error.into())),
            Err(error) => {
                if let Err(left) = self.store.give_up(&unfinished) {
                    tracing::warn!(version, error = %left, "what was built of it cannot be removed");
                }
                Err(error)
            }
        }
    }

    async fn fill(&self, manifest: &Manifest, version: &str, place: &Place) -> Result<Facts, BuildError> {
        let mut facts = Facts::default();
        if let Some(part) = &manifest.plugins {
            self.unpack_plugins(part, place).await?;
            facts.has_plugins = true;
        }
        self.copy_packages(place).await?;
        if let Some(part) = &manifest.startup_script {
            let log = self.log(logs::SCRIPT, version)?;
            facts.variables = told(&log, self.run_script(part, place, &facts, &log).await)?;
        }
        if let Some(part) = &manifest.requirements {
            let log = self.log(logs::REQUIREMENTS, version)?;
            told(&log, self.install(part, place, &facts, &log).await)?;
        }
        Ok(facts)
    }

    async fn unpack_plugins(&self, part: &Part, place: &Place) -> Result<(), BuildError> {
        let archive = self.fetch(part, &place.file("plugins.zip")).await?;
        let folder = place.plugins();
        let unpacked = tokio::task::spawn_blocking(move || plugins::unpack(&archive, &folder)).await;
        let unpacked = unpacked.map_err(|error| Reason::from(io::Error::other(error)));
        unpacked.and_then(|unpacked| Ok(unpacked?)).map_err(|reason| self.failed(&part.key, reason))
    }

    async fn copy_packages(&self, place: &Place) -> Result<(), BuildError> {
        let (base, target) = (self.base.clone(), place.packages());
        let copied = tokio::task::spawn_blocking(move || base.copy_to(&target)).await;
        let copied = copied.map_err(io::Error::other).flatten();
        copied.map(drop).map_err(|error| self.failed("", error.into()))
    }

    async fn run_script(
        &self,
        part: &Part,
        place: &Place,
        facts: &Facts,
        log: &BuildLog,
    ) -> Result<BTreeMap<String, String>, BuildError> {
        let failed = |reason| self.failed(&part.key, reason);
        let script = self.fetch(part, &place.file("startup.sh")).await?;
        let written = place.file("exports");
        let variables = place.variables(facts, self.children.clone()).environment;
        let command = self.prepared(startup_script::command(&script, &written), &variables);
        let limit = self.options.startup_script_timeout;
        let step = Step { what: "the start-up script", command, log, limit };
        step.run().await.map_err(|error| failed(Reason::Script(error, log.path().to_owned())))?;
        let text = fs::read(&written).map_err(|_| failed(Reason::NoExports))?;
        // It may hold secrets.
        fs::remove_file(&written).map_err(|error| failed(error.into()))?;
        let exports = Exports::read(&text, &variables, &self.configured);
        if !exports.refused.is_empty() {
            tracing::warn!(
                variables = ?exports.refused,
                "the start-up script exports variables that are reserved, or set by the configuration; they stay what they were"
            );
        }
        exports.variables.iter().for_each(|(name, value)| self.logs.learn(name, value));
        Ok(exports.variables)
    }

    async fn install(&self, part: &Part, place: &Place, facts: &Facts, log: &BuildLog) -> Result<(), BuildError> {
        let failed = |reason| self.failed(&part.key, reason);
        let folder = place.file("requirements");
        fs::create_dir(&folder).map_err(|error| failed(error.into()))?;
        let file = self.fetch(part, &folder.join("requirements.txt")).await?;
        let text = fs::read(&file).map_err(|error| failed(error.into()))?;
        let text = String::from_utf8(text).map_err(|_| failed(Reason::NoText))?;
        let packages = Packages::new(&place.packages());
        let names = packages.names().map_err(|error| failed(error.into()))?;
        let kept = folder.join("constraints.txt");
        let dags = folder.join("dags");
        for path in files_among_dags(&text) {
            self.fetch_dag_file(&path, &dags).await.map_err(failed)?;
        }
        let own = with_dags_at(&with_plugins_at(&text, &place.plugins()), &dags);
        fs::write(&file, own).map_err(|error| failed(error.into()))?;
        fs::write(&kept, constraints(&names, !has_constraint(&text))).map_err(|error| failed(error.into()))?;
        let variables = place.variables(facts, self.children.clone()).environment;
        let installer = Installer::of(&packages);
        let before = self.conflicts(installer, &packages, &variables).await.map_err(|error| failed(error.into()))?;
        let step = Step {
            what: "the installation of the requirements",
            command: self.prepared(installer.install(&packages, &file, &[kept]), &variables),
            log,
            limit: self.options.requirements_timeout,
        };
        step.run().await.map_err(|error| failed(Reason::Requirements(error, log.path().to_owned())))?;
        self.check(installer, &packages, &variables, &before, log).await.map_err(failed)
    }

    /// Whether an environment is good after an installation: it has the same Airflow, which can be imported, and no more conflicts
    /// than before.
    async fn check(
        &self,
        installer: Installer,
        packages: &Packages,
        variables: &Variables,
        before: &BTreeSet<String>,
        log: &BuildLog,
    ) -> Result<(), Reason> {
        if !packages.names()?.contains(&format!("apache_airflow_core-{AIRFLOW_VERSION}")) {
            return Err(Reason::OtherAirflow);
        }
        let after = self.conflicts(installer, packages, variables).await?;
        let new: Vec<&str> = after.difference(before).map(String::as_str).collect();
        if !new.is_empty() {
            return Err(Reason::Conflicts(new.join("; ")));
        }
        let mut import = Command::new(packages.program("python"));
        import.args(["-c", "import airflow, airflow.sdk"]);
        let command = self.prepared(import, variables);
        let step = Step { what: "importing Airflow after the installation", command, log, limit: CHECK_TIMEOUT };
        step.run().await.map_err(|error| Reason::Requirements(error, log.path().to_owned()))
    }

    /// What the installer says of packages that do not go together.
    async fn conflicts(
        &self,
        installer: Installer,
        packages: &Packages,
        variables: &Variables,
    ) -> io::Result<BTreeSet<String>> {
        let mut command = self.prepared(installer.check(packages), variables);
        let output = tokio::time::timeout(CHECK_TIMEOUT, command.kill_on_drop(true).output());
        let output = output.await.map_err(io::Error::other)??;
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        let conflicts = said.lines().filter(|line| CONFLICT_WORDS.iter().any(|words| line.contains(words)));
        Ok(conflicts.map(|line| line.trim().to_owned()).collect())
    }

    /// A command with the variables of children, in the home folder.
    fn prepared(&self, mut command: Command, variables: &Variables) -> Command {
        command.env_clear().envs(variables.iter().map(|(name, value)| (name, value))).current_dir(&self.home);
        command
    }

    /// Fetches a file among the Dags that the requirements name, in its newest version.
    async fn fetch_dag_file(&self, path: &str, folder: &Path) -> Result<(), Reason> {
        let (key, file) = (format!("{}{path}", self.options.dags), folder.join(path));
        let described = self.bucket.describe(&key, None).await?;
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        let version_id = described.version_id.as_deref();
        let wanted = Wanted { key: &key, etag: &described.etag, size: described.size, version_id };
        self.bucket.fetch(wanted, &file).await?;
        Ok(())
    }

    async fn fetch(&self, part: &Part, file: &Path) -> Result<PathBuf, BuildError> {
        let Part { key, state } = part;
        let wanted = Wanted { key, etag: &state.etag, size: state.size, version_id: state.version_id.as_deref() };
        self.bucket.fetch(wanted, file).await.map_err(|error| self.failed(key, error.into()))?;
        Ok(file.to_owned())
    }

    fn log(&self, what: &str, version: &str) -> Result<BuildLog, BuildError> {
        self.logs.begin(what, version).map_err(|error| self.failed("", error.into()))
    }

    /// The error that an object is the reason of; without a key: the first that there is.
    fn failed(&self, key: &str, reason: Reason) -> BuildError {
        let url = if key.is_empty() {
            self.options.urls().into_iter().next().unwrap_or_default()
        } else {
            self.options.url(key)
        };
        BuildError { url, reason }
    }
}

/// Adds to a log why it was for nothing, unless the program has said so.
fn told<T>(log: &BuildLog, outcome: Result<T, BuildError>) -> Result<T, BuildError> {
    if let Err(BuildError { url, reason }) = &outcome {
        match reason {
            Reason::Script(StepError::Failed { .. } | StepError::TimedOut { .. }, _)
            | Reason::Requirements(StepError::Failed { .. } | StepError::TimedOut { .. }, _) => {}
            _ => log.add(&format!("{url} cannot be used: {reason}")),
        }
    }
    outcome
}
