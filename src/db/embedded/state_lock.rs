//! The lock on a state folder: one service per folder.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Attempts to lock a state folder: a command that checks whether a service runs there holds the lock for an instant.
const LOCK_ATTEMPTS: usize = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Returns the file that is locked.
pub fn path(state: &Path) -> PathBuf {
    state.join("lock")
}

/// Locks `state` until the file is dropped; `None`: a service holds the lock. Errors: the file cannot be opened.
pub fn lock(state: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path(state))?;
    for _ in 0..LOCK_ATTEMPTS {
        // SAFETY: flock on a descriptor that `file` owns.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(Some(file));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Ok(None)
}

/// Whether a service holds the lock of `state`; `false` where that cannot be determined.
pub fn is_running(state: &Path) -> bool {
    let Ok(file) = File::open(path(state)) else { return false };
    // SAFETY: flock on a descriptor that `file` owns; closing it at once releases the lock.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_SH | libc::LOCK_NB) != 0 }
}
