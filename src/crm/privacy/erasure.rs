//! Erasure of a contact: deletes the rows about them or empties their free fields, together with the values of these
//! fields in the audit log.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::data_subject::DataSubject;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::base::phone_variants;
use crate::crm::contact_identities::{CONTACT_IDENTITIES, person_hash};
use crate::crm::merges::{self, MERGES};
use crate::db::{Statement, Tx};
use crate::identity::businesses::ERASURE_MODES;
use crate::resource::{Field, FieldType, Mutability, Resource, select};

/// Placeholder in required fields.
const ERASED: &str = "erased";

/// Resources of whose rows nothing would be left.
const NEVER_KEPT: [&str; 3] = ["contact-identities", "message-reactions", "worker-tasks"];

/// The result of an erasure.
pub struct Erased {
    pub mode: String,
    /// Number of rows by resource.
    pub rows: Map<String, Json>,
    /// Ids of the erased rows.
    pub ids: HashSet<Uuid>,
}

/// Erases contact `id`: `delete` deletes all rows about them; `anonymise` keeps the rows for statistics, without
/// personal data. `None`: the setting of the business. Rows in `done` are skipped. Errors: 404.
pub fn erase(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, mode: Option<&str>, done: &HashSet<Uuid>) -> Result<Erased> {
    merges::take_turns(tx, tenant)?;
    let mut sql = Statement::new("SELECT erasure FROM businesses WHERE id = ");
    let configured = sql.bind(tenant.id()).scalar::<String>(tx)?;
    let mode = mode.map(str::to_owned).or(configured).unwrap_or_else(|| ERASURE_MODES[0].to_owned());
    // The audit log then records the erasure without the old values.
    let mut erasing = Statement::new("SELECT set_config('rapport.erasing', ");
    erasing.bind(&mode).sql(", true)").run(tx)?;
    let mut reach = DataSubject::find(tx, tenant, id, true)?;
    reach.0.iter_mut().for_each(|(_, ids)| ids.retain(|id| !done.contains(id)));
    // Values that merges gave to other rows, and took from them again.
    let mut sql = Statement::new("SELECT rapport_erase_merged(");
    sql.bind(reach.of(&MERGES)).sql(")").run(tx)?;
    // Before their names are gone.
    erase_delivered(tx, tenant, &reach)?;
    // Dependent rows first.
    for (resource, ids) in reach.0.iter().rev().filter(|(_, ids)| !ids.is_empty()) {
        let mut sql = match mode.as_str() {
            "delete" => deletion(resource),
            // Nothing of it would be left.
            _ if NEVER_KEPT.contains(&resource.plural) => deletion(resource),
            _ => emptied(resource),
        };
        sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ANY(").bind(ids.clone()).sql(")");
        sql.run(tx)?;
    }
    Statement::new("SELECT rapport_erase_audit(").bind(reach.ids()).sql(")").run(tx)?;
    Statement::new("SELECT rapport_erase_imports(").bind(reach.ids()).sql(")").run(tx)?;
    let rows = reach.0.iter().map(|(resource, ids)| (resource.plural.to_owned(), ids.len().into())).collect();
    Ok(Erased { mode, rows, ids: reach.ids().into_iter().collect() })
}

/// Deletes what channels have delivered about a person: as it came, and what is not applied. By their names on channels and their phone
/// numbers, now and before.
fn erase_delivered(tx: &mut Tx<'_>, tenant: &Tenant, reach: &DataSubject) -> Result<()> {
    let mut sql = Statement::new("SELECT value FROM contact_identities WHERE kind <> 'group' AND business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ANY(").bind(reach.of(&CONTACT_IDENTITIES)).sql(")");
    let mut names = sql.scalars::<String>(tx)?;
    let phones = reach.addresses().iter().filter_map(|address| address.strip_prefix('+'));
    names.extend(phones.flat_map(phone_variants::variants));
    let hashes: Vec<String> = names.iter().map(|name| person_hash(tenant.id(), name)).collect();
    Statement::new("SELECT rapport_erase_inbound(").bind(hashes.clone()).sql(")").run(tx)?;
    let mut sql = Statement::new("DELETE FROM inbound_updates WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND people && ").bind(hashes).run(tx)?;
    Ok(())
}

fn deletion(resource: &Resource) -> Statement {
    let mut sql = Statement::new("DELETE FROM ");
    sql.ident(resource.table).sql(" AS t");
    sql
}

/// Builds `UPDATE … SET` of every free field.
fn emptied(resource: &Resource) -> Statement {
    let mut sql = Statement::new("UPDATE ");
    sql.ident(resource.table).sql(" AS t SET version = version + 1, updated_at = now()");
    for field in resource.fields.iter().filter(|field| is_free(field)) {
        sql.sql(", ").ident(field.name).sql(" = ");
        match field.field_type {
            FieldType::Tags => sql.sql("'{}'"),
            FieldType::Object if !field.nullable => sql.sql("'{}'"),
            _ if field.nullable => sql.sql("NULL"),
            _ => sql.bind(ERASED),
        };
    }
    match resource.plural {
        // Written by channels, with what the person sent. The file goes with the last message that has it.
        "messages" => {
            sql.sql(", payload = NULL, error = NULL, edited_by = NULL, attachment_id = NULL, media_state = NULL")
        }
        "contacts" => sql.sql(", deleted_at = coalesce(deleted_at, now())"),
        // Erased conversations share one address, which only closed ones can.
        "conversations" => {
            sql.sql(", status = 'closed', unread_count = 0, window_expires_at = NULL, free_entry_expires_at = NULL")
        }
        // Written by the service, but it holds their values; without these the merge cannot be undone either.
        "merges" => sql.sql(", changes = '{}', links = '{}', reversible_until = least(reversible_until, now())"),
        _ => &mut sql,
    };
    sql
}

/// Whether a field can hold personal data that a user enters.
fn is_free(field: &Field) -> bool {
    let free = matches!(
        field.field_type,
        FieldType::Text { .. }
            | FieldType::Email
            | FieldType::Phone
            | FieldType::Domain
            | FieldType::Object
            | FieldType::Tags
    );
    free && field.mutability != Mutability::ReadOnly && !field.impersonal
}
