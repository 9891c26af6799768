//! The database that a command works on: the configured one, or the embedded server's.

use std::path::PathBuf;

use diesel::{Connection, PgConnection};

use super::embedded::{Durability, Embedded};
use super::migrate;
use crate::config::DatabaseConfig;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The database of the embedded server.
pub const EMBEDDED_DATABASE: &str = "rapport";

/// The database that a command works on, with the embedded server that holds it, if it is that one.
pub struct Target {
    pub url: String,
    pub embedded: Option<Embedded>,
    /// Folder of the embedded server's files.
    pub state: PathBuf,
}

impl Target {
    /// Opens what is configured, starting the embedded server if nothing is.
    pub fn open(config: &DatabaseConfig) -> Result<Self, BoxError> {
        let state = config.state_dir();
        if let Some(url) = &config.database_url {
            return Ok(Self { url: url.expose().to_owned(), embedded: None, state });
        }
        let server = Embedded::start(&state, config.postgres_bin.as_deref(), Durability::Full)?;
        server.ensure_database(EMBEDDED_DATABASE)?;
        Ok(Self { url: server.url(EMBEDDED_DATABASE), embedded: Some(server), state })
    }

    /// Connects; the embedded server's database is migrated first.
    pub fn connect_migrated(&self) -> Result<PgConnection, BoxError> {
        if self.embedded.is_some() {
            migrate::run(&self.url)?;
        }
        self.connect()
    }

    pub fn connect(&self) -> Result<PgConnection, BoxError> {
        Ok(PgConnection::establish(&self.url)?)
    }
}
