//! The webhook resource.

use super::hooks::{before, prepare};
use super::secret;
use crate::auth::Area;
use crate::base::egress::MAX_URL_LEN;
use crate::resource::{Field, FieldType, Hooks, Operations, Resource, Search, Sort, WriteOps};

const STATUSES: &[&str] = &["active", "paused"];

static SECRET: Field = Field::text(
    "secret",
    60,
    r#""whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD""#,
    "Signs what is sent. It is not shown again.",
)
.not_null();

pub static WEBHOOKS: Resource = Resource {
    name: "webhook",
    plural: "webhooks",
    schema: "Webhook",
    description: "Where events are sent to. The secret that signs them is shown once, in the answer that made it.",
    table: "webhooks",
    area: Area::Webhooks,
    fields: &[
        Field::ID,
        Field::text("url", MAX_URL_LEN, r#""https://example.com/hooks/rapport""#, "Where to, by https.").required(),
        Field::text("description", 200, r#""Our ERP""#, "What it is for."),
        Field::new(
            "types",
            FieldType::Tags,
            r#"["lead.*","booking.created"]"#,
            "Which events: `lead.updated`, `lead.*`, `*.deleted`, or `*` for all. Those of API keys and webhooks are never sent.",
        )
        .required(),
        Field::choice("status", STATUSES, r#""active""#, "While it is paused, deliveries gather and are sent afterwards.")
            .default(r#""active""#),
        Field::text("paused_because", 200, r#""The endpoint answered 410 Gone.""#, "Why the service paused it itself.")
            .read_only(),
        Field::time("failing_since", "Since when no delivery has arrived; null when the last one did.").read_only(),
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    // Its secret is deleted with it, so it cannot be restored.
    operations: Operations { restore: false, batch: false, ..Operations::ALL },
    hooks: Hooks { prepare, before, ..Hooks::NONE },
    writes: WriteOps { create: secret::create, ..WriteOps::PLAIN },
    routes: super::http::routes,
    secret: Some(&SECRET),
    compressible: false,
    ..Resource::BASE
};
