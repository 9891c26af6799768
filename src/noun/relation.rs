//! Relations: what `include` can expand, always in a fixed number of queries.

use super::Noun;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// `(business_id, <column>)` of the row names one row of `noun`: read by a join in the same query.
    One,
    /// Rows of `noun` whose `<column>` is the row's id, at most `limit`: one query for the whole page.
    Many { limit: u32 },
    /// As `Many`, but the first row only, as an object.
    First,
}

#[derive(Clone, Copy, Debug)]
pub struct Relation {
    pub name: &'static str,
    pub noun: &'static Noun,
    /// For [`Arity::One`] a column of the row; otherwise a column of `noun`.
    pub column: &'static str,
    /// Column of `noun` that `column` refers to, for [`Arity::One`]; `id` but for members.
    pub target: &'static str,
    pub arity: Arity,
    /// Order of many: a sort of `noun`, as in a list.
    pub order: &'static str,
    pub about: &'static str,
}

/// How many related rows an answer carries for each row; the rest is a list away.
pub const MANY: u32 = 20;

impl Relation {
    /// The relation that the link `column` of a noun is shown by, if it leads to rows that can be deleted and restored.
    pub fn of_link(relations: &'static [Relation], column: &str) -> Option<&'static Relation> {
        relations
            .iter()
            .find(|relation| relation.arity == Arity::One && relation.column == column && relation.noun.soft_delete())
    }

    pub const fn one(name: &'static str, noun: &'static Noun, column: &'static str, about: &'static str) -> Self {
        Self { name, noun, column, target: "id", arity: Arity::One, order: "", about }
    }

    pub const fn many(
        name: &'static str,
        noun: &'static Noun,
        column: &'static str,
        order: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, noun, column, target: "id", arity: Arity::Many { limit: MANY }, order, about }
    }

    pub const fn first(
        name: &'static str,
        noun: &'static Noun,
        column: &'static str,
        order: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, noun, column, target: "id", arity: Arity::First, order, about }
    }
}
