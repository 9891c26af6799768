//! Connections outside of the pool, and what every connection sets.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::{Connection, ConnectionError, ConnectionResult, QueryResult};

use super::backend_id::BackendId;
use super::{Statement, prepared};

/// As PostgreSQL gives a session to its first client: a pooler may give one on as the client before has left it, with its
/// prepared statements, settings and locks. What diesel sets when it connects is set again.
const CLEAN: &str = "RESET ROLE; RESET ALL; DEALLOCATE ALL; SELECT pg_advisory_unlock_all(); SET TIME ZONE 'UTC'; \
                     SET CLIENT_ENCODING TO 'UTF8'";

/// What every session sets, whatever its role, its database or the server has chosen (`ALTER ROLE … SET`): what statements
/// mean and answers look like rests on it.
///
/// - Rapport's tables are in `public`, wherever the role or the database looks first: another schema may have tables of the
///   same names. What else was in the path stays behind it, because extensions may be there.
/// - Where `row_security` is off, whatever is held by a policy fails.
/// - Times, intervals, bytes and floats become text in documents and in the audit log, and definitions in the catalogue.
/// - Searches that use a GIN index, or resemblance, find what they are meant to find.
/// - Nobody is said to act, and nothing to be erased, where a transaction does not say so itself.
///
/// What a session may not set itself, or should not, the catalogue's check names: `catalogue::objects::FOREIGN`.
const SESSION: &str = "
    SELECT set_config('search_path', concat_ws(', ', 'public', nullif(current_setting('search_path'), '')), false);
    SET row_security = on; SET standard_conforming_strings = on; SET default_transaction_isolation = 'read committed';
    SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1;
    SET quote_all_identifiers = off; SET gin_fuzzy_search_limit = 0; SET pg_trgm.word_similarity_threshold = 0.6;
    SET rapport.business = ''; SET rapport.actor = ''; SET rapport.erasing = ''";

/// What a session of the pool must not have, because what it wrote would break foreign keys, or would fail until the
/// connection is given up: no such session is made, and the catalogue's check says what to do.
pub(super) const REFUSE_UNFIT: &str = "DO $$ BEGIN
    IF pg_is_in_recovery() THEN RAISE EXCEPTION 'this server is a standby; name the primary'; END IF;
    IF current_setting('session_replication_role') = 'replica' OR current_setting('default_transaction_read_only')::boolean THEN
        RAISE EXCEPTION 'session_replication_role is % and default_transaction_read_only is % for this role, database or server; `rapport migrate` says how to reset them',
            current_setting('session_replication_role'), current_setting('default_transaction_read_only');
    END IF;
END $$";

/// A connection with the settings of [`SESSION`]. Errors: those of the connection.
pub fn connect(url: &str) -> ConnectionResult<PgConnection> {
    let mut conn = PgConnection::establish(url)?;
    let backend = begin(&mut conn).map_err(ConnectionError::CouldntSetupConfiguration)?;
    prepared::limit(&mut conn, prepared::MOST, backend);
    Ok(conn)
}

/// Bounds how long a statement of `conn` waits for a lock, unless the session has a bound already (`PGOPTIONS`): a command ends with
/// a reason while a long `VACUUM FULL` holds a table, and who comes after a waiting migration does not wait for longer.
pub fn bound_lock_waits(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute("SELECT set_config('lock_timeout', '10s', false) WHERE current_setting('lock_timeout') = '0'")
}

/// Gives `conn` the settings of [`SESSION`], and nothing of another client's. Returns its backend.
pub(super) fn begin(conn: &mut PgConnection) -> QueryResult<Option<BackendId>> {
    conn.batch_execute(CLEAN)?;
    conn.batch_execute(SESSION)?;
    let row = Statement::new("SELECT pg_backend_pid()").row(conn)?;
    Ok(row.and_then(|row| row.int(0)).and_then(BackendId::new))
}
