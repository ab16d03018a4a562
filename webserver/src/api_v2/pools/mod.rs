//! `/pools`.

mod bulk;

use crate::api_v2::bulk::patch_many;
use crate::api_v2::teams::{self, GivenTeam};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult, Problem};
use crate::no_content::NoContent;
use crate::query::{Filter, Listing, Order, Params, SortKey, key};
use crate::request_body::RequestBody;
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use bulk::Pools;
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgExecutor, Postgres, QueryBuilder};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/pools", get(list).post(create).patch(patch_many::<Pools>))
        .route("/pools/{*pool_name}", get(read).patch(update).delete(delete))
}

/// The pool that every task uses unless told otherwise.
const DEFAULT_POOL: &str = "default_pool";
/// The teams of those of the pools `$1` that exist.
const TEAMS: &str = "SELECT team_name FROM slot_pool WHERE pool = ANY($1)";

#[derive(Serialize, FromRow)]
struct Pool {
    name: String,
    slots: i32,
    description: Option<String>,
    include_deferred: bool,
    occupied_slots: i64,
    running_slots: i64,
    queued_slots: i64,
    scheduled_slots: i64,
    open_slots: i64,
    deferred_slots: i64,
    team_name: Option<String>,
}

#[derive(Serialize)]
struct Collection {
    pools: Vec<Pool>,
    total_entries: i64,
}

const COLUMNS: &str = include_str!("columns.sql");
const SOURCE: &str = include_str!("source.sql");
const SORT_KEYS: &[SortKey] =
    &[key("id", &[("p.id", "integer")]), key("pool", &[("p.pool", "text")]), key("name", &[("p.pool", "text")])];

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Pool)?;
    let mut filter = Filter::new();
    filter.of_teams(&user.teams(), "p.team_name");
    filter.pattern(&params, "pool_name", "p.pool");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    let (pools, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { pools, total_entries }))
}

async fn find(app: &App, name: &str) -> ApiResult<Pool> {
    let mut query: QueryBuilder<Postgres> =
        QueryBuilder::new(format!("SELECT {COLUMNS} FROM {SOURCE} WHERE p.pool = "));
    let pool = query.push_bind(name).build_query_as().fetch_optional(&app.pool).await?;
    pool.ok_or_else(|| not_found(name))
}

fn not_found(name: &str) -> ApiError {
    ApiError::not_found(format!("The Pool with name: `{name}` was not found"))
}

async fn read(State(app): State<App>, user: User, Path(name): Path<String>) -> ApiResult<Json<Pool>> {
    user.may_read(Resource::Pool)?;
    let pool = find(&app, &name).await?;
    user.may_deal_with(pool.team_name.as_deref())?;
    Ok(Json(pool))
}

/// The fields of a pool that a request gives; those it does not give stay.
#[derive(Debug, Default)]
struct PoolFields {
    name: Option<String>,
    slots: Option<i64>,
    description: Option<Option<String>>,
    include_deferred: Option<bool>,
    team: GivenTeam,
}

impl PoolFields {
    fn read(body: &mut Body, is_new: bool, multi_team: bool) -> ApiResult<Self> {
        let alias = if body.has("pool") && !(is_new && body.has("name")) { "pool" } else { "name" };
        let name = if is_new { body.text(alias) } else { body.optional_text(alias) };
        body.limit_length(alias, 256);
        if is_new {
            body.require("slots");
            body.refuse_null("slots", "int_type", "Input should be a valid integer");
        }
        let slots = body.optional_int_from("slots", -1);
        let given = body.has("description");
        let description = body.optional_text("description");
        let include_deferred = body.optional_bool("include_deferred");
        let (team, broken_rule) = teams::read(body, multi_team);
        body.finish_with(broken_rule)?;
        Ok(Self { name, slots, description: given.then_some(description), include_deferred, team })
    }

    /// Drops what an update mask leaves out.
    fn masked(self, mask: &[String]) -> Self {
        let keep = |name: &str| mask.is_empty() || mask.iter().any(|field| field.trim() == name);
        Self {
            name: self.name,
            slots: self.slots.filter(|_| keep("slots")),
            description: self.description.filter(|_| keep("description")),
            include_deferred: self.include_deferred.filter(|_| keep("include_deferred")),
            team: self.team.filter(|_| keep("team_name")),
        }
    }

    async fn insert(&self, executor: impl PgExecutor<'_>) -> ApiResult<()> {
        sqlx::query(
            "INSERT INTO slot_pool (pool, slots, description, include_deferred, team_name) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&self.name)
        .bind(self.slots)
        .bind(self.description.clone().flatten())
        .bind(self.include_deferred.unwrap_or_default())
        .bind(self.team.clone().flatten())
        .execute(executor)
        .await?;
        Ok(())
    }

    async fn update(&self, executor: impl PgExecutor<'_>, name: &str) -> ApiResult<()> {
        sqlx::query(
            "UPDATE slot_pool SET slots = COALESCE($2, slots), include_deferred = COALESCE($3, include_deferred), \
             description = CASE WHEN $4 THEN $5 ELSE description END, \
             team_name = CASE WHEN $6 THEN $7 ELSE team_name END WHERE pool = $1",
        )
        .bind(name)
        .bind(self.slots)
        .bind(self.include_deferred)
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
) -> ApiResult<(StatusCode, Json<Pool>)> {
    user.may_write(Resource::Pool)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "post_pool", method: "POST", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let fields = PoolFields::read(&mut body, true, app.options.multi_team)?;
    teams::check_given(&app, &user, &[&fields.team]).await?;
    fields.insert(&app.pool).await?;
    let pool = find(&app, fields.name.as_deref().unwrap_or_default()).await?;
    Ok((StatusCode::CREATED, Json(pool)))
}

async fn update(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(name): Path<String>,
    bytes: RequestBody,
) -> ApiResult<Json<Pool>> {
    user.may_write(Resource::Pool)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "patch_pool", method: "PATCH", path: &[("pool_name", &name)], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    teams::check_existing(&app, &user, TEAMS, &[&name]).await?;
    let fields = PoolFields::read(&mut body, false, app.options.multi_team)?;
    teams::check_given(&app, &user, &[&fields.team]).await?;
    if fields.name.as_ref().is_some_and(|given| !given.is_empty() && *given != name) {
        let detail = "Invalid body, pool name from request body doesn't match uri parameter";
        return Err(ApiError::bad_request(detail));
    }
    find(&app, &name).await?;
    let mask = params.texts("update_mask");
    check_default_pool(&name, &mask)?;
    if name != DEFAULT_POOL {
        check_complete(&body)?;
    }
    fields.masked(&mask).update(&app.pool, &name).await?;
    find(&app, &name).await.map(Json)
}

/// Of the default pool only the size may change, and only explicitly.
fn check_default_pool(name: &str, mask: &[String]) -> ApiResult<()> {
    let allowed = |field: &String| matches!(field.trim(), "slots" | "include_deferred");
    if name != DEFAULT_POOL || (!mask.is_empty() && mask.iter().all(allowed)) {
        return Ok(());
    }
    Err(ApiError::bad_request("Only slots and included_deferred can be modified on Default Pool"))
}

fn check_deletable(name: &str) -> ApiResult<()> {
    if name == DEFAULT_POOL { Err(ApiError::bad_request("Default Pool can't be deleted")) } else { Ok(()) }
}

/// A change of any other pool must name all that a pool has.
///
/// Airflow checks this after it has read the body: its complaints name the fields alone.
fn check_complete(body: &Body) -> ApiResult<()> {
    let is_given = |name: &str| body.has(name) || (name == "pool" && body.has("name"));
    let missing = ["pool", "slots", "include_deferred"].into_iter().filter(|name| !is_given(name));
    let input = Value::Object(body.fields().clone());
    let problem = |name| Problem::new("missing", &[name], "Field required", input.clone()).documented();
    let problems: Vec<_> = missing.map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(ApiError::validation(problems)) }
}

async fn delete(State(app): State<App>, user: User, params: Params, Path(name): Path<String>) -> ApiResult<NoContent> {
    user.may_write(Resource::Pool)?;
    Change { event: "delete_pool", method: "DELETE", path: &[("pool_name", &name)], body: None }
        .record(&app, &user, &params)
        .await?;
    teams::check_existing(&app, &user, TEAMS, &[&name]).await?;
    check_deletable(&name)?;
    let deleted = sqlx::query("DELETE FROM slot_pool WHERE pool = $1").bind(&name).execute(&app.pool).await?;
    if deleted.rows_affected() == 0 { Err(not_found(&name)) } else { Ok(NoContent) }
}
