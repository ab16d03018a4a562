//! The processes of a deployment: each connects, checks the schema, says that it is well, and works until the shutdown.

use std::net::ToSocketAddrs;
use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::Config;
use tradewind_bundle::configuration;
use tradewind_bundle::health::BundleHealth;
use tradewind_dag_processor::{self as dag_processor, DagProcessor};
use tradewind_environment::keeper::Keeper;
use tradewind_environment::logs::BuildLogs;
use tradewind_environment::manifest::Component as Environment;
use tradewind_environment::store::Environment as BucketEnvironment;
use tradewind_fleet::web::WebFleet;
use tradewind_metadata::job::JobType;
use tradewind_metadata::{Database, migrate};
use tradewind_remote_log::{self as remote_log, ProcessLog};
use tradewind_scheduler::{self as scheduler, Scheduler};
use tradewind_secrets::{self as secrets, Secrets};
use tradewind_supervisor::evaluator::{self, Evaluator};
use tradewind_supervisor::pyhost::{self, Idle, PyHost};
use tradewind_webserver::{Network, WebServer};
use tradewind_worker::{self as worker, LogServer, LogServing, SlotBounds, Worker};
use uuid::Uuid;

use crate::arguments::Component;
use crate::broker;
use crate::console::say;
use crate::ecs;
use crate::environment;
use crate::failure::{Failure, Kind, cannot_listen};
use crate::fleet;
use crate::monitor::{Monitor, Sign};
use crate::shutdown;
use crate::venv::Venv;
use crate::web_fleet;

/// How long the last lines of its log may take to be sent.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs a component until a signal, or until its parent is gone. Its `log` is sent meanwhile, if there is one.
pub(crate) async fn run(
    component: Component,
    config: Config,
    with_parent: bool,
    log: Option<ProcessLog>,
) -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    if with_parent {
        shutdown::with_parent(shutdown.clone())?;
    }
    let log = log.map(ProcessLog::start);
    tracing::info!(
        component = component.name(),
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "starting"
    );
    let outcome = work(component, config, shutdown).await;
    if let Some(log) = log {
        if let Err(error) = &outcome {
            tracing::error!(error = format!("{error:#}"), "the process ends");
        }
        log.stop(FAREWELL).await;
    }
    outcome
}

/// Refuses what cannot be used of the options that several components have in common.
pub(crate) fn check_shared_options(config: &Config) -> Result<()> {
    Secrets::from_config(config)?;
    remote_log::TaskLogs::from_config(config)?;
    for kind in remote_log::Kind::ALL {
        remote_log::group(config, kind)?;
    }
    Ok(())
}

async fn work(component: Component, config: Config, shutdown: CancellationToken) -> Result<()> {
    check_shared_options(&config)?;
    match component {
        Component::Scheduler => run_scheduler(&config, shutdown).await,
        Component::DagProcessor { num_runs } => run_dag_processor(&config, num_runs, shutdown).await,
        Component::Worker { slots, queues, skip_serve_logs, id } => {
            let log_server = log_server(&config, skip_serve_logs)?;
            run_worker(&config, slots, queues, log_server, id, shutdown).await
        }
        Component::Webserver { host, port, proxy_headers, forwarded_allow_ips, id } => {
            let proxies = if proxy_headers { forwarded_allow_ips } else { Vec::new() };
            let address = id.is_none().then_some((host, port));
            run_webserver(&config, address, proxies, shutdown).await
        }
    }
}

async fn run_scheduler(config: &Config, shutdown: CancellationToken) -> Result<()> {
    let database = connect("scheduler", config).await?;
    let options = scheduler::Options::from_config(config, hostname())?;
    let threshold = config.seconds("scheduler", "scheduler_health_check_threshold")?;
    let sign = Sign::Heartbeat { job: JobType::Scheduler, threshold, bundles: BundleHealth::default() };
    let monitor = Monitor::start("scheduler", sign, config, database.pool()).await?;
    let publisher = broker::publisher(config, &database).await?;
    let fleet = fleet::configured(config, &database, &hostname()).await?;
    let mut scheduler = Scheduler::new(database, options).await?;
    if let Some(publisher) = publisher {
        scheduler = scheduler.with_publisher(publisher);
    }
    match pyhost_options(config) {
        Ok(host) => {
            let evaluation = evaluator::Options::from_config(config)?;
            scheduler = scheduler.with_evaluator(Evaluator::on_demand(host, evaluation));
        }
        // Only plugins need one, and a Dag processor may have it.
        Err(error) => tracing::info!(%error, "the scheduler has no Python"),
    }
    let fleet = fleet.map(|fleet| tokio::spawn(fleet.run(shutdown.clone())));
    let outcome = watched("scheduler", "", monitor, async { Ok(scheduler.run(shutdown).await?) }).await;
    if let Some(fleet) = fleet {
        fleet.await.ok();
    }
    outcome
}

async fn run_dag_processor(config: &Config, num_runs: i64, shutdown: CancellationToken) -> Result<()> {
    let database = connect("dag-processor", config).await?;
    let keeper = environment::keeper(config, &database, Environment::Scheduler, Idle::default()).await?;
    let logs = keeper.as_ref().map(Keeper::logs);
    let outcome = parse_dags(config, num_runs, database, keeper, shutdown).await;
    send_rest(logs).await;
    outcome
}

async fn parse_dags(
    config: &Config,
    num_runs: i64,
    database: Database,
    mut keeper: Option<Keeper>,
    shutdown: CancellationToken,
) -> Result<()> {
    let airflow = Venv::find(config)?.airflow().to_owned();
    let options = dag_processor::Options::from_config(config, Some(&airflow))?;
    let host = match &mut keeper {
        Some(keeper) => keeper.start_leading().await?,
        None => PyHost::start(pyhost_options(config)?).await?,
    };
    let health = keeper.as_ref().map(Keeper::health);
    let installed = options.places.clone();
    let places = keeper.as_ref().and_then(Keeper::environment).map(|it| environment::places(it, &installed));
    let (sender, receiver) = watch::channel(places.unwrap_or_else(|| installed.clone()));
    let mut processor = DagProcessor::new(database.clone(), host.clone(), config, options)?;
    if keeper.is_some() {
        processor = processor.with_environments(receiver);
    }
    let threshold = config.seconds("dag_processor", "health_check_threshold")?;
    let sign = Sign::Heartbeat { job: JobType::DagProcessor, threshold, bundles: processor.bundle_health() };
    let monitor = Monitor::start("dag-processor", sign, config, database.pool()).await?.with_environment(health);
    let leading = keeper.filter(|_| num_runs < 0).map(|keeper| {
        let switched = move |it: &BucketEnvironment| drop(sender.send_replace(environment::places(it, &installed)));
        tokio::spawn(keeper.lead(host.clone(), switched, shutdown.clone()))
    });
    let work = async {
        for _ in 0..num_runs {
            tokio::select! {
                summary = processor.parse_once() => tracing::info!(summary = ?summary?, "every file was parsed"),
                () = shutdown.cancelled() => return Ok(()),
            }
        }
        if num_runs < 0 { Ok(processor.run(shutdown.clone()).await?) } else { Ok(()) }
    };
    let outcome = watched("dag-processor", "", monitor, work).await;
    processor.send_logs().await;
    leading.inspect(JoinHandle::abort);
    host.stop().await;
    outcome
}

async fn run_worker(
    config: &Config,
    slots: Option<u32>,
    queues: Vec<String>,
    log_server: Option<LogServer>,
    id: Option<Uuid>,
    shutdown: CancellationToken,
) -> Result<()> {
    let database = connect("worker", config).await?;
    let mut options = worker::Options::from_config(config)?;
    if let Some(slots) = slots {
        options.slots = SlotBounds::fixed(usize::try_from(slots)?);
    }
    if !queues.is_empty() {
        options.queues = queues;
    }
    let idle = usize::try_from(config.int("tradewind", "worker_idle_children")?)
        .map_err(|_| config.invalid("tradewind", "worker_idle_children", "a whole number of at least 0"))?;
    let reserve = Idle { tasks: idle, dag_files: 0 };
    let keeper = environment::keeper(config, &database, Environment::Worker, reserve).await?;
    let logs = keeper.as_ref().map(Keeper::logs);
    let serving = log_server.as_ref().map(LogServer::state);
    let stop = CancellationToken::new();
    let log_server = log_server.map(|server| tokio::spawn(server.run(stop.clone())));
    let outcome = run_tasks(config, options, id, serving, reserve, database, keeper, shutdown).await;
    stop.cancel();
    if let Some(log_server) = log_server {
        log_server.await.ok();
    }
    send_rest(logs).await;
    outcome
}

#[expect(clippy::too_many_arguments, reason = "what a worker is made of, once")]
async fn run_tasks(
    config: &Config,
    options: worker::Options,
    id: Option<Uuid>,
    logs: Option<watch::Receiver<LogServing>>,
    reserve: Idle,
    database: Database,
    mut keeper: Option<Keeper>,
    shutdown: CancellationToken,
) -> Result<()> {
    let host = match &mut keeper {
        Some(keeper) => match keeper.start_following(&shutdown).await? {
            Some(host) => host,
            None => return Ok(()),
        },
        None => PyHost::start(pyhost_options(config)?.with_idle(reserve)).await?,
    };
    let health = keeper.as_ref().map(Keeper::health);
    let source = broker::source(config, &options.queues).await?;
    let id = match id {
        Some(id) => Some(id),
        None => ecs::join_service(config, &database, &options.queues).await?,
    };
    let mut worker = Worker::new(database.clone(), host.clone(), config, options)?
        .with_source(source)
        .with_protection(ecs::protection(config)?);
    if let Some(id) = id {
        worker = worker.with_id(id);
    }
    let sign = Sign::Worker { status: worker.status(), logs };
    let monitor = Monitor::start("worker", sign, config, database.pool()).await?;
    let monitor = monitor.with_environment(health);
    let (sender, readiness) = watch::channel(true);
    let following = keeper.map(|keeper| tokio::spawn(keeper.follow(host.clone(), sender, shutdown.clone())));
    if following.is_some() {
        worker = worker.with_readiness(readiness);
    }
    let outcome = watched("worker", "", monitor, async { Ok(worker.run(shutdown).await?) }).await;
    following.inspect(JoinHandle::abort);
    host.stop().await;
    outcome
}

/// What serves the logs of this machine, unless it shall not.
fn log_server(config: &Config, skip: bool) -> Result<Option<LogServer>> {
    if skip || !config.bool("tradewind", "worker_serves_logs")? {
        return Ok(None);
    }
    Ok(Some(LogServer::from_config(config)?))
}

/// Sends what is left of the logs of environments that were built.
async fn send_rest(logs: Option<BuildLogs>) {
    if let Some(logs) = logs {
        logs.stop().await;
    }
}

/// Without an address the socket is that of the first web server, beside which this one serves.
async fn run_webserver(
    config: &Config,
    address: Option<(Option<String>, Option<u16>)>,
    proxies: Vec<Network>,
    shutdown: CancellationToken,
) -> Result<()> {
    let database = connect("webserver", config).await?;
    let server = WebServer::new(&database, config, Venv::find(config)?.airflow())?.with_trusted_proxies(proxies);
    let is_additional = address.is_none();
    let listener = match address {
        Some((host, port)) => listen(config, host, port).await?,
        None => web_fleet::inherited()?,
    };
    let serving = format!(", serving {}://{}", server.scheme(), listener.local_addr()?);
    let connections = server.connections();
    let fleet = if is_additional { None } else { web_fleet::configured(config, &listener)? };
    let sign = Sign::WebServer { connections: connections.clone(), others: fleet.as_ref().map(WebFleet::shown) };
    let monitor = Monitor::start("webserver", sign, config, database.pool()).await?;
    for made in server.new_passwords() {
        tracing::info!(user = made.user, "a password was made; it is in the password file of the simple auth manager");
    }
    let fleet = fleet.map(|fleet| tokio::spawn(fleet.run(web_fleet::load(connections.clone()), shutdown.clone())));
    let work = async {
        let serving = async { Ok(server.run(listener, shutdown.clone()).await?) };
        tokio::select! {
            outcome = serving => outcome,
            never = web_fleet::record(connections.clone()) => Ok(never),
            Err(error) = web_fleet::follow(config, connections.clone(), shutdown.clone()), if is_additional => Err(error),
        }
    };
    let outcome = watched("webserver", &serving, monitor, work).await;
    if let Some(fleet) = fleet {
        shutdown.cancel();
        fleet.await.ok();
    }
    outcome
}

async fn listen(config: &Config, host: Option<String>, port: Option<u16>) -> Result<TcpListener> {
    let host = host.map_or_else(|| config.string("api", "host"), Ok)?;
    let port = match port {
        Some(port) => port,
        None => {
            u16::try_from(config.int("api", "port")?).map_err(|_| config.invalid("api", "port", "a port number"))?
        }
    };
    let unknown = || {
        Failure::new(
            Kind::Configuration,
            format!("{host} is not an address of this machine"),
            "give --host or AIRFLOW__API__HOST an address such as 127.0.0.1 or 0.0.0.0",
        )
    };
    let mut addresses = (host.as_str(), port).to_socket_addrs().map_err(|_| unknown())?;
    let address = addresses.next().ok_or_else(unknown)?;
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error).into())
}

/// Connects to the metadata database and checks that its schema is the one we know.
async fn connect(component: &str, config: &Config) -> Result<Database> {
    let database = Database::connect(config, &format!("tradewind {component}")).await?;
    migrate::check(database.pool()).await?;
    Ok(database)
}

/// Works while the monitor is served, and says on standard output that the component is well when its monitor does.
async fn watched(
    component: &str,
    remark: &str,
    monitor: Monitor,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let address = monitor.address()?;
    let well = || say(format_args!("tradewind {component}: healthy{remark}, monitor at http://{address}"));
    monitor.beside(work, well).await
}

/// How to start the interpreter of this process: that of the environment which [`Venv`] finds, which looks for Dags in S3 among
/// their snapshots.
pub(crate) fn pyhost_options(config: &Config) -> Result<pyhost::Options> {
    let python = Venv::find(config)?.program("python");
    let mut options = pyhost::Options { python, ..pyhost::Options::from_config(config)? };
    let bundles = configuration::child_variables(config)?;
    let logs = remote_log::child_variables(config)?;
    for (name, value) in bundles.into_iter().chain(logs).chain(secrets::child_variables(config)?) {
        options = options.with_variable(name, value);
    }
    Ok(options)
}

/// The name of this machine, as it is shown with jobs and task instances.
pub(crate) fn hostname() -> String {
    hostname::get().map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}
