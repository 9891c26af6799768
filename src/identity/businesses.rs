//! The business itself: the tenant. A caller sees its own and no other; businesses are created on the command line.

use std::time::Duration;

use crate::auth::{Action, Area, Tenant, TenantSettings};
use crate::base::error::{Error, Result};
use crate::base::opening_hours::{MAX_CHARACTERS, OpeningHours};
use crate::db::Tx;
use crate::db::schema::businesses;
use crate::resource::{
    Changeset, Field, FieldType, Hooks, Operations, PendingRow, Resource, Search, Sort, ValidationErrors,
};

/// What can become of the rows about a contact who is erased; the first is the default.
pub const ERASURE_MODES: &[&str] = &["anonymise", "delete"];

pub static BUSINESSES: Resource = Resource {
    name: "business",
    plural: "businesses",
    schema: "Business",
    description: "The business that the caller belongs to. The list has this one row.",
    table: "businesses",
    tenant_column: "id",
    area: Area::Business,
    fields: &[
        Field::id(businesses::id),
        Field::text(businesses::name, 200, r#""Studio Nord""#, "As customers see it.").required(),
        Field::new(
            businesses::slug,
            FieldType::Text { min: 1, max: 63 },
            r#""studio-nord""#,
            "Its name in addresses; does not change.",
        )
        .read_only()
        .not_null(),
        Field::new(businesses::time_zone, FieldType::Zone, r#""Europe/Berlin""#, "In which its days begin.").default(r#""UTC""#),
        Field::new(businesses::currency, FieldType::Currency, r#""EUR""#, "Of prices without one.").default(r#""EUR""#),
        Field::new(businesses::country, FieldType::Country, r#""DE""#, "How phone numbers without a country code are read.")
            .default(r#""US""#),
        Field {
            filter: false,
            ..Field::text(
                businesses::opening_hours,
                MAX_CHARACTERS,
                r#""Mo-Fr 09:00-17:30; Sa 10:00-14:00""#,
                "When it is open, in its time zone, as in OpenStreetMap: what response times within them are measured by.",
            )
        },
        Field {
            filter: false,
            ..Field::choice(
                businesses::agent_visibility,
                &["all", "assigned"],
                r#""all""#,
                "`assigned`: people with the role `agent` see only the leads and conversations that are assigned to them.",
            )
        }
        .default(r#""all""#),
        Field {
            filter: false,
            ..Field::choice(
                businesses::erasure,
                ERASURE_MODES,
                r#""anonymise""#,
                "How contacts are forgotten: rows kept for the figures, or nothing.",
            )
        }
        .default(r#""anonymise""#),
        Field { filter: false, ..Field::metadata(businesses::metadata) },
        Field::version(businesses::version),
        Field::created_at(businesses::created_at),
        Field::updated_at(businesses::updated_at),
    ],
    sorts: &[Sort::column(businesses::created_at)],
    search: Search::None,
    operations: Operations { update: true, ..Operations::NONE },
    hooks: Hooks { prepare, before, ..Hooks::NONE },
    cache_ttl: Duration::from_secs(1800),
    ..Resource::BASE
};

fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    if let Some(text) = change.text(businesses::opening_hours)
        && let Err(detail) = OpeningHours::parse(text)
    {
        faults.field("opening_hours", "format", detail);
    }
}

/// Only a caller who may erase contacts may set how it is done. Errors: 403.
fn before(_: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    let decides = drafts.iter().any(|draft| draft.changes.get(businesses::erasure).is_some());
    if decides && !tenant.permissions().has(Area::Privacy, Action::Delete) {
        return Err(Error::Forbidden("Only a caller who may erase contacts can decide how it is done.".into()));
    }
    Ok(())
}
