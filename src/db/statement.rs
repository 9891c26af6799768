//! Hand-written SQL that diesel can keep prepared (see [`super::prepared`]).
//!
//! `diesel::sql_query` is never cached; a custom [`QueryFragment`] is, by its text. Rows load into named structs through
//! diesel's public `QueryableByName`.

use diesel::deserialize::QueryableByName;
use diesel::pg::{Pg, PgConnection};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types as sql;
use diesel::{QueryResult, RunQueryDsl};

use super::alias::Alias;
use super::backend_id::BackendId;
use super::prepared;
use super::raw_row::RawRow;
use super::scalar::{Scalar, ScalarType};
use super::sql_value::SqlValue;

/// SQL text with its bound values. The text is trusted by type: it is made of `&'static str`, names and numbers, so that
/// client input can reach a statement as a bound value only. It is also the key of the connection's statement cache.
#[derive(Clone, Debug, Default)]
pub struct Statement {
    text: String,
    /// Position of each value in `text`.
    binds: Vec<(usize, SqlValue)>,
}

impl Statement {
    pub fn new(text: &'static str) -> Self {
        Self { text: text.to_owned(), binds: Vec::new() }
    }

    /// Appends SQL text.
    pub fn sql(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends the name of a table, a column or an alias, none of which needs quotes here.
    pub fn ident(&mut self, name: &'static str) -> &mut Self {
        debug_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'), "{name}");
        self.text.push_str(name);
        self
    }

    /// Appends an alias.
    pub fn alias(&mut self, alias: &Alias) -> &mut Self {
        self.text.push_str(alias.as_str());
        self
    }

    /// Appends a number as it is written in SQL: where a bound value would make PostgreSQL plan again, or for an alias.
    pub fn number(&mut self, number: impl Into<i64>) -> &mut Self {
        self.text.push_str(itoa::Buffer::new().format(number.into()));
        self
    }

    /// Appends a text as a quoted literal.
    pub fn literal(&mut self, text: &str) -> &mut Self {
        self.text.push('\'');
        for (place, part) in text.split('\'').enumerate() {
            self.text.push_str(if place == 0 { "" } else { "''" });
            self.text.push_str(part);
        }
        self.text.push('\'');
        self
    }

    /// Appends a bound value.
    pub fn bind(&mut self, value: impl Into<SqlValue>) -> &mut Self {
        self.binds.push((self.text.len(), value.into()));
        self
    }

    /// Appends `other` with its values.
    pub fn append(&mut self, other: Statement) -> &mut Self {
        let base = self.text.len();
        self.text.push_str(&other.text);
        self.binds.extend(other.binds.into_iter().map(|(at, value)| (base + at, value)));
        self
    }

    /// Returns the text without its values.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the text as PostgreSQL gets it, with `$1` for the first value, and the values: for EXPLAIN.
    pub fn numbered(&self) -> (String, Vec<&SqlValue>) {
        let (mut text, mut from) = (String::with_capacity(self.text.len()), 0);
        for (number, (at, value)) in self.binds.iter().enumerate() {
            text.push_str(&self.text[from..*at]);
            text.push_str(&format!("${}", number + 1));
            if matches!(value, SqlValue::Decimal(_)) {
                text.push_str("::numeric");
            }
            from = *at;
        }
        text.push_str(&self.text[from..]);
        (text, self.binds.iter().map(|(_, value)| value).collect())
    }

    /// Loads the rows as named structs, whose fields are found by the names of the result's columns.
    pub fn load<T: QueryableByName<Pg> + 'static>(&self, conn: &mut PgConnection) -> QueryResult<Vec<T>> {
        self.sent(conn).load::<T>(conn)
    }

    /// Loads the first row, if there is one.
    pub fn first<T: QueryableByName<Pg> + 'static>(&self, conn: &mut PgConnection) -> QueryResult<Option<T>> {
        Ok(self.load(conn)?.into_iter().next())
    }

    /// Loads the only column of all rows, whose values are not null.
    pub fn scalars<T: ScalarType>(&self, conn: &mut PgConnection) -> QueryResult<Vec<T>> {
        let rows = self.load::<Scalar<T>>(conn)?;
        Ok(rows.into_iter().map(|Scalar(value)| value).collect())
    }

    /// Loads the only column of the first row, if there is one; it is not null.
    pub fn scalar<T: ScalarType>(&self, conn: &mut PgConnection) -> QueryResult<Option<T>> {
        Ok(self.first::<Scalar<T>>(conn)?.map(|Scalar(value)| value))
    }

    pub fn rows(&self, conn: &mut PgConnection) -> QueryResult<Vec<RawRow>> {
        self.sent(conn).load::<RawRow>(conn)
    }

    pub fn row(&self, conn: &mut PgConnection) -> QueryResult<Option<RawRow>> {
        Ok(self.rows(conn)?.into_iter().next())
    }

    pub fn run(&self, conn: &mut PgConnection) -> QueryResult<usize> {
        self.sent(conn).execute(conn)
    }

    fn sent(&self, conn: &mut PgConnection) -> Sent<'_> {
        Sent { statement: self, keep: prepared::keeps(conn, &self.text) }
    }
}

/// A statement to be executed on a connection.
struct Sent<'s> {
    statement: &'s Statement,
    /// The backend on which the connection keeps it prepared; any other rejects it. `None`: it is not prepared.
    keep: Option<BackendId>,
}

impl QueryId for Sent<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Sent<'_> {
    type SqlType = sql::Untyped;
}

impl RunQueryDsl<PgConnection> for Sent<'_> {}

impl QueryFragment<Pg> for Sent<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self.keep {
            Some(backend) => backend.push_parameters(&mut out)?,
            None => out.unsafe_to_cache_prepared(),
        }
        let Statement { text, binds } = self.statement;
        let mut from = 0;
        for (at, value) in binds {
            out.push_sql(&text[from..*at]);
            value.bind(&mut out)?;
            from = *at;
        }
        out.push_sql(&text[from..]);
        Ok(())
    }
}
