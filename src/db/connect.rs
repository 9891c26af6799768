//! Connections outside of the pool, and how every connection begins.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::{Connection, ConnectionError, ConnectionResult, QueryResult};

use super::backend_id::BackendId;
use super::{Statement, prepared};

/// As PostgreSQL gives a session to its first client: a pooler may give one on as the client before has left it, with its
/// prepared statements, settings and locks. What diesel sets when it connects is set again.
const CLEAN: &str = "RESET ROLE; RESET ALL; DEALLOCATE ALL; SELECT pg_advisory_unlock_all(); SET TIME ZONE 'UTC'; \
                     SET CLIENT_ENCODING TO 'UTF8'";

/// Rapport's tables are in `public`, wherever the role or the database looks first: another schema may have tables of the
/// same names. What else was in the path stays behind it, because extensions may be there.
const PUBLIC_FIRST: &str = "SELECT pg_backend_pid(), \
     set_config('search_path', concat_ws(', ', 'public', nullif(current_setting('search_path'), '')), false)";

/// A connection that finds Rapport's tables. Errors: those of the connection.
pub fn connect(url: &str) -> ConnectionResult<PgConnection> {
    let mut conn = PgConnection::establish(url)?;
    let backend = begin(&mut conn).map_err(ConnectionError::CouldntSetupConfiguration)?;
    prepared::limit(&mut conn, prepared::MOST, backend);
    Ok(conn)
}

/// Makes `conn` find Rapport's tables, and nothing of another client's. Returns its backend.
pub(super) fn begin(conn: &mut PgConnection) -> QueryResult<Option<BackendId>> {
    conn.batch_execute(CLEAN)?;
    let row = Statement::new(PUBLIC_FIRST).row(conn)?;
    Ok(row.and_then(|row| row.int(0)).and_then(BackendId::new))
}
