//! `tradewind standalone`: a whole deployment in one process tree.
//!
//! First everything that could be in the way is looked for, and nothing is made. Then come the home folder, the private
//! PostgreSQL server, the schema, and the components as children of this process. Whatever ends this process ends them
//! too: the components read a pipe whose other end this process holds, and the server is tied to this process by the
//! kernel ([`tie`]).

mod children;
mod home;
mod installation;
mod postgres;
mod preparation;
mod process_tree;
pub(crate) mod tie;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use tradewind_airflow::config::{AIRFLOW_VERSION, Config};
use tradewind_airflow::simple_auth::SimpleAuth;

use crate::arguments::Standalone;
use crate::console::say;
use crate::db;
use crate::failure::{Failure, Kind};
use crate::logging;
use crate::shutdown::Signals;
use children::{Children, Event};
use home::Home;
use postgres::{Cluster, Server};
use preparation::Plan;

/// Runs until a signal, until its parent is gone where it shall not outlive it, or until something fails that a restart cannot
/// mend.
pub(crate) async fn run(options: Standalone, with_parent: bool) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    if with_parent {
        signals = signals.with_parent()?;
    }
    let plan = Plan::make(&options)?;
    logging::start(plan.config())?;
    say(format_args!("Tradewind {} for Apache Airflow {AIRFLOW_VERSION}", env!("CARGO_PKG_VERSION")));
    let home = Home::make(plan.home())?;
    home.write_configuration(plan.config())?;
    say(format_args!("home: {}", plan.home().display()));
    let Some(mut server) = unless_signalled(&mut signals, start_server(&plan)).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let outcome = run_on(&plan, &home, server.as_mut(), &mut signals).await;
    if let Some(server) = server {
        server.stop(&mut signals).await;
    }
    if outcome.is_ok() {
        say(format_args!("stopped"));
    }
    outcome
}

/// The private server, unless the configuration names a database.
async fn start_server(plan: &Plan) -> Result<Option<Server>> {
    let Some(installations) = plan.postgres() else { return Ok(None) };
    let cluster = Cluster::of_home(plan.home(), installations)?;
    let server = cluster.start().await?;
    say(format_args!("PostgreSQL: ready at 127.0.0.1:{}", server.port()));
    Ok(Some(server))
}

async fn run_on(plan: &Plan, home: &Home, server: Option<&mut Server>, signals: &mut Signals) -> Result<ExitCode> {
    let environment = plan.environment(server.as_deref().map(Server::url));
    let config = environment.config()?;
    if let Some(server) = &server {
        home.write_environment(server.url())?;
    }
    if unless_signalled(signals, db::migrate(&config)).await?.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut children = Children::start(&environment, home, plan)?;
    let outcome = watch(&mut children, server, signals, &config, plan).await;
    say(format_args!("stopping"));
    children.stop(signals).await;
    outcome
}

/// Tells what happens to the components until there is a reason to stop.
async fn watch(
    children: &mut Children,
    mut server: Option<&mut Server>,
    signals: &mut Signals,
    config: &Config,
    plan: &Plan,
) -> Result<ExitCode> {
    loop {
        let event = tokio::select! {
            event = children.next() => event,
            () = signals.next() => return Ok(ExitCode::SUCCESS),
            last_lines = server_ended(server.as_deref_mut()) => {
                bail!("the PostgreSQL server ended by itself; its log ends with:\n{last_lines}")
            }
        };
        match event {
            Event::Healthy { name, line } => {
                say(format_args!("{line}"));
                if children.completed_by(name) {
                    announce(config, &plan.url());
                }
            }
            Event::Ended { name, status, was_healthy, last_lines, pause } => {
                if let (Some(kind), false) = (status.code().and_then(Kind::of_code), was_healthy) {
                    let hint = "see its log, in logs/tradewind under the home folder";
                    bail!(Failure::new(kind, format!("tradewind {name} cannot start:\n{last_lines}"), hint));
                }
                say(format_args!(
                    "tradewind {name}: ended with {status}; starts again in {} s; its log ends with:\n{last_lines}",
                    pause.as_secs()
                ));
            }
        }
    }
}

async fn server_ended(server: Option<&mut Server>) -> String {
    match server {
        Some(server) => server.ended().await,
        None => std::future::pending().await,
    }
}

/// Runs the work unless a signal comes first: then `None`.
async fn unless_signalled<T>(signals: &mut Signals, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    tokio::select! {
        outcome = work => outcome.map(Some),
        () = signals.next() => Ok(None),
    }
}

/// Says where to go, and who may come in.
fn announce(config: &Config, url: &str) {
    say(format_args!("\nTradewind is ready: {url}"));
    match logins(config) {
        Ok(logins) => say(format_args!("{logins}")),
        Err(error) => say(format_args!("  the passwords cannot be shown: {error:#}")),
    }
    say(format_args!("  Ctrl-C stops everything\n"));
}

/// The users and their passwords, from the file of Airflow's simple auth manager.
fn logins(config: &Config) -> Result<String> {
    let users = SimpleAuth::from_config(config)?;
    if users.all_admins() {
        return Ok("  everybody is an administrator without logging in".to_owned());
    }
    let file = users.password_file();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let passwords: Map<String, Value> =
        serde_json::from_str(&text).with_context(|| format!("{} is not a JSON object", file.display()))?;
    let lines = passwords
        .iter()
        .map(|(user, password)| format!("  user {user}, password {}", password.as_str().unwrap_or_default()));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}
