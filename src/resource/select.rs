//! The SQL of a resource's reads. Every statement here is restricted to the tenant.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::definition::Resource;
use super::field::FieldType;
use super::list_conditions::{apply_filters, collation, direction, ordered, past};
use super::list_query::{Included, List, Projection};
use super::relation::{Cardinality, JoinTable, Relation};
use super::row_predicates::visibility_predicate;
pub use super::row_predicates::{not_deleted, tenant_predicate};
use super::search_windows::{FOUND, SearchWindows};
use crate::auth::Tenant;
use crate::db::{Alias, Statement};
use crate::http::precondition::IfMatch;

/// Selects a page of a list, and one row more so that its end is known. The last cell is the sort key.
///
/// The page is selected before anything is joined to it: a subquery with its own `LIMIT`, which the planner neither
/// merges nor reorders. While a table has no statistics, the planner expects one row of a business and would join every
/// row before it sorts them.
pub fn page(list: &List, tenant: &Tenant) -> Statement {
    let (resource, mut sql) = (list.resource, Statement::default());
    let windows = SearchWindows::of_page(list, tenant);
    if let Some(windows) = &windows {
        windows.define(&mut sql, "t.*");
    }
    sql.sql("SELECT ").append(columns(resource, "t"));
    if windows.is_none() && joined(&list.projection).next().is_none() {
        sql.sql(", ").append(list.sort.expression()).sql(" FROM ").ident(resource.table).sql(" t");
        select_page(&mut sql, list, tenant);
        return sql;
    }
    joined_columns(&mut sql, &list.projection);
    // The limit is a literal, because PostgreSQL plans again on each call when it is a parameter.
    let (direction, limit) = (direction(list), list.limit + 1);
    let by_key = |sql: &mut Statement| {
        sql.sql(" ORDER BY t.sort_key ").sql(direction).sql(", t.id ").sql(direction);
    };
    sql.sql(", t.sort_key FROM (SELECT t.*");
    match windows {
        Some(_) => {
            sql.sql(" FROM ").sql(FOUND).sql(" t");
            by_key(&mut sql);
            sql.sql(" LIMIT ").number(limit);
        }
        None => {
            sql.sql(", ").append(list.sort.expression()).sql(collation(list.sort.field_type));
            sql.sql(" AS sort_key FROM ").ident(resource.table).sql(" t");
            select_page(&mut sql, list, tenant);
        }
    }
    sql.sql(") t");
    join(&mut sql, resource, &list.projection, tenant);
    // A join guarantees no order; where it keeps the order, this costs nothing.
    by_key(&mut sql);
    sql
}

/// Appends the conditions, order and limit that select the rows of the page.
fn select_page(sql: &mut Statement, list: &List, tenant: &Tenant) {
    apply_filters(sql, list, tenant);
    if let Some(cursor) = &list.cursor {
        past(sql, list);
        sql.bind(cursor.key.clone()).sql(", ").bind(cursor.id).sql(")");
    }
    ordered(sql, list);
    sql.sql(" LIMIT ").number(list.limit + 1);
}

/// Counts the matching rows of all pages, and not many more than one more than `cap` (0: to the end).
pub fn count(list: &List, tenant: &Tenant, cap: i64) -> Statement {
    let mut sql = Statement::default();
    let wanted = u32::try_from(cap + 1).ok().filter(|_| cap > 0);
    if let Some(windows) = wanted.and_then(|wanted| SearchWindows::of_count(list, tenant, wanted)) {
        windows.define(&mut sql, "t.id");
        sql.sql("SELECT count(*) FROM ").sql(FOUND).sql(" t");
        return sql;
    }
    sql.sql("SELECT count(*) FROM (SELECT 1 FROM ").ident(list.resource.table).sql(" t");
    apply_filters(&mut sql, list, tenant);
    if cap > 0 {
        sql.sql(" LIMIT ").number(cap + 1);
    }
    sql.sql(") counted");
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
    sql.sql(" FROM ").ident(list.resource.table).sql(" t");
    apply_filters(&mut sql, list, tenant);
    sql.sql(" AND t.id > ").bind(after).sql(" AND t.created_at <= ").bind(until);
    sql.sql(" ORDER BY t.id LIMIT ").number(limit).sql(" FOR NO KEY UPDATE OF t");
    sql
}

/// Selects rows by id, in no order.
pub fn by_ids(resource: &Resource, tenant: &Tenant, view: &Projection, ids: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.append(columns(resource, "t"));
    joined_columns(&mut sql, view);
    sql.sql(" FROM ").ident(resource.table).sql(" t");
    join(&mut sql, resource, view, tenant);
    sql.append(tenant_predicate(resource, tenant));
    sql.append(ids_predicate(ids));
    not_deleted(&mut sql, resource);
    sql
}

/// Selects single rows of several tenants at once, each only under its own tenant. The last cell is the tenant.
pub fn by_keys(resource: &Resource, tenants: Vec<Uuid>, ids: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.append(columns(resource, "t"));
    sql.sql(", t.").ident(resource.tenant_column);
    match (tenants.as_slice(), ids.as_slice()) {
        ([tenant], [id]) => {
            sql.sql(" FROM ").ident(resource.table).sql(" t WHERE t.").ident(resource.tenant_column).sql(" = ");
            sql.bind(*tenant).sql(" AND t.id = ").bind(*id);
        }
        _ => {
            sql.sql(" FROM unnest(").bind(tenants).sql(", ").bind(ids);
            // One look-up for each: a view of several tables would else be read whole and joined.
            sql.sql(") AS k (tenant, id) CROSS JOIN LATERAL (SELECT t.* FROM ").ident(resource.table);
            sql.sql(" t WHERE t.")
                .ident(resource.tenant_column)
                .sql(" = k.tenant AND t.id = k.id OFFSET 0) t WHERE true");
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
    let mut order = sort.expression();
    order.sql(collation(sort.field_type)).sql(" ").sql(direction).sql(", t.id ").sql(direction);
    let mut sql = Statement::new("SELECT ");
    sql.append(columns(resource, "t"));
    sql.sql(", k.id FROM unnest(").bind(parents);
    sql.sql(") WITH ORDINALITY AS k (id, place) CROSS JOIN LATERAL (SELECT t.* FROM ").ident(resource.table).sql(" t");
    let parent = match relation.via {
        Some(JoinTable { name, target }) => {
            sql.sql(" JOIN ").ident(name).sql(" j ON j.business_id = t.").ident(resource.tenant_column);
            sql.sql(" AND j.").ident(target).sql(" = t.id");
            "j."
        }
        None => "t.",
    };
    sql.append(tenant_predicate(resource, tenant)).sql(" AND ").sql(parent).ident(relation.column).sql(" = k.id");
    not_deleted(&mut sql, resource);
    if let Some(condition) = relation.condition {
        sql.sql(" AND ").sql(condition);
    }
    sql.sql(" ORDER BY ").append(order.clone()).sql(" LIMIT ").number(limit);
    sql.sql(") t ORDER BY k.place, ").append(order);
    sql
}

/// Returns the select list of the resource over `alias`: one cell per field, in order.
pub fn columns(resource: &Resource, alias: impl Into<Alias>) -> Statement {
    let (alias, mut sql) = (alias.into(), Statement::default());
    for (place, field) in resource.fields.iter().enumerate() {
        sql.sql(if place == 0 { "" } else { ", " }).alias(&alias).sql(".").ident(field.name);
        // As text: a decimal must not pass through a float.
        if field.field_type == FieldType::Decimal {
            sql.sql("::text");
        }
    }
    sql
}

/// ` AND t.id` is one of `ids`.
pub fn ids_predicate(ids: Vec<Uuid>) -> Statement {
    let mut sql = Statement::new(" AND t.id = ");
    match ids.as_slice() {
        [only] => sql.bind(*only),
        _ => sql.sql("ANY(").bind(ids).sql(")"),
    };
    sql
}

/// Excludes versions that `expected` does not allow.
pub fn version_predicate(sql: &mut Statement, expected: IfMatch) {
    if let Some(versions) = expected.versions() {
        sql.sql(" AND t.version = ANY(").bind(versions.to_vec()).sql(")");
    }
}

/// Returns the relations of `view` that are read by a join, numbered.
pub fn joined(view: &Projection) -> impl Iterator<Item = (usize, &Included)> + '_ {
    view.include.iter().filter(|included| included.relation.arity == Cardinality::One).enumerate()
}

fn joined_columns(sql: &mut Statement, view: &Projection) {
    for (number, included) in joined(view) {
        sql.sql(", ").append(columns(included.resource, joined_alias(number)));
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
        let (alias, target, link) = (joined_alias(number), relation.target, relation.column);
        sql.sql(" LEFT JOIN LATERAL (SELECT r.* FROM ").ident(other.table);
        sql.sql(" r WHERE r.").ident(other.tenant_column).sql(" = ").bind(tenant.id()).sql(" AND r.").ident(target);
        match other.source_tables {
            [] => sql.sql(" >= t.").ident(link).sql(" ORDER BY r.").ident(target).sql(" LIMIT 1"),
            _ => sql.sql(" = t.").ident(link).sql(" LIMIT 1"),
        };
        // The row's own tenant as well: a list of one business never shows a row of another.
        sql.sql(") ").alias(&alias).sql(" ON ").alias(&alias).sql(".").ident(other.tenant_column);
        sql.sql(" = t.").ident(resource.tenant_column);
        sql.sql(" AND ").alias(&alias).sql(".").ident(target).sql(" = t.").ident(link);
        if other.soft_delete() {
            sql.sql(" AND ").alias(&alias).sql(".deleted_at IS NULL");
        }
        visibility_predicate(sql, other, tenant, &alias);
    }
}

/// The alias of the joined relation with this number.
fn joined_alias(number: usize) -> Alias {
    Alias::from("r").numbered(number)
}
