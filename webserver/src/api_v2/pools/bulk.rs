//! `PATCH /pools`: many pools at once.

use super::{PoolFields, TEAMS, check_default_pool, check_deletable};
use crate::api_v2::bulk::BulkEntity;
use crate::api_v2::teams::GivenTeam;
use crate::auth::Resource;
use crate::body::Body;
use crate::error::ApiResult;
use crate::state::App;
use sqlx::PgConnection;

/// Pools, by name.
pub(super) struct Pools;

impl BulkEntity for Pools {
    const RESOURCE: Resource = Resource::Pool;
    const EVENT: &'static str = "bulk_pools";
    const LOGS_REFUSED: bool = false;
    const NAMES: &'static str = "pools with these pool names";
    const EXISTING: &'static str = "SELECT pool FROM slot_pool WHERE pool = ANY($1)";
    const TEAMS: &'static str = TEAMS;
    type Fields = PoolFields;

    fn read(body: &mut Body, multi_team: bool) -> ApiResult<PoolFields> {
        PoolFields::read(body, true, multi_team)
    }

    fn team(fields: &PoolFields) -> &GivenTeam {
        &fields.team
    }

    fn key(fields: &PoolFields) -> &str {
        fields.name.as_deref().unwrap_or_default()
    }

    async fn create(_app: &App, connection: &mut PgConnection, fields: PoolFields) -> ApiResult<()> {
        fields.insert(connection).await
    }

    async fn overwrite(_app: &App, connection: &mut PgConnection, fields: PoolFields) -> ApiResult<()> {
        fields.update(connection, Self::key(&fields)).await
    }

    async fn update(_app: &App, connection: &mut PgConnection, fields: PoolFields, mask: &[String]) -> ApiResult<()> {
        check_default_pool(Self::key(&fields), mask)?;
        let name = Self::key(&fields).to_owned();
        fields.masked(mask).update(connection, &name).await
    }

    async fn delete(connection: &mut PgConnection, key: &str) -> ApiResult<()> {
        check_deletable(key)?;
        sqlx::query("DELETE FROM slot_pool WHERE pool = $1").bind(key).execute(connection).await?;
        Ok(())
    }
}
