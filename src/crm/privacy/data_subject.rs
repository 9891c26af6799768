//! Finds the rows about a contact: contacts merged with it, rows that reference these, dependent rows, and rows without
//! a contact that have their address.

use diesel::pg::PgConnection;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::crm::contacts::CONTACTS;
use crate::crm::merges::MERGES;
use crate::db::Statement;
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
pub struct DataSubject(pub Vec<(&'static Resource, Vec<Uuid>)>);

impl DataSubject {
    /// Finds the rows, with one query per resource. With `locks` they stay locked, so that nothing is linked to them
    /// meanwhile. Errors: 404 when there is no such contact.
    pub fn find(conn: &mut PgConnection, tenant: &Tenant, contact: Uuid, locks: bool) -> Result<Self> {
        let (persons, addresses) = persons(conn, tenant, contact, locks)?;
        let mut found = Self(vec![(&CONTACTS, persons.clone())]);
        let mut add = |found: &mut Self, resource: &'static Resource, mut sql: Statement| -> Result<()> {
            let rows = sql.sql(if locks { " FOR UPDATE" } else { "" }).rows(conn)?;
            found.0.push((resource, rows.iter().filter_map(|row| row.uuid(0)).collect()));
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

    /// Returns the ids of all rows.
    pub fn ids(&self) -> Vec<Uuid> {
        self.0.iter().flat_map(|(_, ids)| ids).copied().collect()
    }
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
         SELECT t.id, lower(t.email), t.phone FROM contacts t",
    );
    sql.append(select::tenant_predicate(&CONTACTS, tenant)).sql(" AND t.id IN (SELECT id FROM same) ORDER BY t.id");
    let rows = sql.sql(if locks { " FOR UPDATE OF t" } else { "" }).rows(conn)?;
    let persons: Vec<Uuid> = rows.iter().filter_map(|row| row.uuid(0)).collect();
    if !persons.contains(&contact) {
        return Err(crud::not_found(&CONTACTS));
    }
    let now = rows.iter().flat_map(|row| [1, 2].map(|cell| row.text(cell).map(str::to_owned)));
    let mut addresses: Vec<String> = now.flatten().collect();
    let mut before = Statement::new(
        "SELECT lower(t.changes #>> ARRAY[field, 'old']) FROM audit_log t CROSS JOIN unnest(ARRAY['email', 'phone']) field",
    );
    before.append(select::tenant_predicate(&AUDIT_LOG, tenant)).sql(" AND t.row_id = ANY(").bind(persons.clone());
    before.sql(") AND t.changes #>> ARRAY[field, 'old'] IS NOT NULL");
    before
        .sql(" AND NOT EXISTS (SELECT FROM merges m WHERE m.business_id = t.business_id AND m.survivor_id = t.row_id");
    before.sql(" AND m.reverted_at IS NOT NULL AND m.created_at <= t.created_at");
    before.sql(" AND lower(m.changes #>> ARRAY[field, 'new']) = lower(t.changes #>> ARRAY[field, 'old'])");
    // Except when the same merge was undone and repeated.
    before.sql(" AND NOT m.from_ids <@ ").bind(persons.iter().map(Uuid::to_string).collect::<Vec<_>>());
    let rows = before.sql(")").rows(conn)?;
    addresses.extend(rows.iter().filter_map(|row| row.text(0).map(str::to_owned)));
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
        let mut sql = Statement::new(format!("SELECT t.id FROM {} t", self.resource.table));
        sql.append(select::tenant_predicate(self.resource, tenant)).sql(" AND (");
        let nobody = self.contact.map(|column| format!("t.{column} IS NULL AND ")).unwrap_or_default();
        match self.contact {
            Some(column) => sql.push(&format!("t.{column} = ANY(")).bind(persons.to_vec()).sql(")"),
            None => sql.sql("false"),
        };
        for (column, resource) in &self.through {
            sql.push(&format!(" OR ({nobody}t.{column} = ANY(")).bind(found.of(resource)).sql("))");
        }
        for column in self.addresses.iter().filter(|_| !addresses.is_empty()) {
            // The number may be stored with its extension.
            sql.push(&format!(" OR ({nobody}split_part(lower(t.{column}), ';ext=', 1) = ANY("));
            sql.bind(addresses.to_vec()).sql("))");
        }
        sql.sql(") ORDER BY t.id");
        sql
    }
}
