//! Services: what can be booked.

use std::time::Duration;

use crate::auth::Area;
use crate::db::schema::services;
use crate::resource::{Field, FieldType, Resource, Sort};

/// The longest buffer, in minutes: a day.
const MAX_BUFFER: i64 = 1_440;
/// The longest notice, in minutes: a year.
const YEAR: i64 = 525_600;
/// The highest limit of a day.
pub const MAX_PER_DAY: i64 = 10_000;

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
        Field::int(
            services::buffer_before_minutes,
            0,
            MAX_BUFFER,
            "10",
            "Minutes before each booking that are blocked with it, such as to prepare. They are no part of the booking, \
             and may lie outside of opening hours.",
        )
        .default("0"),
        Field::int(
            services::buffer_after_minutes,
            0,
            MAX_BUFFER,
            "10",
            "Minutes after each booking that are blocked with it, such as to clean up. Those of neighbours add up.",
        )
        .default("0"),
        Field::int(
            services::slot_interval_minutes,
            5,
            1_440,
            "15",
            "Minutes from one start that is offered to the next, counted from the beginning of the hours.",
        )
        .default("15"),
        Field::int(
            services::min_notice_minutes,
            0,
            YEAR,
            "120",
            "How long before its start it can be booked at the latest, in minutes that pass: 1,440 are 24 hours, also \
             when clocks change.",
        )
        .default("0"),
        Field::int(
            services::horizon_days,
            1,
            730,
            "90",
            "How far ahead it can be booked, in days of the calendar in whose time zone it is booked: with 1, today and \
             all of tomorrow.",
        )
        .default("90"),
        Field::int(
            services::capacity,
            1,
            500,
            "1",
            "How many can book the same start: a group has one time and several seats.",
        )
        .default("1"),
        Field::int(
            services::max_per_day,
            1,
            MAX_PER_DAY,
            "8",
            "How many bookings of it are taken on one day at most, of all staff together; null: any number. A booking \
             counts on its own `day`.",
        ),
        Field::int(
            services::cancel_until_minutes,
            0,
            YEAR,
            "1440",
            "Until how many minutes before the start customers may cancel; null: until the start. Members always may.",
        ),
        Field::int(
            services::reschedule_until_minutes,
            0,
            YEAR,
            "1440",
            "Until how many minutes before the start customers may move their booking; null: until the start. Members \
             always may.",
        ),
        Field::new(
            services::requires_confirmation,
            FieldType::Bool,
            "false",
            "Whether what customers book is `pending` until a member confirms it. It blocks its time meanwhile.",
        )
        .default("false"),
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
