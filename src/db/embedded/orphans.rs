//! What is left of the server before: a postmaster that is stopping, because its service was killed, and server processes that
//! have outlived their postmaster, because one that is busy does not see that it is gone. No server starts on the data
//! folder before they have ended.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an orphan may take to end by itself once it was told to.
const GRACE: Duration = Duration::from_secs(5);

/// How long a postmaster that is stopping is waited for: it writes a checkpoint.
const STOPPING_LIMIT: Duration = Duration::from_secs(20);
/// How long server processes are waited for that have been told to end, and then killed.
const ORPHAN_LIMIT: Duration = Duration::from_secs(60);

/// Where PostgreSQL does not start because of them, by the end of its `log`: how long to wait for them.
pub(super) fn hold_up(log: &str) -> Option<Duration> {
    match () {
        () if log.contains("pre-existing shared memory block") => Some(ORPHAN_LIMIT),
        () if log.contains("lock file \"postmaster.pid\" already exists") => Some(STOPPING_LIMIT),
        () => None,
    }
}

/// Ends the orphans of `data`: as a postmaster does after a crash (SIGQUIT), and with SIGKILL once they have had their time since
/// `began`. They are ours: the folder's lock is held, and no server runs on it. Returns how many there were; where there
/// is no `/proc`, none is seen, and they are waited for.
pub(super) fn end(data: &Path, began: Instant) -> usize {
    let signal = if began.elapsed() < GRACE { libc::SIGQUIT } else { libc::SIGKILL };
    let found = find(data);
    for process in &found {
        tracing::warn!(process, signal, "ending a server process that has outlived its server");
        // SAFETY: a signal to a process that had the data folder of ours, and our server's program, a moment ago.
        unsafe { libc::kill(*process, signal) };
    }
    found.len()
}

/// PostgreSQL's processes in `data`; none where one of them is the parent of another: that is a server which lives.
fn find(data: &Path) -> Vec<libc::pid_t> {
    let Ok(data) = fs::canonicalize(data) else { return Vec::new() };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<libc::pid_t>().ok());
    let found: Vec<(libc::pid_t, libc::pid_t)> =
        processes.filter(|process| is_server_in(*process, &data)).filter_map(|id| Some((id, parent(id)?))).collect();
    if found.iter().any(|(_, parent)| found.iter().any(|(process, _)| process == parent)) {
        return Vec::new();
    }
    found.into_iter().map(|(process, _)| process).collect()
}

fn is_server_in(process: libc::pid_t, data: &Path) -> bool {
    let link = |name: &str| fs::read_link(format!("/proc/{process}/{name}")).ok();
    // An upgrade adds " (deleted)" to the program's name.
    let program = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("postgres"));
    link("cwd").is_some_and(|folder| folder == data) && link("exe").is_some_and(|path| program(&path))
}

fn parent(process: libc::pid_t) -> Option<libc::pid_t> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // "1234 (postgres) R 1 …", where the name may have anything in it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
