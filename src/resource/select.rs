//! The SQL of a resource's reads. Every statement here is restricted to the tenant.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::definition::{Resource, RowVisibility, Search};
use super::field::FieldType;
use super::list_query::{Filter, Included, List, Predicate, Projection};
use super::registry;
use super::relation::{Cardinality, Relation};
use crate::auth::Tenant;
use crate::db::{SqlValue, Statement};
use crate::http::precondition::IfMatch;

/// Selects a page of a list, and one row more so that its end is known. The last cell is the sort key.
///
/// The page is selected before anything is joined to it: a subquery with its own `LIMIT`, which the planner neither
/// merges nor reorders. While a table has no statistics, the planner expects one row of a business and would join every
/// row before it sorts them.
pub fn page(list: &List, tenant: &Tenant) -> Statement {
    let resource = list.resource;
    let mut sql = Statement::new("SELECT ");
    sql.push(&columns(resource, "t"));
    match joined(&list.projection).next() {
        None => {
            sql.push(", ").push(list.sort.expression).push(" FROM ").push(resource.table).push(" t");
            select_page(&mut sql, list, tenant);
        }
        Some(_) => {
            joined_columns(&mut sql, &list.projection);
            sql.push(", t.sort_key FROM (SELECT t.*, ")
                .push(list.sort.expression)
                .push(collation(list.sort.field_type));
            sql.push(" AS sort_key FROM ").push(resource.table).push(" t");
            select_page(&mut sql, list, tenant);
            sql.push(") t");
            join(&mut sql, resource, &list.projection, tenant);
            // A join guarantees no order; where it keeps the order, this costs nothing.
            let direction = direction(list);
            sql.push(&format!(" ORDER BY t.sort_key {direction}, t.id {direction}"));
        }
    }
    sql
}

/// Appends the conditions, order and limit that select the rows of the page.
fn select_page(sql: &mut Statement, list: &List, tenant: &Tenant) {
    let (expression, collation, direction) = (list.sort.expression, collation(list.sort.field_type), direction(list));
    apply_filters(sql, list, tenant);
    if let Some(cursor) = &list.cursor {
        let past = if list.descending { "<" } else { ">" };
        // A row comparison uses the index; the equivalent with OR does not.
        sql.push(" AND (").push(expression).push(collation).push(", t.id) ").push(past).push(" (");
        sql.bind(cursor.key.clone()).push(", ").bind(SqlValue::Uuid(Some(cursor.id))).push(")");
    }
    // The limit is a literal, because PostgreSQL plans again on each call when it is a parameter.
    let limit = list.limit + 1;
    sql.push(&format!(" ORDER BY {expression}{collation} {direction}, t.id {direction} LIMIT {limit}"));
}

fn direction(list: &List) -> &'static str {
    if list.descending { "DESC" } else { "ASC" }
}

/// Counts the matching rows, up to one more than `cap` (0: to the end).
pub fn count(list: &List, tenant: &Tenant, cap: i64) -> Statement {
    let mut sql = Statement::new("SELECT count(*) FROM (SELECT 1 FROM ");
    sql.push(list.resource.table).push(" t");
    apply_filters(&mut sql, list, tenant);
    if cap > 0 {
        sql.push(&format!(" LIMIT {}", cap + 1));
    }
    sql.push(") counted");
    sql
}

/// Selects ids of a list's rows in id order, those after `after` that were created until `until`; locked until the
/// transaction ends. With `with_tags`, the second cell is the row's tags as JSON.
pub fn select_ids_for_update(
    list: &List,
    tenant: &Tenant,
    after: Uuid,
    until: DateTime<Utc>,
    with_tags: bool,
    limit: u32,
) -> Statement {
    let mut sql = Statement::new(if with_tags { "SELECT t.id, to_json(t.tags)::text" } else { "SELECT t.id" });
    sql.push(" FROM ").push(list.resource.table).push(" t");
    apply_filters(&mut sql, list, tenant);
    sql.push(" AND t.id > ")
        .bind(SqlValue::Uuid(Some(after)))
        .push(" AND t.created_at <= ")
        .bind(SqlValue::Time(Some(until)));
    sql.push(&format!(" ORDER BY t.id LIMIT {limit} FOR NO KEY UPDATE OF t"));
    sql
}

/// Selects rows by id, in no order.
pub fn by_ids(resource: &Resource, tenant: &Tenant, view: &Projection, ids: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.push(&columns(resource, "t"));
    joined_columns(&mut sql, view);
    sql.push(" FROM ").push(resource.table).push(" t");
    join(&mut sql, resource, view, tenant);
    sql.append(tenant_predicate(resource, tenant));
    match ids.as_slice() {
        [only] => sql.push(" AND t.id = ").bind(SqlValue::Uuid(Some(*only))),
        _ => sql.push(" AND t.id = ANY(").bind(SqlValue::Uuids(ids)).push(")"),
    };
    not_deleted(&mut sql, resource);
    sql
}

/// Selects single rows of several tenants at once, each only under its own tenant. The last cell is the tenant.
pub fn by_keys(resource: &Resource, tenants: Vec<Uuid>, ids: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.push(&columns(resource, "t")).push(", t.").push(resource.tenant_column);
    match (tenants.as_slice(), ids.as_slice()) {
        ([tenant], [id]) => {
            sql.push(" FROM ").push(resource.table).push(" t WHERE t.").push(resource.tenant_column).push(" = ");
            sql.bind(SqlValue::Uuid(Some(*tenant))).push(" AND t.id = ").bind(SqlValue::Uuid(Some(*id)));
        }
        _ => {
            sql.push(" FROM unnest(").bind(SqlValue::Uuids(tenants)).push(", ").bind(SqlValue::Uuids(ids));
            sql.push(") AS k (tenant, id) JOIN ").push(resource.table);
            sql.push(" t ON t.").push(resource.tenant_column).push(" = k.tenant AND t.id = k.id WHERE true");
        }
    }
    not_deleted(&mut sql, resource);
    sql
}

/// Selects the related rows of many parents in one query, at most `limit` for each. The last cell is the parent's id.
pub fn related(relation: &Relation, tenant: &Tenant, parents: Vec<Uuid>) -> Statement {
    let resource = relation.resource();
    let limit = if let Cardinality::Many { limit } = relation.arity { limit } else { 1 };
    let (name, direction) = relation.order.strip_prefix('-').map_or((relation.order, "ASC"), |name| (name, "DESC"));
    let sort = resource.sorts.iter().find(|sort| sort.name == name).unwrap_or(&resource.sorts[0]);
    let order = format!("{}{} {direction}, t.id {direction}", sort.expression, collation(sort.field_type));
    let mut sql = Statement::new("SELECT ");
    sql.push(&columns(resource, "t")).push(", k.id FROM unnest(").bind(SqlValue::Uuids(parents));
    sql.push(") WITH ORDINALITY AS k (id, place) CROSS JOIN LATERAL (SELECT t.* FROM ").push(resource.table).push(" t");
    sql.append(tenant_predicate(resource, tenant)).push(" AND t.").push(relation.column).push(" = k.id");
    not_deleted(&mut sql, resource);
    sql.push(&format!(" ORDER BY {order} LIMIT {limit}) t ORDER BY k.place, {order}"));
    sql
}

/// Returns the select list of the resource over `alias`: one cell per field, in order.
pub fn columns(resource: &Resource, alias: &str) -> String {
    resource.fields.iter().map(|field| field.expression(alias)).collect::<Vec<_>>().join(", ")
}

/// ` WHERE t.business_id = $1`: the one predicate that select, update and delete share; and, for a restricted caller,
/// the conditions of visibility.
pub fn tenant_predicate(resource: &Resource, tenant: &Tenant) -> Statement {
    #[cfg(feature = "mutants")]
    if crate::base::mutants::is(crate::base::mutants::Mutant::WithoutTenant) {
        return Statement::new(" WHERE true");
    }
    let mut sql = Statement::new(" WHERE t.");
    sql.push(resource.tenant_column).push(" = ").bind(SqlValue::Uuid(Some(tenant.id())));
    visibility_predicate(&mut sql, resource, tenant, "t");
    sql
}

/// Excludes rows of the resource under `alias` that are not visible to the caller.
fn visibility_predicate(sql: &mut Statement, resource: &Resource, tenant: &Tenant, alias: &str) {
    let Some(person) = tenant.restricted_to_user() else { return };
    match resource.visibility {
        RowVisibility::All => {}
        RowVisibility::Assigned(column) => {
            sql.push(&format!(" AND {alias}.{column} = ")).bind(SqlValue::Uuid(Some(person)));
        }
        RowVisibility::AssignedOrLinked(column, links) => {
            sql.push(&format!(" AND ({alias}.{column} = ")).bind(SqlValue::Uuid(Some(person))).push(" OR (true");
            linked_visibility_predicate(sql, resource, tenant, alias, links);
            sql.push("))");
        }
        RowVisibility::Linked(links) => linked_visibility_predicate(sql, resource, tenant, alias, links),
    }
}

/// Excludes rows whose references lead to rows that are not visible to the caller.
fn linked_visibility_predicate(
    sql: &mut Statement,
    resource: &Resource,
    tenant: &Tenant,
    alias: &str,
    links: &'static [(&'static str, &'static str)],
) {
    for (number, (column, other)) in links.iter().enumerate() {
        let other = registry::named(other);
        let inner = format!("{alias}_{number}");
        sql.push(&format!(
            " AND ({alias}.{column} IS NULL OR EXISTS (SELECT FROM {} {inner} WHERE {inner}.{} = {alias}.{} \
             AND {inner}.id = {alias}.{column}",
            other.table, other.tenant_column, resource.tenant_column
        ));
        visibility_predicate(sql, other, tenant, &inner);
        sql.push("))");
    }
}

/// Excludes deleted rows.
pub fn not_deleted(sql: &mut Statement, resource: &Resource) {
    if resource.soft_delete() {
        sql.push(" AND t.deleted_at IS NULL");
    }
}

/// ` WHERE` this tenant's row `id`, not deleted, at a version that `expected` allows.
pub fn row_predicate(resource: &Resource, tenant: &Tenant, id: Uuid, expected: IfMatch) -> Statement {
    let mut sql = tenant_predicate(resource, tenant);
    sql.push(" AND t.id = ").bind(SqlValue::Uuid(Some(id)));
    not_deleted(&mut sql, resource);
    if let Some(versions) = expected.versions() {
        sql.push(" AND t.version = ANY(").bind(SqlValue::Ints(versions.to_vec())).push(")");
    }
    sql
}

/// Returns the relations of `view` that are read by a join, numbered.
pub fn joined(view: &Projection) -> impl Iterator<Item = (usize, &Included)> + '_ {
    view.include.iter().filter(|included| included.relation.arity == Cardinality::One).enumerate()
}

fn joined_columns(sql: &mut Statement, view: &Projection) {
    for (number, included) in joined(view) {
        sql.push(", ").push(&columns(included.resource, &format!("r{number}")));
    }
}

/// Joins the to-one relations, each by a lookup in the primary key for every row of `t`.
///
/// A lookup selects the first row at or after the id, in id order, and then tests whether it has the id. With the id
/// alone, the planner takes any index that begins with the business while it expects one row of it, and reads all rows
/// of the business for every row of the page; only the primary key has this order. A view has no key, and is read by
/// the id.
fn join(sql: &mut Statement, resource: &Resource, view: &Projection, tenant: &Tenant) {
    for (number, Included { relation, resource: other, .. }) in joined(view) {
        let (alias, target) = (format!("r{number}"), relation.target);
        let link = format!("t.{}", relation.column);
        sql.push(&format!(" LEFT JOIN LATERAL (SELECT r.* FROM {} r WHERE r.{} = ", other.table, other.tenant_column));
        sql.bind(SqlValue::Uuid(Some(tenant.id())));
        match other.source_tables {
            [] => sql.push(&format!(" AND r.{target} >= {link} ORDER BY r.{target} LIMIT 1")),
            _ => sql.push(&format!(" AND r.{target} = {link} LIMIT 1")),
        };
        // The row's own tenant as well: a list of one business never shows a row of another.
        sql.push(&format!(") {alias} ON {alias}.{} = t.{}", other.tenant_column, resource.tenant_column));
        sql.push(&format!(" AND {alias}.{target} = {link}"));
        if other.soft_delete() {
            sql.push(&format!(" AND {alias}.deleted_at IS NULL"));
        }
        visibility_predicate(sql, other, tenant, &alias);
    }
}

fn apply_filters(sql: &mut Statement, list: &List, tenant: &Tenant) {
    let resource = list.resource;
    sql.append(tenant_predicate(resource, tenant));
    if resource.soft_delete() {
        sql.push(if list.deleted { " AND t.deleted_at IS NOT NULL" } else { " AND t.deleted_at IS NULL" });
    }
    for filter in &list.filters {
        sql.push(" AND ");
        filter_predicate(sql, filter);
    }
    match (&list.search, resource.search) {
        (Some(text), Search::Substring) => {
            sql.push(" AND t.search LIKE lower(").bind(SqlValue::Text(Some(like(text)))).push(")");
        }
        (Some(text), Search::Words) => {
            sql.push(" AND t.search @@ websearch_to_tsquery('simple', ")
                .bind(SqlValue::Text(Some(text.clone())))
                .push(")");
        }
        _ => {}
    }
}

fn filter_predicate(sql: &mut Statement, filter: &Filter) {
    let column = format!("t.{}", filter.field.name);
    let several = |value: &SqlValue| {
        matches!(value, SqlValue::Texts(_) | SqlValue::Uuids(_) | SqlValue::Ints(_) | SqlValue::Dates(_))
    };
    match &filter.predicate {
        Predicate::Null => sql.push(&column).push(" IS NULL"),
        Predicate::Equal(value) if filter.field.field_type == FieldType::Bool && several(value) => {
            sql.push(&column).push(" IS NOT NULL")
        }
        // An array and not a subquery, which would be joined: this uses the index on lower(column).
        Predicate::Equal(value) if filter.field.fold_case && several(value) => sql
            .push(&format!("lower({column}) = ANY(ARRAY(SELECT lower(v) FROM unnest("))
            .bind(value.clone())
            .push(") AS v))"),
        Predicate::Equal(value) if filter.field.fold_case => {
            sql.push(&format!("lower({column}) = lower(")).bind(value.clone()).push(")")
        }
        Predicate::Equal(value) if several(value) => sql.push(&column).push(" = ANY(").bind(value.clone()).push(")"),
        Predicate::Equal(value) => sql.push(&column).push(" = ").bind(value.clone()),
        Predicate::AtLeast(value) => sql.push(&column).push(" >= ").bind(value.clone()),
        Predicate::AtMost(value) => sql.push(&column).push(" <= ").bind(value.clone()),
        Predicate::Below(value) => sql.push(&column).push(" < ").bind(value.clone()),
        Predicate::Overlaps(value) => sql.push(&column).push(" && ").bind(value.clone()),
        // OR and not `@> ANY`: each arm uses the index.
        Predicate::Contains(any) => {
            for (place, value) in any.iter().enumerate() {
                sql.push(if place == 0 { "(" } else { " OR " }).push(&column).push(" @> ").bind(value.clone());
            }
            sql.push(")")
        }
    };
}

/// Texts are ordered by bytes, as their indexes are.
fn collation(kind: FieldType) -> &'static str {
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
