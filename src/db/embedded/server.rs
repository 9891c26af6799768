//! Starts, stops and addresses the private server.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use tokio::sync::oneshot;

use super::binaries::Binaries;
use super::error::{self, Error};
use super::os_user::OsUser;
use super::postmaster::{Durability, Launch, Postmaster};
use super::state_lock::{self, is_running};
use crate::base::supervisor::Lifecycle;

/// The longest path that fits into `sockaddr_un` on Linux and macOS, less the socket's own name.
const MAX_SOCKET_PATH_LEN: usize = 85;

/// What to do when the state folder has no database yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Create one.
    Create,
    /// Fail: the folder is probably not the intended one.
    Refuse,
}

/// A running private server. Dropping it stops the server (fast shutdown) and waits for it.
pub struct Embedded {
    postmaster: Postmaster,
    socket: PathBuf,
    /// Folder of the server's files.
    pub data: PathBuf,
    /// Whether this start created them.
    pub is_new: bool,
    /// Held for as long as the server runs: one service per state folder.
    _lock: File,
}

impl Embedded {
    /// Starts the server whose files are under `state`, initialising them at the first start if `absent` allows it.
    pub fn start(state: &Path, bin: Option<&Path>, durability: Durability, absent: Absent) -> Result<Self, Error> {
        let state = &std::path::absolute(state).map_err(|error| Error::Folder(state.to_path_buf(), error))?;
        let binaries = Binaries::find(bin)?;
        let owner = OsUser::of_server();
        let is_ours = Cell::new(false);
        let at = |path: &Path, error| Error::at(path, state, &owner, !is_ours.get() && is_running(state), error);
        let data = state.join(format!("postgres-{}", binaries.major));
        let version = data.join("PG_VERSION");
        // Before any change: root would give a running server's folder to another user.
        if is_running(state) && owner.is_another() {
            return Err(Error::InUse(state.to_path_buf()));
        }
        error::check_owner(&data, state, &owner)?;
        if absent == Absent::Refuse && !is_running(state) && !version.try_exists().map_err(|error| at(&data, error))? {
            return Err(Error::NoDatabase(state.to_path_buf()));
        }
        owner.make_folder(state, 0o755).map_err(|error| at(state, error))?;
        error::check_path(state, &owner)?;
        let lock = state_lock::lock(state).map_err(|error| at(&state_lock::path(state), error))?;
        let lock = lock.ok_or_else(|| Error::InUse(state.to_path_buf()))?;
        is_ours.set(true);
        let is_new = !version.try_exists().map_err(|error| at(&data, error))?;
        if is_new {
            // An interrupted first start leaves a folder that initdb rejects.
            let _ = fs::remove_dir_all(&data);
            owner.make_folder(&data, 0o700).map_err(|error| at(&data, error))?;
            binaries.initdb(&data, &owner)?;
        }
        let socket = socket_folder(state);
        owner.make_folder(&socket, 0o700).map_err(|error| at(&socket, error))?;
        let log = state.join("postgres.log");
        OpenOptions::new().create(true).append(true).open(&log).map_err(|error| at(&log, error))?;
        let url = url_at(&socket, "postgres");
        let postmaster = Postmaster::start(Launch {
            binaries,
            data: data.clone(),
            socket: socket.clone(),
            owner,
            log,
            durability,
            url,
        })?;
        Ok(Self { postmaster, socket, data, is_new, _lock: lock })
    }

    /// Returns the URL of `database` on the server that runs on the files under `state`, whichever process started it.
    pub fn url_of_running(state: &Path, database: &str) -> Result<String, Error> {
        let state = std::path::absolute(state).map_err(|error| Error::Folder(state.to_path_buf(), error))?;
        Ok(url_at(&socket_folder(&state), database))
    }

    /// From now on restarts the server when it exits; readiness of `lifecycle` fails meanwhile. The returned receiver gets
    /// the reason when restarting is given up.
    pub fn serve(&self, lifecycle: Arc<Lifecycle>) -> oneshot::Receiver<String> {
        self.postmaster.serve(lifecycle)
    }

    /// Returns the URL of `database` on this server.
    pub fn url(&self, database: &str) -> String {
        url_at(&self.socket, database)
    }

    /// Creates `database` if it does not exist; returns whether it was created.
    pub fn ensure_database(&self, database: &str) -> Result<bool, Error> {
        let mut conn = self.connect("postgres")?;
        match conn.batch_execute(&format!("CREATE DATABASE \"{database}\"")) {
            Ok(()) => Ok(true),
            Err(error) if error.to_string().contains("already exists") => Ok(false),
            Err(error) => Err(Error::Connect(error.to_string())),
        }
    }

    fn connect(&self, database: &str) -> Result<PgConnection, Error> {
        PgConnection::establish(&self.url(database)).map_err(|error| Error::Connect(error.to_string()))
    }
}

fn url_at(socket: &Path, database: &str) -> String {
    let host = percent_encode(socket.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC);
    format!("postgres://rapport@{host}/{database}")
}

/// Returns `<state>/run`, or a short name under the temporary folder where that would not fit into a socket address, or
/// contains a comma, at which libpq ends a host name.
fn socket_folder(state: &Path) -> PathBuf {
    let run = state.join("run");
    if run.as_os_str().len() <= MAX_SOCKET_PATH_LEN && !run.as_os_str().as_encoded_bytes().contains(&b',') {
        return run;
    }
    let name = xxhash_rust::xxh3::xxh3_64(run.as_os_str().as_encoded_bytes());
    std::env::temp_dir().join(format!("rapport-{name:016x}"))
}
