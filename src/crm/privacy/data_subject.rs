//! Finds the rows about a contact: contacts merged with it, rows that reference these, dependent rows, and rows without
//! a contact that have their address.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::crm::contacts::CONTACTS;
use crate::crm::merges::MERGES;
use crate::db::Statement;
use crate::db::schema::contacts;
use crate::resource::audit_log::AUDIT_LOG;
use crate::resource::{Cardinality, Resource, crud, registry, select};

/// How rows of a resource belong to a contact.
struct Path {
    resource: &'static Resource,
    /// Its reference to a contact, if it has one.
    contact: Option<&'static str>,
    /// References to rows found before, of which one is enough where the row has no contact of its own.
    through: Vec<(&'static str, &'static Resource)>,
    /// Columns that can hold their address.
    addresses: Vec<&'static str>,
}

/// Returns the resources that reference contacts, or rows about them, in the order of the registry: so each references
/// only resources before it.
fn paths() -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::new();
    for resource in registry::all() {
        let references = || resource.relations.iter().filter(|relation| relation.arity == Cardinality::One);
        let contact = references().find(|relation| relation.resource_plural == CONTACTS.plural);
        let through: Vec<_> = references()
            .filter_map(|relation| {
                let known = paths.iter().find(|path| path.resource.plural == relation.resource_plural)?;
                Some((relation.column, known.resource))
            })
            .collect();
        if contact.is_some() || !through.is_empty() {
            let addresses = resource.fields.iter().filter(|field| field.contact_address).map(|field| field.name);
            let contact = contact.map(|relation| relation.column);
            paths.push(Path { resource, contact, through, addresses: addresses.collect() });
        }
    }
    paths
}

/// Returns the resources that an export has rows of.
pub fn resources() -> Vec<&'static Resource> {
    let about = paths().into_iter().map(|path| path.resource);
    [&CONTACTS].into_iter().chain(about).chain([&MERGES, &AUDIT_LOG]).collect()
}

/// The rows about a contact by resource, deleted ones too; first the contact and those merged with it.
pub struct DataSubject(pub Vec<(&'static Resource, Vec<Uuid>)>, Vec<String>);

impl DataSubject {
    /// Finds the rows, with one query per resource. With `locks` they stay locked, so that nothing is linked to them
    /// meanwhile. Errors: 404 when there is no such contact.
    pub fn find(conn: &mut PgConnection, tenant: &Tenant, contact: Uuid, locks: bool) -> Result<Self> {
        let (persons, addresses) = persons(conn, tenant, contact, locks)?;
        let mut found = Self(vec![(&CONTACTS, persons.clone())], addresses.clone());
        let mut add = |found: &mut Self, resource: &'static Resource, mut sql: Statement| -> Result<()> {
            let ids = sql.sql(if locks { " FOR UPDATE" } else { "" }).scalars::<Uuid>(conn)?;
            found.0.push((resource, ids));
            Ok(())
        };
        for path in paths() {
            let sql = path.rows(tenant, &persons, &addresses, &found);
            add(&mut found, path.resource, sql)?;
        }
        add(&mut found, &MERGES, merges(tenant, &persons))?;
        Ok(found)
    }

    /// Returns the ids of the resource's rows.
    pub fn of(&self, resource: &Resource) -> Vec<Uuid> {
        let mine = self.0.iter().find(|(known, _)| std::ptr::eq(*known, resource));
        mine.map(|(_, ids)| ids.clone()).unwrap_or_default()
    }

    /// Returns their email addresses and phone numbers, earlier ones, too.
    pub fn addresses(&self) -> &[String] {
        &self.1
    }

    /// Returns the ids of all rows.
    pub fn ids(&self) -> Vec<Uuid> {
        self.0.iter().flat_map(|(_, ids)| ids).copied().collect()
    }
}

/// A contact who is the same person.
#[derive(QueryableByName)]
#[diesel(table_name = contacts)]
struct Person {
    id: Uuid,
    /// In lower case.
    email: Option<String>,
    phone: Option<String>,
}

/// Returns the contact and those merged with it, and their email addresses and phone numbers: the current ones and, as
/// far as the audit log shows, earlier ones. Values that a merge with others brought and its undoing took away do not
/// count. Errors: 404.
fn persons(conn: &mut PgConnection, tenant: &Tenant, contact: Uuid, locks: bool) -> Result<(Vec<Uuid>, Vec<String>)> {
    let mut sql = Statement::new("WITH RECURSIVE same (id) AS (SELECT ");
    sql.bind(contact);
    sql.sql(" UNION SELECT other.id FROM same JOIN merges m ON m.business_id = ").bind(tenant.id());
    sql.sql(
        " AND m.resource = 'contacts' AND m.reverted_at IS NULL AND (m.survivor_id = same.id OR m.from_ids @> ARRAY[same.id::text]) \
         CROSS JOIN LATERAL (SELECT m.survivor_id AS id UNION SELECT unnest(m.from_ids)::uuid) other) \
         SELECT t.id, lower(t.email) AS email, t.phone FROM contacts t",
    );
    sql.append(select::tenant_predicate(&CONTACTS, tenant)).sql(" AND t.id IN (SELECT id FROM same) ORDER BY t.id");
    let found = sql.sql(if locks { " FOR UPDATE OF t" } else { "" }).load::<Person>(conn)?;
    let persons: Vec<Uuid> = found.iter().map(|person| person.id).collect();
    if !persons.contains(&contact) {
        return Err(crud::not_found(&CONTACTS));
    }
    let mut addresses: Vec<String> =
        found.into_iter().flat_map(|person| [person.email, person.phone]).flatten().collect();
    let mut before = Statement::new(
        "SELECT lower(t.changes #>> ARRAY[field, 'old']) FROM audit_entries t CROSS JOIN unnest(ARRAY['email', 'phone']) field",
    );
    before.append(select::tenant_predicate(&AUDIT_LOG, tenant)).sql(" AND t.row_id = ANY(").bind(persons.clone());
    before.sql(") AND t.changes #>> ARRAY[field, 'old'] IS NOT NULL");
    before.sql(
        " AND NOT EXISTS (SELECT FROM merges m WHERE m.business_id = t.business_id AND m.survivor_id = t.row_id \
         AND m.reverted_at IS NOT NULL AND m.created_at <= t.created_at \
         AND lower(m.changes #>> ARRAY[field, 'new']) = lower(t.changes #>> ARRAY[field, 'old'])",
    );
    // Except when the same merge was undone and repeated.
    before.sql(" AND NOT m.from_ids <@ ").bind(persons.iter().map(Uuid::to_string).collect::<Vec<_>>());
    addresses.extend(before.sql(")").scalars::<String>(conn)?);
    addresses.sort();
    addresses.dedup();
    Ok((persons, addresses))
}

/// Selects the merges that involve them, undone or not.
fn merges(tenant: &Tenant, persons: &[Uuid]) -> Statement {
    let mut sql = Statement::new("SELECT t.id FROM merges t");
    sql.append(select::tenant_predicate(&MERGES, tenant)).sql(" AND t.resource = 'contacts' AND (t.survivor_id = ANY(");
    sql.bind(persons.to_vec()).sql(") OR t.from_ids && ");
    sql.bind(persons.iter().map(Uuid::to_string).collect::<Vec<_>>()).sql(") ORDER BY t.id");
    sql
}

impl Path {
    fn rows(&self, tenant: &Tenant, persons: &[Uuid], addresses: &[String], found: &DataSubject) -> Statement {
        let mut sql = Statement::new("SELECT t.id FROM ");
        sql.ident(self.resource.table).sql(" t").append(select::tenant_predicate(self.resource, tenant)).sql(" AND (");
        match self.contact {
            Some(column) => sql.sql("t.").ident(column).sql(" = ANY(").bind(persons.to_vec()).sql(")"),
            None => sql.sql("false"),
        };
        for (column, resource) in &self.through {
            self.or_without_contact(&mut sql);
            sql.sql("t.").ident(column).sql(" = ANY(").bind(found.of(resource)).sql("))");
        }
        for column in self.addresses.iter().filter(|_| !addresses.is_empty()) {
            self.or_without_contact(&mut sql);
            // The number may be stored with its extension.
            sql.sql("split_part(lower(t.").ident(column).sql("), ';ext=', 1) = ANY(");
            sql.bind(addresses.to_vec()).sql("))");
        }
        sql.sql(") ORDER BY t.id");
        sql
    }

    /// Begins an alternative condition on the rows that have no contact of their own.
    fn or_without_contact(&self, sql: &mut Statement) {
        sql.sql(" OR (");
        if let Some(column) = self.contact {
            sql.sql("t.").ident(column).sql(" IS NULL AND ");
        }
    }
}
