//! What waits to be sent through a channel that is deleted fails: it is not sent weeks later, should the channel be restored.

use diesel::QueryableByName;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use serde_json::json;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::base::timestamp;
use crate::db::{Statement, Tx};

#[derive(QueryableByName)]
struct Dropped {
    #[diesel(sql_type = SqlUuid)]
    message_id: Uuid,
    #[diesel(sql_type = Text)]
    purpose: String,
}

/// Fails what is queued for those of these channels that are deleted. Queries: two at most.
pub fn fail_queued(tx: &mut Tx<'_>, tenant: &Tenant, channels: &[Uuid]) -> Result<()> {
    let title = "Its channel was deleted.";
    let at = timestamp::text(chrono::Utc::now());
    let error = json!({ "code": "channel_deleted", "title": title, "details": null, "retry": "never", "at": at });
    let mut sql = Statement::new(
        "UPDATE message_attempts a SET state = 'failed', finished_at = now(), version = a.version + 1, updated_at = now(), error = ",
    );
    sql.bind(error.clone())
        .sql(" FROM channels c WHERE c.business_id = a.business_id AND c.id = a.channel_id AND c.deleted_at IS NOT NULL AND a.business_id = ");
    sql.bind(tenant.id()).sql(" AND a.channel_id = ANY(").bind(channels.to_vec());
    let dropped = sql.sql(") AND a.state = 'queued' RETURNING a.message_id, a.purpose").load::<Dropped>(tx)?;
    let messages = dropped.into_iter().filter(|attempt| attempt.purpose == "message").map(|attempt| attempt.message_id);
    let messages: Vec<Uuid> = messages.collect();
    if messages.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new(
        "UPDATE messages SET version = version + 1, updated_at = now(), status = 'failed', failed_reason = ",
    );
    sql.bind(title).sql(", error = ").bind(error).sql(" WHERE status = 'queued' AND business_id = ").bind(tenant.id());
    sql.sql(" AND id = ANY(").bind(messages).sql(")").run(tx)?;
    Ok(())
}
