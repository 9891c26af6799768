//! A read that is computed from several tables, such as a statistic: no rows of a resource, but cached and validated like them.

use std::fmt;

use diesel::pg::PgConnection;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::cache::ComputedResponse;

/// What such a read needs. An implementation holds absolute times only: `last_30_days` would be another answer tomorrow.
pub trait ComputedRead: fmt::Debug + Send + Sync {
    /// Returns a text that is equal for reads that ask for the same. Text of clients in it must be escaped.
    fn canonical(&self) -> String;

    /// Returns the tables that the response depends on as a whole; on rows of others it depends by the tags that it is computed with.
    fn tables(&self) -> Vec<&'static str>;

    /// Returns the tables of which it shows something: who reads it needs the permission to read them.
    fn shown_tables(&self) -> Vec<&'static str> {
        self.tables()
    }

    /// Returns tables of which it depends only on the rows that are or refer to a row, by its id.
    fn rows(&self) -> Vec<(&'static str, Uuid)> {
        Vec::new()
    }

    /// Computes the response from the database. A response that says when it was computed has a weak ETag, of all but
    /// that. Errors: 403, and those of the database.
    fn compute(&self, conn: &mut PgConnection, tenant: &Tenant) -> Result<ComputedResponse>;
}
