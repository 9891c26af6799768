//! Connections outside of the pool, and how every connection finds names.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::{Connection, ConnectionError, ConnectionResult};

/// Rapport's tables are in `public`, wherever the role or the database looks first: another schema may have tables of the
/// same names. What else was in the path stays behind it, because extensions may be there.
pub(super) const PUBLIC_FIRST: &str =
    "SELECT set_config('search_path', concat_ws(', ', 'public', nullif(current_setting('search_path'), '')), false)";

/// A connection that finds Rapport's tables. Errors: those of the connection.
pub fn connect(url: &str) -> ConnectionResult<PgConnection> {
    let mut conn = PgConnection::establish(url)?;
    conn.batch_execute(PUBLIC_FIRST).map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}
