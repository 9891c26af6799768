//! What leads to a contact or a company, read off the relations of the nouns.

use crate::crm::bookings::BOOKINGS;
use crate::crm::companies::COMPANIES;
use crate::crm::contacts::CONTACTS;
use crate::crm::conversations::CONVERSATIONS;
use crate::crm::decisions::DECISIONS;
use crate::crm::leads::LEADS;
use crate::crm::messages::MESSAGES;
use crate::crm::notes::NOTES;
use crate::crm::tasks::TASKS;
use crate::noun::{Arity, Noun};

/// The nouns that lead to others, in the order in which they are locked. A test compares what follows from it with the
/// foreign keys of the database.
static LINKING: [&Noun; 9] =
    [&LEADS, &COMPANIES, &CONTACTS, &CONVERSATIONS, &MESSAGES, &DECISIONS, &BOOKINGS, &TASKS, &NOTES];

/// A column of a noun that leads to another.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub noun: &'static Noun,
    pub column: &'static str,
}

impl Link {
    /// `leads.contact_id`
    pub fn name(&self) -> String {
        format!("{}.{}", self.noun.table, self.column)
    }
}

/// All that leads to rows of `noun`.
pub fn to(noun: &'static Noun) -> impl Iterator<Item = Link> {
    let leads_there = move |other: &'static Noun| {
        let there = other.relations.iter().filter(move |one| one.arity == Arity::One && one.noun.table == noun.table);
        there.map(move |relation| Link { noun: other, column: relation.column })
    };
    LINKING.into_iter().flat_map(leads_there)
}
