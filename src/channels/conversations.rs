//! Conversations: threads with one address on one channel. Last message and unread count follow the messages
//! ([`totals`]).

pub(super) mod filters;
mod open_threads;
pub mod snooze;
pub(super) mod totals;
pub mod window;

use std::time::Duration;

use uuid::Uuid;

pub use self::open_threads::CLOSED;
use super::channels::WHATSAPP;
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::Result;
use crate::base::phone;
use crate::db::schema::{conversation_labels, conversations, messages, read_positions};
use crate::db::{SqlValue, Statement, Tx};
use crate::resource::{
    Changeset, Field, FieldType, Hooks, PendingRow, Relation, Resource, RowVisibility, Sort, ValidationErrors, row_type,
};

const CHANNELS: &[&str] = &[WHATSAPP, "sms", "email", "web"];
const STATUSES: &[&str] = &["active", "pending", CLOSED];

pub static CONVERSATIONS: Resource = Resource {
    name: "conversation",
    plural: "conversations",
    schema: "Conversation",
    description: "Threads with one address on one channel; at most one of them is open at a time.",
    table: "conversations",
    fields: &[
        Field::id(conversations::id),
        Field::link(conversations::contact_id, "The person it is with."),
        Field::link(conversations::lead_id, "The lead it is about."),
        Field::link(
            conversations::channel_id,
            "The channel that it runs through; the oldest active one when left out, for `whatsapp`.",
        )
        .once(),
        Field::choice(conversations::channel, CHANNELS, r#""whatsapp""#, "How it is held.").required().once(),
        Field::text(
            conversations::address,
            254,
            r#""+4915112345678""#,
            "The other side: a phone number, an e-mail address, a visitor's id.",
        )
        .required()
        .once()
        .filter()
        .phone_search()
        .contact_address(),
        Field::choice(conversations::status, STATUSES, r#""active""#, "`pending` waits for the other side.")
            .default(r#""active""#),
        Field::link(conversations::assignee_id, "The member who answers."),
        Field::text(conversations::subject, 200, r#""Appointment on Friday""#, "What it is about."),
        Field::time(
            conversations::snoozed_until,
            "Until when it is out of sight: `/conversations/{id}/snooze` sets it. It comes back at its time, and when the other side writes.",
        )
        .read_only(),
        Field::time(conversations::started_at, "When it began.").read_only().not_null(),
        Field::time(
            conversations::last_message_at,
            "When the last message was sent, but for notes and drafts; where there is none, when it began.",
        )
        .read_only()
        .not_null()
        .filter(),
        Field::time(
            conversations::last_inbound_at,
            "When the other side last wrote. Where a member's read position is earlier, it is unread for them.",
        )
        .read_only(),
        Field::int(
            conversations::unread_count,
            0,
            2_147_483_647,
            "2",
            "Inbound messages that are not `read`, and came since this was last set; 0 marks it read.",
        )
        .default("0")
        .filter(),
        Field::time(
            conversations::window_expires_at,
            "Until when WhatsApp lets free text through: 24 hours after the last inbound message. (A loopback always does.)",
        )
        .read_only(),
        Field::new(
            conversations::can_reply,
            FieldType::Bool,
            "true",
            "Whether free text may be sent now; false for WhatsApp while no window is open: then only templates.",
        )
        .read_only()
        .not_null(),
        Field::external_id(conversations::external_id),
        Field::metadata(conversations::metadata),
        Field::version(conversations::version),
        Field::created_at(conversations::created_at),
        Field::updated_at(conversations::updated_at),
    ],
    filters: filters::FILTERS,
    relations: &[
        Relation::one("contact", "contacts", conversations::contact_id, "The person it is with."),
        Relation::one("lead", "leads", conversations::lead_id, "The lead it is about."),
        // Not `channel`, which is the field with the kind of channel.
        Relation::one("through", "channels", conversations::channel_id, "The channel that it runs through."),
        Relation::one("assignee", "users", conversations::assignee_id, "The member who answers."),
        Relation::first(
            "last_message",
            "messages",
            messages::conversation_id,
            "-sent_at",
            "The last message, but for notes and drafts.",
        )
        .only("rapport_is_said(t.kind, t.status)"),
        Relation::many(
            "messages",
            "messages",
            messages::conversation_id,
            "-sent_at",
            "The latest messages, newest first.",
        ),
        Relation::through(
            "labels",
            "labels",
            "conversation_labels",
            (conversation_labels::conversation_id, conversation_labels::label_id),
            "name",
            "Its labels.",
        ),
        Relation::many(
            "read_positions",
            "read-positions",
            read_positions::conversation_id,
            "-created_at",
            "How far members have read.",
        ),
    ],
    sorts: &[Sort::column(conversations::last_message_at), Sort::column(conversations::created_at)],
    default_sort: "-last_message_at",
    visibility: RowVisibility::assigned(conversations::assignee_id),
    hooks: Hooks { prepare, before, ..Hooks::NONE },
    cache_ttl: Duration::from_secs(300),
    ..Resource::BASE
};

row_type!(ConversationRow of CONVERSATIONS);

/// Normalises phone numbers, so that a number is one thread however it is written.
fn prepare(change: &mut Changeset, business: &TenantSettings, _: &mut ValidationErrors) {
    if let (Some("whatsapp" | "sms"), Some(address)) =
        (change.text(conversations::channel), change.text(conversations::address))
    {
        let address = match change.text(conversations::channel) {
            Some("whatsapp") => phone::normalise_unsigned(address, &business.country),
            _ => phone::normalise(address, &business.country),
        };
        change.set(conversations::address, address);
    }
}

/// Refuses to reopen conversations beside others that are open. Gives new conversations of WhatsApp that name no channel the oldest active
/// one, or else the loopback. Queries: one for each, if there are any.
fn before(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    open_threads::refuse_second(tx, tenant, drafts)?;
    let lacks_channel = |draft: &&mut PendingRow| {
        draft.changes.creates
            && draft.changes.text(conversations::channel) == Some(WHATSAPP)
            && draft.changes.get(conversations::channel_id).is_none_or(SqlValue::is_null)
    };
    let mut drafts = drafts.iter_mut().filter(lacks_channel).peekable();
    if drafts.peek().is_none() {
        return Ok(());
    }
    let mut sql = Statement::new("SELECT id FROM channels WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND state = 'active' AND deleted_at IS NULL ORDER BY kind <> ").bind(WHATSAPP);
    if let Some(channel) = sql.sql(", created_at, id LIMIT 1").scalars::<Uuid>(tx)?.first() {
        drafts.for_each(|draft| {
            draft.changes.set(conversations::channel_id, *channel);
        });
    }
    Ok(())
}
