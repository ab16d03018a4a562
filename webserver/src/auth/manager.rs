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
pub struct Identity {
    /// The name, which is also the id.
    pub name: String,
    /// The name of the role; none: no permission at all.
    pub role: Option<String>,
    /// The teams that they belong to (`[core] multi_team`).
    pub teams: BTreeSet<String>,
}

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `GET`.
    Read,
    /// `POST`, `PUT`, `PATCH`, `DELETE`.
    Write,
}

/// What is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
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

/// On which Dags somebody has rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DagRights {
    /// On all, also on those that will come: lists are not narrowed at all.
    All,
    /// On those with these ids; one that is not among them is refused as if it were there.
    Of(Arc<BTreeSet<String>>),
    /// On those whose bundle belongs to one of these teams, or to none.
    OfTeams(Arc<BTreeSet<String>>),
}

/// With what somebody may have to do that belongs to a team: pools, connections and variables. What belongs to none is
/// everybody's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TeamRights {
    /// With all of it.
    All,
    /// With that of these teams.
    Of(Arc<BTreeSet<String>>),
}

/// Decides who may do what.
///
/// Of a request that has to do with Dags it is asked twice: whether such a thing may be done at all, and to which Dags. The
/// server refuses what names another Dag, narrows each list to the Dags that may be read, and leaves out of other answers
/// what would name one of the others. What is answered about somebody may change at any time, and counts from the next
/// request on.
pub trait AuthManager: Debug + Send + Sync {
    /// The claims of a token for somebody.
    fn claims(&self, identity: &Identity) -> Map<String, Value>;

    /// Whom the claims of a valid token describe.
    fn identity(&self, claims: &Map<String, Value>) -> Option<Identity>;

    /// Who asks without a token; nobody, as a rule.
    fn without_token(&self) -> Option<Identity>;

    /// The page to log in, below the path of `[api] base_url`.
    fn login_path(&self) -> &'static str;

    /// Whether somebody may do that to such a resource, to any at all.
    fn is_authorized(&self, identity: &Identity, action: Action, resource: Resource) -> bool;

    /// To which Dags somebody may do that, provided that they may do it to any.
    fn dag_rights(&self, identity: &Identity, action: Action) -> DagRights;

    /// With which teams' things somebody may do what they may do to such things.
    fn team_rights(&self, identity: &Identity) -> TeamRights;

    /// Whether somebody may answer for a task that asks these people; an empty list means anybody.
    fn may_answer(&self, identity: &Identity, asked: &BTreeSet<&str>) -> bool;
}

/// The one that `[core] auth_manager` names.
pub(crate) fn manager(config: &Config, users: &SimpleAuth) -> Result<Arc<dyn AuthManager>, OptionsError> {
    match config.string("core", "auth_manager")?.as_str() {
        name if name == SIMPLE => Ok(Arc::new(SimpleAuthManager::new(config, users)?)),
        other => Err(OptionsError::AuthManager(other.to_owned())),
    }
}
