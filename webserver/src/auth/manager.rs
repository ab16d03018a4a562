//! The interface of auth managers (`airflow/api_fastapi/auth/managers/base_auth_manager.py`).

use super::simple::{SIMPLE, SimpleAuthManager};
use crate::options::OptionsError;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use tradewind_airflow::config::Config;
use tradewind_airflow::simple_auth::SimpleAuth;

/// Somebody, as a token describes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// The name, which is also the id.
    pub name: String,
    /// The name of the role; none: no permission at all.
    pub role: Option<String>,
}

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// `GET`.
    Read,
    /// `POST`, `PUT`, `PATCH`, `DELETE`.
    Write,
}

/// What is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Dags and all that belongs to them.
    Dag,
    /// Assets, aliases and their events.
    Asset,
    /// Pools.
    Pool,
    /// Connections.
    Connection,
    /// Variables.
    Variable,
    /// The configuration.
    Configuration,
    /// Views: jobs, import errors, plugins, providers, the audit log.
    View,
}

/// Decides who may do what. One that grants rights on single Dags needs no more than this for requests that name a Dag;
/// lists over all Dags name none.
pub(crate) trait AuthManager: Debug + Send + Sync {
    /// The claims of a token for somebody.
    fn claims(&self, identity: &Identity) -> Map<String, Value>;

    /// Whom the claims of a valid token describe.
    fn identity(&self, claims: &Map<String, Value>) -> Option<Identity>;

    /// Who asks without a token; nobody, as a rule.
    fn without_token(&self) -> Option<Identity>;

    /// The page to log in, below the path of `[api] base_url`.
    fn login_path(&self) -> &'static str;

    /// Whether somebody may do that. `dag_id` is the Dag that the request names, by its path or its query.
    fn is_authorized(&self, identity: &Identity, action: Action, resource: Resource, dag_id: Option<&str>) -> bool;

    /// Whether somebody may answer for a task that asks these people; an empty list means anybody.
    fn may_answer(&self, identity: &Identity, asked: &BTreeSet<&str>) -> bool;
}

/// The one that `[core] auth_manager` names.
pub(crate) fn manager(config: &Config, users: &SimpleAuth) -> Result<Arc<dyn AuthManager>, OptionsError> {
    match config.string("core", "auth_manager")?.as_str() {
        name if name == SIMPLE => Ok(Arc::new(SimpleAuthManager::new(users.all_admins()))),
        other => Err(OptionsError::AuthManager(other.to_owned())),
    }
}
