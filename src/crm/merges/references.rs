//! References to contacts and companies, derived from the relations of all resources.

use crate::resource::{Cardinality, Resource, registry};

/// A reference column of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub resource: &'static Resource,
    pub column: &'static str,
}

impl Link {
    /// `leads.contact_id`
    pub fn name(&self) -> String {
        format!("{}.{}", self.resource.table, self.column)
    }
}

/// Returns all references to rows of the resource, in the order of the registry, which is that of locks. A test compares
/// them with the foreign keys of the database.
pub fn to(resource: &'static Resource) -> impl Iterator<Item = Link> {
    registry::all().iter().flat_map(move |other| {
        let references = other
            .relations
            .iter()
            .filter(move |relation| relation.arity == Cardinality::One && relation.resource_plural == resource.plural);
        references.map(move |relation| Link { resource: other, column: relation.column })
    })
}
