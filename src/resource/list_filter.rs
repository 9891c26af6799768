//! Filters of lists that are no fields of the row, such as the labels of a conversation.

use super::field::Field;
use super::list_query::Predicate;
use crate::db::Statement;

/// A filter that is no field. It is a parameter of the list, as a filter by a field of that name and type is; its condition is SQL of
/// its own.
#[derive(Clone, Copy, Debug)]
pub struct ListFilter {
    /// Its name, type and description.
    pub field: Field,
    /// Appends the condition, over the alias `t`.
    pub condition: fn(&mut Statement, &Predicate),
    /// The tables that decide it beside that of the rows: what responses depend on. Where its values are ids, only rows that refer to them do.
    pub tables: &'static [&'static str],
    /// Whether its values are ids of users, so that `me` is the caller's.
    pub is_of_users: bool,
}

impl ListFilter {
    pub const fn new(field: Field, tables: &'static [&'static str], condition: fn(&mut Statement, &Predicate)) -> Self {
        Self { field: field.filter(), condition, tables, is_of_users: false }
    }

    /// Marks its values as ids of users.
    pub const fn of_users(mut self) -> Self {
        self.is_of_users = true;
        self
    }
}
