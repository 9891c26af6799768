//! Pauses a channel that does not work until people have seen to it, and gives an owner the task.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::crm::tasks::TASKS;
use crate::db::schema::tasks;
use crate::db::{Statement, Tx};
use crate::resource::{Changeset, crud};

/// Longest reason that a channel shows, in characters.
const MAX_REASON_LEN: usize = 500;
/// Longest name of a channel in the title of a task, in characters.
const MAX_NAME_LEN: usize = 100;

/// Pauses an active channel because of `error`, which came at `at`: not where people have seen to the channel since. Gives the business' oldest owner an urgent task; a paused one is left alone.
/// Queries: one; a few more where it was active.
pub fn pause(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid, error: &Json, at: DateTime<Utc>) -> Result<()> {
    let text = |member: &str| error[member].as_str().unwrap_or_default();
    let reason = [text("title"), text("details")].join(" ");
    let reason = format!("{} (code {})", reason.trim(), error["code"]);
    let reason: String = reason.chars().take(MAX_REASON_LEN).collect();
    let mut sql = Statement::new(
        "UPDATE channels SET version = version + 1, updated_at = now(), state = 'paused', state_reason = ",
    );
    sql.bind(&reason)
        .sql(" WHERE state = 'active' AND updated_at <= ")
        // Channels tell whole seconds.
        .bind(at + TimeDelta::seconds(1))
        .sql(" AND business_id = ")
        .bind(tenant.id())
        .sql(" AND id = ")
        .bind(channel);
    let Some(name) = sql.sql(" RETURNING name").scalar::<String>(tx)? else { return Ok(()) };
    tracing::warn!(business = %tenant.id(), %channel, reason, "a channel does not work, and is paused");
    let mut sql = Statement::new("SELECT user_id FROM memberships WHERE role = 'owner' AND business_id = ");
    let owner = sql.bind(tenant.id()).sql(" ORDER BY created_at, id LIMIT 1").scalar::<Uuid>(tx)?;
    let name: String = name.chars().take(MAX_NAME_LEN).collect();
    let mut change = Changeset::empty(TASKS.fields);
    change.creates = true;
    change.set(tasks::title, format!("Channel “{name}” is paused"));
    let description = format!(
        "{reason}\n\nNothing is sent through this channel. Mend the cause, and set the channel's state to `active`: then what waits is sent."
    );
    change.set(tasks::description, description);
    change.set(tasks::status, "open");
    change.set(tasks::priority, "urgent");
    change.set(tasks::assignee_id, owner);
    change.set(tasks::metadata, json!({ "channel_id": channel }));
    crud::create(tx, tenant, &TASKS, change)?;
    Ok(())
}
