//! The resource `staff-services`: that a member of staff performs a service.

use std::time::Duration;

use crate::auth::Area;
use crate::db::schema::staff_services;
use crate::resource::{Field, FieldType, Operations, Relation, Resource, Search, Sort, row_type};

pub static STAFF_SERVICES: Resource = Resource {
    name: "staff_service",
    plural: "staff-services",
    schema: "StaffService",
    description: "That a member of staff performs a service. Those without any perform all.",
    table: "staff_services",
    area: Area::Business,
    fields: &[
        Field::id(staff_services::id),
        Field::link(staff_services::staff_id, "Who performs it.").required().once(),
        Field::link(staff_services::service_id, "What they perform; once for each member of staff.").required().once(),
        Field::int(
            staff_services::duration_minutes,
            1,
            10_080,
            "45",
            "How long it takes them; null: as long as the service says.",
        ),
        Field::money(
            staff_services::price_minor,
            staff_services::currency,
            "9900",
            "Their price in minor units; null: that of the service.",
        ),
        Field::new(
            staff_services::currency,
            FieldType::Currency,
            r#""EUR""#,
            "Of the price; the business' own when left out.",
        ),
        Field::version(staff_services::version),
        Field::created_at(staff_services::created_at),
        Field::updated_at(staff_services::updated_at),
    ],
    relations: &[
        Relation::one("staff", "staff", staff_services::staff_id, "Who performs it."),
        Relation::one("service", "services", staff_services::service_id, "What they perform."),
    ],
    sorts: &[Sort::column(staff_services::created_at)],
    search: Search::None,
    operations: Operations { restore: false, batch: false, ..Operations::ALL },
    cache_ttl: Duration::from_secs(1800),
    ..Resource::BASE
};

row_type!(StaffServiceRow of STAFF_SERVICES);
