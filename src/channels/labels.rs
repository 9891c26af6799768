//! Labels: what a business sorts its conversations by, and which conversations have which.

use std::time::Duration;

use crate::auth::TenantSettings;
use crate::db::schema::{conversation_labels, labels};
use crate::resource::{
    Changeset, Field, Hooks, Operations, Relation, Resource, RowVisibility, Search, Sort, ValidationErrors,
    VisibilityLink,
};

/// Length of a colour such as `#1f93ff`.
const COLOR_LEN: usize = 7;

pub static LABELS: Resource = Resource {
    name: "label",
    plural: "labels",
    schema: "Label",
    description: "What a business sorts its conversations by. A label that is deleted is taken off all of them.",
    table: "labels",
    fields: &[
        Field::id(labels::id),
        Field::text(labels::name, 50, r#""Refund""#, "Its name; unique in the business, whatever the case.")
            .required()
            .filter()
            .fold_case()
            .unique(),
        Field::text(labels::color, COLOR_LEN, r##""#1f93ff""##, "Its colour: six hexadecimal digits after `#`.")
            .default(r##""#64748b""##),
        Field::text(labels::description, 500, r#""Wants money back.""#, "When to use it."),
        Field::version(labels::version),
        Field::created_at(labels::created_at),
        Field::updated_at(labels::updated_at),
    ],
    sorts: &[Sort::text("name", "lower(t.name)"), Sort::column(labels::created_at)],
    default_sort: "name",
    search: Search::None,
    operations: Operations { restore: false, batch: false, ..Operations::ALL },
    hooks: Hooks { prepare, ..Hooks::NONE },
    cache_ttl: Duration::from_secs(1800),
    ..Resource::BASE
};

fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    let Some(color) = change.text(labels::color).map(str::to_ascii_lowercase) else { return };
    let is_hex = |digits: &str| digits.len() + 1 == COLOR_LEN && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !color.strip_prefix('#').is_some_and(is_hex) {
        faults.field("color", "format", "`color` is `#` and six hexadecimal digits, such as `#1f93ff`.");
    }
    change.set(labels::color, color);
}

pub static CONVERSATION_LABELS: Resource = Resource {
    name: "conversation_label",
    plural: "conversation-labels",
    schema: "ConversationLabel",
    description: "That a conversation has a label: put on and taken off by `/conversations/{id}/labels/{label}`.",
    table: "conversation_labels",
    fields: &[
        Field::id(conversation_labels::id),
        Field::link(conversation_labels::conversation_id, "The conversation.").read_only().not_null(),
        Field::link(conversation_labels::label_id, "The label.").read_only().not_null(),
        Field::version(conversation_labels::version),
        Field::created_at(conversation_labels::created_at),
        Field::updated_at(conversation_labels::updated_at),
    ],
    relations: &[
        Relation::one("conversation", "conversations", conversation_labels::conversation_id, "The conversation."),
        Relation::one("label", "labels", conversation_labels::label_id, "The label."),
    ],
    sorts: &[Sort::column(conversation_labels::created_at)],
    search: Search::None,
    operations: Operations::NONE,
    visibility: RowVisibility::linked(&[VisibilityLink::new(conversation_labels::conversation_id, "conversations")]),
    ..Resource::BASE
};
