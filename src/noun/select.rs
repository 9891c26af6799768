//! A noun's reads as SQL. Every statement here begins with the tenant's predicate.

use super::params::{Filter, List, Test, View};
use super::{Arity, Kind, Noun, Relation, Search, Visible};
use crate::auth::Tenant;
use crate::db::{Statement, Value};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A page of a list, one row more than the page so that its end is known. The last cell is the sort key.
///
/// The page is chosen before anything is joined to it: a subquery with its own `LIMIT`, which the planner neither merges nor
/// reorders. While a table has no statistics, the planner expects one row of a business and would join every row before it
/// sorts them.
pub fn page(list: &List, tenant: &Tenant) -> Statement {
    let noun = list.noun;
    let mut sql = Statement::new("SELECT ");
    sql.push(&columns(noun, "t"));
    match joined(&list.view).next() {
        None => {
            sql.push(", ").push(list.sort.expression).push(" FROM ").push(noun.table).push(" t");
            choose(&mut sql, list, tenant);
        }
        Some(_) => {
            joined_columns(&mut sql, &list.view);
            sql.push(", t.sort_key FROM (SELECT t.*, ").push(list.sort.expression).push(collation(list.sort.kind));
            sql.push(" AS sort_key FROM ").push(noun.table).push(" t");
            choose(&mut sql, list, tenant);
            sql.push(") t");
            join(&mut sql, noun, &list.view, tenant);
            // A join keeps no order by contract; where it does, this costs nothing.
            let direction = direction(list);
            sql.push(&format!(" ORDER BY t.sort_key {direction}, t.id {direction}"));
        }
    }
    sql
}

/// Which rows of the list are on the page, in its order.
fn choose(sql: &mut Statement, list: &List, tenant: &Tenant) {
    let (expression, collation, direction) = (list.sort.expression, collation(list.sort.kind), direction(list));
    narrow(sql, list, tenant);
    if let Some(cursor) = &list.cursor {
        let past = if list.descending { "<" } else { ">" };
        // A row comparison, which walks the index; the equivalent with OR does not.
        sql.push(" AND (").push(expression).push(collation).push(", t.id) ").push(past).push(" (");
        sql.bind(cursor.key.clone()).push(", ").bind(Value::Uuid(Some(cursor.id))).push(")");
    }
    // The limit is text, because PostgreSQL plans again on each call when it is a parameter.
    let limit = list.limit + 1;
    sql.push(&format!(" ORDER BY {expression}{collation} {direction}, t.id {direction} LIMIT {limit}"));
}

fn direction(list: &List) -> &'static str {
    if list.descending { "DESC" } else { "ASC" }
}

/// How many rows match, counted up to `cap` (0: to the end).
pub fn count(list: &List, tenant: &Tenant, cap: i64) -> Statement {
    let mut sql = Statement::new("SELECT count(*) FROM (SELECT 1 FROM ");
    sql.push(list.noun.table).push(" t");
    narrow(&mut sql, list, tenant);
    if cap > 0 {
        sql.push(&format!(" LIMIT {}", cap + 1));
    }
    sql.push(") counted");
    sql
}

/// Ids of a list's rows in the order of ids, those after `after` that were made until `until`; locked until the transaction
/// ends. The second cell, `with_tags`, is the row's labels as JSON.
pub fn walk(list: &List, tenant: &Tenant, after: Uuid, until: DateTime<Utc>, with_tags: bool, limit: u32) -> Statement {
    let mut sql = Statement::new(if with_tags { "SELECT t.id, to_json(t.tags)::text" } else { "SELECT t.id" });
    sql.push(" FROM ").push(list.noun.table).push(" t");
    narrow(&mut sql, list, tenant);
    sql.push(" AND t.id > ")
        .bind(Value::Uuid(Some(after)))
        .push(" AND t.created_at <= ")
        .bind(Value::Time(Some(until)));
    sql.push(&format!(" ORDER BY t.id LIMIT {limit} FOR NO KEY UPDATE OF t"));
    sql
}

/// Rows by id, in no order.
pub fn by_ids(noun: &Noun, tenant: &Tenant, view: &View, ids: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.push(&columns(noun, "t"));
    joined_columns(&mut sql, view);
    sql.push(" FROM ").push(noun.table).push(" t");
    join(&mut sql, noun, view, tenant);
    sql.append(scoped(noun, tenant));
    match ids.as_slice() {
        [only] => sql.push(" AND t.id = ").bind(Value::Uuid(Some(*only))),
        _ => sql.push(" AND t.id = ANY(").bind(Value::Uuids(ids)).push(")"),
    };
    alive(&mut sql, noun);
    sql
}

/// Single rows of several tenants at once, each only under its own tenant. The last cell is the tenant.
pub fn by_keys(noun: &Noun, tenants: Vec<Uuid>, ids: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.push(&columns(noun, "t")).push(", t.").push(noun.tenant);
    match (tenants.as_slice(), ids.as_slice()) {
        ([tenant], [id]) => {
            sql.push(" FROM ").push(noun.table).push(" t WHERE t.").push(noun.tenant).push(" = ");
            sql.bind(Value::Uuid(Some(*tenant))).push(" AND t.id = ").bind(Value::Uuid(Some(*id)));
        }
        _ => {
            sql.push(" FROM unnest(").bind(Value::Uuids(tenants)).push(", ").bind(Value::Uuids(ids));
            sql.push(") AS k (tenant, id) JOIN ").push(noun.table);
            sql.push(" t ON t.").push(noun.tenant).push(" = k.tenant AND t.id = k.id WHERE true");
        }
    }
    alive(&mut sql, noun);
    sql
}

/// The related rows of many parents in one query: at most `limit` for each. The last cell is the parent's id.
pub fn related(relation: &Relation, tenant: &Tenant, parents: Vec<Uuid>) -> Statement {
    let noun = relation.noun;
    let limit = if let Arity::Many { limit } = relation.arity { limit } else { 1 };
    let (name, direction) = relation.order.strip_prefix('-').map_or((relation.order, "ASC"), |name| (name, "DESC"));
    let sort = noun.sorts.iter().find(|sort| sort.name == name).unwrap_or(&noun.sorts[0]);
    let order = format!("{}{} {direction}, t.id {direction}", sort.expression, collation(sort.kind));
    let mut sql = Statement::new("SELECT ");
    sql.push(&columns(noun, "t")).push(", k.id FROM unnest(").bind(Value::Uuids(parents));
    sql.push(") WITH ORDINALITY AS k (id, place) CROSS JOIN LATERAL (SELECT t.* FROM ").push(noun.table).push(" t");
    sql.append(scoped(noun, tenant)).push(" AND t.").push(relation.column).push(" = k.id");
    alive(&mut sql, noun);
    sql.push(&format!(" ORDER BY {order} LIMIT {limit}) t ORDER BY k.place, {order}"));
    sql
}

/// The select list of `noun` over `alias`, one cell per field, in order.
pub fn columns(noun: &Noun, alias: &str) -> String {
    noun.fields.iter().map(|field| field.expression(alias)).collect::<Vec<_>>().join(", ")
}

/// ` WHERE t.business_id = $1`: the one predicate that select, update and delete share; and, for someone who is limited to
/// their own, what they see of it.
pub fn scoped(noun: &Noun, tenant: &Tenant) -> Statement {
    #[cfg(feature = "mutants")]
    if crate::cache::mutants::is(crate::cache::mutants::Mutant::WithoutTenant) {
        return Statement::new(" WHERE true");
    }
    let mut sql = Statement::new(" WHERE t.");
    sql.push(noun.tenant).push(" = ").bind(Value::Uuid(Some(tenant.id())));
    seen(&mut sql, noun, tenant, "t");
    sql
}

/// Leaves out what the tenant's person does not see of `noun` under `alias`.
fn seen(sql: &mut Statement, noun: &Noun, tenant: &Tenant, alias: &str) {
    let Some(person) = tenant.sees_only() else { return };
    match noun.visible {
        Visible::All => {}
        Visible::Assigned(column) => {
            sql.push(&format!(" AND {alias}.{column} = ")).bind(Value::Uuid(Some(person)));
        }
        Visible::AssignedOrLinked(column, links) => {
            sql.push(&format!(" AND ({alias}.{column} = ")).bind(Value::Uuid(Some(person))).push(" OR (true");
            seen_through(sql, noun, tenant, alias, links);
            sql.push("))");
        }
        Visible::Linked(links) => seen_through(sql, noun, tenant, alias, links),
    }
}

/// Leaves out the rows of `noun` whose `links` lead to rows that the tenant's person does not see.
fn seen_through(
    sql: &mut Statement,
    noun: &Noun,
    tenant: &Tenant,
    alias: &str,
    links: &'static [(&'static str, &'static Noun)],
) {
    for (number, (column, other)) in links.iter().enumerate() {
        let inner = format!("{alias}_{number}");
        sql.push(&format!(
            " AND ({alias}.{column} IS NULL OR EXISTS (SELECT FROM {} {inner} WHERE {inner}.{} = {alias}.{} \
             AND {inner}.id = {alias}.{column}",
            other.table, other.tenant, noun.tenant
        ));
        seen(sql, other, tenant, &inner);
        sql.push("))");
    }
}

/// Leaves deleted rows out.
pub fn alive(sql: &mut Statement, noun: &Noun) {
    if noun.soft_delete() {
        sql.push(" AND t.deleted_at IS NULL");
    }
}

/// The relations of `view` that are read by a join.
pub fn joined(view: &View) -> impl Iterator<Item = (usize, &'static Relation)> + '_ {
    view.include.iter().map(|(relation, _)| *relation).filter(|r| r.arity == Arity::One).enumerate()
}

fn joined_columns(sql: &mut Statement, view: &View) {
    for (number, relation) in joined(view) {
        sql.push(", ").push(&columns(relation.noun, &format!("r{number}")));
    }
}

/// Joins the relations of one, each by a lookup in the primary key for every row of `t`.
///
/// A lookup asks for the first row at or after the id, in the order of ids, and then whether it is that row. Asked for the
/// id alone, the planner takes whichever index begins with the business while it expects one row of it, and reads all of
/// the business for every row of the page; only the primary key has this order. A view has no key of its own, and is asked
/// for the id.
fn join(sql: &mut Statement, noun: &Noun, view: &View, tenant: &Tenant) {
    for (number, relation) in joined(view) {
        let (other, alias, target) = (relation.noun, format!("r{number}"), relation.target);
        let link = format!("t.{}", relation.column);
        sql.push(&format!(" LEFT JOIN LATERAL (SELECT r.* FROM {} r WHERE r.{} = ", other.table, other.tenant));
        sql.bind(Value::Uuid(Some(tenant.id())));
        match other.tables {
            [] => sql.push(&format!(" AND r.{target} >= {link} ORDER BY r.{target} LIMIT 1")),
            _ => sql.push(&format!(" AND r.{target} = {link} LIMIT 1")),
        };
        // The row's own tenant as well: a list of one business never shows a row of another.
        sql.push(&format!(") {alias} ON {alias}.{} = t.{}", other.tenant, noun.tenant));
        sql.push(&format!(" AND {alias}.{target} = {link}"));
        if other.soft_delete() {
            sql.push(&format!(" AND {alias}.deleted_at IS NULL"));
        }
        seen(sql, other, tenant, &alias);
    }
}

fn narrow(sql: &mut Statement, list: &List, tenant: &Tenant) {
    let noun = list.noun;
    sql.append(scoped(noun, tenant));
    if noun.soft_delete() {
        sql.push(if list.deleted { " AND t.deleted_at IS NOT NULL" } else { " AND t.deleted_at IS NULL" });
    }
    for filter in &list.filters {
        sql.push(" AND ");
        test(sql, filter);
    }
    match (&list.search, noun.search) {
        (Some(text), Search::Substring) => {
            sql.push(" AND t.search LIKE lower(").bind(Value::Text(Some(like(text)))).push(")");
        }
        (Some(text), Search::Words) => {
            sql.push(" AND t.search @@ websearch_to_tsquery('simple', ")
                .bind(Value::Text(Some(text.clone())))
                .push(")");
        }
        _ => {}
    }
}

fn test(sql: &mut Statement, filter: &Filter) {
    let column = format!("t.{}", filter.field.name);
    let several = |value: &Value| matches!(value, Value::Texts(_) | Value::Uuids(_) | Value::Ints(_) | Value::Dates(_));
    match &filter.test {
        Test::Null => sql.push(&column).push(" IS NULL"),
        Test::Equal(value) if filter.field.kind == Kind::Bool && several(value) => {
            sql.push(&column).push(" IS NOT NULL")
        }
        // As an array and not as a subquery, which would be joined: the index on lower(column) answers.
        Test::Equal(value) if filter.field.fold_case && several(value) => sql
            .push(&format!("lower({column}) = ANY(ARRAY(SELECT lower(v) FROM unnest("))
            .bind(value.clone())
            .push(") AS v))"),
        Test::Equal(value) if filter.field.fold_case => {
            sql.push(&format!("lower({column}) = lower(")).bind(value.clone()).push(")")
        }
        Test::Equal(value) if several(value) => sql.push(&column).push(" = ANY(").bind(value.clone()).push(")"),
        Test::Equal(value) => sql.push(&column).push(" = ").bind(value.clone()),
        Test::AtLeast(value) => sql.push(&column).push(" >= ").bind(value.clone()),
        Test::AtMost(value) => sql.push(&column).push(" <= ").bind(value.clone()),
        Test::Below(value) => sql.push(&column).push(" < ").bind(value.clone()),
        Test::Overlaps(value) => sql.push(&column).push(" && ").bind(value.clone()),
        // OR and not `@> ANY`: each arm is answered by the index.
        Test::Contains(any) => {
            for (place, value) in any.iter().enumerate() {
                sql.push(if place == 0 { "(" } else { " OR " }).push(&column).push(" @> ").bind(value.clone());
            }
            sql.push(")")
        }
    };
}

/// Texts are ordered by bytes, as their indexes are.
fn collation(kind: Kind) -> &'static str {
    if matches!(kind, Kind::Text { .. }) { " COLLATE \"C\"" } else { "" }
}

/// `text` anywhere, its wildcards taken literally.
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
