//! The database that a command works on: the configured one, or the embedded server's.

use std::ffi::{CStr, CString};
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
            check_url(url.expose())?;
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

/// Refuses a URL that libpq would misread. Its own complaint repeats the text, and with it the password, or takes part of
/// the password for the name of the host; this one repeats nothing.
fn check_url(url: &str) -> Result<(), BoxError> {
    let text = CString::new(url)?;
    // SAFETY: libpq reads a text that ends, and returns a list that ends with an option without a keyword, which is read
    // before it is freed.
    let understood = unsafe {
        let options = pq_sys::PQconninfoParse(text.as_ptr(), std::ptr::null_mut());
        let mut understood = !options.is_null();
        let mut option = options;
        while !option.is_null() && !(*option).keyword.is_null() {
            let named = |name: &CStr| CStr::from_ptr((*option).keyword) == name;
            let value = (*option).val;
            if !value.is_null() {
                let value = CStr::from_ptr(value).to_bytes();
                understood &= match () {
                    // The name of an abstract socket begins with one.
                    () if named(c"host") || named(c"dbname") => !value.iter().skip(1).any(|byte| *byte == b'@'),
                    () if named(c"port") => value.iter().all(|byte| byte.is_ascii_digit() || *byte == b','),
                    () => true,
                };
            }
            option = option.add(1);
        }
        pq_sys::PQconninfoFree(options);
        understood
    };
    if understood {
        return Ok(());
    }
    Err("DATABASE_URL cannot be understood. It is postgres://user:password@host:port/database; in the password, whatever \
         is no letter and no digit is written as % and two hexadecimal digits (@ is %40)."
        .into())
}
