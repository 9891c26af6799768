//! Database access: [`Db::for_tenant`] or [`Db::unscoped`], then `read` or `write`; nothing else reaches a connection.
//!
//! `database` and `scoped_db` are the way in. `worker_pool` runs the work on threads, each with a connection, behind
//! `fair_queue`; `retry` and `lock_wait` repeat it. `statement`, `alias`, `sql_value`, `scalar`, `raw_row` and `prepared`
//! are statements, their values and rows, `tx` and `session_context` transactions. `gate`, `pooler`, `backend_id` and
//! `backend_assertion` keep work from a database that is not fit, `catalogue` checks and `migrate` changes it.
//! `database_target` finds the database of a command, `embedded` is the private server.

mod alias;
mod args;
mod backend_assertion;
pub mod backend_id;
pub mod catalogue;
mod connect;
pub mod connection_options;
mod database;
pub mod database_target;
pub mod embedded;
mod fair_queue;
mod gate;
pub mod isolation_overrides;
mod last_response;
mod lock_wait;
mod metrics;
pub mod migrate;
pub mod migrations;
pub mod pg_error;
pub mod pooler;
pub mod prepared;
mod raw_row;
mod reply_batcher;
mod retry;
mod scalar;
pub mod schema;
mod scoped_db;
mod session_context;
mod session_setup;
mod sql_value;
pub mod statement;
mod tx;
mod worker_pool;

pub use self::alias::Alias;
pub use self::args::{DatabaseArgs, PoolArgs};
pub use self::connect::{bound_lock_waits, connect};
pub use self::database::Db;
pub use self::gate::{ClosedReason, DatabaseGate};
pub use self::last_response::LastAnswer;
pub use self::raw_row::RawRow;
pub use self::reply_batcher::ReplyBatcher;
pub use self::scalar::ScalarType;
pub use self::scoped_db::ScopedDb;
pub use self::session_context::{Actor, RowSecurity, SessionContext};
pub use self::sql_value::SqlValue;
pub use self::statement::Statement;
pub use self::tx::{Isolation, Tx, WriteOptions, in_transaction};
pub use self::worker_pool::{PoolState, Source};
