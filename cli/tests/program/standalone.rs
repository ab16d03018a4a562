//! A whole deployment: start, stop, start again, and a violent end.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::invocation::tradewind;

/// Longer than any start takes, even on a machine with much else to do.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Longer than anything may go on after its end was asked for.
const END_LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn standalone_starts_keeps_its_data_and_leaves_no_process_behind() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    // The server of a test that runs as root is another user, who has to reach its data.
    std::fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).expect("permissions");
    let home = parent.path().join("home");

    let first = Deployment::start(&home);
    for component in ["scheduler", "dag-processor", "worker", "webserver"] {
        let health = get(&first.monitors[component], "/health");
        let health: Value = serde_json::from_str(&health).expect("JSON");
        assert_eq!(health["component"], component, "{health}");
        get(&first.monitors[component], "/metrics");
    }
    assert!(first.banner.iter().any(|line| line.contains("user admin, password ")), "{:?}", first.banner);
    let mut connection = connect(&home).await;
    sqlx::query("INSERT INTO variable (key, val, is_encrypted) VALUES ('kept', 'yes', false)")
        .execute(&mut connection)
        .await
        .expect("a row");
    drop(connection);
    let banner = first.banner.clone();
    first.end(Signal::SIGTERM, true);

    let second = Deployment::start(&home);
    assert_eq!(login(&second.banner), login(&banner));
    let kept: String = sqlx::query_scalar("SELECT val FROM variable WHERE key = 'kept'")
        .fetch_one(&mut connect(&home).await)
        .await
        .expect("the row");
    assert_eq!(kept, "yes");
    second.end(Signal::SIGKILL, false);
}

/// The line that tells the password.
fn login(banner: &[String]) -> Option<&String> {
    banner.iter().find(|line| line.contains("password"))
}

/// A running standalone.
struct Deployment {
    process: Child,
    /// All it said.
    banner: Vec<String>,
    /// Host and port of each component's monitor.
    monitors: BTreeMap<String, String>,
}

impl Deployment {
    fn start(home: &Path) -> Self {
        let mut process =
            tradewind(home, &["standalone", "--port", "0"]).stdout(Stdio::piped()).spawn().expect("standalone starts");
        let stdout = process.stdout.take().expect("its output");
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let deadline = Instant::now() + START_LIMIT;
        let mut banner: Vec<String> = Vec::new();
        while !banner.last().is_some_and(|line| line.contains("Ctrl-C")) {
            let patience = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(patience) {
                Ok(line) => banner.push(line),
                Err(_) => {
                    let _ = kill(pid(&process), Signal::SIGTERM);
                    panic!("standalone did not start: {banner:#?}");
                }
            }
        }
        let monitors = banner.iter().filter_map(|line| monitor(line)).collect();
        Self { process, banner, monitors }
    }

    /// Ends it with the signal and asserts that nothing it started goes on.
    fn end(mut self, signal: Signal, orderly: bool) {
        let started = descendants(self.process.id());
        assert!(started.len() >= 10, "only {started:?} run");
        kill(pid(&self.process), signal).expect("a signal");
        let status = self.process.wait().expect("an exit status");
        assert_eq!(status.success(), orderly, "{status}");
        let deadline = Instant::now() + END_LIMIT;
        loop {
            let left: Vec<_> = started.iter().copied().filter(|pid| is_running(*pid)).collect();
            if left.is_empty() {
                return;
            }
            assert!(!orderly && Instant::now() < deadline, "left behind: {left:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Deployment {
    /// A test that fails leaves nothing behind either.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = kill(pid(&self.process), Signal::SIGTERM);
            drop(self.process.wait());
        }
    }
}

/// `tradewind NAME: healthy, … monitor at http://HOST:PORT`
fn monitor(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.strip_prefix("tradewind ")?.split_once(": healthy")?;
    let (_, address) = rest.split_once("monitor at http://")?;
    Some((name.to_owned(), address.to_owned()))
}

fn pid(process: &Child) -> Pid {
    Pid::from_raw(i32::try_from(process.id()).expect("a process id"))
}

/// All processes below one.
fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        found.extend(lists.collect::<String>().split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        next += 1;
    }
    found.split_off(1)
}

/// Whether a process exists and has not ended.
fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The body of a good answer.
fn get(address: &str, path: &str) -> String {
    let deadline = Instant::now() + END_LIMIT;
    loop {
        let mut stream = TcpStream::connect(address).expect("a connection");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        if head.starts_with("HTTP/1.0 200") {
            return body.to_owned();
        }
        // A component may be asked before its first heartbeat.
        assert!(Instant::now() < deadline, "{path} of {address}: {answer}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Connects with what `environment.sh` in the home folder says.
async fn connect(home: &Path) -> PgConnection {
    let text = std::fs::read_to_string(home.join("environment.sh")).expect("the file");
    let (_, url) = text.split_once("SQL_ALCHEMY_CONN='").expect("the variable");
    let options = tradewind_metadata::connect_options(url.split('\'').next().expect("a value")).expect("an address");
    PgConnection::connect_with(&options).await.expect("a connection")
}
