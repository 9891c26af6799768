//! Errors of the embedded server, each with what to do about it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::os_user::{self, OsUser};
use super::state_lock::is_running;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no PostgreSQL found. Looked for `initdb` and `postgres` in:\n{0}\n\
         Set DATABASE_URL to a server of yours, or install one (Debian: apt-get install postgresql; macOS: brew install \
         postgresql@18), or set RAPPORT_POSTGRES_BIN to the folder that holds the two programs."
    )]
    NotFound(String),
    #[error(
        "{0} is in use by another Rapport. Stop it, or give this one a folder of its own: RAPPORT_STATE_DIR=/some/folder"
    )]
    InUse(PathBuf),
    #[error(
        "{state} belongs to {owner}, and {owner}'s Rapport is running on it. Run this command as {owner} as well: \
         `sudo -u {owner} rapport …`, with the same RAPPORT_STATE_DIR. (Giving the files to another user would stop that Rapport.)"
    )]
    OwnedAndRunning { state: PathBuf, owner: String },
    #[error(
        "there is no database in {0} (RAPPORT_STATE_DIR), and this command makes none. Set RAPPORT_STATE_DIR to the folder \
         of your `rapport serve`; a new database is made by the first `rapport serve` or `rapport migrate` on a folder."
    )]
    NoDatabase(PathBuf),
    #[error("cannot use the state folder {0}: {1}. Choose another with RAPPORT_STATE_DIR.")]
    Folder(PathBuf, io::Error),
    #[error(
        "cannot use the state folder {state}: {path} belongs to {owner}, but must belong to {expected}. Mend it with \
         `{command}`, or run this as {owner}, or choose another folder with RAPPORT_STATE_DIR."
    )]
    Owner { state: PathBuf, path: PathBuf, owner: String, expected: String, command: String },
    #[error(
        "cannot use the state folder {state}: PostgreSQL runs as {user} here, and {user} may not enter {path}, which \
         belongs to {owner}. Let it in with `{command}`, or choose a folder elsewhere with RAPPORT_STATE_DIR."
    )]
    Closed { state: PathBuf, path: PathBuf, owner: String, user: String, command: String },
    #[error("{program} failed: {detail}")]
    Program { program: &'static str, detail: String },
    #[error("the embedded PostgreSQL cannot be reached: {0}")]
    Connect(String),
}

impl Error {
    /// Maps `error` at `path`, which is `state` or inside it; `is_running`: another Rapport holds the folder's lock.
    pub(super) fn at(path: &Path, state: &Path, server: &OsUser, is_running: bool, error: io::Error) -> Self {
        if error.kind() != io::ErrorKind::PermissionDenied {
            return Self::Folder(state.to_path_buf(), error);
        }
        // The closest existing ancestor: the folder that may not be written to may be the parent.
        let found = path.ancestors().find_map(|path| Some((path, std::fs::symlink_metadata(path).ok()?)));
        let (path, owner) = match found {
            Some((path, metadata)) => (path.to_path_buf(), os_user::name(metadata.uid())),
            None => (path.to_path_buf(), "nobody that is known".into()),
        };
        if is_running {
            return Self::OwnedAndRunning {
                state: state.to_path_buf(),
                owner: owner_of_service(state).unwrap_or(owner),
            };
        }
        let expected = server.name();
        let command = if path.starts_with(state) {
            format!("sudo chown -R {expected} {}", quoted(state))
        } else {
            format!("sudo install -d -o {expected} {}", quoted(state))
        };
        Self::Owner { state: state.to_path_buf(), path, owner, expected, command }
    }
}

/// Returns the user who runs the service of `state`: they own the lock, while the data folder may belong to the user
/// that root switched to.
fn owner_of_service(state: &Path) -> Option<String> {
    Some(os_user::name(std::fs::metadata(state.join("lock")).ok()?.uid()))
}

/// Rejects files of another user, which PostgreSQL would report in its log only.
pub(super) fn check_owner(path: &Path, state: &Path, server: &OsUser) -> Result<(), Error> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    if metadata.uid() == server.id() {
        return Ok(());
    }
    if is_running(state) {
        let owner = owner_of_service(state).unwrap_or_else(|| os_user::name(metadata.uid()));
        return Err(Error::OwnedAndRunning { state: state.to_path_buf(), owner });
    }
    let expected = server.name();
    Err(Error::Owner {
        state: state.to_path_buf(),
        path: path.to_path_buf(),
        owner: os_user::name(metadata.uid()),
        command: format!("sudo chown -R {expected} {}", quoted(path)),
        expected,
    })
}

/// Rejects a folder with an ancestor that the server's user may not enter.
pub(super) fn check_path(state: &Path, server: &OsUser) -> Result<(), Error> {
    for folder in state.ancestors().skip(1) {
        let Ok(metadata) = std::fs::metadata(folder) else { continue };
        let may_enter = match metadata.uid() == server.id() {
            true => metadata.mode() & 0o100 != 0,
            false if metadata.gid() == server.group() => metadata.mode() & 0o010 != 0,
            false => metadata.mode() & 0o001 != 0,
        };
        if !may_enter {
            return Err(Error::Closed {
                state: state.to_path_buf(),
                path: folder.to_path_buf(),
                owner: os_user::name(metadata.uid()),
                user: server.name(),
                command: format!("sudo chmod o+x {}", quoted(folder)),
            });
        }
    }
    Ok(())
}

/// Quotes `path` for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
