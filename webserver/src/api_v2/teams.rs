//! To which team a pool, a connection or a variable belongs, and whose business it is therefore (`[core] multi_team`).
//!
//! The rules are those of `_collect_teams_to_check` in `airflow/api_fastapi/core_api/security.py`.

use std::collections::BTreeSet;

use crate::auth::User;
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::python::repr;
use crate::state::App;

/// A team as a request gives it; `None`: not given, `Some(None)`: null.
pub(super) type GivenTeam = Option<Option<String>>;

const DISABLED: &str = "team_name cannot be set when multi_team mode is disabled. Please contact your administrator.";

/// Reads `team_name`; with the rule that it breaks where there are no teams.
pub(super) fn read(body: &mut Body, multi_team: bool) -> (GivenTeam, Option<&'static str>) {
    let given = body.has("team_name");
    let team = body.optional_text("team_name");
    body.limit_length("team_name", 50);
    let broken_rule = (team.is_some() && !multi_team).then_some(DISABLED);
    (given.then_some(team), broken_rule)
}

/// Refuses teams that are not there, or are not the user's.
pub(super) async fn check_given(app: &App, user: &User, given: &[&GivenTeam]) -> ApiResult<()> {
    let wanted: BTreeSet<&str> = given.iter().copied().flatten().flatten().map(String::as_str).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = wanted.iter().copied().collect();
    let statement = "SELECT name::text FROM team WHERE name = ANY($1)";
    let known: Vec<String> = sqlx::query_scalar(statement).bind(names).fetch_all(&app.pool).await?;
    for team in wanted {
        if !known.iter().any(|known| known == team) {
            return Err(ApiError::bad_request(format!("Team {} does not exist", repr(team))));
        }
        user.may_deal_with(Some(team))?;
    }
    Ok(())
}

/// Refuses who may not have to do with those of the keys `$1` of a statement that exist: it selects their teams.
pub(super) async fn check_existing(app: &App, user: &User, teams_of: &'static str, keys: &[&str]) -> ApiResult<()> {
    if user.may_deal_with_all_teams() || keys.is_empty() {
        return Ok(());
    }
    let teams: Vec<Option<String>> = sqlx::query_scalar(teams_of).bind(keys).fetch_all(&app.pool).await?;
    teams.iter().try_for_each(|team| user.may_deal_with(team.as_deref()))
}
