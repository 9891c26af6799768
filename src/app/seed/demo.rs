//! The demo business.

use diesel::QueryResult;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::local_time;
use crate::db::Statement;

/// Helpers in the session's temporary schema.
const FUNCTIONS: &str = include_str!("functions.sql");
const DEMO: &str = include_str!("demo.sql");

/// Creates the demo business (slug `demo`) with all its data, or does nothing when it exists. Returns whether it did.
/// Atomic, and safe when several processes do it at once.
pub fn demo(conn: &mut PgConnection) -> QueryResult<bool> {
    conn.batch_execute(FUNCTIONS)?;
    local_time::prepare(conn, &["America/Vancouver"])?;
    conn.batch_execute(DEMO)?;
    // Only the script knows: a query before or after it may see another process's business.
    let seeded = Statement::new("SELECT current_setting('rapport.seeded') = 'yes'").scalar(conn)?;
    Ok(seeded.unwrap_or(false))
}
