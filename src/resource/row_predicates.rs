//! The conditions that every statement of a resource has: the tenant's rows, those that are visible to the caller, and not deleted.

use super::definition::Resource;
use super::row_visibility::{RowVisibility, VisibilityLink};
use crate::auth::Tenant;
use crate::db::{Alias, Statement};

/// ` WHERE t.business_id = $1`: the one predicate that select, update and delete share; and, for a restricted caller,
/// the conditions of visibility.
pub fn tenant_predicate(resource: &Resource, tenant: &Tenant) -> Statement {
    #[cfg(feature = "mutants")]
    if crate::base::mutants::is(crate::base::mutants::Mutant::WithoutTenant) {
        return Statement::new(" WHERE true");
    }
    let mut sql = Statement::new(" WHERE t.");
    sql.ident(resource.tenant_column).sql(" = ").bind(tenant.id());
    visibility_predicate(&mut sql, resource, tenant, &"t".into());
    sql
}

/// Excludes rows of the resource under `alias` that are not visible to the caller.
pub fn visibility_predicate(sql: &mut Statement, resource: &Resource, tenant: &Tenant, alias: &Alias) {
    let Some(person) = tenant.restricted_to_user() else { return };
    match resource.visibility {
        RowVisibility::All => {}
        RowVisibility::Assigned(column) => {
            sql.sql(" AND ").alias(alias).sql(".").ident(column).sql(" = ").bind(person);
        }
        RowVisibility::AssignedOrLinked(column, links) => {
            sql.sql(" AND (").alias(alias).sql(".").ident(column).sql(" = ").bind(person).sql(" OR (true");
            linked_visibility_predicate(sql, resource, tenant, alias, links);
            sql.sql("))");
        }
        RowVisibility::Linked(links) => linked_visibility_predicate(sql, resource, tenant, alias, links),
    }
}

/// Excludes rows whose references lead to rows that are not visible to the caller.
fn linked_visibility_predicate(
    sql: &mut Statement,
    resource: &Resource,
    tenant: &Tenant,
    alias: &Alias,
    links: &'static [VisibilityLink],
) {
    for (number, link) in links.iter().enumerate() {
        let (column, other) = (link.column, link.resource());
        let inner = alias.numbered(number);
        sql.sql(" AND (").alias(alias).sql(".").ident(column).sql(" IS NULL OR EXISTS (SELECT FROM ");
        sql.ident(other.table).sql(" ").alias(&inner);
        sql.sql(" WHERE ").alias(&inner).sql(".").ident(other.tenant_column);
        sql.sql(" = ").alias(alias).sql(".").ident(resource.tenant_column);
        sql.sql(" AND ").alias(&inner).sql(".id = ").alias(alias).sql(".").ident(column);
        visibility_predicate(sql, other, tenant, &inner);
        sql.sql("))");
    }
}

/// Excludes deleted rows.
pub fn not_deleted(sql: &mut Statement, resource: &Resource) {
    if resource.soft_delete() {
        sql.sql(" AND t.deleted_at IS NULL");
    }
}
