//! The simple auth manager: four roles, each with all rights of the one before it
//! (`airflow/api_fastapi/auth/managers/simple/simple_auth_manager.py`).

use super::manager::{Action, AuthManager, Identity, Resource};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tradewind_airflow::simple_auth::Role;

/// Its name in `[core] auth_manager`.
pub(crate) const SIMPLE: &str = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager";

#[derive(Debug)]
pub(super) struct SimpleAuthManager {
    all_admins: bool,
}

impl SimpleAuthManager {
    /// With `all_admins` everybody is an administrator, also without logging in.
    pub(super) fn new(all_admins: bool) -> Self {
        Self { all_admins }
    }
}

/// Whom a server takes everybody for that has `[core] simple_auth_manager_all_admins` set.
pub(super) fn anonymous_admin() -> Identity {
    Identity { name: "Anonymous".to_owned(), role: Some("ADMIN".to_owned()) }
}

impl AuthManager for SimpleAuthManager {
    fn claims(&self, identity: &Identity) -> Map<String, Value> {
        let claims = [("sub", json!(identity.name)), ("role", json!(identity.role)), ("teams", json!([]))];
        claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn identity(&self, claims: &Map<String, Value>) -> Option<Identity> {
        let role = claims.get("role")?.as_str().map(str::to_owned);
        Some(Identity { name: claims.get("sub")?.as_str()?.to_owned(), role })
    }

    fn without_token(&self) -> Option<Identity> {
        self.all_admins.then(anonymous_admin)
    }

    fn login_path(&self) -> &'static str {
        if self.all_admins { "/auth/token/login" } else { "/auth/login" }
    }

    fn is_authorized(&self, identity: &Identity, action: Action, resource: Resource, _: Option<&str>) -> bool {
        let needed = match (resource, action) {
            (Resource::Connection | Resource::Variable, _) => Role::Op,
            (_, Action::Read) | (Resource::View, Action::Write) => Role::Viewer,
            (Resource::Dag, Action::Write) => Role::User,
            (_, Action::Write) => Role::Op,
        };
        identity.role.as_deref().and_then(Role::from_name).is_some_and(|role| role >= needed)
    }

    fn may_answer(&self, identity: &Identity, asked: &BTreeSet<&str>) -> bool {
        self.all_admins || asked.is_empty() || asked.contains(identity.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_allow_what_official_roles_allow() {
        let allowed = |role: &str, action, resource| {
            let identity = Identity { name: "u".to_owned(), role: Some(role.to_owned()) };
            SimpleAuthManager::new(false).is_authorized(&identity, action, resource, None)
        };
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
        let manager = SimpleAuthManager::new(false);
        let person = Identity { name: "eve".to_owned(), role: Some("viewer".to_owned()) };
        assert_eq!(manager.identity(&manager.claims(&person)), Some(person));
        assert_eq!(manager.identity(&Map::new()), None);
    }
}
