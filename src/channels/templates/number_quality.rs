//! WhatsApp's rating of a number, read beside the templates of its account (`GET /{number}?fields=quality_rating`): once a day, and when a webhook
//! tells of a change (`phone_number_quality_update`).

use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::base::options::Secret;
use crate::channels::whatsapp::graph::{GraphClient, GraphError};
use crate::db::{Statement, Tx};

/// Reads the rating, as the `quality` of channels has it.
pub async fn read(graph: &GraphClient, number: &str, token: &Secret) -> Result<&'static str, GraphError> {
    let answer = graph.get(number, &[("fields", "quality_rating")], token).await?;
    Ok(match answer["quality_rating"].as_str().unwrap_or_default() {
        "GREEN" => "green",
        "YELLOW" => "yellow",
        "RED" => "red",
        _ => "unknown",
    })
}

/// Notes the rating of a channel's number. Queries: one.
pub fn store(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid, quality: &str) -> Result<()> {
    let mut sql = Statement::new("UPDATE channels SET version = version + 1, updated_at = now(), quality = ");
    sql.bind(quality).sql(" WHERE quality <> ").bind(quality).sql(" AND business_id = ").bind(tenant.id());
    sql.sql(" AND id = ").bind(channel).run(tx)?;
    Ok(())
}
