//! Web servers beside a first one, and how busy each is.

use std::io::stdin;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use metrics::gauge;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::Config;
use tradewind_fleet::web::decision::Load;
use tradewind_fleet::web::{Launch, Options, WebFleet, report};
use tradewind_telemetry::process::Meter;
use tradewind_webserver::Connections;

/// How often the number of connections is recorded.
const INTERVAL: Duration = Duration::from_secs(1);

/// Who starts and ends further web servers on the address of this one; `None` where nobody does.
pub(crate) fn configured(config: &Config, listener: &TcpListener) -> Result<Option<WebFleet>> {
    let Some(options) = Options::from_config(config)? else { return Ok(None) };
    let socket = listener.as_fd().try_clone_to_owned().context("cannot share the socket of the web server")?;
    let launch = Launch {
        program: std::env::current_exe().context("cannot find this program")?,
        // The standard input of an additional web server is no word of its parent.
        arguments: std::env::args_os().skip(1).filter(|argument| argument != "--with-parent").collect(),
        listener: socket.into(),
    };
    Ok(Some(WebFleet::new(launch, options)))
}

/// The socket that the first web server has given to this one.
pub(crate) fn inherited() -> Result<TcpListener> {
    let socket = stdin().as_fd().try_clone_to_owned().context("cannot take the socket of the first web server")?;
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true).context("the standard input is no socket")?;
    TcpListener::from_std(listener).context("the standard input is no socket that listens")
}

/// How busy this web server is, each time since the last one.
pub(crate) fn load(connections: Connections) -> impl FnMut() -> Load + Send {
    let mut meter = Meter::default();
    move || Load { cpu: meter.cpu(), connections: connections.number() }
}

/// Records how many connections there are, for ever.
pub(crate) async fn record(connections: Connections) {
    loop {
        #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
        gauge!("tradewind.webserver.connections").set(connections.number() as f64);
        sleep(INTERVAL).await;
    }
}

/// Tells the first web server how busy this additional one is, and has this one end when the first one is gone.
pub(crate) async fn follow(config: &Config, connections: Connections, shutdown: CancellationToken) -> Result<()> {
    let interval = Options::from_config(config)?.map_or(INTERVAL, |options| options.interval);
    tokio::select! {
        error = report(load(connections), interval) => {
            tracing::info!(%error, "the first web server is gone");
            shutdown.cancel();
        }
        () = shutdown.cancelled() => {}
    }
    Ok(())
}
