//! Filters of the list of conversations that are no fields of theirs: labels, snoozed, unread, unread by a member.

use uuid::Uuid;

use crate::db::{SqlValue, Statement};
use crate::resource::list_query::Predicate;
use crate::resource::{Field, FieldType, ListFilter};

const ID: &str = r#""01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71""#;

pub const FILTERS: &[ListFilter] = &[
    ListFilter::new(
        Field::named("label_id", FieldType::Uuid, ID, "With any of these labels; or only `none`: without one."),
        &["conversation_labels"],
        has_label,
    ),
    ListFilter::new(
        Field::named("snoozed", FieldType::Bool, "true", "Whether it is out of sight until a time."),
        &[],
        |sql, predicate| flag(sql, predicate, "t.snoozed_until IS NOT NULL", "t.snoozed_until IS NULL"),
    ),
    ListFilter::new(
        Field::named("unread", FieldType::Bool, "true", "Whether its `unread_count`, which all members share, is more than 0."),
        &[],
        |sql, predicate| flag(sql, predicate, "t.unread_count > 0", "t.unread_count = 0"),
    ),
    ListFilter::new(
        Field::named(
            "unread_by",
            FieldType::Uuid,
            ID,
            "Unread for any of these users, by their read positions; `me` for your own. What came before they joined is read.",
        )
        .not_null(),
        &["read_positions", "memberships"],
        |sql, predicate| unread_by(sql, predicate.ids().unwrap_or_default()),
    )
    .of_users(),
];

/// Appends the condition of a filter of true or false; where both are asked for, none.
fn flag(sql: &mut Statement, predicate: &Predicate, yes: &'static str, no: &'static str) {
    sql.sql(match predicate.flag() {
        Some(true) => yes,
        Some(false) => no,
        None => "true",
    });
}

fn has_label(sql: &mut Statement, predicate: &Predicate) {
    let is_none = *predicate == Predicate::Null;
    sql.sql(if is_none { "NOT EXISTS (" } else { "EXISTS (" });
    sql.sql("SELECT FROM conversation_labels l WHERE l.business_id = t.business_id AND l.conversation_id = t.id");
    match predicate {
        Predicate::Equal(SqlValue::Uuids(labels)) => {
            sql.sql(" AND l.label_id = ANY(").bind(labels.clone()).sql(")");
        }
        Predicate::Equal(label) => {
            sql.sql(" AND l.label_id = ").bind(label.clone());
        }
        _ => {}
    }
    sql.sql(")");
}

/// Appends whether a conversation `t` is unread for any of `users`: the other side has written since they read it; or, where they never have,
/// since they became members.
fn unread_by(sql: &mut Statement, users: Vec<Uuid>) {
    sql.sql(
        "EXISTS (SELECT FROM memberships m LEFT JOIN read_positions p ON p.business_id = m.business_id AND p.conversation_id = t.id \
         AND p.user_id = m.user_id WHERE m.business_id = t.business_id AND m.user_id = ANY(",
    );
    sql.bind(users).sql(") AND t.last_inbound_at > coalesce(p.read_until, m.created_at))");
}
