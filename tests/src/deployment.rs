//! A whole deployment: `tradewind standalone`, or its components one by one, on a database and in a folder of its own.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tradewind_metadata::testing::TestDatabase;

use crate::patience::eventually;
use crate::process;
use crate::program;
use crate::rest::Rest;

/// The administrator.
pub const USER: &str = "admin";

/// The administrator's password.
pub const PASSWORD: &str = "admin";

/// Twice what an end may take, for a machine with much else to do.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(20);

/// What is said when everything is up.
const READY: &str = "Ctrl-C stops everything";

/// What stays when the processes end: a home folder, a Dag folder, a database, and options.
pub struct Deployment {
    folder: TempDir,
    database: TestDatabase,
    variables: Vec<(String, OsString)>,
}

impl Deployment {
    /// A deployment whose Dag folder has these files and the files of these folders.
    ///
    /// # Panics
    /// When they cannot be copied, as everywhere below when the system fails.
    pub async fn new(dags: &[PathBuf]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Tasks may run as another user.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("permissions");
        let deployment = Self { folder, database: TestDatabase::migrated().await, variables: Vec::new() };
        for folder in [deployment.home(), deployment.dags_folder()] {
            std::fs::create_dir(folder).expect("a folder");
        }
        dags.iter().for_each(|path| deployment.add_dags(path));
        let passwords = deployment.home().join("simple_auth_manager_passwords.json.generated");
        std::fs::write(passwords, format!(r#"{{"{USER}": "{PASSWORD}"}}"#)).expect("the password file");
        let conn = deployment.database.sql_alchemy_conn();
        deployment
            .with("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", conn)
            .with("AIRFLOW__TRADEWIND__VENV", program::workspace().join(".venv"))
    }

    /// Adds a variable to the environment of the processes.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Copies a Dag file, or the Dag files of a folder, to the Dag folder.
    pub fn add_dags(&self, path: &Path) {
        let files = match std::fs::read_dir(path) {
            Ok(entries) => entries.map(|entry| entry.expect("a folder entry").path()).collect(),
            Err(_) => vec![path.to_owned()],
        };
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "py")) {
            let name = file.file_name().expect("a file name");
            std::fs::copy(file, self.dags_folder().join(name))
                .unwrap_or_else(|error| panic!("cannot copy {}: {error}", file.display()));
        }
    }

    /// A folder that tests and tasks share.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its database.
    pub fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// `AIRFLOW_HOME` of its processes.
    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// `tradewind` in the environment of this deployment; its arguments are missing.
    pub fn command(&self) -> Command {
        let mut command = Command::new(program::tradewind());
        program::without_configuration(&mut command)
            .env("AIRFLOW_HOME", self.home())
            .env("AIRFLOW__CORE__DAGS_FOLDER", self.dags_folder())
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts everything and waits until it is ready.
    pub async fn start(&self) -> Standalone {
        let output = self.path().join("standalone.log");
        let log = File::create(&output).expect("a log file");
        let process = self
            .command()
            .args(["standalone", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("another descriptor"))
            .stderr(log)
            .spawn()
            .expect("standalone starts");
        let mut standalone = Standalone { process, home: self.home(), output, base_url: String::new() };
        standalone.base_url = standalone.ready().await;
        standalone
    }

    /// Runs a command that ends at once, and returns what it says.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn tradewind(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().expect("the program runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn dags_folder(&self) -> PathBuf {
        self.path().join("dags")
    }
}

/// A running `tradewind standalone`; ended, at the latest, when it is dropped.
pub struct Standalone {
    process: Child,
    home: PathBuf,
    output: PathBuf,
    base_url: String,
}

impl Standalone {
    /// Where the web server listens.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Where the monitor of a component listens.
    ///
    /// # Panics
    /// When it has not said so.
    #[must_use]
    pub fn monitor(&self, component: &str) -> String {
        let said = self.said();
        let line = said.lines().find(|line| line.starts_with(&format!("tradewind {component}: ")));
        let address = line.and_then(|line| line.split_once("monitor at ")).map(|(_, address)| address.to_owned());
        address.unwrap_or_else(|| panic!("{component} has said no address: {said}"))
    }

    /// A client that has logged in.
    pub async fn log_in(&self) -> Rest {
        Rest::log_in(&self.base_url, USER, PASSWORD).await
    }

    /// Ends everything with a signal, and asserts that this is soon done, in good order, and leaves no process behind.
    ///
    /// # Panics
    /// When it is otherwise.
    pub fn end(mut self, signal: Signal) {
        let mut started = process::descendants(self.process.id());
        let begin = Instant::now();
        process::send(self.process.id(), signal);
        let status = self.process.wait().expect("an exit status");
        let took = begin.elapsed();
        assert!(status.success(), "standalone ended with {status}: {}", self.said());
        assert!(took < END_LIMIT, "standalone took {took:?} to end: {}", self.said());
        started.extend(process::started_for(&self.home));
        started.retain(|pid| process::is_running(*pid));
        assert!(started.is_empty(), "left behind: {started:?}");
    }

    /// Waits until everything is up and returns the address of the web server.
    async fn ready(&mut self) -> String {
        eventually("the start of standalone", async || {
            let said = self.said();
            if let Ok(Some(status)) = self.process.try_wait() {
                panic!("standalone ended with {status}: {said}");
            }
            let (_, rest) = said.contains(READY).then(|| said.split_once("is ready: "))??;
            rest.lines().next().map(str::to_owned)
        })
        .await
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// What a component has said.
    #[must_use]
    pub fn log(&self, component: &str) -> String {
        std::fs::read_to_string(self.home.join(format!("logs/tradewind/{component}.log"))).unwrap_or_default()
    }

    /// The log of every component.
    fn component_logs(&self) -> String {
        let folder = std::fs::read_dir(self.home.join("logs/tradewind")).into_iter().flatten().flatten();
        folder
            .map(|entry| {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                format!("--- {}\n{text}", entry.file_name().display())
            })
            .collect()
    }
}

impl Drop for Standalone {
    /// A test that fails leaves no process behind either, and shows what the processes said.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            process::send(self.process.id(), Signal::SIGTERM);
            drop(self.process.wait());
        }
        if std::thread::panicking() {
            show(&format!("standalone said:\n{}\n{}", self.said(), self.component_logs()));
        }
    }
}

#[expect(clippy::print_stderr, reason = "the test runner shows it beside the failure")]
fn show(text: &str) {
    eprintln!("{text}");
}
