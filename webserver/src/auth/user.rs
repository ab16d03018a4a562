//! The user of a request and their permissions.

use super::manager::{Action, AuthManager, Identity, Resource};
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
    fn authorize(&self, action: Action, resource: Resource) -> ApiResult<()> {
        let is_allowed = self.manager.is_authorized(&self.identity, action, resource, self.dag_id.as_deref());
        if is_allowed { Ok(()) } else { Err(ApiError::forbidden("Forbidden")) }
    }

    /// Refuses who may not read that.
    pub(crate) fn may_read(&self, resource: Resource) -> ApiResult<()> {
        self.authorize(Action::Read, resource)
    }

    /// Refuses who may not change that.
    pub(crate) fn may_write(&self, resource: Resource) -> ApiResult<()> {
        self.authorize(Action::Write, resource)
    }
}

impl FromRequestParts<App> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let identity = session::identity_of(parts, app).await?;
        let dag_id = dag_of(parts, app).await;
        Ok(Self { identity, dag_id, manager: Arc::clone(&app.auth_manager) })
    }
}

/// The Dag of a request (`requires_access_dag` in `core_api/security.py`); `~` stands for all of them.
async fn dag_of(parts: &mut Parts, app: &App) -> Option<String> {
    let path = RawPathParams::from_request_parts(parts, app).await.ok();
    let in_path = path.iter().flatten().find(|(name, _)| *name == "dag_id").map(|(_, value)| value.to_owned());
    let dag_id = in_path.or_else(|| Params::from_query(parts.uri.query().unwrap_or_default()).text("dag_id"));
    dag_id.filter(|dag_id| dag_id != "~")
}
