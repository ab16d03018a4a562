//! The private Postgres cluster of `tradewind standalone`.

use std::fs::{DirBuilder, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use rand::distr::{Alphanumeric, SampleString};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};
use tokio::process::{Child, Command};
use tradewind_metadata::connect_options;

use super::home::last_lines;
use super::installation::{Installation, Installations};
use crate::configuration::write_secret;
use crate::failure::{Failure, Kind};
use crate::shutdown::Signals;

/// The owner of the database.
const USER: &str = "tradewind";

/// The metadata database.
const DATABASE: &str = "airflow";

/// How long the server may take to answer after its start; recovery after a crash may take a while.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the server may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Lines of the server's log that are shown when it fails.
const LAST_LINES: usize = 5;

/// Pause between two looks at whether it answers, or has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The user that the server runs as when we are root, since Postgres refuses root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// The user; `None` when we are not root and the server runs as we do.
    ///
    /// # Errors
    /// When we are root and there is nobody else.
    pub(crate) fn choose() -> Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Some(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() }));
            }
        }
        bail!(Failure::new(
            Kind::Missing,
            "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as",
            "run tradewind as an ordinary user",
        ))
    }
}

/// A private cluster: where it is and how to reach it.
#[derive(Debug)]
pub(crate) struct Cluster {
    installation: Installation,
    owner: Option<Owner>,
    folder: PathBuf,
    password_file: PathBuf,
}

impl Cluster {
    /// The cluster that belongs to a home folder. Nothing is created yet.
    ///
    /// It lies in `postgres/` under the home folder; only when we are root and the user that the server runs as cannot
    /// reach that (a home under `/root`), under `/var/lib/tradewind`.
    pub(crate) fn of_home(home: &Path, installations: &Installations) -> Result<Self> {
        let owner = Owner::choose()?;
        let name = Sha256::digest(home.as_os_str().as_encoded_bytes());
        let name: String = name.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let (inside, outside) = (home.join("postgres"), Path::new("/var/lib/tradewind").join(name));
        // A cluster stays where it is, whatever happens to the permissions of the folders above.
        let is_outside = if inside.exists() || outside.exists() {
            !inside.exists()
        } else {
            owner.is_some_and(|owner| !owner_can_reach(owner, &inside))
        };
        let folder = if is_outside { outside } else { inside };
        let installation = installations.choose(&folder.join("data"))?;
        Ok(Self { installation, owner, folder, password_file: home.join("postgres.password") })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Makes the cluster if there is none, starts the server and waits until it answers.
    ///
    /// # Errors
    /// When the server does not start; its last words are part of the message.
    pub(crate) async fn start(&self) -> Result<Server> {
        if !self.data().join("PG_VERSION").exists() {
            self.initialise().await?;
        }
        self.end_leftover().await;
        let password = self.password()?;
        let port = free_port()?;
        let log = self.folder.join("postgres.log");
        let mut process = self
            .tied("postgres")?
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=127.0.0.1", "-p", &port.to_string(), "-k", ""])
            .args(["-c", "shared_buffers=32MB", "-c", "max_connections=100", "-c", "jit=off"])
            .args(["-c", "logging_collector=off", "-c", "log_min_messages=warning"])
            .stdout(Stdio::null())
            .stderr(File::create(&log).with_context(|| format!("cannot write {}", log.display()))?)
            .process_group(0)
            .spawn()
            .context("cannot start PostgreSQL")?;
        let url = format!("postgresql+psycopg2://{USER}:{password}@127.0.0.1:{port}/{DATABASE}");
        if let Err(error) = wait_until_ready(&mut process, &url).await {
            return Err(error.context(format!("PostgreSQL does not start: {}", last_lines(&log, LAST_LINES))));
        }
        Ok(Server { process, port, url, log })
    }

    fn password(&self) -> Result<String> {
        let password = std::fs::read_to_string(&self.password_file).map_err(|error| {
            Failure::new(
                Kind::Missing,
                format!(
                    "the password of the database in {} is lost: {}: {error}",
                    self.folder.display(),
                    self.password_file.display()
                ),
                format!("restore the file, or remove {} to start with an empty database", self.folder.display()),
            )
        })?;
        Ok(password.trim().to_owned())
    }

    /// `initdb` into a folder beside, moved into place when whole, so that a failure leaves nothing half made.
    async fn initialise(&self) -> Result<()> {
        self.make_folder()?;
        let draft = self.folder.join("data.new");
        remove_if_there(&draft)?;
        let password = Alphanumeric.sample_string(&mut rand::rng(), 32);
        let handed_over = self.folder.join("password.new");
        write_secret(&handed_over, &password)?;
        if let Some(owner) = self.owner {
            chown(&handed_over, Some(owner.uid), Some(owner.gid))?;
        }
        let output = self
            .command("initdb")
            .arg("-D")
            .arg(&draft)
            .args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"])
            .arg(format!("--pwfile={}", handed_over.display()))
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run initdb")?;
        std::fs::remove_file(&handed_over)?;
        if !output.status.success() {
            remove_if_there(&draft)?;
            bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        write_secret(&self.password_file, &password)?;
        std::fs::rename(&draft, self.data())?;
        Ok(())
    }

    fn make_folder(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&self.folder);
        made.with_context(|| format!("cannot create {}", self.folder.display()))?;
        if let Some(owner) = self.owner {
            chown(&self.folder, Some(owner.uid), Some(owner.gid))?;
        }
        std::fs::set_permissions(&self.folder, Permissions::from_mode(0o700))?;
        Ok(())
    }

    /// Waits for a server that an earlier standalone left behind when it was killed; the kernel has told it to end.
    async fn end_leftover(&self) {
        let Ok(text) = std::fs::read_to_string(self.data().join("postmaster.pid")) else { return };
        let Some(pid) = text.lines().next().and_then(|line| line.parse::<i32>().ok()).map(Pid::from_raw) else {
            return;
        };
        // The number may belong to another process by now; a server works in its data folder.
        let folder = std::fs::read_link(format!("/proc/{pid}/cwd"));
        if !folder.is_ok_and(|folder| folder == self.data()) || kill(pid, Signal::SIGINT).is_err() {
            return;
        }
        let deadline = Instant::now() + START_TIMEOUT;
        while kill(pid, None).is_ok() && Instant::now() < deadline {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// A command run as the server's user, in a folder it can be in.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.installation.program(program));
        if let Some(owner) = self.owner {
            command.uid(owner.uid).gid(owner.gid);
        }
        self.in_folder(command)
    }

    /// The same, tied to this process.
    fn tied(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
        command.arg("tie").arg("--parent").arg(std::process::id().to_string());
        if let Some(owner) = self.owner {
            command.args(["--uid", &owner.uid.to_string(), "--gid", &owner.gid.to_string()]);
        }
        command.arg("--").arg(self.installation.program(program));
        Ok(self.in_folder(command))
    }

    fn in_folder(&self, mut command: Command) -> Command {
        command.current_dir(&self.folder).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    port: u16,
    url: String,
    log: PathBuf,
}

impl Server {
    /// Its address in SQLAlchemy's form.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its port on the loopback interface.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until the server ends, which it should not, and returns the end of its log.
    pub(crate) async fn ended(&mut self) -> String {
        drop(self.process.wait().await);
        last_lines(&self.log, LAST_LINES)
    }

    /// Stops the server: open transactions are rolled back. One that takes too long, or until the next signal, is told
    /// to leave the rest to the recovery at its next start.
    pub(crate) async fn stop(mut self, signals: &mut Signals) {
        for (signal, patience) in [(Signal::SIGINT, STOP_TIMEOUT), (Signal::SIGQUIT, STOP_TIMEOUT / 4)] {
            if let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = kill(Pid::from_raw(pid), signal);
            }
            tokio::select! {
                _ = self.process.wait() => return,
                () = tokio::time::sleep(patience) => {}
                () = signals.next() => {}
            }
        }
        drop(self.process.kill().await);
    }
}

/// Whether the user can walk down to where the folder is or will be.
fn owner_can_reach(owner: Owner, folder: &Path) -> bool {
    folder.ancestors().skip(1).filter_map(|ancestor| std::fs::metadata(ancestor).ok()).all(|metadata| {
        let mode = metadata.mode();
        let searchable = if metadata.uid() == owner.uid {
            mode & 0o100
        } else if metadata.gid() == owner.gid {
            mode & 0o010
        } else {
            mode & 0o001
        };
        searchable != 0
    })
}

async fn wait_until_ready(process: &mut Child, url: &str) -> Result<()> {
    let options = connect_options(url)?.database("postgres");
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(status) = process.try_wait()? {
            bail!("it ended at once: {status}");
        }
        match PgConnection::connect_with(&options).await {
            Ok(mut connection) => return make_database(&mut connection).await,
            Err(error) if Instant::now() > deadline => {
                drop(process.kill().await);
                return Err(error).context("it does not answer");
            }
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

async fn make_database(connection: &mut PgConnection) -> Result<()> {
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'airflow')")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        sqlx::query("CREATE DATABASE airflow").execute(connection).await?;
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
