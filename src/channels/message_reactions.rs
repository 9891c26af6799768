//! Reactions: an emoji that one side of a conversation has put on a message.

use crate::db::schema::message_reactions;
use crate::resource::{Field, Operations, Relation, Resource, RowVisibility, Search, Sort, VisibilityLink};

pub static MESSAGE_REACTIONS: Resource = Resource {
    name: "message_reaction",
    plural: "message-reactions",
    schema: "MessageReaction",
    description: "An emoji that one side has put on a message; one that was taken back is gone.",
    table: "message_reactions",
    fields: &[
        Field::id(message_reactions::id),
        Field::link(message_reactions::message_id, "The message.").read_only().not_null(),
        Field::link(message_reactions::contact_id, "Who reacted; null where it was the business.").read_only(),
        Field::text(message_reactions::emoji, 64, r#""👍🏽""#, "The emoji.").read_only().not_null(),
        Field::text(message_reactions::external_id, 255, r#""wamid.HBgM""#, "The channel's id of the reaction.")
            .read_only()
            .not_null(),
        Field::time(message_reactions::reacted_at, "When it was put there.").read_only().not_null(),
        Field::version(message_reactions::version),
        Field::created_at(message_reactions::created_at),
        Field::updated_at(message_reactions::updated_at),
    ],
    relations: &[
        Relation::one("message", "messages", message_reactions::message_id, "The message."),
        Relation::one("contact", "contacts", message_reactions::contact_id, "Who reacted."),
    ],
    sorts: &[Sort::column(message_reactions::reacted_at)],
    default_sort: "-reacted_at",
    search: Search::None,
    operations: Operations::NONE,
    keeps_deleted: true,
    visibility: RowVisibility::linked(&[VisibilityLink::new(message_reactions::message_id, "messages")]),
    ..Resource::BASE
};
