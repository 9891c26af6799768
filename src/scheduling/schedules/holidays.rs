//! Holidays: days on which nobody works, or one member of staff does not.

use std::time::Duration;

use crate::auth::Area;
use crate::db::schema::holidays;
use crate::resource::{Field, FieldType, Operations, Relation, Resource, Search, Sort};

pub static HOLIDAYS: Resource = Resource {
    name: "holiday",
    plural: "holidays",
    schema: "Holiday",
    description: "A day on which nobody works, or one member of staff does not: no hours begin on it. A night shift of the day before goes on, \
                  and who has other hours on that day (`/schedule-overrides`) works then.",
    table: "holidays",
    area: Area::Business,
    fields: &[
        Field::id(holidays::id),
        Field::new(
            holidays::day,
            FieldType::Date,
            r#""2026-12-25""#,
            "The day, in the time zone of each member of staff; one holiday for each member, and one for everybody.",
        )
        .required()
        .filter(),
        Field::text(holidays::name, 200, r#""Christmas Day""#, "Its name.").required(),
        Field::link(holidays::staff_id, "Whose day off it is; null: everybody's."),
        Field::version(holidays::version),
        Field::created_at(holidays::created_at),
        Field::updated_at(holidays::updated_at),
    ],
    relations: &[Relation::one("staff", "staff", holidays::staff_id, "Whose day off it is.")],
    sorts: &[Sort::column(holidays::day), Sort::column(holidays::created_at)],
    default_sort: "day",
    search: Search::None,
    operations: Operations { restore: false, batch: false, ..Operations::ALL },
    cache_ttl: Duration::from_secs(1800),
    ..Resource::BASE
};
