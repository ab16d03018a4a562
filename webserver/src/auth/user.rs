//! The user of a request and their permissions.

use super::manager::{Action, AuthManager, Identity, Resource, TeamRights};
use super::rights::{Dags, Rights};
use super::session;
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::state::App;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use std::ops::Deref;
use std::sync::Arc;

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) struct User {
    identity: Identity,
    /// The Dag that the request names.
    dag_id: Option<String>,
    rights: Rights,
    manager: Arc<dyn AuthManager>,
}

impl Deref for User {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}

impl User {
    /// Refuses what the auth manager does not allow.
    fn authorize(&self, action: Action, resource: Resource, dag_id: Option<&str>) -> ApiResult<()> {
        let is_allowed = self.manager.is_authorized(&self.identity, action, resource)
            && (resource != Resource::Dag || dag_id.is_none_or(|dag_id| self.rights.to(action).contains(dag_id)));
        if is_allowed { Ok(()) } else { Err(forbidden()) }
    }

    /// Refuses who may not read that.
    pub(crate) fn may_read(&self, resource: Resource) -> ApiResult<()> {
        self.authorize(Action::Read, resource, self.dag_id.as_deref())
    }

    /// Refuses who may not change that.
    pub(crate) fn may_write(&self, resource: Resource) -> ApiResult<()> {
        self.authorize(Action::Write, resource, self.dag_id.as_deref())
    }

    /// Refuses who may not read a Dag that the request does not name in its path.
    pub(crate) fn may_read_dag(&self, dag_id: &str) -> ApiResult<()> {
        self.authorize(Action::Read, Resource::Dag, Some(dag_id))
    }

    /// Refuses who may not change a Dag that the request does not name in its path.
    pub(crate) fn may_write_dag(&self, dag_id: &str) -> ApiResult<()> {
        self.authorize(Action::Write, Resource::Dag, Some(dag_id))
    }

    /// With which teams' things the user may have to do.
    pub(crate) fn teams(&self) -> TeamRights {
        self.manager.team_rights(&self.identity)
    }

    /// Whether the user may have to do with what belongs to any team.
    pub(crate) fn may_deal_with_all_teams(&self) -> bool {
        self.teams() == TeamRights::All
    }

    /// Refuses who may not have to do with what belongs to that team; to none means to everybody.
    pub(crate) fn may_deal_with(&self, team: Option<&str>) -> ApiResult<()> {
        match (self.teams(), team) {
            (TeamRights::Of(teams), Some(team)) if !teams.contains(team) => Err(forbidden()),
            _ => Ok(()),
        }
    }

    /// The Dags that lists and other answers may tell of.
    pub(crate) fn readable(&self) -> &Dags {
        self.rights.to(Action::Read)
    }

    /// The Dags that may be changed.
    pub(crate) fn editable(&self) -> &Dags {
        self.rights.to(Action::Write)
    }
}

fn forbidden() -> ApiError {
    ApiError::forbidden("Forbidden")
}

impl FromRequestParts<App> for User {
    type Rejection = ApiError;

    /// Refuses whoever may not read the Dag in the path of a request, whatever the request is for.
    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let identity = session::identity_of(parts, app).await?;
        let rights = session::rights_of(parts, app, &identity).await?;
        let in_path = dag_in_path(parts, app).await;
        if in_path.as_deref().is_some_and(|dag_id| dag_id != "~" && !rights.to(Action::Read).contains(dag_id)) {
            return Err(forbidden());
        }
        let dag_id = in_path.or_else(|| Params::from_query(parts.uri.query().unwrap_or_default()).text("dag_id"));
        // It stands for all of them (`requires_access_dag` in `core_api/security.py`).
        let dag_id = dag_id.filter(|dag_id| dag_id != "~");
        Ok(Self { identity, dag_id, rights, manager: Arc::clone(&app.auth_manager) })
    }
}

async fn dag_in_path(parts: &mut Parts, app: &App) -> Option<String> {
    let path = RawPathParams::from_request_parts(parts, app).await.ok()?;
    path.iter().find(|(name, _)| *name == "dag_id").map(|(_, value)| value.to_owned())
}
