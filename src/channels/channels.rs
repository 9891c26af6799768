//! Channels: through what a business is reached, such as a number of WhatsApp.

use std::time::Duration;

use uuid::Uuid;

use super::sending::removal;
use crate::auth::{Area, Tenant, TenantSettings};
use crate::base::error::Result;
use crate::db::schema::channels;
use crate::db::{Statement, Tx};
use crate::resource::{Changeset, Field, FieldType, Hooks, Operations, PendingRow, Resource, Sort, ValidationErrors};

/// The kind of a number of WhatsApp.
pub const WHATSAPP: &str = "whatsapp";
/// The kind that answers by itself.
pub const LOOPBACK: &str = "loopback";
const KINDS: &[&str] = &[WHATSAPP, LOOPBACK];
const STATES: &[&str] = &["active", "paused"];
pub const HANDLERS: &[&str] = &["person", "ai"];
const QUALITIES: &[&str] = &["unknown", "green", "yellow", "red"];
/// Meta's throughput of a number; the highest that it grants.
const MAX_MESSAGES_PER_SECOND: i64 = 1000;

pub static CHANNELS: Resource = Resource {
    name: "channel",
    plural: "channels",
    schema: "Channel",
    description: "Through what the business is reached: numbers of WhatsApp, and the loopback that answers like a customer.",
    table: "channels",
    area: Area::Channels,
    fields: &[
        Field::id(channels::id),
        Field::choice(
            channels::kind,
            KINDS,
            r#""whatsapp""#,
            "What it is; `loopback` answers by itself, for trying out.",
        )
        .required()
        .once(),
        Field::text(channels::name, 200, r#""Front desk""#, "Its name for people.").required(),
        Field::text(
            channels::phone_number_id,
            64,
            r#""106540352242922""#,
            "WhatsApp's id of the phone number: digits. Required for `whatsapp`; belongs to one business. Another number is another channel.",
        )
        .once()
        .filter(),
        Field::text(
            channels::account_id,
            64,
            r#""102290129340398""#,
            "WhatsApp's id of the account (WABA) that the number belongs to.",
        ),
        Field::text(
            channels::portfolio_id,
            64,
            r#""506914307656634""#,
            "Meta's id of the business portfolio, in which the ids of users are unique.",
        ),
        Field::text(channels::display_number, 64, r#""+49 30 23125010""#, "The phone number as customers see it."),
        Field::choice(channels::state, STATES, r#""active""#, "`paused`: nothing is sent; messages still come in.")
            .default(r#""active""#),
        Field::text(channels::state_reason, 500, r#""The access token has expired.""#, "Why it is paused.").read_only(),
        Field::choice(channels::quality, QUALITIES, r#""green""#, "WhatsApp's rating of the number, read once a day and when it changes.")
            .default(r#""unknown""#)
            .read_only(),
        Field::int(
            channels::messages_per_second,
            1,
            MAX_MESSAGES_PER_SECOND,
            "80",
            "How many messages are sent in a second at most: 20 for a number that a phone uses, too.",
        )
        .default("80"),
        Field::new(
            channels::creates_leads,
            FieldType::Bool,
            "true",
            "Whether a customer without an open lead becomes one by beginning a conversation.",
        )
        .default("true"),
        Field::new(
            channels::sends_read_receipts,
            FieldType::Bool,
            "true",
            "Whether a customer sees that a member has read their message (on WhatsApp the blue ticks), and that an answer is being written.",
        )
        .default("true"),
        Field::choice(
            channels::default_handler,
            HANDLERS,
            r#""ai""#,
            "Who answers in conversations that begin on it from now on: people, or a worker (`ai`).",
        )
        .default(r#""person""#),
        Field::metadata(channels::metadata),
        Field::version(channels::version),
        Field::created_at(channels::created_at),
        Field::updated_at(channels::updated_at),
    ],
    sorts: &[Sort::column(channels::created_at)],
    operations: Operations { batch: false, ..Operations::ALL },
    hooks: Hooks { prepare, after, removed_or_restored, ..Hooks::NONE },
    cache_ttl: Duration::from_secs(1800),
    ..Resource::BASE
};

fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    if change.creates
        && change.text(channels::kind) == Some(WHATSAPP)
        && change.text(channels::phone_number_id).is_none()
    {
        faults.required(&["phone_number_id"], "A channel of `whatsapp` needs the `phone_number_id` of its number.");
    }
    if !change.creates && change.text(channels::state).is_some() {
        change.set(channels::state_reason, None::<String>);
    }
    for (name, id) in [
        ("phone_number_id", change.text(channels::phone_number_id).filter(|_| change.creates)),
        ("account_id", change.text(channels::account_id)),
        ("portfolio_id", change.text(channels::portfolio_id)),
    ] {
        if id.is_some_and(|id| !id.bytes().all(|byte| byte.is_ascii_digit())) {
            let detail = format!("`{name}` is an id of Meta's: digits only, as in the app dashboard.");
            faults.field(name, "format", detail);
        }
    }
}

fn after(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &[&PendingRow]) -> Result<()> {
    let is_connected =
        |draft: &&&PendingRow| draft.changes.creates || draft.changes.get(channels::account_id).is_some();
    let connected: Vec<Uuid> = drafts.iter().filter(is_connected).map(|draft| draft.id).collect();
    if connected.is_empty() {
        return Ok(());
    }
    adopt(tx, tenant)?;
    claim(tx, tenant, &connected)
}

/// Fails what waits for channels that are deleted; those that are restored get what came for them meanwhile.
fn removed_or_restored(tx: &mut Tx<'_>, tenant: &Tenant, ids: &[Uuid]) -> Result<()> {
    removal::fail_queued(tx, tenant, ids)?;
    claim(tx, tenant, ids)
}

/// Has the open conversations of WhatsApp that ran through no channel run through the business' only number. Queries: one.
fn adopt(tx: &mut Tx<'_>, tenant: &Tenant) -> Result<()> {
    let mut sql = Statement::new(
        "UPDATE conversations v SET version = v.version + 1, updated_at = now(), channel_id = c.id FROM (\
         SELECT min(id::text)::uuid AS id FROM channels WHERE kind = 'whatsapp' AND deleted_at IS NULL AND business_id = ",
    );
    sql.bind(tenant.id()).sql(
        " HAVING count(*) = 1) c WHERE v.channel = 'whatsapp' AND v.channel_id IS NULL AND v.status <> 'closed' AND v.business_id = ",
    );
    sql.bind(tenant.id()).run(tx)?;
    Ok(())
}

/// Has applied what came for these channels' numbers and accounts while nobody had them. Queries: one.
fn claim(tx: &mut Tx<'_>, tenant: &Tenant, ids: &[Uuid]) -> Result<()> {
    let mut sql = Statement::new(
        "SELECT rapport_claim_inbound(ARRAY(SELECT n FROM channels c, unnest(ARRAY[c.phone_number_id, c.account_id]) n WHERE n IS NOT NULL AND c.deleted_at IS NULL AND c.business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND c.id = ANY(").bind(ids.to_vec()).sql(")))").run(tx)?;
    Ok(())
}
