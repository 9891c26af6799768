//! The OS user that the embedded server runs as: the current one, or an unprivileged one for root, as which PostgreSQL
//! refuses to run.

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// `None` is the current user.
#[derive(Clone, Copy, Debug)]
pub struct OsUser(Option<(u32, u32)>);

impl OsUser {
    pub fn of_server() -> Self {
        // SAFETY: geteuid has no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            return Self(None);
        }
        Self(["postgres", "nobody"].iter().find_map(|name| ids(name)))
    }

    /// Whether it differs from the current user.
    pub fn is_another(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the id of this user.
    pub fn id(&self) -> u32 {
        // SAFETY: geteuid has no preconditions.
        self.0.map_or_else(|| unsafe { libc::geteuid() }, |(user, _)| user)
    }

    /// Returns the id of this user's group.
    pub fn group(&self) -> u32 {
        // SAFETY: getegid has no preconditions.
        self.0.map_or_else(|| unsafe { libc::getegid() }, |(_, group)| group)
    }

    /// Returns the name of this user.
    pub fn name(&self) -> String {
        name(self.id())
    }

    /// Makes `command` run as this user.
    pub fn apply(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.0 {
            command.uid(uid).gid(gid);
        }
    }

    /// Creates `path` (with its parents) if necessary, owned by this user, with `mode`.
    pub fn make_folder(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::create_dir_all(path)?;
        if let Some((uid, gid)) = self.0 {
            chown(path, Some(uid), Some(gid))?;
        }
        fs::set_permissions(path, Permissions::from_mode(mode))
    }
}

/// Returns the name of the user `id`, or `user <id>` where it has none.
pub fn name(id: u32) -> String {
    // SAFETY: at the start of a command, before another thread reads the user database; copied at once.
    let entry = unsafe { libc::getpwuid(id).as_ref() };
    // SAFETY: an entry's name is a NUL-terminated string.
    let name = entry.map(|entry| unsafe { CStr::from_ptr(entry.pw_name) }.to_string_lossy().into_owned());
    name.unwrap_or_else(|| format!("user {id}"))
}

/// Returns the user and group id of `name`.
fn ids(name: &str) -> Option<(u32, u32)> {
    let name = CString::new(name).ok()?;
    // SAFETY: called before any other thread reads the user database; the result is copied at once.
    let entry = unsafe { libc::getpwnam(name.as_ptr()).as_ref() }?;
    Some((entry.pw_uid, entry.pw_gid))
}
