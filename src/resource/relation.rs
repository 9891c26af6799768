//! Relations of a resource, which `include` expands in a fixed number of queries.

use diesel::Column;

/// How many rows a relation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// `(business_id, <column>)` of the row references one row of the related resource: read by a join in the same
    /// query.
    One,
    /// Rows of the related resource whose `<column>` is the row's id, at most `limit`: one query for the whole page.
    Many { limit: u32 },
    /// As `Many`, but the first row only, as an object.
    First,
}

/// A table whose rows join rows of two resources.
#[derive(Clone, Copy, Debug)]
pub struct JoinTable {
    pub name: &'static str,
    /// Its column that references the related rows.
    pub target: &'static str,
}

/// A relation to another resource, which is named by its plural: the registry resolves it.
#[derive(Clone, Copy, Debug)]
pub struct Relation {
    pub name: &'static str,
    /// Plural of the related resource.
    pub resource_plural: &'static str,
    /// For [`Cardinality::One`] a column of the row; otherwise a column of the related resource, or of the table between them.
    pub column: &'static str,
    /// Column of the related resource that `column` refers to, for [`Cardinality::One`]; `id` except for members.
    pub target: &'static str,
    pub arity: Cardinality,
    /// Order of to-many rows: a sort of the related resource, as in a list.
    pub order: &'static str,
    /// Which of the to-many rows belong to it: a condition in SQL over the alias `t`; `None`: all.
    pub condition: Option<&'static str>,
    /// The table between both, where the related rows do not reference the row themselves.
    pub via: Option<JoinTable>,
    pub about: &'static str,
}

/// Maximum related rows that a response has for each row; lists return the rest.
pub const MANY: u32 = 20;

impl Relation {
    /// The row that `column` references.
    pub const fn one<C: Column + Copy>(
        name: &'static str,
        resource: &'static str,
        column: C,
        about: &'static str,
    ) -> Self {
        Self::new(name, resource, column, Cardinality::One, "", about)
    }

    /// The rows whose `column` references this one.
    pub const fn many<C: Column + Copy>(
        name: &'static str,
        resource: &'static str,
        column: C,
        order: &'static str,
        about: &'static str,
    ) -> Self {
        Self::new(name, resource, column, Cardinality::Many { limit: MANY }, order, about)
    }

    /// The first of the rows whose `column` references this one.
    pub const fn first<C: Column + Copy>(
        name: &'static str,
        resource: &'static str,
        column: C,
        order: &'static str,
        about: &'static str,
    ) -> Self {
        Self::new(name, resource, column, Cardinality::First, order, about)
    }

    /// The rows that `table` joins to this one: its `column` references this row, and its `target` those.
    pub const fn through<C: Column + Copy, T: Column<Table = C::Table> + Copy>(
        name: &'static str,
        resource: &'static str,
        table: &'static str,
        (column, target): (C, T),
        order: &'static str,
        about: &'static str,
    ) -> Self {
        let _ = target;
        let mut relation = Self::many(name, resource, column, order, about);
        relation.via = Some(JoinTable { name: table, target: T::NAME });
        relation
    }

    /// Leaves out the to-many rows without `condition`: SQL over the alias `t`.
    pub const fn only(mut self, condition: &'static str) -> Self {
        self.condition = Some(condition);
        self
    }

    const fn new<C: Column + Copy>(
        name: &'static str,
        resource: &'static str,
        column: C,
        arity: Cardinality,
        order: &'static str,
        about: &'static str,
    ) -> Self {
        let _ = column;
        Self {
            name,
            resource_plural: resource,
            column: C::NAME,
            target: "id",
            arity,
            order,
            condition: None,
            via: None,
            about,
        }
    }
}
