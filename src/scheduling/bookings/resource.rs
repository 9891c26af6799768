//! The resource `bookings`.

use std::time::Duration;

use super::booking_rules;
use crate::crm::reminders::Reminder;
use crate::db::schema::bookings;
use crate::resource::{Field, FieldType, Hooks, Relation, Resource, Sort, row_type};

const STATUSES: &[&str] = &["held", "pending", "confirmed", "completed", "cancelled", "no_show"];

pub static BOOKINGS: Resource = Resource {
    name: "booking",
    plural: "bookings",
    schema: "Booking",
    description: "Who comes when, for what, to whom. While held, pending or confirmed, bookings of one member of staff do not \
            overlap: 409 with the interval in the way.",
    table: "bookings",
    fields: &[
        Field::id(bookings::id),
        Field::new(
            bookings::code,
            FieldType::Text { min: 8, max: 8 },
            r#""K7PM2XQ4""#,
            "What the customer is given; unique in the business.",
        )
        .read_only()
        .not_null()
        .filter(),
        Field::link(bookings::service_id, "What is booked."),
        Field::link(bookings::staff_id, "By whom."),
        Field::link(bookings::contact_id, "The customer, where known."),
        Field::link(bookings::lead_id, "The lead it came from."),
        Field::text(bookings::customer_name, 200, r#""Shelley Kerluke""#, "For whom.").required(),
        Field::new(
            bookings::customer_phone,
            FieldType::Phone,
            r#""+19553710847""#,
            "E.164 where it can be, else as written.",
        )
        .filter()
        .contact_address(),
        Field::new(
            bookings::customer_email,
            FieldType::Email,
            r#""shelley@example.com""#,
            "Where the confirmation goes.",
        )
        .contact_address(),
        Field::time(bookings::starts_at, "When it begins.").required().filter(),
        Field::new(
            bookings::ends_at,
            FieldType::Time,
            r#""2026-11-20T10:30:00Z""#,
            "When it is over, itself free again; after the start. When left out, it follows from the service, as does a price that is left out.",
        )
        .not_null(),
        Field::new(
            bookings::time_zone,
            FieldType::Zone,
            r#""Europe/Berlin""#,
            "In which it was booked; the business' own when left out.",
        )
        .not_null(),
        Field::new(bookings::day, FieldType::Date, r#""2026-11-20""#, "The day on which it begins, in its own zone.")
            .read_only()
            .not_null()
            .filter(),
        Field::choice(bookings::status, STATUSES, r#""confirmed""#, "How it stands.").default(r#""confirmed""#),
        Field::time(
            bookings::reminded_at,
            "When the reminder was given, within 24 hours before it begins; a new `starts_at` gets another.",
        )
        .read_only(),
        Field::money(bookings::price_minor, bookings::currency, "9000", "What it costs, in minor units."),
        Field::new(
            bookings::currency,
            FieldType::Currency,
            r#""EUR""#,
            "Of the price; the business' own when left out.",
        ),
        Field::text(bookings::notes, 2_000, r#""Brings a dog.""#, "Anything else."),
        Field::external_id(bookings::external_id),
        Field::metadata(bookings::metadata),
        Field::version(bookings::version),
        Field::created_at(bookings::created_at),
        Field::updated_at(bookings::updated_at),
    ],
    relations: &[
        Relation::one("service", "services", bookings::service_id, "What is booked."),
        Relation::one("staff", "staff", bookings::staff_id, "By whom."),
        Relation::one("contact", "contacts", bookings::contact_id, "The customer, where known."),
        Relation::one("lead", "leads", bookings::lead_id, "The lead it came from."),
    ],
    sorts: &[Sort::column(bookings::starts_at), Sort::column(bookings::created_at)],
    default_sort: "-starts_at",
    hooks: Hooks { prepare: booking_rules::prepare, before: booking_rules::before, ..Hooks::NONE },
    cache_ttl: Duration::from_secs(300),
    ..Resource::BASE
};

row_type!(BookingRow of BOOKINGS);

/// Reminds of bookings that are about to begin. The time before is the same for all businesses.
pub static REMINDER: Reminder = Reminder {
    resource: &BOOKINGS,
    time: "t.starts_at",
    due: "t.reminded_at IS NULL AND t.status IN ('held', 'pending', 'confirmed') AND t.deleted_at IS NULL \
          AND t.starts_at > now() AND t.starts_at <= now() + interval '24 hours'",
};
