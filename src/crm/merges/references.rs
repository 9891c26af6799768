//! References to contacts and companies, derived from the relations of the resources.

use crate::channels::conversations::CONVERSATIONS;
use crate::channels::messages::MESSAGES;
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::crm::decisions::DECISIONS;
use crate::crm::leads::LEADS;
use crate::crm::notes::NOTES;
use crate::crm::tasks::TASKS;
use crate::resource::{Cardinality, Resource};
use crate::scheduling::bookings::BOOKINGS;

/// Resources with references, in lock order. A test compares the references that follow from it with the foreign keys
/// of the database.
static LINKING: [&Resource; 9] =
    [&LEADS, &COMPANIES, &CONTACTS, &CONVERSATIONS, &MESSAGES, &DECISIONS, &BOOKINGS, &TASKS, &NOTES];

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

/// Returns all references to rows of the resource.
pub fn to(resource: &'static Resource) -> impl Iterator<Item = Link> {
    let leads_there = move |other: &'static Resource| {
        let there = other
            .relations
            .iter()
            .filter(move |one| one.arity == Cardinality::One && one.resource.table == resource.table);
        there.map(move |relation| Link { resource: other, column: relation.column })
    };
    LINKING.into_iter().flat_map(leads_there)
}
