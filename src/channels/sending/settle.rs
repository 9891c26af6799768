//! What statuses of a channel say of attempts: that one whose answer was lost has arrived, or that one which was accepted failed.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use uuid::Uuid;

use super::{failures, pause};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::channels::inbound::update::StatusUpdate;
use crate::channels::whatsapp::cloud_api::read_callback_data;
use crate::channels::whatsapp::error_codes::ErrorPolicy;
use crate::db::schema::message_attempts;
use crate::db::{Statement, Tx};

/// Whose a status is that names no message's present id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusOwner {
    /// A message: it has this id from now on.
    Message,
    /// An earlier attempt of a message that was sent again, or a reaction: it says nothing of the message.
    Attempt,
    Unknown,
}

/// Finds whose a status is by its attempt. One without an answer gets its id by it, which is locked: so what may have reached the
/// channel is settled, and not sent again. Queries: one, up to three where it settles an attempt.
pub fn owner(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid, status: &StatusUpdate) -> Result<StatusOwner> {
    let mut sql = Statement::new("SELECT EXISTS (SELECT FROM message_attempts WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND external_id = ").bind(&status.target).sql(")");
    if sql.scalar(tx)?.unwrap_or(false) {
        return Ok(StatusOwner::Attempt);
    }
    let Some((message, number)) = status.callback_data.as_deref().and_then(read_callback_data) else {
        return Ok(StatusOwner::Unknown);
    };
    let Some(settled) = settle(tx, tenant, channel, (message, number), &status.target)? else {
        return Ok(StatusOwner::Unknown);
    };
    if settled.purpose == "reaction" || !settled.is_last {
        return Ok(StatusOwner::Attempt);
    }
    give_id(tx, tenant, message, &status.target)?;
    Ok(StatusOwner::Message)
}

/// Gives a message its id on the channel; one that was uncertain, or given up before, is on its way. Queries: one.
pub fn give_id(tx: &mut Tx<'_>, tenant: &Tenant, message: Uuid, external_id: &str) -> Result<()> {
    let mut sql = Statement::new(
        "UPDATE messages m SET version = m.version + 1, updated_at = now(), status = CASE WHEN l.is_lost THEN 'queued' ELSE m.status END, \
         error = CASE WHEN NOT l.is_lost THEN m.error END, failed_reason = CASE WHEN NOT l.is_lost THEN m.failed_reason END, external_id = ",
    );
    sql.bind(external_id).sql(
        " FROM (SELECT business_id, id, status = 'uncertain' OR (status = 'failed' AND external_id IS NULL) AS is_lost \
         FROM messages WHERE business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND id = ").bind(message);
    sql.sql(" FOR NO KEY UPDATE) l WHERE m.business_id = l.business_id AND m.id = l.id AND m.external_id IS NULL")
        .run(tx)?;
    Ok(())
}

#[derive(QueryableByName)]
struct Settled {
    #[diesel(sql_type = Text)]
    purpose: String,
    #[diesel(sql_type = Bool)]
    is_last: bool,
}

/// Notes that the channel has an attempt that had no answer; `None` where there is no such attempt.
fn settle(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    channel: Uuid,
    (message, number): (Uuid, i64),
    external_id: &str,
) -> Result<Option<Settled>> {
    let mut sql = Statement::new(
        "UPDATE message_attempts a SET state = 'accepted', error = NULL, finished_at = now(), version = version + 1, updated_at = now(), external_id = ",
    );
    sql.bind(external_id).sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND channel_id = ").bind(channel);
    sql.sql(" AND message_id = ").bind(message).sql(" AND number = ").bind(number).sql(
        " AND (state IN ('queued', 'sending', 'uncertain') OR (state = 'failed' AND external_id IS NULL)) RETURNING purpose, \
         NOT EXISTS (SELECT FROM message_attempts o WHERE o.business_id = a.business_id AND o.message_id = a.message_id \
             AND o.purpose = a.purpose AND o.number > a.number) AS is_last",
    );
    Ok(sql.first(tx)?)
}

#[derive(QueryableByName)]
#[diesel(table_name = message_attempts)]
struct FailedAttempt {
    channel_id: Uuid,
    message_id: Uuid,
    purpose: String,
    number: i32,
}

/// Notes a failure on the accepted attempt of a message, and pauses the channel where that is what failed. Queries: one; more where it
/// pauses.
pub fn note_failure(tx: &mut Tx<'_>, tenant: &Tenant, status: &StatusUpdate) -> Result<()> {
    let Some(error) = &status.error else { return Ok(()) };
    let mut sql = Statement::new(
        "UPDATE message_attempts SET state = 'failed', version = version + 1, updated_at = now(), error = ",
    );
    sql.bind(failures::with_retry(error)).sql(" WHERE state = 'accepted' AND business_id = ").bind(tenant.id());
    sql.sql(" AND external_id = ").bind(&status.target).sql(" RETURNING channel_id, message_id, purpose, number");
    let Some(failed) = sql.first::<FailedAttempt>(tx)? else { return Ok(()) };
    if failed.purpose == "reaction" {
        failures::take_reaction_back(tx, tenant, failed.message_id, failed.number)?;
    }
    match ErrorPolicy::of(&error["code"]) {
        ErrorPolicy::ChannelPaused => pause::pause(tx, tenant, failed.channel_id, error, status.occurred_at),
        _ => Ok(()),
    }
}
