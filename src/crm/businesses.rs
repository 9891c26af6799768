//! The business itself: the tenant. A caller sees its own and no other; businesses are made on the command line.

use std::time::Duration;

use super::privacy;
use crate::auth::{Action, Area, Tenant};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::noun::{Draft, Field, Hooks, Kind, Noun, Operations, Search, Sort};

pub static BUSINESSES: Noun = Noun {
    name: "business",
    plural: "businesses",
    schema: "Business",
    about: "The business that the caller belongs to. The list has this one row.",
    table: "businesses",
    tenant: "id",
    area: Area::Business,
    fields: &[
        Field::ID,
        Field::text("name", 200, r#""Studio Nord""#, "As customers see it.").required(),
        Field::new(
            "slug",
            Kind::Text { min: 1, max: 63 },
            r#""studio-nord""#,
            "Its name in addresses; does not change.",
        )
        .read_only()
        .not_null(),
        Field::new("time_zone", Kind::Zone, r#""Europe/Berlin""#, "In which its days begin.").default(r#""UTC""#),
        Field::new("currency", Kind::Currency, r#""EUR""#, "Of prices without one.").default(r#""EUR""#),
        Field::new("country", Kind::Country, r#""DE""#, "How phone numbers without a country code are read.")
            .default(r#""US""#),
        Field::text("phone_number_id", 64, r#""106540352242922""#, "WhatsApp's id of its phone number."),
        Field {
            filter: false,
            ..Field::choice(
                "agents_see",
                &["all", "assigned"],
                r#""all""#,
                "`assigned`: people with the role `agent` see only the leads and conversations that are assigned to them.",
            )
        }
        .default(r#""all""#),
        Field {
            filter: false,
            ..Field::choice(
                "erasure",
                privacy::MODES,
                r#""anonymise""#,
                "How contacts are forgotten: rows kept for the figures, or nothing.",
            )
        }
        .default(r#""anonymise""#),
        Field { filter: false, ..Field::METADATA },
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::None,
    operations: Operations { update: true, ..Operations::NONE },
    hooks: Hooks { before, ..Hooks::NONE },
    ttl: Duration::from_secs(1800),
    ..Noun::BASE
};

/// How people are forgotten is decided by who may forget them. Errors: 403.
fn before(_: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [Draft]) -> Result<()> {
    let decides = drafts.iter().any(|draft| draft.change.get("erasure").is_some());
    if decides && !tenant.permissions().has(Area::Privacy, Action::Delete) {
        return Err(Error::Forbidden("Whoever may not erase a contact cannot decide how it is done.".into()));
    }
    Ok(())
}
