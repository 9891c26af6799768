//! Resolves the database that a command works on: the configured one, or the embedded server's.

use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use diesel::PgConnection;

use super::embedded::{self, Absent, Durability, Embedded};
use super::{DatabaseArgs, catalogue, connect, migrate, pooler};
use crate::base::error::BoxError;

/// Name of the embedded server's database.
pub const EMBEDDED_DATABASE: &str = "rapport";

/// How long a command waits for the embedded server of a service that has just started.
const JOIN_LIMIT: Duration = Duration::from_secs(10);

/// The database that a command works on, with the embedded server that holds it, if any.
pub struct DatabaseTarget {
    pub url: String,
    pub embedded: Option<Embedded>,
    /// The embedded server belongs to a running service: it is neither started nor stopped, and its database not
    /// migrated.
    joined: bool,
    /// Folder of the embedded server's files.
    pub state: PathBuf,
}

impl DatabaseTarget {
    /// Opens the configured database, or starts the embedded server; `absent`: what to do where that has no database
    /// yet.
    pub fn open(args: &DatabaseArgs, absent: Absent) -> Result<Self, BoxError> {
        let state = args.state_dir();
        if let Some(url) = &args.database_url {
            check_url(url.expose())?;
            pooler::check(url.expose())?;
            return Ok(Self { url: url.expose().to_owned(), embedded: None, joined: false, state });
        }
        let server = Embedded::start(&state, args.postgres_bin.as_deref(), Durability::Full, absent)?;
        server.ensure_database(EMBEDDED_DATABASE)?;
        Ok(Self { url: server.url(EMBEDDED_DATABASE), embedded: Some(server), joined: false, state })
    }

    /// As [`DatabaseTarget::open`], for commands that may run beside the service: its running embedded server is used.
    pub fn open_beside(args: &DatabaseArgs, absent: Absent) -> Result<Self, BoxError> {
        let refused = match Self::open(args, absent) {
            Ok(target) => return Ok(target),
            Err(error) => error,
        };
        if !matches!(refused.downcast_ref(), Some(embedded::Error::InUse(_))) {
            return Err(refused);
        }
        let state = args.state_dir();
        let url = Embedded::url_of_running(&state, EMBEDDED_DATABASE)?;
        let began = Instant::now();
        while let Err(error) = connect(&url) {
            if began.elapsed() > JOIN_LIMIT {
                return Err(format!("{refused}\nIts PostgreSQL cannot be used beside it: {error}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { url, embedded: None, joined: true, state })
    }

    /// Connects; the embedded server's database is migrated first, unless it is a running service's. Errors: a database
    /// that is not migrated, or lacks what this release needs.
    pub fn connect_migrated(&self) -> Result<PgConnection, BoxError> {
        if self.embedded.is_some() {
            migrate::run(&self.url)?;
        }
        if self.embedded.is_none() {
            // Writes of a command to a damaged database might produce no events, or be discarded.
            let report = catalogue::inspect_at(&self.url)?;
            if self.joined && !report.is_migrated() {
                return Err(
                    "the service that runs on this folder has another schema than this binary. Stop it, and start it \
                            again with this binary, which migrates its database."
                        .into(),
                );
            }
            if !report.is_intact() {
                return Err(report.sentences().into());
            }
        }
        self.connect()
    }

    pub fn connect(&self) -> Result<PgConnection, BoxError> {
        Ok(connect(&self.url)?)
    }
}

/// Rejects a URL that libpq would misread. libpq's own message repeats the text, and with it the password, or takes
/// part of the password for the host name; this one repeats nothing.
fn check_url(url: &str) -> Result<(), BoxError> {
    let text = CString::new(url)?;
    // SAFETY: libpq reads a NUL-terminated string, and returns a list that ends with an option without a keyword, which
    // is read before it is freed.
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
                    // The name of an abstract socket begins with `@`.
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
