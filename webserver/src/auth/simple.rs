//! The simple auth manager: four roles, each with all rights of the one before it
//! (`airflow/api_fastapi/auth/managers/simple/simple_auth_manager.py`).

use super::manager::{Action, AuthManager, DagRights, Identity, Resource, TeamRights};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::simple_auth::{Role, SimpleAuth};

/// Its name in `[core] auth_manager`.
pub(crate) const SIMPLE: &str = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager";

#[derive(Debug)]
pub(super) struct SimpleAuthManager {
    all_admins: bool,
    /// Whether Dags and other things may belong to teams.
    multi_team: bool,
}

impl SimpleAuthManager {
    /// With `all_admins` everybody is an administrator, also without logging in.
    pub(super) fn new(config: &Config, users: &SimpleAuth) -> Result<Self, ConfigError> {
        Ok(Self { all_admins: users.all_admins(), multi_team: config.bool("core", "multi_team")? })
    }

    fn role(identity: &Identity) -> Option<Role> {
        identity.role.as_deref().and_then(Role::from_name)
    }
}

/// Whom a server takes everybody for that has `[core] simple_auth_manager_all_admins` set.
pub(super) fn anonymous_admin() -> Identity {
    Identity { name: "Anonymous".to_owned(), role: Some("ADMIN".to_owned()), teams: BTreeSet::new() }
}

impl AuthManager for SimpleAuthManager {
    fn claims(&self, identity: &Identity) -> Map<String, Value> {
        let claims = [("sub", json!(identity.name)), ("role", json!(identity.role)), ("teams", json!(identity.teams))];
        claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn identity(&self, claims: &Map<String, Value>) -> Option<Identity> {
        let role = claims.get("role")?.as_str().map(str::to_owned);
        let teams = claims.get("teams").and_then(Value::as_array).into_iter().flatten();
        let teams = teams.filter_map(Value::as_str).map(str::to_owned).collect();
        Some(Identity { name: claims.get("sub")?.as_str()?.to_owned(), role, teams })
    }

    fn without_token(&self) -> Option<Identity> {
        self.all_admins.then(anonymous_admin)
    }

    fn login_path(&self) -> &'static str {
        if self.all_admins { "/auth/token/login" } else { "/auth/login" }
    }

    fn is_authorized(&self, identity: &Identity, action: Action, resource: Resource) -> bool {
        let needed = match (resource, action) {
            (Resource::Connection | Resource::Variable, _) => Role::Op,
            (_, Action::Read) | (Resource::View, Action::Write) => Role::Viewer,
            (Resource::Dag, Action::Write) => Role::User,
            (_, Action::Write) => Role::Op,
        };
        Self::role(identity).is_some_and(|role| role >= needed)
    }

    fn dag_rights(&self, identity: &Identity, _: Action) -> DagRights {
        match self.team_rights(identity) {
            TeamRights::All => DagRights::All,
            TeamRights::Of(teams) => DagRights::OfTeams(teams),
        }
    }

    /// What belongs to a team is its members' alone, and the administrators'.
    fn team_rights(&self, identity: &Identity) -> TeamRights {
        if !self.multi_team || Self::role(identity) == Some(Role::Admin) {
            return TeamRights::All;
        }
        TeamRights::Of(Arc::new(identity.teams.clone()))
    }

    fn may_answer(&self, identity: &Identity, asked: &BTreeSet<&str>) -> bool {
        self.all_admins || asked.is_empty() || asked.contains(identity.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANAGER: SimpleAuthManager = SimpleAuthManager { all_admins: false, multi_team: true };

    fn of_role(role: &str, teams: &[&str]) -> Identity {
        let teams = teams.iter().map(|team| (*team).to_owned()).collect();
        Identity { name: "eve".to_owned(), role: Some(role.to_owned()), teams }
    }

    #[test]
    fn teams_keep_what_is_theirs() {
        let (admin, user) = (of_role("admin", &["red"]), of_role("op", &["red"]));
        assert_eq!(MANAGER.team_rights(&admin), TeamRights::All);
        assert_eq!(MANAGER.dag_rights(&admin, Action::Read), DagRights::All);
        let own = Arc::new(user.teams.clone());
        assert_eq!(MANAGER.team_rights(&user), TeamRights::Of(Arc::clone(&own)));
        assert_eq!(MANAGER.dag_rights(&user, Action::Write), DagRights::OfTeams(own));
        let without_teams = SimpleAuthManager { multi_team: false, ..MANAGER };
        assert_eq!(without_teams.team_rights(&user), TeamRights::All);
        assert_eq!(without_teams.dag_rights(&user, Action::Read), DagRights::All);
    }

    #[test]
    fn roles_allow_what_official_roles_allow() {
        let allowed = |role: &str, action, resource| MANAGER.is_authorized(&of_role(role, &[]), action, resource);
        assert!(allowed("viewer", Action::Read, Resource::Dag));
        assert!(!allowed("viewer", Action::Write, Resource::Dag));
        assert!(!allowed("viewer", Action::Read, Resource::Connection));
        assert!(allowed("user", Action::Write, Resource::Dag));
        assert!(!allowed("user", Action::Write, Resource::Pool));
        assert!(allowed("op", Action::Write, Resource::Variable));
        assert!(allowed("ADMIN", Action::Write, Resource::Connection));
        assert!(!allowed("nobody", Action::Read, Resource::Dag));
    }

    #[test]
    fn a_person_is_the_same_after_a_token() {
        let person = of_role("viewer", &["red", "blue"]);
        assert_eq!(MANAGER.identity(&MANAGER.claims(&person)), Some(person));
        assert_eq!(MANAGER.identity(&Map::new()), None);
    }
}
