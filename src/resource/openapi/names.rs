//! Names of the schemas that describe a resource.

use super::examples::capital;
use crate::resource::field::{Field, FieldType};
use crate::resource::{Resource, registry};

/// Fields whose choices are the same in every resource and body that has them, so they are one type for clients.
const SHARED_CHOICES: [(&str, &str); 4] =
    [("role", "Role"), ("actor_kind", "ActorKind"), ("agent_visibility", "Visibility"), ("erasure", "ErasureMode")];

/// Returns the name of the schema of the field's choices: `LeadStatus`.
pub(super) fn choice(resource: &Resource, field: &Field) -> String {
    match shared_choice(field) {
        Some(name) => name.to_owned(),
        None => format!("{}{}", resource.schema, pascal(field.name)),
    }
}

/// Whether fields of several resources have the same choices.
pub(super) fn is_shared(field: &Field) -> bool {
    shared_choice(field).is_some()
}

fn shared_choice(field: &Field) -> Option<&'static str> {
    SHARED_CHOICES.iter().find(|(known, _)| *known == field.name).map(|(_, name)| *name)
}

/// Returns the name of the schema of these choices, if a field of a resource has them.
pub(super) fn known_choice(among: &[&str]) -> Option<String> {
    let mut fields = registry::all().iter().flat_map(|resource| resource.fields.iter().map(|field| (*resource, field)));
    fields.find_map(|(resource, field)| match field.field_type {
        FieldType::Choice(values) if values == among => Some(choice(resource, field)),
        _ => None,
    })
}

/// Returns the name of the schema of the list's orders: `LeadSort`. Resources that can only be ordered by their creation
/// share one.
pub(super) fn sort(resource: &Resource) -> String {
    match resource.sorts {
        [only] => format!("{}Sort", pascal(only.name)),
        _ => format!("{}Sort", resource.schema),
    }
}

/// Returns the name of the schema of the relations that `include` names.
pub(super) fn include(resource: &Resource) -> String {
    format!("{}Include", resource.schema)
}

pub(super) fn page(resource: &Resource) -> String {
    format!("{}Page", resource.schema)
}

pub(super) fn create(resource: &Resource) -> String {
    format!("{}Create", resource.schema)
}

pub(super) fn update(resource: &Resource) -> String {
    format!("{}Update", resource.schema)
}

/// Returns the name of the create response's schema, the only one with the secret.
pub(super) fn created(resource: &Resource) -> String {
    if resource.secret.is_some() { format!("{}Created", resource.schema) } else { resource.schema.to_owned() }
}

pub(super) fn batch_read_result(resource: &Resource) -> String {
    format!("{}BatchReadResult", resource.schema)
}

/// Returns the name of the schema of the fields by which an upsert recognises rows; most resources have only one.
pub(super) fn key(resource: &Resource) -> String {
    let keys: Vec<&str> = resource.unique_fields().map(|field| field.name).collect();
    match keys.as_slice() {
        [only] => format!("{}Key", pascal(only)),
        _ => format!("{}Key", resource.schema),
    }
}

/// `created_at` → `CreatedAt`; `If-Match` → `IfMatch`.
pub fn pascal(name: &str) -> String {
    name.split(['_', '-', '.']).map(capital).collect()
}
