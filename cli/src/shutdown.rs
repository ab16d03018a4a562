//! When a process shall end: a signal, or the death of its parent.

use std::io::{Read, stdin};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code after a second signal, as a shell gives it for an interrupted program.
const INTERRUPTED: i32 = 130;

/// A token that is cancelled by SIGINT or SIGTERM. A second signal ends the process at once.
pub(crate) fn on_signal() -> Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut signals = Signals::new()?;
    let shutdown = token.clone();
    tokio::spawn(async move {
        signals.next().await;
        shutdown.cancel();
        signals.next().await;
        std::process::exit(INTERRUPTED);
    });
    Ok(token)
}

/// Cancels the token when standard input closes: the parent holds the other end and writes nothing.
///
/// A thread of its own waits for that, since a pipe that the parent made is blocking.
pub(crate) fn with_parent(token: CancellationToken) -> Result<()> {
    let wait = move || {
        let mut buffer = [0];
        while matches!(stdin().read(&mut buffer), Ok(1)) {}
        token.cancel();
    };
    std::thread::Builder::new().name("parent".to_owned()).spawn(wait).context("cannot watch the parent process")?;
    Ok(())
}

/// SIGINT and SIGTERM, and the death of the parent where that counts as one.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    parent: Option<CancellationToken>,
}

impl Signals {
    /// From now on these signals do not end the process by themselves.
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, parent: None })
    }

    /// The same, with the death of the parent (see [`with_parent`]) as one of them.
    pub(crate) fn with_parent(self) -> Result<Self> {
        let token = CancellationToken::new();
        with_parent(token.clone())?;
        Ok(Self { parent: Some(token), ..self })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = parent_gone(self.parent.as_ref()) => self.parent = None,
        }
    }
}

async fn parent_gone(parent: Option<&CancellationToken>) {
    match parent {
        Some(parent) => parent.cancelled().await,
        None => std::future::pending().await,
    }
}
