//! Inbound updates: what a channel delivered and is not applied, because it waits for its message or failed.

use crate::auth::Area;
use crate::db::schema::inbound_updates;
use crate::resource::{Field, Operations, Relation, Resource, Search, Sort};

const KINDS: &[&str] = &["message", "echo", "history", "status", "reaction", "edit", "revoke", "reply", "account"];
const STATES: &[&str] = &["waiting", "failed"];

pub static INBOUND_UPDATES: Resource = Resource {
    name: "inbound_update",
    plural: "inbound-updates",
    schema: "InboundUpdate",
    description: "What a channel delivered and is not applied: it waits for its message, for 7 days, or it failed and can be applied again, for 30.",
    table: "inbound_updates",
    area: Area::Channels,
    fields: &[
        Field::id(inbound_updates::id),
        Field::link(inbound_updates::channel_id, "The channel that delivered it.").read_only().not_null(),
        Field::choice(inbound_updates::kind, KINDS, r#""status""#, "What it is.").read_only().not_null(),
        Field::choice(
            inbound_updates::state,
            STATES,
            r#""waiting""#,
            "`waiting`: for a message; `failed`: see `error`.",
        )
        .read_only()
        .not_null(),
        Field::text(
            inbound_updates::waits_for,
            255,
            r#""wamid.HBgM""#,
            "The channel's id of the message that it waits for.",
        )
        .read_only()
        .filter(),
        Field::text(
            inbound_updates::error,
            500,
            r#""The kind of the message is not known.""#,
            "Why it could not be applied.",
        )
        .read_only(),
        Field::int(inbound_updates::attempts, 0, 2_147_483_647, "1", "How often it was tried.").read_only().not_null(),
        Field::time(inbound_updates::received_at, "When it was delivered.").read_only().not_null(),
        Field::time(inbound_updates::expires_at, "When it is forgotten.").read_only().not_null(),
        Field::version(inbound_updates::version),
        Field::created_at(inbound_updates::created_at),
        Field::updated_at(inbound_updates::updated_at),
    ],
    relations: &[Relation::one("channel", "channels", inbound_updates::channel_id, "The channel that delivered it.")],
    sorts: &[Sort::column(inbound_updates::created_at)],
    default_sort: "-created_at",
    search: Search::None,
    operations: Operations::NONE,
    audited: false,
    ..Resource::BASE
};
