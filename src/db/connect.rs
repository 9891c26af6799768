//! Opens connections outside of the pool, and sets what every connection needs.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::{Connection, ConnectionError, ConnectionResult, QueryResult};

use super::backend_id::BackendId;
use super::{Statement, prepared};

/// Resets a session to what PostgreSQL gives its first client: a pooler may pass one on with the previous client's
/// prepared statements, settings and locks. What diesel sets on connecting is set again.
const CLEAN: &str = "RESET ROLE; RESET ALL; DEALLOCATE ALL; SELECT pg_advisory_unlock_all(); SET TIME ZONE 'UTC'; \
                     SET CLIENT_ENCODING TO 'UTF8'";

/// Settings of every session, whatever its role, database or server has set (`ALTER ROLE … SET`): the meaning of
/// statements and the form of results depend on them.
///
/// - Rapport's tables are in `public`, which comes first in the search path: another schema may have tables of the same
///   names. The rest of the path stays behind it, because extensions may be there.
/// - With `row_security` off, a statement to which a policy applies fails.
/// - Times, intervals, bytes and floats become text in documents and in the audit log, and definitions in the
///   catalogue.
/// - Searches by GIN index or similarity must find the rows they are meant to find.
/// - There is no business, actor or erasure until a transaction sets one.
///
/// Settings that a session cannot or should not set itself are checked by the catalogue: `catalogue::foreign::FOREIGN`.
const SESSION: &str = "
    SELECT set_config('search_path', concat_ws(', ', 'public', nullif(current_setting('search_path'), '')), false);
    SET row_security = on; SET standard_conforming_strings = on; SET default_transaction_isolation = 'read committed';
    SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1;
    SET quote_all_identifiers = off; SET gin_fuzzy_search_limit = 0; SET pg_trgm.word_similarity_threshold = 0.6;
    SET rapport.business = ''; SET rapport.actor = ''; SET rapport.erasing = ''";

/// Refuses sessions of the pool whose writes would break foreign keys, or would fail until the connection is closed.
/// The catalogue check says what to do.
pub(super) const REFUSE_UNFIT: &str = "DO $$ BEGIN
    IF pg_is_in_recovery() THEN RAISE EXCEPTION 'this server is a standby; name the primary'; END IF;
    IF current_setting('session_replication_role') = 'replica' OR current_setting('default_transaction_read_only')::boolean THEN
        RAISE EXCEPTION 'session_replication_role is % and default_transaction_read_only is % for this role, database or server; `rapport migrate` says how to reset them',
            current_setting('session_replication_role'), current_setting('default_transaction_read_only');
    END IF;
END $$";

/// Opens a connection with the settings of [`SESSION`]. Errors: those of connecting.
pub fn connect(url: &str) -> ConnectionResult<PgConnection> {
    let mut conn = PgConnection::establish(url)?;
    let backend = begin(&mut conn).map_err(ConnectionError::CouldntSetupConfiguration)?;
    prepared::limit(&mut conn, prepared::DEFAULT_LIMIT, backend);
    Ok(conn)
}

/// Sets a lock timeout of 10 s on `conn`, unless the session has one already (`PGOPTIONS`): a command fails with a
/// reason while a long `VACUUM FULL` locks a table, and transactions queued behind a waiting migration wait no longer
/// than that.
pub fn bound_lock_waits(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("SELECT set_config('lock_timeout', '10s', false) WHERE current_setting('lock_timeout') = '0'")
}

/// Resets `conn` and applies the settings of [`SESSION`]. Returns its backend.
pub(super) fn begin(conn: &mut PgConnection) -> QueryResult<Option<BackendId>> {
    conn.batch_execute(CLEAN)?;
    conn.batch_execute(SESSION)?;
    Ok(Statement::new("SELECT pg_backend_pid()").scalar(conn)?.and_then(BackendId::new))
}
