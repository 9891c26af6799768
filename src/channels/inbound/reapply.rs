//! Applies again: an update that is parked, or the bodies that a channel delivered.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value as Json;
use uuid::Uuid;

use super::apply;
use super::delivered::Delivered;
use super::update::InboundUpdate;
use super::{changes, locks, waiting};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::channels::channels::CHANNELS;
use crate::channels::directory::connected;
use crate::channels::inbound_updates::INBOUND_UPDATES;
use crate::channels::whatsapp::webhook_item;
use crate::db::{Statement, Tx};
use crate::resource::crud;

/// Bodies that one replay has applied again, the oldest first.
const MAX_REPLAYED: i32 = 100_000;

/// A parked update.
#[derive(QueryableByName)]
struct ParkedUpdate {
    #[diesel(sql_type = SqlUuid)]
    channel_id: Uuid,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    waits_for: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    received_at: DateTime<Utc>,
    #[diesel(sql_type = Jsonb)]
    payload: Json,
    #[diesel(sql_type = Array<Text>)]
    people: Vec<String>,
}

/// Applies a parked update, and deletes it. Errors: 404; 409 when its message is still missing, or it fails again.
pub fn apply(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<()> {
    let mut sql = Statement::new(
        "SELECT channel_id, kind, waits_for, received_at, payload, people FROM inbound_updates WHERE business_id = ",
    );
    let found = sql.bind(tenant.id()).sql(" AND id = ").bind(id).first::<ParkedUpdate>(tx)?;
    let found = found.ok_or_else(|| crud::not_found(&INBOUND_UPDATES))?;
    let mut target = None;
    if let Some(awaited) = &found.waits_for {
        locks::messages(tx, tenant, [awaited.as_str()])?;
        target = changes::find(tx, tenant, awaited)?;
        if target.is_none() {
            let detail = "The message that this update is about is not here yet; it is applied when that comes.";
            return Err(Error::conflict("still_waiting", detail));
        }
    }
    let mut sql = Statement::new("DELETE FROM inbound_updates WHERE business_id = ");
    if sql.bind(tenant.id()).sql(" AND id = ").bind(id).run(tx)? == 0 {
        // Its message has come meanwhile.
        return Err(crud::not_found(&INBOUND_UPDATES));
    }
    if let Some(target) = target.filter(|_| found.kind == waiting::REPLY) {
        return waiting::link_reply(tx, tenant, &found.payload, target.id);
    }
    let channel = connected(tx, tenant.id(), found.channel_id)?
        .ok_or_else(|| Error::conflict("still_failing", "Its channel is deleted. Restore the channel first."))?;
    let update = webhook_item::read(&found.payload, found.received_at);
    if let InboundUpdate::Ignored { reason } = &update {
        let detail = format!("Nothing of it can be applied: {reason}.");
        return Err(Error::conflict("still_failing", detail));
    }
    let delivered = Delivered {
        channel: &channel,
        kind: &found.kind,
        received_at: found.received_at,
        raw: &found.payload,
        update: &update,
        people: &found.people,
    };
    match tx.savepoint(|tx| apply::apply(tx, tenant, &delivered)).map_err(Error::translated) {
        Err(error @ Error::Unavailable { .. }) => Err(error),
        Err(error) => {
            Err(Error::conflict("still_failing", format!("It fails as before: {error}. Mend the cause first.")))
        }
        Ok(()) => Ok(()),
    }
}

/// Has the bodies of a channel's number and account that came from `after` until `before` applied again. Returns how many. Errors: 404.
pub fn replay(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    channel: Uuid,
    after: DateTime<Utc>,
    before: DateTime<Utc>,
) -> Result<i64> {
    let mut sql = Statement::new(
        "SELECT array_remove(ARRAY[phone_number_id, account_id], NULL) AS names FROM channels WHERE deleted_at IS NULL AND business_id = ",
    );
    let names = sql
        .bind(tenant.id())
        .sql(" AND id = ")
        .bind(channel)
        .first::<Names>(tx)?
        .ok_or_else(|| crud::not_found(&CHANNELS))?;
    // What PostgreSQL can store of a time.
    let before = before.min(DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(before));
    let mut sql = Statement::new("SELECT rapport_replay_inbound(");
    sql.bind(names.names).sql(", ").bind(after).sql(", ").bind(before).sql(", ").number(MAX_REPLAYED).sql(")");
    Ok(sql.scalar(tx)?.unwrap_or_default())
}

#[derive(QueryableByName)]
struct Names {
    #[diesel(sql_type = Array<Text>)]
    names: Vec<String>,
}
