//! The registry of all resources, through which definitions refer to each other by name.
//!
//! The application installs it once, when it starts. So a definition names the resources that it is related to, of its
//! own room or of one above it, without using their files.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::definition::Resource;
use super::relation::{Cardinality, Relation};
use super::row_visibility::VisibilityLink;

static REGISTRY: OnceLock<Registry> = OnceLock::new();

struct Registry {
    all: &'static [&'static Resource],
    by_plural: HashMap<&'static str, &'static Resource, xxhash_rust::xxh3::Xxh3DefaultBuilder>,
}

/// Installs the registry of all resources. Only the first call has an effect.
pub fn install(resources: &'static [&'static Resource]) {
    REGISTRY.get_or_init(|| Registry {
        all: resources,
        by_plural: resources.iter().map(|resource| (resource.plural, *resource)).collect(),
    });
}

/// Returns all resources, in the order of the registry.
pub fn all() -> &'static [&'static Resource] {
    REGISTRY.get().map(|registry| registry.all).unwrap_or_default()
}

/// Returns the resource that a definition names by its plural. A test compares all these names with the registry.
pub fn named(plural: &str) -> &'static Resource {
    match REGISTRY.get().and_then(|registry| registry.by_plural.get(plural)) {
        Some(resource) => resource,
        None => unreachable!("no resource `{plural}` is installed"),
    }
}

impl VisibilityLink {
    /// Returns the resource that it references.
    pub fn resource(&self) -> &'static Resource {
        named(self.resource_plural)
    }
}

impl Relation {
    /// Returns the related resource.
    pub fn resource(&self) -> &'static Resource {
        named(self.resource_plural)
    }

    /// Returns the relation of the reference `column`, if it leads to rows that can be deleted and restored.
    pub fn of_link(relations: &'static [Relation], column: &str) -> Option<&'static Relation> {
        relations.iter().find(|relation| {
            relation.arity == Cardinality::One && relation.column == column && relation.resource().soft_delete()
        })
    }
}
