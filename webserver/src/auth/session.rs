//! Session tokens: bearer header or cookie.

use super::checked_tokens::Checked;
use super::manager::Identity;
use super::rights::Rights;
use crate::error::{ApiError, ApiResult};
use crate::kept::Snapshot;
use crate::options::Options;
use crate::proxy::Scheme;
use crate::state::App;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use tradewind_airflow::jwt::TokenError;

/// The cookie that carries the session token; the UI sets it after the log-in.
pub(crate) const COOKIE: &str = "_token";

/// Who sent a request.
#[derive(Debug, Clone)]
struct Known {
    identity: Identity,
    /// What the database looked like when it was asked about the token, if it was.
    snapshot: Option<Snapshot>,
}

/// Whom the cookie of a request names; [`refresh_session`] has found it valid.
#[derive(Debug, Clone)]
struct InCookie(Known);

/// Finds out who sent a request, so that nobody has to ask again, and what the database looks like now.
pub(crate) async fn identify(parts: &mut Parts, app: &App) -> ApiResult<(Identity, Snapshot)> {
    let Known { identity, snapshot } = known(parts, app).await?;
    let snapshot = match snapshot {
        Some(snapshot) => snapshot,
        None => Snapshot::now(&app.pool).await?,
    };
    parts.extensions.insert(Known { identity: identity.clone(), snapshot: Some(snapshot.clone()) });
    Ok((identity, snapshot))
}

/// What the database looks like once a request has come, at the cost of finding out who sent it.
impl FromRequestParts<App> for Snapshot {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        Ok(identify(parts, app).await?.1)
    }
}

/// Who sent a request.
pub(super) async fn identity_of(parts: &Parts, app: &App) -> ApiResult<Identity> {
    Ok(known(parts, app).await?.identity)
}

/// What somebody may do to which Dags, the same during the whole of a request.
pub(crate) async fn rights_of(parts: &mut Parts, app: &App, identity: &Identity) -> ApiResult<Rights> {
    if let Some(rights) = parts.extensions.get::<Rights>() {
        return Ok(rights.clone());
    }
    let rights = Rights::of(app, identity).await?;
    parts.extensions.insert(rights.clone());
    Ok(rights)
}

/// An explicit bearer token wins over the cookie.
async fn known(parts: &Parts, app: &App) -> ApiResult<Known> {
    if let Some(known) = parts.extensions.get::<Known>() {
        return Ok(known.clone());
    }
    if let Some(token) = bearer(&parts.headers) {
        return known_by_token(&token, app).await;
    }
    if let Some(identity) = app.auth_manager.without_token() {
        return Ok(Known { identity, snapshot: None });
    }
    if let Some(InCookie(known)) = parts.extensions.get() {
        return Ok(known.clone());
    }
    match cookie(&parts.headers) {
        Some(token) if !token.is_empty() => known_by_token(&token, app).await,
        _ => Err(ApiError::unauthorized("Not authenticated")),
    }
}

async fn known_by_token(token: &str, app: &App) -> ApiResult<Known> {
    if let Some(key_set) = &app.key_set {
        key_set.refresh(&app.jwt).await;
    }
    let Checked { identity, jti, .. } = match app.checked_tokens.get(token, app.jwt.generation()) {
        Some(checked) => checked,
        None => check(token, app)?,
    };
    let mut snapshot = None;
    if let Some(jti) = &jti {
        let (is_revoked, seen) = is_revoked(jti, app).await?;
        if is_revoked {
            return Err(ApiError::forbidden("Invalid JWT token"));
        }
        snapshot = Some(seen);
    }
    Ok(Known { identity, snapshot })
}

/// What a token says, if its signature and its dates are right.
fn check(token: &str, app: &App) -> ApiResult<Checked> {
    let generation = app.jwt.generation();
    let claims = app.jwt.check(token).map_err(|error| match error {
        TokenError::Expired => ApiError::unauthorized("Token Expired"),
        TokenError::Invalid(_) => ApiError::forbidden("Invalid JWT token"),
    })?;
    let identity = app.auth_manager.identity(&claims).ok_or_else(|| ApiError::forbidden("Invalid JWT token"))?;
    let checked = Checked::new(identity, &claims, generation);
    app.checked_tokens.put(token, checked.clone());
    Ok(checked)
}

/// Whether somebody has logged out with that token, and what the database looked like when that was asked. A page sends many
/// requests with one token at once.
async fn is_revoked(jti: &Arc<str>, app: &App) -> ApiResult<(bool, Snapshot)> {
    let ask = async {
        let statement = "SELECT EXISTS (SELECT FROM revoked_token WHERE jti = $1), pg_current_snapshot()::text";
        let (is_revoked, snapshot): (bool, String) =
            sqlx::query_as(statement).bind(&**jti).fetch_one(&app.pool).await?;
        Ok::<_, sqlx::Error>((is_revoked, Snapshot::from(snapshot)))
    };
    Ok(app.revocations.run(jti, ask).await?)
}

/// Every token a request presents, so that a log-out revokes them all.
pub(super) fn tokens(headers: &HeaderMap) -> Vec<String> {
    let mut tokens: Vec<String> = bearer(headers).into_iter().collect();
    tokens.extend(cookie(headers).filter(|token| !token.is_empty() && !tokens.contains(token)));
    tokens
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.trim_matches('"').to_owned())
}

/// A `Set-Cookie` value that stores a token.
pub(super) fn store(options: &Options, scheme: Scheme, token: &str) -> String {
    let path = options.cookie_path();
    format!("{COOKIE}={token}; HttpOnly; Path={path}; SameSite=lax{}", secure(options, scheme))
}

/// A `Set-Cookie` value that removes the token from a path.
pub(super) fn remove(options: &Options, scheme: Scheme, path: &str) -> String {
    format!("{COOKIE}=\"\"; HttpOnly; Max-Age=0; Path={path}; SameSite=lax{}", secure(options, scheme))
}

/// A cookie that came over TLS, be it the proxy's, shall travel over TLS only.
fn secure(options: &Options, scheme: Scheme) -> &'static str {
    if scheme == Scheme::Https || options.tls.is_some() { "; Secure" } else { "" }
}

/// Removes a cookie that is no longer valid, or the browser would go round in circles between page and log-in.
pub(crate) async fn refresh_session(
    State(app): State<App>,
    scheme: Scheme,
    mut request: Request,
    next: Next,
) -> Response {
    let mut is_stale = false;
    if let Some(token) = cookie(request.headers()) {
        match known_by_token(&token, &app).await {
            Ok(known) => drop(request.extensions_mut().insert(InCookie(known))),
            Err(error) => is_stale = !error.status().is_server_error(),
        }
    }
    let mut response = next.run(request).await.into_response();
    if is_stale {
        let path = app.options.cookie_path();
        let paths = if path == "/" { vec![path] } else { vec![path, "/".to_owned()] };
        for path in paths {
            if let Ok(value) = HeaderValue::from_str(&remove(&app.options, scheme, &path)) {
                response.headers_mut().append(header::SET_COOKIE, value);
            }
        }
    }
    response
}
