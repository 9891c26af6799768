//! Which fields of merged rows compete.

use crate::resource::{Field, FieldType, Mutability, Resource};

/// The fields of which one row's value wins; tags and metadata are united.
pub(super) fn mergeable_fields(resource: &'static Resource) -> impl Iterator<Item = &'static Field> {
    resource.fields.iter().filter(|field| {
        field.mutability == Mutability::Always && !matches!(field.field_type, FieldType::Tags | FieldType::Object)
    })
}
