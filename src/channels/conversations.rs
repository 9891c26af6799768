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
use super::channels::{HANDLERS, WHATSAPP};
use super::worker_tasks::reply_tasks;
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
            "The channel that it runs through. For `whatsapp`, when left out, the oldest active number, or else the oldest loopback.",
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
        Field::choice(
            conversations::handler,
            HANDLERS,
            r#""ai""#,
            "Who answers: people, or a worker (`ai`), for which messages of the customer make tasks. The channel's `default_handler` when left out.",
        )
        .default(r#""person""#),
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
            "When the other side's last message came in. Where a member's `read_until` is earlier, it is unread for them.",
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
        Field::time(
            conversations::free_entry_expires_at,
            "Until when WhatsApp charges no message, also no template: 72 hours after the last message that an advertisement brought, provided that \
             it is answered within 24 hours. Free text needs an open window all the same.",
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
    hooks: Hooks { prepare, before, after, ..Hooks::NONE },
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

/// Refuses to reopen conversations beside others that are open, and completes new ones. Queries: three at most.
fn before(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    open_threads::refuse_second(tx, tenant, drafts)?;
    choose_channel(tx, tenant, drafts)?;
    choose_handler(tx, tenant, drafts)
}

/// Gives new conversations of WhatsApp that name no channel the oldest active one, or else the loopback. Queries: one,
/// if there are any.
fn choose_channel(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
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

/// Has new conversations that do not say who answers handled as their channels are. Queries: one, if there are any.
fn choose_handler(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    let channel = |draft: &PendingRow| draft.changes.get(conversations::channel_id).and_then(SqlValue::as_uuid);
    let lacks_handler =
        |draft: &PendingRow| draft.changes.creates && draft.changes.get(conversations::handler).is_none();
    let channels: Vec<Uuid> = drafts.iter().filter(|draft| lacks_handler(draft)).filter_map(channel).collect();
    if channels.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new("SELECT id FROM channels WHERE default_handler = 'ai' AND business_id = ");
    let of_ai = sql.bind(tenant.id()).sql(" AND id = ANY(").bind(channels).sql(")").scalars::<Uuid>(tx)?;
    let is_of_ai =
        |draft: &&mut PendingRow| lacks_handler(draft) && channel(draft).is_some_and(|id| of_ai.contains(&id));
    drafts.iter_mut().filter(is_of_ai).for_each(|draft| draft.changes.set(conversations::handler, "ai"));
    Ok(())
}

/// Cancels the answers that workers were to give where people answer from now on. Queries: one, if there are any.
fn after(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &[&PendingRow]) -> Result<()> {
    let is_persons =
        |draft: &&&PendingRow| !draft.changes.creates && draft.changes.text(conversations::handler) == Some("person");
    reply_tasks::hand_over(tx, tenant, drafts.iter().filter(is_persons).map(|draft| draft.id).collect())
}
