//! The worker fleet that the configuration names.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tradewind_airflow::config::Config;
use tradewind_airflow::environment_class::EnvironmentClass;
use tradewind_aws::Account;
use tradewind_aws::ecs::{Ecs, Placement};
use tradewind_fleet::{DockerDriver, DriverKind, EcsDriver, EcsServices, Fleet, Options, ProcessDriver, Staffing};
use tradewind_metadata::Database;
use tradewind_worker::SlotBounds;

/// Who starts and ends workers; `None` where nobody does.
pub(crate) async fn configured(config: &Config, database: &Database, hostname: &str) -> Result<Option<Fleet>> {
    let slots = SlotBounds::from_config(config)?;
    let Some(options) = Options::from_config(config, slots.max)? else { return Ok(None) };
    let staffing = match options.driver {
        DriverKind::Process => {
            let program = std::env::current_exe().context("cannot find this program")?;
            Staffing::Driver(Arc::new(ProcessDriver::new(program, hostname.to_owned())))
        }
        DriverKind::Docker => {
            let socket = config.string("tradewind", "docker_socket")?;
            // A container that has no other name is called by its id.
            let container = config.optional("tradewind", "docker_container")?.unwrap_or(hostname).to_owned();
            Staffing::Driver(Arc::new(DockerDriver::new(Path::new(&socket), container)?))
        }
        DriverKind::Ecs => {
            let account = Account::from_environment().await;
            if options.services.is_empty() {
                Staffing::Driver(Arc::new(EcsDriver::new(Ecs::new(&account, placement(config)?))))
            } else {
                // How its tasks are made is the service's business.
                let placement =
                    Placement { cluster: config.string("tradewind", "ecs_cluster")?, ..Placement::default() };
                Staffing::Services(Arc::new(EcsServices::new(Ecs::new(&account, placement), options.services.clone())))
            }
        }
    };
    Ok(Some(Fleet::new(database.clone(), staffing, options)))
}

/// Where ECS runs workers.
fn placement(config: &Config) -> Result<Placement> {
    let listed = |key: &str, expected: &str| {
        let list = config.list_of("tradewind", key)?;
        if list.is_empty() { Err(config.invalid("tradewind", key, expected)) } else { Ok(list) }
    };
    Ok(Placement {
        cluster: config.string("tradewind", "ecs_cluster")?,
        task_definition: config.string("tradewind", "ecs_task_definition")?,
        container: config.string("tradewind", "ecs_container")?,
        subnets: listed("ecs_subnets", "ids of private subnets, comma-separated")?,
        security_groups: listed("ecs_security_groups", "ids of security groups, comma-separated")?,
        size: EnvironmentClass::from_config(config)?.map(|class| (class.cpu_units, class.memory)),
    })
}
