//! The demo business.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::sql_types::Bool;
use diesel::{QueryResult, RunQueryDsl};

/// Helpers in the session's temporary schema.
const FUNCTIONS: &str = include_str!("functions.sql");
const DEMO: &str = include_str!("demo.sql");

/// Creates the demo business (slug `demo`) with all its data, or does nothing when it exists. Returns whether it did.
/// Atomic, and safe when several processes do it at once.
pub fn demo(conn: &mut PgConnection) -> QueryResult<bool> {
    conn.batch_execute(FUNCTIONS)?;
    conn.batch_execute(DEMO)?;
    // Only the script knows: a query before or after it may see another process's business.
    diesel::select(diesel::dsl::sql::<Bool>("current_setting('rapport.seeded') = 'yes'")).get_result(conn)
}
