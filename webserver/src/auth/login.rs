//! `/auth/*` of the simple auth manager, and `/api/v2/auth/*`, which leads there.

use super::manager::Identity;
use super::session;
use super::simple::anonymous_admin;
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::openapi;
use crate::proxy::Scheme;
use crate::query::Params;
use crate::request_body::RequestBody;
use crate::state::App;
use crate::static_ui;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde_json::json;
use std::time::Duration;

/// Routes under `/auth`: tokens and the official log-in page.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/token", post(create_token).get(create_token_all_admins))
        .route("/token/login", get(login_all_admins))
        .route("/token/cli", post(create_token_cli))
        .merge(openapi::login_routes())
        .merge(static_ui::login_page())
}

/// Routes under `/api/v2/auth`.
pub(crate) fn redirects() -> Router<App> {
    Router::new().route("/login", get(login)).route("/logout", get(logout))
}

async fn create_token(State(app): State<App>, headers: HeaderMap, bytes: RequestBody) -> ApiResult<Response> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/json");
    let mut body = if content_type.starts_with("application/json") {
        Body::from_json(&bytes)?
    } else if content_type.starts_with("application/x-www-form-urlencoded") {
        let fields =
            form_urlencoded::parse(&bytes).filter(|(name, _)| matches!(name.as_ref(), "username" | "password"));
        Body::from_fields(fields.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect())
    } else {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Only application/json or application/x-www-form-urlencoded is supported",
        ));
    };
    log_in(&app, &mut body, app.options.session_length)
}

async fn create_token_cli(State(app): State<App>, bytes: RequestBody) -> ApiResult<Response> {
    log_in(&app, &mut Body::from_bytes(&bytes)?, app.options.cli_session_length)
}

fn log_in(app: &App, body: &mut Body, length: Duration) -> ApiResult<Response> {
    let name = body.text("username").unwrap_or_default();
    let password = body.text("password").unwrap_or_default();
    body.finish()?;
    if app.users.all_admins() {
        return token_response(app, &anonymous_admin(), length);
    }
    if name.is_empty() || password.is_empty() {
        return Err(ApiError::bad_request("Username and password must be provided"));
    }
    let user = app.users.authenticate(&name, &password).map_err(|error| ApiError::internal(&error))?;
    let user = user.ok_or_else(|| ApiError::unauthorized("Invalid credentials"))?;
    token_response(app, &Identity { name: user.name, role: Some(user.role), teams: user.teams }, length)
}

async fn create_token_all_admins(State(app): State<App>) -> ApiResult<Response> {
    refuse_unless_all_admins(&app)?;
    token_response(&app, &anonymous_admin(), app.options.session_length)
}

async fn login_all_admins(
    State(app): State<App>,
    scheme: Scheme,
    params: Params,
    headers: HeaderMap,
) -> ApiResult<Response> {
    refuse_unless_all_admins(&app)?;
    let next = params.text("next").filter(|next| is_safe_url(next, &app, &headers));
    let fallback = if app.options.base_url.is_empty() { "/".to_owned() } else { app.options.base_url.clone() };
    let token = issue(&app, &anonymous_admin(), app.options.session_length)?;
    redirect(&next.unwrap_or(fallback), &[session::store(&app.options, scheme, &token)])
}

fn refuse_unless_all_admins(app: &App) -> ApiResult<()> {
    if app.users.all_admins() {
        return Ok(());
    }
    Err(ApiError::forbidden("This method is only allowed if ``[core] simple_auth_manager_all_admins`` is True"))
}

/// A token of that user.
pub(crate) fn issue(app: &App, identity: &Identity, length: Duration) -> ApiResult<String> {
    let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    app.jwt.issue(app.auth_manager.claims(identity), Utc::now(), seconds).map_err(|error| ApiError::internal(&error))
}

fn token_response(app: &App, identity: &Identity, length: Duration) -> ApiResult<Response> {
    let token = issue(app, identity, length)?;
    Ok((StatusCode::CREATED, Json(json!({"access_token": token}))).into_response())
}

async fn login(State(app): State<App>, params: Params, headers: HeaderMap) -> ApiResult<Response> {
    let mut location = login_url(&app);
    if let Some(next) = params.text("next").filter(|next| !next.is_empty()) {
        if !is_safe_url(&next, &app, &headers) {
            return Err(ApiError::bad_request("Invalid or unsafe next URL"));
        }
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", &next).finish();
        location = format!("{location}?{query}");
    }
    redirect(&location, &[])
}

async fn logout(State(app): State<App>, scheme: Scheme, headers: HeaderMap) -> ApiResult<Response> {
    for token in session::tokens(&headers) {
        revoke(&app, &token).await?;
    }
    let path = app.options.cookie_path();
    let mut cookies = vec![session::remove(&app.options, scheme, &path)];
    if path != "/" {
        cookies.push(session::remove(&app.options, scheme, "/"));
    }
    redirect(&login_url(&app), &cookies)
}

/// Remembers a valid token as revoked until it expires; those that have expired are forgotten.
async fn revoke(app: &App, token: &str) -> ApiResult<()> {
    let Ok(claims) = app.jwt.check(token) else { return Ok(()) };
    let jti = claims.get("jti").and_then(|jti| jti.as_str());
    let expiry = claims.get("exp").and_then(|exp| exp.as_i64()).and_then(|exp| DateTime::from_timestamp(exp, 0));
    if let (Some(jti), Some(expiry)) = (jti, expiry) {
        sqlx::query("INSERT INTO revoked_token (jti, exp) VALUES ($1, $2) ON CONFLICT (jti) DO NOTHING")
            .bind(jti)
            .bind(expiry)
            .execute(&app.pool)
            .await?;
        sqlx::query("DELETE FROM revoked_token WHERE exp < now()").execute(&app.pool).await?;
    }
    Ok(())
}

fn login_url(app: &App) -> String {
    format!("{}{}", app.options.root_path(), app.auth_manager.login_path())
}

fn redirect(location: &str, cookies: &[String]) -> ApiResult<Response> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| ApiError::internal(&error));
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    response.headers_mut().insert(header::LOCATION, value(location)?);
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, value(cookie)?);
    }
    Ok(response)
}

/// Whether a URL stays on this server: relative, or on the host of the request or of the base URL.
///
/// Browsers read `\` as `/` and `///` as `//`, so both are treated alike (`core_api/security.py`, `is_safe_url`).
fn is_safe_url(url: &str, app: &App, headers: &HeaderMap) -> bool {
    let decoded = percent_encoding::percent_decode_str(url).decode_utf8_lossy();
    let url = decoded.trim().replace('\\', "/");
    if url.starts_with("//") {
        return false;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let own = [host, origin(&app.options.base_url).map(|(_, host)| host)];
    let path = match origin(&url) {
        Some((scheme, host)) => {
            if !matches!(scheme, "http" | "https") || !own.contains(&Some(host)) {
                return false;
            }
            url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|start| &rest[start..])).unwrap_or("/")
        }
        None if url.split(['/', '?', '#']).next().is_some_and(|start| start.contains(':')) => return false,
        None => &url,
    };
    let root = app.options.root_path();
    let climbs = path.split(['?', '#']).next().is_some_and(|path| path.split('/').any(|part| part == ".."));
    let is_below = path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    !climbs && (root.is_empty() || !path.starts_with('/') || is_below)
}

/// Scheme and authority of an absolute URL.
fn origin(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    Some((scheme, rest.split(['/', '?', '#']).next().unwrap_or(rest)))
}
