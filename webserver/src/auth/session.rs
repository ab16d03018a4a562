//! Session tokens: bearer header or cookie.

use super::manager::Identity;
use crate::error::{ApiError, ApiResult};
use crate::options::Options;
use crate::proxy::Scheme;
use crate::state::App;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tradewind_airflow::jwt::TokenError;

/// The cookie that carries the session token; the UI sets it after the log-in.
pub(crate) const COOKIE: &str = "_token";

/// Whom the cookie of a request names; [`refresh_session`] has found it valid.
#[derive(Debug, Clone)]
struct CookieIdentity(Identity);

/// Who sent a request, once that was asked.
#[derive(Debug, Clone)]
struct Known(Identity);

/// Finds out who sent a request, so that nobody has to ask again.
pub(crate) async fn identify(parts: &mut Parts, app: &App) -> ApiResult<Identity> {
    let identity = identity_of(parts, app).await?;
    parts.extensions.insert(Known(identity.clone()));
    Ok(identity)
}

/// Who sent a request: an explicit bearer token wins over the cookie.
pub(super) async fn identity_of(parts: &Parts, app: &App) -> ApiResult<Identity> {
    if let Some(Known(identity)) = parts.extensions.get() {
        return Ok(identity.clone());
    }
    if let Some(token) = bearer(&parts.headers) {
        return identity_of_token(&token, app).await;
    }
    if let Some(identity) = app.auth_manager.without_token() {
        return Ok(identity);
    }
    if let Some(CookieIdentity(identity)) = parts.extensions.get() {
        return Ok(identity.clone());
    }
    match cookie(&parts.headers) {
        Some(token) if !token.is_empty() => identity_of_token(&token, app).await,
        _ => Err(ApiError::unauthorized("Not authenticated")),
    }
}

async fn identity_of_token(token: &str, app: &App) -> ApiResult<Identity> {
    let claims = app.jwt.check(token).map_err(|error| match error {
        TokenError::Expired => ApiError::unauthorized("Token Expired"),
        TokenError::Invalid(_) => ApiError::forbidden("Invalid JWT token"),
    })?;
    if let Some(jti) = claims.get("jti").and_then(|jti| jti.as_str())
        && is_revoked(jti, app).await?
    {
        return Err(ApiError::forbidden("Invalid JWT token"));
    }
    app.auth_manager.identity(&claims).ok_or_else(|| ApiError::forbidden("Invalid JWT token"))
}

/// Whether somebody has logged out with that token. A page sends many requests with one token at once.
async fn is_revoked(jti: &str, app: &App) -> ApiResult<bool> {
    let ask = async {
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM revoked_token WHERE jti = $1)")
            .bind(jti)
            .fetch_one(&app.pool)
            .await
    };
    Ok(app.revocations.run(&jti.to_owned(), ask).await?)
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
        match identity_of_token(&token, &app).await {
            Ok(identity) => drop(request.extensions_mut().insert(CookieIdentity(identity))),
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
