//! Staff: the people who can be booked. Not all of them sign in.

use super::services::MAX_PER_DAY;
use crate::auth::Area;
use crate::db::schema::staff;
use crate::resource::{Field, FieldType, Hooks, Relation, Resource, Sort};

pub static STAFF: Resource = Resource {
    name: "staff_member",
    plural: "staff",
    schema: "StaffMember",
    description: "By whom something can be booked. Not every one of them signs in.",
    table: "staff",
    area: Area::Business,
    fields: &[
        Field::id(staff::id),
        Field::link(staff::user_id, "The member that they are, if they sign in."),
        Field::text(staff::name, 200, r#""Jonas Weber""#, "As customers see it.").required(),
        Field::new(staff::email, FieldType::Email, r#""jonas@example.com""#, "Where they are told of bookings."),
        Field::new(staff::phone, FieldType::Phone, r#""+4930901821""#, "E.164 where it can be, else as written."),
        Field::new(
            staff::time_zone,
            FieldType::Zone,
            r#""Europe/Berlin""#,
            "In which they work; the business' own when left out.",
        )
        .not_null(),
        Field::new(staff::active, FieldType::Bool, "true", "Whether they can be booked now.").default("true").filter(),
        Field::int(
            staff::priority,
            0,
            1_000,
            "50",
            "Who is chosen first where a customer takes anybody, among those with equally many bookings on that day: the \
             smallest number.",
        )
        .default("50"),
        Field::int(
            staff::max_per_day,
            1,
            MAX_PER_DAY,
            "8",
            "How many bookings they take on one day of their own time zone, of all services; null: any number.",
        ),
        Field::time(staff::schedule_set_at, "When their weekly hours were last set; null: never.").read_only(),
        Field::external_id(staff::external_id),
        Field::metadata(staff::metadata),
        Field::version(staff::version),
        Field::created_at(staff::created_at),
        Field::updated_at(staff::updated_at),
    ],
    relations: &[Relation::one("user", "users", staff::user_id, "The member that they are.")],
    sorts: &[Sort::column(staff::created_at), Sort::text("name", "lower(t.name)")],
    default_sort: "name",
    hooks: Hooks {
        prepare: |change, business, _| {
            if change.creates {
                change.set_default(staff::time_zone, business.time_zone.as_str());
            }
        },
        ..Hooks::NONE
    },
    ..Resource::BASE
};
