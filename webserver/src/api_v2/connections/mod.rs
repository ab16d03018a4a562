//! `/connections`.

mod bulk;
mod defaults;
mod test;

use crate::api_v2::bulk::patch_many;
use crate::api_v2::teams::{self, GivenTeam};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::no_content::NoContent;
use crate::query::{Filter, Listing, Order, Params, SortKey, key};
use crate::request_body::RequestBody;
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use bulk::Connections;
use regex::Regex;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{FromRow, PgExecutor, Postgres, QueryBuilder};
use std::sync::LazyLock;
use tradewind_airflow::python_json;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/connections", get(list).post(create).patch(patch_many::<Connections>))
        .route("/connections/defaults", post(defaults::create))
        .route("/connections/enqueue-test", get(test::poll).post(test::enqueue))
        .route("/connections/test", post(test::test))
        .route("/connections/{connection_id}", get(read).patch(update).delete(delete))
}

/// Which ids are allowed.
const ID_PATTERN: &str = r"^[\w.-]+$";
static ID_REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(ID_PATTERN).ok());
const NO_JSON: &str = "The `extra` field must be a valid JSON object (e.g., {'key': 'value'})";
/// The teams of those of the connections `$1` that exist.
const TEAMS: &str = "SELECT team_name FROM connection WHERE conn_id = ANY($1)";
/// What stands in place of a secret in answers, and may come back in requests.
const MASK: &str = "***";

#[derive(Debug, Serialize)]
struct Connection {
    connection_id: String,
    conn_type: String,
    description: Option<String>,
    host: Option<String>,
    login: Option<String>,
    schema: Option<String>,
    port: Option<i32>,
    password: Option<String>,
    extra: Option<String>,
    team_name: Option<String>,
}

#[derive(FromRow)]
struct Stored {
    conn_id: String,
    conn_type: String,
    description: Option<String>,
    host: Option<String>,
    schema: Option<String>,
    login: Option<String>,
    password: Option<String>,
    port: Option<i32>,
    is_encrypted: Option<bool>,
    is_extra_encrypted: Option<bool>,
    extra: Option<String>,
    team_name: Option<String>,
}

impl Stored {
    /// The extra fields in the clear.
    fn extra(&self, app: &App) -> ApiResult<Option<String>> {
        match &self.extra {
            Some(stored) if self.is_extra_encrypted.unwrap_or_default() => {
                Ok(Some(app.fernet.decrypt(stored).map_err(|error| ApiError::internal(&error))?))
            }
            plain => Ok(plain.clone()),
        }
    }

    fn password(&self, app: &App) -> ApiResult<Option<String>> {
        match &self.password {
            Some(stored) if self.is_encrypted.unwrap_or_default() => {
                Ok(Some(app.fernet.decrypt(stored).map_err(|error| ApiError::internal(&error))?))
            }
            plain => Ok(plain.clone()),
        }
    }

    /// The connection as it may be shown.
    fn reveal(self, app: &App) -> ApiResult<Connection> {
        let extra = self.extra(app)?.map(|extra| redact_extra(app, extra));
        // An empty password is shown as such.
        let password = self.password.as_ref().map(|stored| if stored.is_empty() { "" } else { MASK }.to_owned());
        let Self { conn_id, conn_type, description, host, schema, login, port, team_name, .. } = self;
        Ok(Connection {
            connection_id: conn_id,
            conn_type,
            description,
            host,
            login,
            schema,
            port,
            password,
            extra,
            team_name,
        })
    }
}

fn redact_extra(app: &App, extra: String) -> String {
    match serde_json::from_str(&extra) {
        Ok(parsed) => python_json::dumps(&app.masker.redact(parsed)),
        Err(_) => extra,
    }
}

#[derive(Serialize)]
struct Collection {
    connections: Vec<Connection>,
    total_entries: i64,
}

const COLUMNS: &str = "c.conn_id, c.conn_type, c.description, c.host, c.schema, c.login, c.password, c.port, \
     c.is_encrypted, c.is_extra_encrypted, c.extra, c.team_name";
const SORT_KEYS: &[SortKey] = &[
    key("id", &[("c.id", "integer")]),
    key("conn_id", &[("c.conn_id", "text")]),
    key("connection_id", &[("c.conn_id", "text")]),
    key("conn_type", &[("c.conn_type", "text")]),
    key("description", &[("c.description", "text")]),
    key("host", &[("c.host", "text")]),
    key("port", &[("c.port", "integer")]),
    key("team_name", &[("c.team_name", "text")]),
];

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Connection)?;
    let mut filter = Filter::new();
    filter.of_teams(&user.teams(), "c.team_name");
    filter.pattern(&params, "connection_id", "c.conn_id");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: "connection c", filter, order };
    let (stored, total_entries) = listing.page::<Stored>(&app.pool, page).await?;
    let connections = stored.into_iter().map(|stored| stored.reveal(&app)).collect::<ApiResult<_>>()?;
    Ok(Json(Collection { connections, total_entries }))
}

async fn find(executor: impl PgExecutor<'_>, id: &str) -> ApiResult<Stored> {
    find_stored(executor, id).await?.ok_or_else(|| not_found(id))
}

async fn find_stored(executor: impl PgExecutor<'_>, id: &str) -> ApiResult<Option<Stored>> {
    let mut query: QueryBuilder<Postgres> =
        QueryBuilder::new(format!("SELECT {COLUMNS} FROM connection c WHERE c.conn_id = "));
    Ok(query.push_bind(id).build_query_as().fetch_optional(executor).await?)
}

fn not_found(id: &str) -> ApiError {
    ApiError::not_found(format!("The Connection with connection_id: `{id}` was not found"))
}

async fn read(State(app): State<App>, user: User, Path(id): Path<String>) -> ApiResult<Json<Connection>> {
    user.may_read(Resource::Connection)?;
    let stored = find(&app.pool, &id).await?;
    user.may_deal_with(stored.team_name.as_deref())?;
    stored.reveal(&app).map(Json)
}

/// A text of a request; `None`: not given, `Some(None)`: null.
type Given = Option<Option<String>>;

/// What a request gives of a connection.
#[derive(Debug, Default)]
struct ConnectionFields {
    id: String,
    conn_type: String,
    description: Option<Option<String>>,
    host: Option<Option<String>>,
    login: Option<Option<String>>,
    schema: Option<Option<String>>,
    port: Option<Option<i64>>,
    password: Option<Option<String>>,
    extra: Option<Option<String>>,
    team: GivenTeam,
}

impl ConnectionFields {
    fn read(body: &mut Body, multi_team: bool) -> ApiResult<Self> {
        let (fields, broken_rule) = Self::take(body, multi_team);
        body.finish_with(broken_rule)?;
        Ok(fields)
    }

    /// Reads the fields of a body that has others, too; with the rule that they break together.
    fn take(body: &mut Body, multi_team: bool) -> (Self, Option<&'static str>) {
        let id = body.text("connection_id").unwrap_or_default();
        body.limit_length("connection_id", 200);
        let matches = ID_REGEX.as_ref().is_some_and(|pattern| pattern.is_match(&id));
        if body.fields().get("connection_id").is_some_and(Value::is_string) && !matches {
            body.break_pattern("connection_id", ID_PATTERN);
        }
        let conn_type = body.text("conn_type").unwrap_or_default();
        let optional = |body: &mut Body, name: &str| {
            let given = body.has(name);
            let value = body.optional_text(name);
            given.then_some(value)
        };
        let description = optional(body, "description");
        let host = optional(body, "host");
        let login = optional(body, "login");
        let schema = optional(body, "schema");
        let port_given = body.has("port");
        let port = body.optional_int("port");
        let password = optional(body, "password");
        let extra = optional(body, "extra");
        let extra = extra.map(|extra| extra.map(|extra| if extra.is_empty() { "{}".to_owned() } else { extra }));
        match extra.iter().flatten().next().map(|extra| serde_json::from_str::<Value>(extra)) {
            None | Some(Ok(Value::Object(_))) => {}
            Some(Ok(_)) => body.break_rule("extra", NO_JSON),
            Some(Err(_)) => body.break_rule("extra", &format!("{NO_JSON}, but encountered non-JSON in `extra` field")),
        }
        let (team, broken_rule) = teams::read(body, multi_team);
        let port = port_given.then_some(port);
        let fields = Self { id, conn_type, description, host, login, schema, port, password, extra, team };
        (fields, broken_rule)
    }

    /// Drops what an update mask leaves out.
    fn masked(self, mask: &[String]) -> Self {
        let keep = |name: &str| mask.is_empty() || mask.iter().any(|field| field == name);
        Self {
            conn_type: if keep("conn_type") { self.conn_type } else { String::new() },
            description: self.description.filter(|_| keep("description")),
            host: self.host.filter(|_| keep("host")),
            login: self.login.filter(|_| keep("login")),
            schema: self.schema.filter(|_| keep("schema") || keep("schema_")),
            port: self.port.filter(|_| keep("port")),
            password: self.password.filter(|_| keep("password")),
            extra: self.extra.filter(|_| keep("extra")),
            team: self.team.filter(|_| keep("team_name")),
            id: self.id,
        }
    }

    async fn insert(&self, app: &App, executor: impl PgExecutor<'_>) -> ApiResult<()> {
        let encrypt = |text: &Option<Option<String>>| {
            text.clone().flatten().filter(|text| !text.is_empty()).map(|text| app.fernet.encrypt(&text))
        };
        let (password, extra) = (encrypt(&self.password), encrypt(&self.extra));
        sqlx::query(
            "INSERT INTO connection (conn_id, conn_type, description, host, schema, login, password, port, extra, \
             is_encrypted, is_extra_encrypted, team_name) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(&self.id)
        .bind(&self.conn_type)
        .bind(self.description.clone().flatten())
        .bind(self.host.clone().flatten())
        .bind(self.schema.clone().flatten())
        .bind(self.login.clone().flatten())
        .bind(&password)
        .bind(self.port.flatten())
        .bind(&extra)
        .bind(password.is_some() && app.fernet.is_encrypted())
        .bind(extra.is_some() && app.fernet.is_encrypted())
        .bind(self.team.clone().flatten())
        .execute(executor)
        .await?;
        Ok(())
    }

    /// Password and extra fields as given, with masks replaced by what is stored.
    fn unmasked(&self, app: &App, old: &Stored) -> ApiResult<(Given, Given)> {
        let password = match &self.password {
            None => None,
            Some(Some(given)) if given == MASK => Some(old.password(app)?),
            Some(given) => Some(given.clone()),
        };
        let extra = match (&self.extra, old.extra(app)?) {
            (Some(Some(given)), Some(stored)) => Some(Some(merge_extra(given, &stored))),
            (given, _) => given.clone(),
        };
        Ok((password, extra))
    }

    /// Changes what is given; masks that come back stand for the secrets they hide.
    async fn update(&self, app: &App, executor: impl PgExecutor<'_>, old: &Stored) -> ApiResult<()> {
        let (password, extra) = self.unmasked(app, old)?;
        let encrypt = |text: Option<String>| text.filter(|text| !text.is_empty()).map(|text| app.fernet.encrypt(&text));
        sqlx::query(include_str!("update.sql"))
            .bind(&self.id)
            .bind(Some(&self.conn_type).filter(|kind| !kind.is_empty()))
            .bind(self.description.is_some())
            .bind(self.description.clone().flatten())
            .bind(self.host.is_some())
            .bind(self.host.clone().flatten())
            .bind(self.schema.is_some())
            .bind(self.schema.clone().flatten())
            .bind(self.login.is_some())
            .bind(self.login.clone().flatten())
            .bind(self.port.is_some())
            .bind(self.port.flatten())
            .bind(password.is_some())
            .bind(encrypt(password.flatten()))
            .bind(extra.is_some())
            .bind(encrypt(extra.flatten()))
            .bind(app.fernet.is_encrypted())
            .bind(self.team.is_some())
            .bind(self.team.clone().flatten())
            .execute(executor)
            .await?;
        Ok(())
    }
}

/// The new extra fields, with masks replaced by what is stored.
fn merge_extra(given: &str, stored: &str) -> String {
    fn merge(given: Value, stored: &Value) -> Value {
        match given {
            Value::String(text) if text == MASK => stored.clone(),
            Value::Object(fields) => {
                let merged = fields.into_iter().map(|(name, value)| {
                    let merged = merge(value, stored.get(&name).unwrap_or(&Value::Null));
                    (name, merged)
                });
                Value::Object(merged.collect::<Map<_, _>>())
            }
            other => other,
        }
    }
    match (serde_json::from_str::<Value>(given), serde_json::from_str::<Value>(stored)) {
        (Ok(parsed), Ok(stored)) => python_json::dumps(&merge(parsed, &stored)),
        _ => given.to_owned(),
    }
}

async fn create(
    State(app): State<App>,
    user: User,
    params: Params,
    bytes: RequestBody,
) -> ApiResult<(StatusCode, Json<Connection>)> {
    user.may_write(Resource::Connection)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "post_connection", method: "POST", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let fields = ConnectionFields::read(&mut body, app.options.multi_team)?;
    teams::check_given(&app, &user, &[&fields.team]).await?;
    fields.insert(&app, &app.pool).await?;
    let connection = find(&app.pool, &fields.id).await?.reveal(&app)?;
    Ok((StatusCode::CREATED, Json(connection)))
}

async fn update(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(id): Path<String>,
    bytes: RequestBody,
) -> ApiResult<Json<Connection>> {
    user.may_write(Resource::Connection)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "patch_connection", method: "PATCH", path: &[("connection_id", &id)], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    teams::check_existing(&app, &user, TEAMS, &[&id]).await?;
    let fields = ConnectionFields::read(&mut body, app.options.multi_team)?;
    teams::check_given(&app, &user, &[&fields.team]).await?;
    if fields.id != id {
        let detail = "The connection_id in the request body does not match the URL parameter";
        return Err(ApiError::bad_request(detail));
    }
    let old = find(&app.pool, &id).await?;
    fields.masked(&params.texts("update_mask")).update(&app, &app.pool, &old).await?;
    find(&app.pool, &id).await?.reveal(&app).map(Json)
}

async fn delete(State(app): State<App>, user: User, params: Params, Path(id): Path<String>) -> ApiResult<NoContent> {
    user.may_write(Resource::Connection)?;
    Change { event: "delete_connection", method: "DELETE", path: &[("connection_id", &id)], body: None }
        .record(&app, &user, &params)
        .await?;
    teams::check_existing(&app, &user, TEAMS, &[&id]).await?;
    let deleted = sqlx::query("DELETE FROM connection WHERE conn_id = $1").bind(&id).execute(&app.pool).await?;
    if deleted.rows_affected() == 0 { Err(not_found(&id)) } else { Ok(NoContent) }
}
