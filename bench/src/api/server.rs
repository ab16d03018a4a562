//! The two API servers, each started on the same database and ended again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lines of a server's log that explain why it failed.
const LAST_WORDS: usize = 12;

/// A running API server.
pub(crate) struct Server {
    process: Child,
    /// `http://HOST:PORT`.
    pub(crate) address: String,
    /// What a user's requests carry.
    pub(crate) token: String,
    /// What it wrote.
    log: PathBuf,
}

/// Which of the two.
#[derive(Debug, Clone)]
pub(crate) enum Program {
    /// `airflow api-server` of this virtual environment, with one worker.
    Official(PathBuf),
    /// This `tradewind`.
    Tradewind(PathBuf),
}

impl Program {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Official(_) => "official Airflow",
            Self::Tradewind(_) => "Tradewind",
        }
    }

    fn command(&self, port: u16) -> Command {
        let port = port.to_string();
        match self {
            Self::Official(venv) => {
                let mut command = Command::new(venv.join("bin/airflow"));
                command.args(["api-server", "--host", "127.0.0.1", "--port", &port, "--workers", "1"]);
                command
            }
            Self::Tradewind(binary) => {
                let mut command = Command::new(binary);
                command.args(["webserver", "--host", "127.0.0.1", "--port", &port]);
                command
            }
        }
    }
}

impl Server {
    /// Starts it and gets a token.
    pub(crate) async fn start(
        program: &Program,
        home: &Path,
        venv: &Path,
        sql_alchemy_conn: &str,
    ) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("http://127.0.0.1:{port}");
        let log = home.join(format!("{}.log", program.name()));
        let output = File::create(&log)?;
        let process = program
            .command(port)
            .env("AIRFLOW_HOME", home)
            .env("AIRFLOW__TRADEWIND__VENV", venv)
            .env("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", sql_alchemy_conn)
            .env("AIRFLOW__API__BASE_URL", &address)
            .env("AIRFLOW__API_AUTH__JWT_SECRET", "of-the-benchmark-alone-and-long-enough-for-its-algorithm-0123456789")
            .env("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
            .env("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
            .env("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.name()))?;
        let mut server = Self { process, address, token: String::new(), log };
        server.token = server.log_in().await.with_context(|| format!("{} does not start", program.name()))?;
        Ok(server)
    }

    async fn log_in(&mut self) -> anyhow::Result<String> {
        let client = reqwest::Client::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("it ended: {status}");
            }
            if let Ok(answer) = client.get(format!("{}/auth/token", self.address)).send().await
                && answer.status().is_success()
            {
                let answer: Value = answer.json().await?;
                return Ok(answer["access_token"].as_str().context("an answer without a token")?.to_owned());
            }
            anyhow::ensure!(Instant::now() < deadline, "no token in time");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Resident memory of the server and its children, in MB.
    pub(crate) fn resident_megabytes(&self) -> anyhow::Result<f64> {
        let mut family = vec![self.process.id()];
        let mut kilobytes = 0.0;
        while let Some(pid) = family.pop() {
            let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
            kilobytes += resident.trim().trim_end_matches("kB").trim().parse::<f64>()?;
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        Ok(kilobytes / 1024.0)
    }

    /// Whether it has not crashed.
    pub(crate) fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// The last lines that it wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status()?;
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait()?.is_none() {
            anyhow::ensure!(Instant::now() < deadline, "the server does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, or the benchmark fails: nothing is left to be done about a server that cannot be ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
