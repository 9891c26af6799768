//! Attempts: each try to hand a message to its channel, and what came of it.

use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::schema::message_attempts;
use crate::db::{Statement, Tx};
use crate::resource::{
    Field, FieldType, Operations, Relation, Resource, RowVisibility, Search, Sort, VisibilityLink, row_type,
};

const PURPOSES: &[&str] = &["message", "reaction"];
const STATES: &[&str] = &["queued", "sending", "uncertain", "accepted", "failed"];
const MAX_NUMBER: i64 = 2_147_483_647;

pub static MESSAGE_ATTEMPTS: Resource = Resource {
    name: "message_attempt",
    plural: "message-attempts",
    schema: "MessageAttempt",
    description: "Tries to hand a message to its channel. A message has one; another one for each time that it is sent again.",
    table: "message_attempts",
    fields: &[
        Field::id(message_attempts::id),
        Field::link(message_attempts::message_id, "The message.").read_only().not_null(),
        Field::link(message_attempts::conversation_id, "Its conversation.").read_only().not_null(),
        Field::link(message_attempts::channel_id, "The channel that it is handed to.").read_only().not_null(),
        Field::int(message_attempts::number, 1, MAX_NUMBER, "1", "Which try of the message it is.")
            .read_only()
            .not_null(),
        Field::choice(
            message_attempts::purpose,
            PURPOSES,
            r#""message""#,
            "What is sent: the message, or the business' reaction to it.",
        )
        .read_only()
        .not_null(),
        Field::choice(
            message_attempts::state,
            STATES,
            r#""accepted""#,
            "`queued` waits for its turn or is tried again; `uncertain`: it was handed over, and no answer came; `accepted`: the channel has it.",
        )
        .read_only()
        .not_null(),
        Field::text(message_attempts::external_id, 200, r#""wamid.HBgM""#, "The channel's id of the message.")
            .read_only(),
        Field::new(
            message_attempts::error,
            FieldType::Object,
            r#"{"code":130429,"title":"Rate limit hit","details":null,"retry":"later"}"#,
            "What went wrong last; `retry` says how the message may be sent again.",
        )
        .read_only(),
        Field::int(message_attempts::tries, 0, MAX_NUMBER, "0", "How often the channel could not take it so far.")
            .read_only()
            .not_null(),
        Field::time(
            message_attempts::due_at,
            "When it is sent if queued; until when a status of the channel may settle it if uncertain.",
        )
        .read_only()
        .not_null(),
        Field::time(message_attempts::finished_at, "When it was accepted or failed.").read_only(),
        Field::version(message_attempts::version),
        Field::created_at(message_attempts::created_at),
        Field { filter: false, ..Field::updated_at(message_attempts::updated_at) },
    ],
    relations: &[
        Relation::one("message", "messages", message_attempts::message_id, "The message."),
        Relation::one("conversation", "conversations", message_attempts::conversation_id, "Its conversation."),
        Relation::one("channel", "channels", message_attempts::channel_id, "The channel."),
    ],
    sorts: &[Sort::column(message_attempts::created_at)],
    search: Search::None,
    operations: Operations::NONE,
    visibility: RowVisibility::linked(&[VisibilityLink::new(message_attempts::conversation_id, "conversations")]),
    ..Resource::BASE
};

row_type!(MessageAttemptRow of MESSAGE_ATTEMPTS);

/// What an attempt hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Message,
    Reaction,
}

impl Purpose {
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Reaction => "reaction",
        }
    }
}

/// Queues the next attempt of a message in this conversation, whose row the transaction has locked: so attempts have the order in
/// which they are queued. Returns its id. Queries: one.
pub fn queue(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    (message, conversation, channel): (Uuid, Uuid, Uuid),
    purpose: Purpose,
) -> Result<Uuid> {
    let id = Uuid::now_v7();
    let mut sql = Statement::new(
        "INSERT INTO message_attempts (business_id, id, message_id, conversation_id, channel_id, purpose, number) VALUES (",
    );
    sql.bind(tenant.id()).sql(", ").bind(id).sql(", ").bind(message).sql(", ").bind(conversation).sql(", ");
    sql.bind(channel).sql(", ").bind(purpose.name());
    sql.sql(", (SELECT coalesce(max(number), 0) + 1 FROM message_attempts WHERE business_id = ").bind(tenant.id());
    sql.sql(" AND message_id = ").bind(message).sql("))");
    match sql.run(tx)? {
        1 => Ok(id),
        _ => Err(Error::Internal("an attempt was not queued".into())),
    }
}
