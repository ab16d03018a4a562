//! What must be in order before anything is made.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::unistd::{AccessFlags, access};
use tradewind_airflow::config::{Config, Environment, Origin};
use tradewind_bundle::configuration::{self, Place};
use tradewind_metadata::connect_options;
use tradewind_secrets::look_up_option;
use tradewind_supervisor::pyhost;
use tradewind_webserver::WebServer;

use super::home::not_writable;
use super::installation::Installations;
use super::postgres::Owner;
use crate::arguments::Standalone;
use crate::component::check_shared_options;
use crate::failure::{Failure, Kind, cannot_listen};
use crate::venv::Venv;

/// A deployment that can be started.
#[derive(Debug)]
pub(crate) struct Plan {
    home: PathBuf,
    address: SocketAddr,
    config: Config,
    variables: Variables,
    postgres: Option<Installations>,
}

impl Plan {
    /// Looks at everything that could be in the way, and makes nothing.
    ///
    /// # Errors
    /// The first thing that is in the way, with its cure.
    pub(crate) fn make(options: &Standalone) -> Result<Self> {
        let home = home_folder(options)?;
        check_writable(&home)?;
        let mut variables = Variables::of(&home);
        let given = variables.config()?;
        variables.add_defaults(&given, options)?;
        let config = variables.config()?;
        let address = free_address(options)?;
        let postgres =
            needs_server(&config)?.then(|| Owner::choose().and_then(|_| Installations::find())).transpose()?;
        let venv = Venv::find(&config)?;
        variables.add_venv(&venv)?;
        pyhost::Options::from_config(&variables.config()?)?;
        check_dag_folders(&home, &config, &venv)?;
        check_options(&config, &venv)?;
        Ok(Self { home, address, config, variables, postgres })
    }

    /// The home folder, absolute.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The configuration, still without the address of a private server.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The programs for a private server; `None` when the configuration names a database.
    pub(crate) fn postgres(&self) -> Option<&Installations> {
        self.postgres.as_ref()
    }

    /// Where the web server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the scheduler starts workers.
    pub(crate) fn has_fleet(&self) -> bool {
        self.config.optional("tradewind", "max_workers").ok().flatten().is_some()
    }

    /// What a browser on this machine opens.
    pub(crate) fn url(&self) -> String {
        let has_certificate = self.config.optional("api", "ssl_cert").ok().flatten().is_some();
        let scheme = if has_certificate { "https" } else { "http" };
        if self.address.ip().is_unspecified() {
            return format!("{scheme}://localhost:{}", self.address.port());
        }
        format!("{scheme}://{}", self.address)
    }

    /// The environment of the components.
    pub(crate) fn environment(&self, server: Option<&str>) -> Variables {
        let mut variables = self.variables.clone();
        if let Some(url) = server {
            variables.set("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url);
        }
        variables
    }
}

/// Environment variables on top of those of this process.
#[derive(Debug, Clone)]
pub(crate) struct Variables {
    added: Vec<(&'static str, OsString)>,
}

impl Variables {
    fn of(home: &Path) -> Self {
        Self { added: vec![("AIRFLOW_HOME", home.into())] }
    }

    fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.added.push((name, value.into()));
    }

    /// What standalone chooses otherwise than Airflow, unless the user chose.
    fn add_defaults(&mut self, given: &Config, options: &Standalone) -> Result<()> {
        if let Some(folder) = &options.dags_folder {
            self.set("AIRFLOW__CORE__DAGS_FOLDER", std::path::absolute(folder)?);
        }
        if let Some(slots) = options.slots {
            self.set("AIRFLOW__TRADEWIND__WORKER_SLOTS", slots.to_string());
        }
        let untouched = |section, key| -> Result<bool> { Ok(given.value(section, key)?.origin == Origin::Default) };
        if untouched("core", "load_examples")? {
            self.set("AIRFLOW__CORE__LOAD_EXAMPLES", "False");
        }
        // The one worker stands for `LocalExecutor`, which runs the tasks of every queue. A broker's queues have to be named.
        if untouched("tradewind", "worker_queues")? && given.string("tradewind", "queue")? == "postgres" {
            self.set("AIRFLOW__TRADEWIND__WORKER_QUEUES", "*");
        }
        // Whoever stops standalone waits for it, so running tasks are asked to end at once.
        if untouched("tradewind", "worker_drain_timeout")? {
            self.set("AIRFLOW__TRADEWIND__WORKER_DRAIN_TIMEOUT", "0");
        }
        // Its web server reads the files: no port that other machines reach is opened for nothing.
        if untouched("tradewind", "worker_serves_logs")? {
            self.set("AIRFLOW__TRADEWIND__WORKER_SERVES_LOGS", "False");
        }
        Ok(())
    }

    /// Makes the virtual environment the active one, so that user code finds its programs.
    fn add_venv(&mut self, venv: &Venv) -> Result<()> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(venv.root().join("bin")).chain(std::env::split_paths(&path)))
            .with_context(|| format!("{} cannot be part of PATH", venv.root().display()))?;
        self.set("PATH", path);
        self.set("VIRTUAL_ENV", venv.root());
        self.set("AIRFLOW__TRADEWIND__VENV", venv.root());
        Ok(())
    }

    /// The configuration that these variables describe.
    pub(crate) fn config(&self) -> Result<Config> {
        let environment = self.added.iter().fold(Environment::of_process(), |environment, (name, value)| {
            environment.with(*name, value.to_string_lossy())
        });
        Ok(Config::with_secrets(&environment, &look_up_option)?)
    }

    /// Names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &OsString)> {
        self.added.iter().map(|(name, value)| (*name, value))
    }
}

fn home_folder(options: &Standalone) -> Result<PathBuf> {
    let from_environment = || std::env::var_os("AIRFLOW_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = options.home.clone().or_else(from_environment).unwrap_or_else(|| PathBuf::from(".tradewind"));
    let home = std::path::absolute(&home).with_context(|| format!("{} is no path", home.display()))?;
    Ok(canonical(&home))
}

/// One folder shall have one name, before it is made and after, because the name may decide where its cluster lies.
fn canonical(path: &Path) -> PathBuf {
    for existing in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (existing.canonicalize(), path.strip_prefix(existing)) {
            return real.components().chain(rest.components()).collect();
        }
    }
    path.to_owned()
}

fn free_address(options: &Standalone) -> Result<SocketAddr> {
    let unknown = || {
        Failure::new(
            Kind::Configuration,
            format!("{} is not an address of this machine", options.host),
            "give --host an address such as 127.0.0.1 or 0.0.0.0",
        )
    };
    let mut addresses = (options.host.as_str(), options.port).to_socket_addrs().map_err(|_| unknown())?;
    let address = addresses.next().ok_or_else(unknown)?;
    let listener = TcpListener::bind(address).map_err(|error| cannot_listen(address, &error))?;
    Ok(listener.local_addr()?)
}

/// Whether the folder, or the nearest one above it that exists, lets us write.
fn check_writable(home: &Path) -> Result<()> {
    let Some(existing) = home.ancestors().find(|folder| folder.symlink_metadata().is_ok()) else { return Ok(()) };
    if !existing.is_dir() {
        return Err(not_writable(home, &format!("{} is not a folder", existing.display())).into());
    }
    access(existing, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|error| not_writable(home, &format!("{}: {}", existing.display(), error.desc())).into())
}

/// Whether the configuration leaves the database to us.
fn needs_server(config: &Config) -> Result<bool> {
    let value = config.value("database", "sql_alchemy_conn")?;
    if value.origin == Origin::Default {
        return Ok(true);
    }
    connect_options(value.text.as_deref().unwrap_or_default())?;
    Ok(false)
}

/// What the components would refuse when they start.
fn check_options(config: &Config, venv: &Venv) -> Result<()> {
    tradewind_worker::Options::from_config(config)?;
    tradewind_scheduler::Options::from_config(config, String::new())?;
    tradewind_dag_processor::Options::from_config(config, Some(venv.airflow()))?;
    tradewind_environment::configuration::Options::from_config(config)?;
    WebServer::check(config, venv.airflow())?;
    tradewind_telemetry::Options::from_config(config, &Environment::of_process(), "")?;
    check_shared_options(config)
}

/// The folders of the Dag bundles must exist; the default one is made with the home folder.
fn check_dag_folders(home: &Path, config: &Config, venv: &Venv) -> Result<()> {
    let bundles = configuration::configured(config, Some(venv.airflow()))?;
    let mut folders = bundles.iter().filter_map(|bundle| match &bundle.place {
        Place::Folder(path) => Some(path.as_path()),
        Place::S3(_) => None,
    });
    let is_missing = |folder: &Path| !folder.is_dir() && (folder.exists() || !folder.starts_with(home));
    let Some(missing) = folders.find(|folder| is_missing(folder)) else { return Ok(()) };
    Err(Failure::new(
        Kind::Missing,
        format!("the Dag folder {} does not exist or is not a folder", missing.display()),
        "create it, or name another one with --dags-folder",
    )
    .into())
}
