//! Services: what can be booked.

use std::time::Duration;

use crate::auth::Area;
use crate::db::schema::services;
use crate::resource::{Field, FieldType, Resource, Sort};

pub static SERVICES: Resource = Resource {
    name: "service",
    plural: "services",
    schema: "Service",
    description: "What can be booked.",
    table: "services",
    area: Area::Business,
    fields: &[
        Field::id(services::id),
        Field::text(services::name, 200, r#""First consultation""#, "Its name.").required(),
        Field::text(services::description, 2_000, r#""An hour to get to know each other.""#, "What customers get."),
        Field::int(services::duration_minutes, 1, 10_080, "60", "How long it takes.").required().filter(),
        Field::money(services::price_minor, services::currency, "9000", "Its price in minor units."),
        Field::new(
            services::currency,
            FieldType::Currency,
            r#""EUR""#,
            "Of the price; the business' own when left out.",
        ),
        Field::new(services::active, FieldType::Bool, "true", "Whether it can be booked now.").default("true").filter(),
        Field::external_id(services::external_id),
        Field::metadata(services::metadata),
        Field::version(services::version),
        Field::created_at(services::created_at),
        Field::updated_at(services::updated_at),
    ],
    sorts: &[Sort::column(services::created_at), Sort::text("name", "lower(t.name)")],
    default_sort: "name",
    cache_ttl: Duration::from_secs(1800),
    ..Resource::BASE
};
