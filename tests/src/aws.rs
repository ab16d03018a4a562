//! An AWS on this machine: moto, as `deploy/emulator/aws.py` starts it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;
use tradewind_aws::Account;

use crate::{process, program};

/// What the emulator says before its address.
const READY: &str = "AWS emulator: ";

/// A running emulator on a port of its own, empty at first; ended when it is dropped.
pub struct AwsEmulator {
    process: Child,
    endpoint: String,
}

impl AwsEmulator {
    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start() -> Self {
        let mut command = program::python(".venv-emulator", "deploy/emulator/aws.py");
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the emulator starts");
        let mut output = BufReader::new(process.stdout.take().expect("its standard output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line of text");
        let Some(endpoint) = line.strip_prefix(READY).map(|address| address.trim_end().to_owned()) else {
            let mut rest = String::new();
            // Only for the message.
            let _ = output.read_to_string(&mut rest);
            panic!("the emulator says {line}{rest}");
        };
        Self { process, endpoint }
    }

    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The variables with which a process finds it in place of AWS.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }

    /// The account in it.
    pub async fn account(&self) -> Account {
        Account::of_emulator(&self.endpoint).await
    }

    /// Has requests fail from now on; `deploy/emulator/aws.py` says how they are described. An empty list ends it.
    ///
    /// # Panics
    /// When the emulator refuses.
    pub async fn set_faults(&self, faults: &Value) {
        let request = reqwest::Client::new().put(format!("{}/_faults", self.endpoint)).json(faults);
        request.send().await.and_then(reqwest::Response::error_for_status).expect("faults are set");
    }
}

impl Drop for AwsEmulator {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            process::send(self.process.id(), Signal::SIGTERM);
        }
        // It has ended.
        let _ = self.process.wait();
    }
}
