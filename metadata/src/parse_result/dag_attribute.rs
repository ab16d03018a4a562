//! Rows of `dag_tag` and `dag_owner_attributes`.

use sqlx::{PgConnection, query};

use super::ParsedDag;
use crate::Result;

/// Makes tags and owner links of the Dags what the file says.
pub(super) async fn sync(connection: &mut PgConnection, dags: &[ParsedDag]) -> Result<()> {
    let ids: Vec<&str> = dags.iter().map(|dag| dag.dag_id()).collect();
    let (tagged, tags): (Vec<&str>, Vec<&str>) =
        dags.iter().flat_map(|dag| dag.tags.iter().map(|tag| (dag.dag_id(), tag.as_str()))).unzip();
    query(include_str!("../../queries/parse_result/sync_tags.sql"))
        .bind(&ids)
        .bind(tagged)
        .bind(tags)
        .execute(&mut *connection)
        .await?;
    let mut owned = Vec::new();
    let (mut owners, mut links) = (Vec::new(), Vec::new());
    for dag in dags {
        for (owner, link) in &dag.owner_links {
            owned.push(dag.dag_id());
            owners.push(owner.as_str());
            links.push(link.as_str());
        }
    }
    query(include_str!("../../queries/parse_result/sync_owner_links.sql"))
        .bind(&ids)
        .bind(owned)
        .bind(owners)
        .bind(links)
        .execute(connection)
        .await?;
    Ok(())
}
