//! A statement that fails on any backend but the connection's own, in front of statements that have no parameters.

use super::backend_id::{ANOTHER_BACKEND, BackendId};
use super::statement::Statement;

/// Returns a statement that fails on any other backend, with an error that `backend_id` recognises.
pub(super) fn assertion(backend: BackendId) -> Statement {
    let mut sql = Statement::new("SELECT CASE pg_backend_pid() WHEN ");
    sql.number(backend.process()).sql(" THEN 0 ELSE concat(").literal(ANOTHER_BACKEND).sql(")::int END");
    sql
}
