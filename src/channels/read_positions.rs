//! Read positions: how far each member has read in a conversation. They are each member's own; `unread_count` is shared by all.

use std::time::Duration;

use crate::db::schema::read_positions;
use crate::resource::{Field, Operations, Relation, Resource, RowVisibility, Search, Sort, VisibilityLink, row_type};

pub static READ_POSITIONS: Resource = Resource {
    name: "read_position",
    plural: "read-positions",
    schema: "ReadPosition",
    description: "How far a member has read in a conversation: set by `/conversations/{id}/read-position`.",
    table: "read_positions",
    fields: &[
        Field::id(read_positions::id),
        Field::link(read_positions::conversation_id, "The conversation.").read_only().not_null(),
        Field::link(read_positions::user_id, "The member.").read_only().not_null(),
        Field::time(
            read_positions::read_until,
            "Messages that came in until then are read. Where the conversation's `last_inbound_at` is later, it is unread for them.",
        )
        .read_only()
        .not_null(),
        Field::version(read_positions::version),
        Field::created_at(read_positions::created_at),
        Field::updated_at(read_positions::updated_at),
    ],
    relations: &[
        Relation::one("conversation", "conversations", read_positions::conversation_id, "The conversation."),
        Relation::one("user", "users", read_positions::user_id, "The member."),
    ],
    sorts: &[Sort::column(read_positions::created_at)],
    search: Search::None,
    operations: Operations::NONE,
    // As often as members look at conversations: neither entries of the audit log nor events.
    audited: false,
    cache_ttl: Duration::from_secs(180),
    visibility: RowVisibility::linked(&[VisibilityLink::new(read_positions::conversation_id, "conversations")]),
    ..Resource::BASE
};

row_type!(ReadPositionRow of READ_POSITIONS);
