//! Templates: messages that WhatsApp has approved, which may be sent outside of the customer service window. They are written in Meta's
//! WhatsApp Manager; here they are what a synchronisation found, and what the channel told of since ([`template_update`]).

pub mod built_in;
pub mod components;
mod given_variables;
pub mod http;
pub mod list_client;
mod number_quality;
pub mod placeholder;
pub mod prepare;
pub mod store;
pub mod sync;
pub mod sync_task;
pub mod template_update;
pub mod variables;

use std::time::Duration;

use crate::auth::Area;
use crate::db::schema::templates;
use crate::resource::{Field, FieldType, Operations, Relation, Resource, Sort};

/// The status of a template that can be sent.
pub const APPROVED: &str = "approved";
/// The status of one that the channel does not have any more.
pub const DELETED: &str = "deleted";
/// Statuses; `unknown` is one of tomorrow.
pub const STATUSES: &[&str] = &[
    APPROVED,
    "pending",
    "rejected",
    "paused",
    "disabled",
    "in_appeal",
    "pending_deletion",
    DELETED,
    "limit_exceeded",
    "archived",
    "unknown",
];
/// Ratings of a template.
pub const QUALITIES: &[&str] = &["unknown", "green", "yellow", "red"];

pub static TEMPLATES: Resource = Resource {
    name: "template",
    plural: "templates",
    schema: "Template",
    description: "Messages that the channel has approved, to be sent outside of the customer service window. They are written in the channel's \
            own tools and read from there, once a day and when `POST /channels/{id}/template-sync` asks for it.",
    table: "templates",
    area: Area::Channels,
    fields: &[
        Field::id(templates::id),
        Field::link(templates::channel_id, "The channel that knows it.").read_only().not_null(),
        Field::text(templates::external_id, 64, r#""1387372356726668""#, "Its id on the channel.").read_only(),
        Field::text(templates::name, 512, r#""reservation_confirmation""#, "Its name on the channel.")
            .read_only()
            .not_null()
            .filter(),
        Field::text(templates::language, 32, r#""en_US""#, "The language of its text; one name may have several.")
            .read_only()
            .not_null()
            .filter(),
        Field::text(
            templates::category,
            64,
            r#""utility""#,
            "What it is for: `marketing`, `utility` or `authentication`; it decides the price.",
        )
        .read_only()
        .filter(),
        Field::choice(
            templates::status,
            STATUSES,
            r#""approved""#,
            "Only one that is `approved` can be sent; `deleted`: the channel does not have it any more.",
        )
        .read_only()
        .not_null(),
        Field::text(templates::rejected_reason, 500, r#""INVALID_FORMAT""#, "Why it was rejected, paused or disabled.")
            .read_only(),
        Field::choice(templates::quality, QUALITIES, r#""green""#, "How people have taken it.")
            .default(r#""unknown""#)
            .read_only(),
        Field::new(
            templates::components,
            FieldType::Object,
            r#"{"body":{"text":"Your table for {{guests}} is reserved."},"buttons":[{"type":"QUICK_REPLY","text":"Cancel"}]}"#,
            "Its parts, each as Meta describes it: `header`, `body`, `footer`, `buttons`. `{{…}}` are its variables.",
        )
        .read_only()
        .not_null(),
        Field::version(templates::version),
        Field::created_at(templates::created_at),
        Field::updated_at(templates::updated_at),
    ],
    relations: &[Relation::one("channel", "channels", templates::channel_id, "The channel that knows it.")],
    sorts: &[Sort::column(templates::created_at), Sort::text("name", "lower(t.name)")],
    operations: Operations::NONE,
    cache_ttl: Duration::from_secs(1800),
    ..Resource::BASE
};
