//! `/variables`.

mod bulk;

use crate::api_v2::bulk::patch_many;
use crate::api_v2::teams::{self, GivenTeam};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::no_content::NoContent;
use crate::python;
use crate::query::{Filter, Listing, Order, Params, SortKey, key};
use crate::request_body::RequestBody;
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use bulk::Variables;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{FromRow, PgExecutor, Postgres, QueryBuilder};
use tradewind_airflow::python_json;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/variables", get(list).post(create).patch(patch_many::<Variables>))
        .route("/variables/{*variable_key}", get(read).patch(update).delete(delete))
}

/// The teams of those of the variables `$1` that exist.
const TEAMS: &str = "SELECT team_name FROM variable WHERE key = ANY($1)";

#[derive(Debug, Serialize)]
struct Variable {
    key: String,
    value: Option<String>,
    description: Option<String>,
    is_encrypted: bool,
    team_name: Option<String>,
}

#[derive(FromRow)]
struct Stored {
    key: String,
    val: Option<String>,
    description: Option<String>,
    is_encrypted: Option<bool>,
    team_name: Option<String>,
}

impl Stored {
    fn reveal(self, app: &App) -> ApiResult<Variable> {
        let is_encrypted = self.is_encrypted.unwrap_or_default();
        let value = match self.val {
            Some(stored) if is_encrypted => {
                Some(app.fernet.decrypt(&stored).map_err(|error| ApiError::internal(&error))?)
            }
            plain => plain,
        };
        let value = value.map(|value| redact(app, &self.key, &value));
        let Self { key, description, team_name, .. } = self;
        Ok(Variable { key, value, description, is_encrypted, team_name })
    }
}

/// Hides the value under a sensitive name, and values under sensitive names within a JSON value.
fn redact(app: &App, name: &str, value: &str) -> String {
    let Ok(parsed) = serde_json::from_str::<Value>(value) else {
        return redact_named(app, name, Value::from(value)).as_str().unwrap_or_default().to_owned();
    };
    python_json::dumps(&redact_named(app, name, parsed))
}

/// The value as it may be shown under that name.
pub(super) fn redact_named(app: &App, name: &str, value: Value) -> Value {
    let named = Map::from_iter([(name.to_owned(), value)]);
    app.masker.redact_object(named).shift_remove(name).unwrap_or_default()
}

#[derive(Serialize)]
struct Collection {
    variables: Vec<Variable>,
    total_entries: i64,
}

const COLUMNS: &str = "v.key, v.val, v.description, v.is_encrypted, v.team_name";
const SORT_KEYS: &[SortKey] = &[
    key("id", &[("v.id", "integer")]),
    key("key", &[("v.key", "text")]),
    key("_val", &[("v.val", "text")]),
    key("description", &[("v.description", "text")]),
    key("is_encrypted", &[("v.is_encrypted", "boolean")]),
    key("team_name", &[("v.team_name", "text")]),
];

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Variable)?;
    let mut filter = Filter::new();
    filter.of_teams(&user.teams(), "v.team_name");
    filter.pattern(&params, "variable_key", "v.key");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: "variable v", filter, order };
    let (stored, total_entries) = listing.page::<Stored>(&app.pool, page).await?;
    let variables = stored.into_iter().map(|stored| stored.reveal(&app)).collect::<ApiResult<_>>()?;
    Ok(Json(Collection { variables, total_entries }))
}

async fn find(app: &App, key: &str) -> ApiResult<Option<Variable>> {
    let mut query: QueryBuilder<Postgres> =
        QueryBuilder::new(format!("SELECT {COLUMNS} FROM variable v WHERE v.key = "));
    let stored: Option<Stored> = query.push_bind(key).build_query_as().fetch_optional(&app.pool).await?;
    stored.map(|stored| stored.reveal(app)).transpose()
}

fn not_found(key: &str) -> ApiError {
    ApiError::not_found(format!("The Variable with key: `{key}` was not found"))
}

async fn read(State(app): State<App>, user: User, Path(key): Path<String>) -> ApiResult<Json<Variable>> {
    user.may_read(Resource::Variable)?;
    let variable = find(&app, &key).await?.ok_or_else(|| not_found(&key))?;
    user.may_deal_with(variable.team_name.as_deref())?;
    Ok(Json(variable))
}

/// What a request gives of a variable.
#[derive(Debug)]
struct VariableFields {
    key: String,
    value: Option<String>,
    description: Option<Option<String>>,
    team: GivenTeam,
}

impl VariableFields {
    fn read(body: &mut Body, multi_team: bool) -> ApiResult<Self> {
        let key = body.text("key").unwrap_or_default();
        body.limit_length("key", 250);
        let value = body.value("value");
        let given = body.has("description");
        let description = body.optional_text("description");
        let (team, broken_rule) = teams::read(body, multi_team);
        body.finish_with(broken_rule)?;
        let value = value.map(|value| match value {
            Value::String(text) => text,
            other => python::dumps_indented(&other),
        });
        Ok(Self { key, value, description: given.then_some(description), team })
    }

    fn masked(self, mask: &[String]) -> Self {
        let keep = |name: &str| mask.is_empty() || mask.iter().any(|field| field == name);
        Self {
            key: self.key,
            value: self.value.filter(|_| keep("value") || keep("val")),
            description: self.description.filter(|_| keep("description")),
            team: self.team.filter(|_| keep("team_name")),
        }
    }

    async fn insert(&self, app: &App, executor: impl PgExecutor<'_>) -> ApiResult<()> {
        let value = self.value.as_deref().unwrap_or_default();
        sqlx::query(
            "INSERT INTO variable (key, val, description, is_encrypted, team_name) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&self.key)
        .bind(app.fernet.encrypt(value))
        .bind(self.description.clone().flatten())
        .bind(app.fernet.is_encrypted())
        .bind(self.team.clone().flatten())
        .execute(executor)
        .await?;
        Ok(())
    }

    /// Makes the variable, or puts it in the place of the one with its key, whose team it keeps.
    async fn put(&self, app: &App, executor: impl PgExecutor<'_>) -> ApiResult<()> {
        sqlx::query(
            "INSERT INTO variable (key, val, description, is_encrypted, team_name) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key) \
             DO UPDATE SET val = EXCLUDED.val, description = EXCLUDED.description, is_encrypted = EXCLUDED.is_encrypted",
        )
        .bind(&self.key)
        .bind(app.fernet.encrypt(self.value.as_deref().unwrap_or_default()))
        .bind(self.description.clone().flatten())
        .bind(app.fernet.is_encrypted())
        .bind(self.team.clone().flatten())
        .execute(executor)
        .await?;
        Ok(())
    }

    async fn update(&self, app: &App, executor: impl PgExecutor<'_>) -> ApiResult<()> {
        sqlx::query(
            "UPDATE variable SET val = COALESCE($2, val), \
             is_encrypted = CASE WHEN $2 IS NULL THEN is_encrypted ELSE $3 END, \
             description = CASE WHEN $4 THEN $5 ELSE description END, \
             team_name = CASE WHEN $6 THEN $7 ELSE team_name END WHERE key = $1",
        )
        .bind(&self.key)
        .bind(self.value.as_deref().map(|value| app.fernet.encrypt(value)))
        .bind(app.fernet.is_encrypted())
        .bind(self.description.is_some())
        .bind(self.description.clone().flatten())
        .bind(self.team.is_some())
        .bind(self.team.clone().flatten())
        .execute(executor)
        .await?;
        Ok(())
    }
}

async fn create(
    State(app): State<App>,
    user: User,
    params: Params,
    bytes: RequestBody,
) -> ApiResult<(StatusCode, Json<Variable>)> {
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "post_variable", method: "POST", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    user.may_write(Resource::Variable)?;
    let fields = VariableFields::read(&mut body, app.options.multi_team)?;
    teams::check_given(&app, &user, &[&fields.team]).await?;
    if find(&app, &fields.key).await?.is_some() {
        let detail = format!("The Variable with key: `{}` already exists", fields.key);
        return Err(ApiError::conflict(detail));
    }
    fields.insert(&app, &app.pool).await?;
    let variable = find(&app, &fields.key).await?.ok_or_else(|| not_found(&fields.key))?;
    Ok((StatusCode::CREATED, Json(variable)))
}

async fn update(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(key): Path<String>,
    bytes: RequestBody,
) -> ApiResult<Json<Variable>> {
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "patch_variable", method: "PATCH", path: &[("variable_key", &key)], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    user.may_write(Resource::Variable)?;
    teams::check_existing(&app, &user, TEAMS, &[&key]).await?;
    let fields = VariableFields::read(&mut body, app.options.multi_team)?;
    teams::check_given(&app, &user, &[&fields.team]).await?;
    if fields.key != key {
        let detail = "Invalid body, key from request body doesn't match uri parameter";
        return Err(ApiError::bad_request(detail));
    }
    find(&app, &key).await?.ok_or_else(|| not_found(&key))?;
    let mask = params.texts("update_mask");
    if mask.iter().any(|field| field == "key") {
        let detail = "Update not allowed: the following fields are immutable and cannot be modified: {'key'}";
        return Err(ApiError::bad_request(detail));
    }
    fields.masked(&mask).update(&app, &app.pool).await?;
    find(&app, &key).await?.map(Json).ok_or_else(|| not_found(&key))
}

async fn delete(State(app): State<App>, user: User, params: Params, Path(key): Path<String>) -> ApiResult<NoContent> {
    Change { event: "delete_variable", method: "DELETE", path: &[("variable_key", &key)], body: None }
        .record(&app, &user, &params)
        .await?;
    user.may_write(Resource::Variable)?;
    teams::check_existing(&app, &user, TEAMS, &[&key]).await?;
    let deleted = sqlx::query("DELETE FROM variable WHERE key = $1").bind(&key).execute(&app.pool).await?;
    if deleted.rows_affected() == 0 { Err(not_found(&key)) } else { Ok(NoContent) }
}
