//! The user of a request and their permissions.

use super::session;
use crate::error::{ApiError, ApiResult};
use crate::state::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::{Map, Value, json};
use tradewind_airflow::simple_auth::Role;

/// Who sent the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
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

impl User {
    /// Refuses what the user's role does not allow (`simple_auth_manager.py`, the `is_authorized_*` methods).
    pub(crate) fn authorize(&self, action: Action, resource: Resource) -> ApiResult<()> {
        let needed = match (resource, action) {
            (Resource::Connection | Resource::Variable, _) => Role::Op,
            (_, Action::Read) | (Resource::View, Action::Write) => Role::Viewer,
            (Resource::Dag, Action::Write) => Role::User,
            (_, Action::Write) => Role::Op,
        };
        let role = self.role.as_deref().and_then(Role::from_name);
        if role.is_some_and(|role| role >= needed) { Ok(()) } else { Err(ApiError::forbidden("Forbidden")) }
    }

    /// Shorthand for reading.
    pub(crate) fn may_read(&self, resource: Resource) -> ApiResult<()> {
        self.authorize(Action::Read, resource)
    }

    /// Shorthand for changing.
    pub(crate) fn may_write(&self, resource: Resource) -> ApiResult<()> {
        self.authorize(Action::Write, resource)
    }

    /// The user as claims of a token.
    pub(crate) fn claims(&self) -> Map<String, Value> {
        let claims = [("sub", json!(self.name)), ("role", json!(self.role)), ("teams", json!([]))];
        claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The user that claims describe.
    pub(crate) fn from_claims(claims: &Map<String, Value>) -> Option<Self> {
        let role = claims.get("role")?.as_str().map(str::to_owned);
        Some(Self { name: claims.get("sub")?.as_str()?.to_owned(), role })
    }
}

impl FromRequestParts<App> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        session::user_of(&parts.headers, app).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_allow_what_official_roles_allow() {
        let user = |role: &str| User { name: "u".to_owned(), role: Some(role.to_owned()) };
        let allowed = |role: &str, action, resource| user(role).authorize(action, resource).is_ok();
        assert!(allowed("viewer", Action::Read, Resource::Dag));
        assert!(!allowed("viewer", Action::Write, Resource::Dag));
        assert!(!allowed("viewer", Action::Read, Resource::Connection));
        assert!(allowed("user", Action::Write, Resource::Dag));
        assert!(!allowed("user", Action::Write, Resource::Pool));
        assert!(allowed("op", Action::Write, Resource::Variable));
        assert!(allowed("ADMIN", Action::Write, Resource::Connection));
        assert!(!allowed("nobody", Action::Read, Resource::Dag));
    }
}
