//! What a column of a file can map to, and how a mapping names it.

use crate::resource::{Field, FieldType, Mutability, Resource};

/// What the cells of a column map to.
#[derive(Clone, Debug)]
pub enum Target {
    Field(&'static Field),
    /// Given and family name in one cell; contacts only.
    FullName,
    /// `name` or `domain` of the linked company; contacts only.
    Company(&'static str),
    /// A key of `metadata`.
    Metadata(String),
    /// All of `metadata`, as JSON, as exports write it.
    Object,
    /// Id of an existing row; a value which is not a UUID is the external id.
    Id,
    /// A reference, under a header which another system may use for its own ids: unresolvable ids are kept in metadata.
    Link(&'static Field),
    /// A read-only field of an export: ignored for the row which was exported, else kept in metadata.
    ServiceSet(&'static Field),
    /// A field of a related row of an export, with its header: ignored for an existing row, kept in metadata of a new
    /// one.
    Related(String),
    /// A column which a report of refused rows adds to their cells.
    Report,
    Skip,
}

impl Target {
    /// Whether exports have it and no import sets it. A mapping which repeats its name leaves it unchanged.
    pub fn is_aside(&self) -> bool {
        matches!(self, Target::ServiceSet(_) | Target::Related(_))
    }

    /// Its name in a mapping; `None`: the column is skipped.
    pub fn name(&self) -> Option<String> {
        match self {
            Target::Field(field) => Some(field.name.to_owned()),
            Target::FullName => Some("full_name".to_owned()),
            Target::Company(name) => Some(format!("company.{name}")),
            Target::Metadata(key) | Target::Related(key) => Some(format!("metadata.{key}")),
            Target::Object => Some("metadata".to_owned()),
            Target::Id => Some("id".to_owned()),
            Target::Link(field) => Some(field.name.to_owned()),
            Target::ServiceSet(field) => Some(format!("metadata.{}", field.name)),
            Target::Skip | Target::Report => None,
        }
    }

    /// Returns the target which a mapping calls `name`.
    pub fn named(resource: &'static Resource, name: &str) -> Option<Self> {
        if let Some(key) = name.strip_prefix("metadata.").filter(|key| !key.is_empty()) {
            return Some(Target::Metadata(key.to_owned()));
        }
        match name {
            "id" => Some(Target::Id),
            "metadata" => Some(Target::Object),
            "full_name" if resource.name == "contact" => Some(Target::FullName),
            "company.name" if resource.name == "contact" => Some(Target::Company("name")),
            "company.domain" if resource.name == "contact" => Some(Target::Company("domain")),
            _ => resource.field(name).filter(|field| is_importable(field)).map(Target::Field),
        }
    }
}

/// Whether a file can set the field.
pub fn is_importable(field: &Field) -> bool {
    field.mutability != Mutability::ReadOnly && !matches!(field.field_type, FieldType::Object | FieldType::Hours)
}

/// Returns the names of a resource's targets, except the keys of metadata.
pub fn names(resource: &'static Resource) -> impl Iterator<Item = &'static str> {
    let special = ["full_name", "company.name", "company.domain"].into_iter();
    let fields = resource.fields.iter().filter(|field| is_importable(field));
    special.filter(|_| resource.name == "contact").chain(["id", "metadata"]).chain(fields.map(|field| field.name))
}
