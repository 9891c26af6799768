//! Messages: what was said in a conversation, by whom, and the delivery status.

use std::time::Duration;

use serde_json::Value as Json;
use uuid::Uuid;

use super::conversations::totals;
use super::inbound::{locks, waiting};
use super::limits::MAX_BODY_LEN;
use super::unsaid::{DRAFT, NOTE};
use super::worker_tasks::reply_tasks;
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::db::schema::{message_attempts, message_reactions, messages};
use crate::db::{SqlValue, Statement, Tx};
use crate::resource::{
    Changeset, Field, FieldType, Hooks, PendingRow, Relation, Resource, RowVisibility, Search, Sort, ValidationErrors,
    VisibilityLink, row_type,
};

const DIRECTIONS: &[&str] = &["inbound", "outbound"];
const AUTHORS: &[&str] = &["contact", "user", "ai", "system"];
const KINDS: &[&str] = &[
    "text",
    "image",
    "audio",
    "video",
    "document",
    "sticker",
    "location",
    "contacts",
    "interactive",
    "reaction",
    "template",
    "order",
    "system",
    "unknown",
    NOTE,
];
const STATUSES: &[&str] = &["received", DRAFT, "queued", "uncertain", "sent", "delivered", "read", "failed"];
const ORIGINS: &[&str] = &["api", "channel", "phone_app", "history"];
const MEDIA_STATES: &[&str] = &["pending", "stored", "gone", "refused"];
const MAX_TOKENS: i64 = 2_147_483_647;

pub static MESSAGES: Resource = Resource {
    name: "message",
    plural: "messages",
    schema: "Message",
    description: "What was said in a conversation. Newest first, so a thread is paged backwards through time.",
    table: "messages",
    fields: &[
        Field::id(messages::id),
        Field::link(messages::conversation_id, "The conversation it belongs to.").required().once(),
        Field::choice(messages::direction, DIRECTIONS, r#""outbound""#, "From the other side, or to it.")
            .required()
            .once(),
        Field::choice(
            messages::author,
            AUTHORS,
            r#""user""#,
            "Who wrote it; the contact if inbound, else a user, when left out.",
        )
        .not_null()
        .once(),
        Field::link(messages::author_id, "The member who wrote it.").once(),
        Field::choice(
            messages::kind,
            KINDS,
            r#""text""#,
            "What it is. A `note` is outbound and for members only: it is never sent, and counts nowhere.",
        )
        .default(r#""text""#)
        .once(),
        Field::text(
            messages::body,
            MAX_BODY_LEN,
            r#""See you on Friday at ten.""#,
            "Its text, or the caption of what it carries.",
        ),
        Field::new(
            messages::media,
            FieldType::Object,
            r#"{"url":"https://files.example/1.jpg","mime_type":"image/jpeg"}"#,
            "What it carries. A change names what it changes (RFC 7396).",
        ),
        Field::text(messages::external_id, 200, r#""wamid.HBgM""#, "Its id on the channel; unique in the business.")
            .once()
            .filter()
            .unique(),
        Field::choice(
            messages::status,
            STATUSES,
            r#""queued""#,
            "How far it got; when left out, `received` if inbound, of a note `sent`, else `queued`. A `draft` waits for a person: it is \
              not sent, and counts nowhere. `POST /messages/{id}/approval` sends it; another status notes that it went another way, and it is \
              no draft again. `uncertain`: it was handed to the channel, and no answer came.",
        )
        .not_null(),
        Field {
            default: Some(r#""2026-11-20T09:30:00Z""#),
            ..Field::time(messages::sent_at, "When it was sent; now when left out.")
        }
        .not_null()
        .once()
        .filter(),
        Field::time(messages::delivered_at, "When it arrived."),
        Field::time(messages::read_at, "When it was read."),
        Field::text(messages::failed_reason, 500, r#""The number does not exist.""#, "Why it did not arrive."),
        Field::new(messages::cost, FieldType::Decimal, r#""0.0125""#, "What the channel charged, as a decimal.")
            .in_currency(messages::cost_currency),
        Field::new(
            messages::cost_currency,
            FieldType::Currency,
            r#""EUR""#,
            "Of the cost; the business' own when left out.",
        ),
        Field::choice(
            messages::origin,
            ORIGINS,
            r#""channel""#,
            "How it came here: through the API, from the channel, from the app on the business' phone, or from the channel's past.",
        )
        .default(r#""api""#)
        .read_only(),
        Field::link(messages::reply_to_id, "The message that it answers.").read_only(),
        Field::link(messages::author_contact_id, "Who of a group wrote it.").read_only(),
        Field::new(
            messages::payload,
            FieldType::Object,
            r#"{"type":"list_reply","id":"slot:1","title":"Mon 09:00"}"#,
            "What a program can read of it: the choice of a list, the data of a form, a place; of an unknown kind, all of it.",
        )
        .read_only(),
        Field::new(
            messages::error,
            FieldType::Object,
            r#"{"code":131047,"title":"Re-engagement message","details":"More than 24 hours have passed.","retry":"as_template"}"#,
            "Why the channel did not deliver it; `retry` says how it may be sent again.",
        )
        .read_only(),
        Field::new(
            messages::pricing,
            FieldType::Object,
            r#"{"billable":true,"pricing_model":"PMP","category":"service","type":"regular"}"#,
            "What the channel says of its price.",
        )
        .read_only(),
        Field::time(messages::edited_at, "When its author last changed it; earlier texts are in its history.").read_only(),
        Field::time(messages::revoked_at, "When its author deleted it; then it is empty.").read_only(),
        Field::choice(
            messages::media_state,
            MEDIA_STATES,
            r#""pending""#,
            "Of its file: `pending` is to be fetched, `stored` is here (`GET /messages/{id}/media`), `gone` is not to be had any more, `refused` is \
              too large or of a wrong type; then `media.reason` says more.",
        )
        .read_only(),
        Field::link(messages::attachment_id, "Its file, where that is kept here: `GET /messages/{id}/media` gives it.").read_only(),
        Field::text(messages::model, 100, r#""gpt-5-mini""#, "Which model wrote it, if one did.").impersonal(),
        Field::int(messages::input_tokens, 0, MAX_TOKENS, "812", "What the model read."),
        Field::int(messages::cached_tokens, 0, MAX_TOKENS, "512", "What of the input the model had cached."),
        Field::int(messages::output_tokens, 0, MAX_TOKENS, "64", "What the model wrote."),
        Field::new(messages::ai_cost, FieldType::Decimal, r#""0.000310""#, "What the model cost, as a decimal."),
        Field::int(messages::latency_ms, 0, MAX_TOKENS, "1840", "How long the model took, in milliseconds."),
        Field::text(messages::run_id, 200, r#""resp_68af4030""#, "What names the run that wrote it.").impersonal(),
        Field { filter: false, ..Field::metadata(messages::metadata) },
        Field::version(messages::version),
        // Filtered by `sent_at`, which has an index; a table of millions of messages should not have another two.
        Field { filter: false, ..Field::created_at(messages::created_at) },
        Field { filter: false, ..Field::updated_at(messages::updated_at) },
    ],
    relations: &[
        Relation::one("conversation", "conversations", messages::conversation_id, "The conversation it belongs to."),
        // Not `author`, which is the field with the kind of author.
        Relation::one("author_user", "users", messages::author_id, "The member who wrote it."),
        Relation::one("author_contact", "contacts", messages::author_contact_id, "Who of a group wrote it."),
        Relation::one("reply_to", "messages", messages::reply_to_id, "The message that it answers."),
        Relation::one("attachment", "attachments", messages::attachment_id, "Its file."),
        Relation::many("reactions", "message-reactions", message_reactions::message_id, "-reacted_at", "The reactions to it."),
        Relation::many("attempts", "message-attempts", message_attempts::message_id, "-created_at", "The tries to send it, newest first."),
    ],
    sorts: &[Sort::column(messages::sent_at)],
    default_sort: "-sent_at",
    search: Search::Words,
    visibility: RowVisibility::linked(&[VisibilityLink::new(messages::conversation_id, "conversations")]),
    hooks: Hooks { prepare, before, after, removed_or_restored: totals::recount_of },
    cache_ttl: Duration::from_secs(180),
    ..Resource::BASE
};

row_type!(MessageRow of MESSAGES);

fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    if change.get(messages::media).is_some_and(|media| media.to_json().get("attachment_id").is_some()) {
        let detail =
            "A file is attached by POST /conversations/{id}/messages, with `draft` if it is not to be sent yet.";
        faults.at("/media/attachment_id".into(), "not_allowed", detail.to_owned());
    }
    if change.creates {
        let inbound = change.text(messages::direction) == Some("inbound");
        let is_note = change.text(messages::kind) == Some(NOTE);
        change.set_default(messages::author, if inbound { "contact" } else { "user" });
        let status = if is_note { "sent" } else { "queued" };
        change.set_default(messages::status, if inbound { "received" } else { status });
        let empty = change.text(messages::body).is_none() && change.get(messages::media).is_none_or(SqlValue::is_null);
        if empty && (is_note || change.text(messages::kind).is_none_or(|kind| kind == "text")) {
            faults.required(&["body"], "A text message and a note need a `body`.");
        }
        if is_note && inbound {
            faults.field("direction", "out_of_range", "A note is `outbound`: members write it, for members.");
        }
        if is_note && !inbound && change.text(messages::status) != Some("sent") {
            faults.field("status", "out_of_range", "A note is `sent` at once, and stays so: leave `status` out.");
        }
        if inbound != (change.text(messages::author) == Some("contact")) {
            let detail = "An inbound message is by the `contact`, an outbound one by a `user`, `ai` or the `system`.";
            faults.field("author", "out_of_range", detail);
        }
        if inbound != matches!(change.text(messages::status), Some("received"))
            && change.text(messages::status) != Some("read")
        {
            let outbound = STATUSES.iter().filter(|status| **status != "received");
            let outbound = outbound.map(|status| format!("`{status}`")).collect::<Vec<_>>().join(", ");
            let detail = format!("An inbound message is `received` or `read`; an outbound one is one of {outbound}.");
            faults.field("status", "out_of_range", detail);
        }
    }
}

/// Locks the messages that channels may be telling of at this moment, before any row is locked. (What a channel delivers has locked its own.)
fn before(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    refuse_new_drafts(tx, tenant, drafts)?;
    refuse_other_files(tx, tenant, drafts)?;
    let from_api = drafts.iter().filter(|draft| draft.changes.creates && draft.changes.get(messages::origin).is_none());
    locks::messages(tx, tenant, from_api.filter_map(|draft| draft.changes.text(messages::external_id)))
}

/// Refuses to make drafts of messages that were said, or are on their way. Queries: one, if any is to be one.
fn refuse_new_drafts(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    let is_one = |draft: &&PendingRow| !draft.changes.creates && draft.changes.text(messages::status) == Some(DRAFT);
    let ids: Vec<Uuid> = drafts.iter().filter(is_one).map(|draft| draft.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new("SELECT id FROM messages WHERE status <> 'draft' AND business_id = ");
    let said = sql.bind(tenant.id()).sql(" AND id = ANY(").bind(ids).sql(")").scalars::<Uuid>(tx)?;
    for draft in drafts.iter_mut().filter(|draft| said.contains(&draft.id)) {
        let detail = "A message that was said, or is on its way, is no draft any more.".to_owned();
        draft.refuse(Error::Invalid(vec![FieldError::new("/status", "not_allowed", detail)]));
    }
    Ok(())
}

/// Refuses to change what is said of a file that is kept here, or is being fetched: people would see another one than is sent. Queries: one, if
/// any is to change.
fn refuse_other_files(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    let files = drafts.iter().filter(|draft| !draft.changes.creates);
    let files: Vec<(Uuid, Json)> =
        files.filter_map(|draft| Some((draft.id, draft.changes.get(messages::media)?.to_json()))).collect();
    if files.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new("SELECT m.id FROM unnest(");
    sql.bind(files.iter().map(|(id, _)| *id).collect::<Vec<_>>()).sql(", ");
    sql.bind(files.iter().map(|(_, media)| media.to_string()).collect::<Vec<_>>());
    sql.sql(
        ") AS n (id, media) JOIN messages m ON m.id = n.id AND (m.attachment_id IS NOT NULL OR m.media_state = 'pending') \
         AND (n.media = 'null' OR m.media IS DISTINCT FROM m.media || n.media::jsonb) WHERE m.business_id = ",
    );
    let changed = sql.bind(tenant.id()).scalars::<Uuid>(tx)?;
    for draft in drafts.iter_mut().filter(|draft| changed.contains(&draft.id)) {
        let detail =
            "The file of a message stays the one that it is. Delete a draft, and write another one.".to_owned();
        draft.refuse(Error::Invalid(vec![FieldError::new("/media", "not_allowed", detail)]));
    }
    Ok(())
}

/// Updates the totals of the messages' conversations, makes and cancels tasks for workers, and applies what channels have told of the messages before they were here.
fn after(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &[&PendingRow]) -> Result<()> {
    let new = drafts.iter().filter(|draft| draft.changes.creates).map(|draft| draft.id).collect();
    totals::add(tx, tenant, new)?;
    let created = drafts.iter().filter(|draft| draft.changes.creates);
    let known: Vec<&str> = created.filter_map(|draft| draft.changes.text(messages::external_id)).collect();
    waiting::apply(tx, tenant, &known)?;
    let created: Vec<&PendingRow> = drafts.iter().filter(|draft| draft.changes.creates).copied().collect();
    reply_tasks::follow(tx, tenant, &created)?;
    let changed = |draft: &&&PendingRow| !draft.changes.creates && draft.changes.get(messages::status).is_some();
    let read: Vec<Uuid> = drafts.iter().filter(changed).map(|draft| draft.id).collect();
    totals::recount_of(tx, tenant, &read)
}
