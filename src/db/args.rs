//! Command-line options of the database: which one, and its pool of connections.

use std::path::PathBuf;

use clap::Args;

use super::{Isolation, RowSecurity, isolation_overrides, prepared};
use crate::base::options::{OptionErrors, Secret, cores};

/// Where the data is. Shared by every command that touches the database.
#[derive(Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// PostgreSQL (15 or newer); without it a private server is started under the state folder
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<Secret>,
    /// Folder of the private server and its files [default: /var/lib/rapport as root, else ~/.local/state/rapport]
    #[arg(long, env = "RAPPORT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Folder that holds PostgreSQL's `initdb` and `postgres`, for the private server
    #[arg(long, env = "RAPPORT_POSTGRES_BIN")]
    pub postgres_bin: Option<PathBuf>,
}

impl DatabaseArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        if let Some(url) = &self.database_url
            && !(url.expose().starts_with("postgres://") || url.expose().starts_with("postgresql://"))
        {
            errors.push("DATABASE_URL must start with postgres:// or postgresql://");
        }
    }

    /// Returns the state folder, by configuration or by convention.
    pub fn state_dir(&self) -> PathBuf {
        if let Some(folder) = &self.state_dir {
            return folder.clone();
        }
        // SAFETY: geteuid has no preconditions.
        if unsafe { libc::geteuid() } == 0 {
            // Not under root's home, which the server, running as another user, could not reach.
            return PathBuf::from("/var/lib/rapport");
        }
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or(home);
        state.unwrap_or_else(|| PathBuf::from("/var/tmp")).join("rapport")
    }
}

/// Options of the connection pool and of its sessions.
#[derive(Args, Clone, Debug)]
pub struct PoolArgs {
    /// Database connections, each with a thread [default: twice the cores, 4 to 16]
    #[arg(long, env = "RAPPORT_DB_CONNECTIONS", default_value_t = default_connections())]
    pub db_connections: u32,
    /// Requests that may wait for a database connection before callers get 503
    #[arg(long, env = "RAPPORT_DB_QUEUE", default_value_t = 1024)]
    pub db_queue: usize,
    /// Part of the connections and of the queue that one business may have while another is asking, in percent
    #[arg(long, env = "RAPPORT_DB_TENANT_SHARE_PERCENT", default_value_t = 50)]
    pub db_tenant_share_percent: u8,
    /// Statements that each database connection keeps prepared; 0 for none
    #[arg(long, env = "RAPPORT_DB_PREPARED", default_value_t = prepared::DEFAULT_LIMIT)]
    pub db_prepared: usize,
    /// Longest wait for a database connection, in milliseconds
    #[arg(long, env = "RAPPORT_DB_WAIT_MS", default_value_t = 2_000)]
    pub db_wait_ms: u64,
    /// Longest a single statement may run, in milliseconds
    #[arg(long, env = "RAPPORT_STATEMENT_TIMEOUT_MS", default_value_t = 5_000)]
    pub statement_timeout_ms: u64,
    /// Longest wait for a row or table that another transaction holds, in milliseconds, before callers get 503 `locked`; 0
    /// waits on its connection for as long as a statement may run
    #[arg(long, env = "RAPPORT_LOCK_WAIT_MS", default_value_t = 2_000)]
    pub lock_wait_ms: u64,
    /// Where row-level security is a second barrier between businesses: `off`, `writes` or `all`
    #[arg(long, env = "RAPPORT_ROW_SECURITY", default_value = "writes")]
    pub row_security: RowSecurity,
    /// Isolation level of transactions by their name: `processing=serializable,conversion=repeatable-read`. Names: create,
    /// update, delete, restore, batch_create, batch_update, batch_upsert, batch_delete, processing, conversion, merge, reversion.
    /// Levels: read-committed, repeatable-read, serializable. Above read-committed, writers of the same rows make each other try again [default: read-committed]
    #[arg(long, env = "RAPPORT_ISOLATION", value_delimiter = ',', value_parser = isolation_overrides::parse)]
    pub isolation: Vec<(&'static str, Isolation)>,
}

impl PoolArgs {
    pub fn validate(&self, errors: &mut OptionErrors) {
        errors.check((1..=256).contains(&self.db_connections), "RAPPORT_DB_CONNECTIONS must be 1 to 256");
        errors.check(self.db_queue >= 1, "RAPPORT_DB_QUEUE must be at least 1");
        errors.check(
            (1..=100).contains(&self.db_tenant_share_percent),
            "RAPPORT_DB_TENANT_SHARE_PERCENT must be 1 to 100",
        );
        errors.check(self.db_prepared <= 10_000, "RAPPORT_DB_PREPARED must be 0 to 10000");
        errors.check(self.db_wait_ms >= 1, "RAPPORT_DB_WAIT_MS must be at least 1");
    }
}

fn default_connections() -> u32 {
    (cores() as u32 * 2).clamp(4, 16)
}
