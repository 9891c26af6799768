//! Rows for resources of plain rows that `data.sql` has no block for: made from their definition, so that a new resource
//! needs none.

use rapport::app::registry::RESOURCES;
use rapport::resource::{Cardinality, Field, FieldType, Resource};

/// Rows of each generated table; `fill` caps them.
const ROWS: u32 = 10_000;

/// The numbers that begin the ids of tables which `data.sql` fills or refers to, and how many times twenty rows they have.
const NUMBERS: [(&str, u32, u32); 26] = [
    ("labels", 26, 500),
    ("conversation_labels", 27, 500),
    ("read_positions", 28, 500),
    ("canned_responses", 29, 500),
    ("users", 1, 50),
    ("companies", 4, 1000),
    ("contacts", 5, 1000),
    ("campaigns", 6, 500),
    ("leads", 7, 5000),
    ("conversations", 8, 1000),
    ("services", 9, 500),
    ("staff", 10, 500),
    ("staff_services", 46, 500),
    ("bookings", 11, 5000),
    ("tasks", 12, 2500),
    ("notes", 13, 500),
    ("messages", 14, 5000),
    ("channels", 20, 500),
    ("contact_identities", 21, 500),
    ("duplicate_proposals", 23, 500),
    ("inbound_updates", 24, 500),
    ("message_reactions", 25, 500),
    ("message_attempts", 40, 500),
    ("worker_tasks", 41, 1000),
    ("templates", 44, 500),
    ("attachments", 45, 500),
];

/// The first number for the ids of other tables.
const FIRST: u32 = 100;

/// An INSERT for each resource with batches whose table is not among `written`, with its table. Others have columns that
/// their definition does not name.
pub fn blocks(written: &[&str]) -> Vec<(&'static str, String)> {
    let missing = RESOURCES.iter().filter(|resource| resource.operations.batch && !written.contains(&resource.table));
    missing.map(|resource| (resource.table, insert(resource))).collect()
}

/// The number that begins the ids of `resource`'s rows, and how many times twenty there are.
fn numbered(resource: &Resource) -> (u32, u32) {
    let written = NUMBERS.iter().find(|(table, ..)| *table == resource.table);
    written.map_or_else(
        || {
            let place = RESOURCES.iter().position(|known| known.plural == resource.plural).expect("a known resource");
            (FIRST + place as u32, ROWS / 20)
        },
        |(_, number, twenties)| (*number, *twenties),
    )
}

fn insert(resource: &Resource) -> String {
    let (number, _) = numbered(resource);
    let mut columns = vec![resource.tenant_column.to_owned()];
    let mut values = vec!["pg_temp.business_id(i)".to_owned()];
    let generated = resource.fields.iter().filter(|field| field.name != "version");
    for field in generated {
        columns.push(field.name.to_owned());
        values.push(value(resource, field, number));
    }
    if resource.soft_delete() {
        columns.push("deleted_at".into());
        values.push("pg_temp.gone(i)".into());
    }
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM generate_series(0, {}) AS i",
        resource.table,
        columns.join(", "),
        values.join(", "),
        ROWS - 1
    )
}

/// SQL for the value of `field` in row `i`: of its type, within its limits, and distinct where the field is unique.
fn value(resource: &Resource, field: &Field, number: u32) -> String {
    if field.name == "id" {
        return format!("pg_temp.row_id({number}, i)");
    }
    let some = |sql: String| match field.nullable && field.unique {
        true => format!("CASE WHEN i % 3 = 0 THEN {sql} END"),
        false => sql,
    };
    match field.field_type {
        FieldType::Uuid => reference(resource, field),
        FieldType::Choice(among) => {
            let names: Vec<String> = among.iter().map(|name| format!("'{name}'")).collect();
            format!("(ARRAY[{}])[1 + i / 20 % {}]", names.join(", "), names.len())
        }
        FieldType::Email => some(format!("'{}' || i || '@example.com'", resource.name)),
        FieldType::Domain => some(format!("'{}' || i || '.example'", resource.name)),
        FieldType::Phone => "'+1415' || lpad((i / 2)::text, 7, '0')".into(),
        FieldType::Int { min, max } => format!("{min} + i / 20 * 37 % {}", (max.saturating_sub(min)).clamp(1, 100_000)),
        FieldType::Bool => "i % 10 > 0".into(),
        FieldType::Time => format!("pg_temp.born(i, {ROWS}) + i % 100 * interval '1 hour'"),
        FieldType::Date => "current_date - i % 700".into(),
        FieldType::Zone => "'Europe/Berlin'".into(),
        FieldType::Currency => "(ARRAY['EUR', 'USD', 'GBP'])[1 + i / 20 % 3]".into(),
        FieldType::Country => "(ARRAY['DE', 'FR', 'US'])[1 + i / 20 % 3]".into(),
        FieldType::Decimal => "i % 100 / 100.0".into(),
        FieldType::Tags => "pg_temp.tags(i)".into(),
        FieldType::Hours => r#"'[{"start": "09:00", "end": "12:00"}]'::jsonb"#.into(),
        FieldType::Object => "pg_temp.metadata(i)".into(),
        FieldType::Text { max, .. } | FieldType::Secret { max, .. } if field.unique => {
            some(format!("left('ext-' || i, {max})"))
        }
        FieldType::Text { max, .. } | FieldType::Secret { max, .. } => {
            format!("left(pg_temp.word(i / 3) || ' ' || i, {max})")
        }
    }
}

/// A row of the same business that the reference `field` points to.
fn reference(resource: &Resource, field: &Field) -> String {
    let to_one =
        |relation: &&rapport::resource::Relation| relation.arity == Cardinality::One && relation.column == field.name;
    let relation = resource.relations.iter().find(to_one).unwrap_or_else(|| {
        panic!("{}.{} has no relation; give the resource a block in query_plans/data.sql", resource.plural, field.name)
    });
    let (number, twenties) = numbered(relation.resource());
    format!("pg_temp.other({number}, i, {twenties})")
}
