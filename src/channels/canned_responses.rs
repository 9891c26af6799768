//! Canned responses: texts that members insert by a shortcut.

use std::time::Duration;

use crate::db::schema::canned_responses;
use crate::resource::{Field, Operations, Resource, Sort};

/// Longest text in characters: that of a message of WhatsApp.
const MAX_TEXT_LEN: usize = 4_096;

pub static CANNED_RESPONSES: Resource = Resource {
    name: "canned_response",
    plural: "canned-responses",
    schema: "CannedResponse",
    description: "Texts that members insert by a shortcut. `q` finds parts of both.",
    table: "canned_responses",
    fields: &[
        Field::id(canned_responses::id),
        Field::text(
            canned_responses::shortcut,
            64,
            r#""hours""#,
            "By what it is inserted; unique in the business, whatever the case.",
        )
        .required()
        .filter()
        .fold_case()
        .unique(),
        Field::text(canned_responses::body, MAX_TEXT_LEN, r#""We are open from nine to five.""#, "The text.")
            .required(),
        Field::version(canned_responses::version),
        Field::created_at(canned_responses::created_at),
        Field::updated_at(canned_responses::updated_at),
    ],
    sorts: &[Sort::text("shortcut", "lower(t.shortcut)"), Sort::column(canned_responses::created_at)],
    default_sort: "shortcut",
    operations: Operations { batch: false, ..Operations::ALL },
    cache_ttl: Duration::from_secs(1800),
    ..Resource::BASE
};
