//! Messages: what was said in a conversation, by whom, and how far it got.

use std::time::Duration;

use uuid::Uuid;

use super::conversations::CONVERSATIONS;
use crate::auth::{Business, Tenant};
use crate::db::{Statement, Tx, Value};
use crate::error::Result;
use crate::identity::users::USERS;
use crate::noun::{Change, Draft, Faults, Field, Hooks, Kind, Noun, Relation, Search, Sort, Visible};

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
];
const STATUSES: &[&str] = &["received", "queued", "sent", "delivered", "read", "failed"];
const MOST_TOKENS: i64 = 2_147_483_647;

pub static MESSAGES: Noun = Noun {
    name: "message",
    plural: "messages",
    schema: "Message",
    about: "What was said in a conversation. Newest first, so a thread is paged backwards through time.",
    table: "messages",
    fields: &[
        Field::ID,
        Field::link("conversation_id", "The conversation it belongs to.").required().once(),
        Field::choice("direction", DIRECTIONS, r#""outbound""#, "From the other side, or to it.").required().once(),
        Field::choice(
            "author",
            AUTHORS,
            r#""user""#,
            "Who wrote it; the contact if inbound, else a user, when left out.",
        )
        .not_null()
        .once(),
        Field::link("author_id", "The member who wrote it.").once(),
        Field::choice("kind", KINDS, r#""text""#, "What it is.").default(r#""text""#).once(),
        Field::text("body", 16_384, r#""See you on Friday at ten.""#, "Its text, or the caption of what it carries."),
        Field::new(
            "media",
            Kind::Object,
            r#"{"url":"https://files.example/1.jpg","mime_type":"image/jpeg"}"#,
            "What it carries.",
        ),
        Field::text("external_id", 200, r#""wamid.HBgM""#, "Its id on the channel; unique in the business.")
            .once()
            .filter()
            .unique(),
        Field::choice(
            "status",
            STATUSES,
            r#""queued""#,
            "How far it got; `received` if inbound, else `queued`, when left out.",
        )
        .not_null(),
        Field {
            default: Some(r#""2026-11-20T09:30:00Z""#),
            ..Field::time("sent_at", "When it was sent; now when left out.")
        }
        .not_null()
        .once()
        .filter(),
        Field::time("delivered_at", "When it arrived."),
        Field::time("read_at", "When it was read."),
        Field::text("failed_reason", 500, r#""The number does not exist.""#, "Why it did not arrive."),
        Field::new("cost", Kind::Decimal, r#""0.0125""#, "What the channel charged, as a decimal."),
        Field::new("cost_currency", Kind::Currency, r#""EUR""#, "Of the cost; the business' own when left out."),
        Field::text("model", 100, r#""gpt-5-mini""#, "Which model wrote it, if one did."),
        Field::int("input_tokens", 0, MOST_TOKENS, "812", "What the model read."),
        Field::int("output_tokens", 0, MOST_TOKENS, "64", "What the model wrote."),
        Field::new("ai_cost", Kind::Decimal, r#""0.000310""#, "What the model cost, as a decimal."),
        Field { filter: false, ..Field::METADATA },
        Field::VERSION,
        // Asked for by `sent_at`, which has an index; a million messages are no place for another two.
        Field { filter: false, ..Field::CREATED_AT },
        Field { filter: false, ..Field::UPDATED_AT },
    ],
    relations: &[
        Relation::one("conversation", &CONVERSATIONS, "conversation_id", "The conversation it belongs to."),
        // Not `author`, which is a field that says what kind of author it was.
        Relation::one("author_user", &USERS, "author_id", "The member who wrote it."),
    ],
    sorts: &[Sort::time("sent_at", "t.sent_at")],
    default_sort: "-sent_at",
    search: Search::Words,
    visible: Visible::Linked(&[("conversation_id", &CONVERSATIONS)]),
    hooks: Hooks { prepare, after, ..Hooks::NONE },
    ttl: Duration::from_secs(180),
    ..Noun::BASE
};

fn prepare(change: &mut Change, business: &Business, faults: &mut Faults) {
    let text = |text: &str| Value::Text(Some(text.to_owned()));
    if change.creates {
        let inbound = change.text("direction") == Some("inbound");
        change.set_default("author", text(if inbound { "contact" } else { "user" }));
        change.set_default("status", text(if inbound { "received" } else { "queued" }));
        let empty = change.text("body").is_none() && change.get("media").is_none_or(Value::is_null);
        if empty && change.text("kind").is_none_or(|kind| kind == "text") {
            faults.field("body", "required", "A text message needs a `body`.");
        }
        if inbound != (change.text("author") == Some("contact")) {
            let detail = "An inbound message is by the `contact`, an outbound one by a `user`, `ai` or the `system`.";
            faults.field("author", "out_of_range", detail);
        }
        if inbound != matches!(change.text("status"), Some("received")) && change.text("status") != Some("read") {
            let detail = "An inbound message is `received` or `read`; an outbound one is never `received`.";
            faults.field("status", "out_of_range", detail);
        }
    }
    if change.get("cost").is_some_and(|cost| !cost.is_null()) {
        change.set_default("cost_currency", text(&business.currency));
    }
}

/// New messages move their conversations: to the top, and, if they came in, unread and open for 24 hours (WhatsApp's
/// customer service window). A clock that is ahead moves them by a day at most.
fn after(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &[&Draft]) -> Result<()> {
    let new: Vec<Uuid> = drafts.iter().filter(|draft| draft.change.creates).map(|draft| draft.id).collect();
    let said = match new.as_slice() {
        [] => return Ok(()),
        [only] => said_by_one(tenant, *only),
        _ => said_by_many(tenant, new),
    };
    let mut sql = Statement::new(
        "UPDATE conversations c SET version = c.version + 1, updated_at = now(), \
         last_message_at = greatest(c.last_message_at, least(m.sent_at, now() + interval '1 day')), \
         unread_count = c.unread_count + m.inbound, \
         window_expires_at = CASE WHEN c.channel = 'whatsapp' AND m.came_at IS NOT NULL \
             THEN greatest(c.window_expires_at, least(m.came_at, now() + interval '1 day') + interval '24 hours') \
             ELSE c.window_expires_at END FROM (",
    );
    sql.append(said).push(") m WHERE c.business_id = ").bind(Value::Uuid(Some(tenant.id()))).push(" AND c.id = m.id");
    sql.run(tx)?;
    Ok(())
}

fn said_by_one(tenant: &Tenant, new: Uuid) -> Statement {
    let mut sql = Statement::new(
        "SELECT conversation_id AS id, sent_at, (direction = 'inbound')::int AS inbound, \
         CASE direction WHEN 'inbound' THEN sent_at END AS came_at FROM messages WHERE business_id = ",
    );
    sql.bind(Value::Uuid(Some(tenant.id()))).push(" AND id = ").bind(Value::Uuid(Some(new)));
    sql
}

/// What several messages come to for each of their conversations, which are locked in one order: of others who write into
/// the same ones, each waits for whoever came first, and none in a circle.
fn said_by_many(tenant: &Tenant, new: Vec<Uuid>) -> Statement {
    let business = || Value::Uuid(Some(tenant.id()));
    let mut sql = Statement::new(
        "WITH said AS MATERIALIZED (SELECT conversation_id AS id, max(sent_at) AS sent_at, \
         count(*) FILTER (WHERE direction = 'inbound')::int AS inbound, \
         max(sent_at) FILTER (WHERE direction = 'inbound') AS came_at FROM messages WHERE business_id = ",
    );
    sql.bind(business()).push(" AND id = ANY(").bind(Value::Uuids(new));
    sql.push(") GROUP BY 1), turns AS MATERIALIZED (SELECT id FROM conversations WHERE business_id = ")
        .bind(business());
    sql.push(" AND id = ANY(ARRAY(SELECT id FROM said)) ORDER BY id FOR NO KEY UPDATE) ");
    sql.push("SELECT said.* FROM said JOIN turns USING (id)");
    sql
}
