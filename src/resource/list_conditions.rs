//! The conditions of a list, from its filters, its search and its cursor; and its order.

use super::definition::Search;
use super::field::FieldType;
use super::list_query::{Filter, List, Predicate};
use super::row_predicates::tenant_predicate;
use super::word_search;
use crate::auth::Tenant;
use crate::db::{SqlValue, Statement};

/// Appends the conditions of the list, with its search.
pub fn apply_filters(sql: &mut Statement, list: &List, tenant: &Tenant) {
    conditions(sql, list, tenant);
    match (&list.search, list.resource.search) {
        (Some(text), Search::Substring) => {
            sql.sql(" AND t.search LIKE lower(").bind(like(text)).sql(")");
        }
        (Some(text), Search::Words) => {
            sql.sql(" AND t.search @@ ").append(word_search::query(text, list.is_whole_words));
        }
        _ => {}
    }
}

/// Appends the conditions of the list, but for its search.
pub fn conditions(sql: &mut Statement, list: &List, tenant: &Tenant) {
    let resource = list.resource;
    sql.append(tenant_predicate(resource, tenant));
    if resource.soft_delete() {
        sql.sql(if list.deleted { " AND t.deleted_at IS NOT NULL" } else { " AND t.deleted_at IS NULL" });
    }
    for filter in &list.filters {
        sql.sql(" AND ");
        match resource.list_filter(filter.field.name) {
            Some(special) => (special.condition)(sql, &filter.predicate),
            None => filter_predicate(sql, filter),
        }
    }
}

/// Appends the condition of a filter by a field.
pub fn filter_predicate(sql: &mut Statement, filter: &Filter) {
    let name = filter.field.name;
    let several = |value: &SqlValue| {
        matches!(value, SqlValue::Texts(_) | SqlValue::Uuids(_) | SqlValue::Ints(_) | SqlValue::Dates(_))
    };
    match &filter.predicate {
        Predicate::Null => sql.sql("t.").ident(name).sql(" IS NULL"),
        Predicate::Equal(value) if filter.field.field_type == FieldType::Bool && several(value) => {
            sql.sql("t.").ident(name).sql(" IS NOT NULL")
        }
        // An array and not a subquery, which would be joined: this uses the index on lower(column).
        Predicate::Equal(value) if filter.field.fold_case && several(value) => {
            sql.sql("lower(t.").ident(name).sql(") = ANY(ARRAY(SELECT lower(v) FROM unnest(");
            sql.bind(value.clone()).sql(") AS v))")
        }
        Predicate::Equal(value) if filter.field.fold_case => {
            sql.sql("lower(t.").ident(name).sql(") = lower(").bind(value.clone()).sql(")")
        }
        Predicate::Equal(value) if several(value) => {
            sql.sql("t.").ident(name).sql(" = ANY(").bind(value.clone()).sql(")")
        }
        Predicate::Equal(value) => sql.sql("t.").ident(name).sql(" = ").bind(value.clone()),
        Predicate::AtLeast(value) => sql.sql("t.").ident(name).sql(" >= ").bind(value.clone()),
        Predicate::AtMost(value) => sql.sql("t.").ident(name).sql(" <= ").bind(value.clone()),
        Predicate::Below(value) => sql.sql("t.").ident(name).sql(" < ").bind(value.clone()),
        Predicate::Overlaps(value) => sql.sql("t.").ident(name).sql(" && ").bind(value.clone()),
        // OR and not `@> ANY`: each arm uses the index.
        Predicate::Contains(any) => {
            for (place, value) in any.iter().enumerate() {
                sql.sql(if place == 0 { "(t." } else { " OR t." }).ident(name).sql(" @> ").bind(value.clone());
            }
            sql.sql(")")
        }
    };
}

/// Appends the beginning of the condition that a row comes after another one, whose sort key and id follow, with the closing bracket.
pub fn past(sql: &mut Statement, list: &List) {
    // A row comparison uses the index; the equivalent with OR does not.
    sql.sql(" AND (").append(list.sort.expression()).sql(collation(list.sort.field_type));
    sql.sql(", t.id) ").sql(if list.descending { "<" } else { ">" }).sql(" (");
}

/// Appends the order of the list's rows.
pub fn ordered(sql: &mut Statement, list: &List) {
    let direction = direction(list);
    sql.sql(" ORDER BY ").append(list.sort.expression()).sql(collation(list.sort.field_type)).sql(" ").sql(direction);
    sql.sql(", t.id ").sql(direction);
}

pub fn direction(list: &List) -> &'static str {
    if list.descending { "DESC" } else { "ASC" }
}

/// Texts are ordered by bytes, as their indexes are.
pub fn collation(kind: FieldType) -> &'static str {
    if matches!(kind, FieldType::Text { .. }) { " COLLATE \"C\"" } else { "" }
}

/// A pattern for `text` anywhere, its wildcards escaped.
fn like(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
