//! Ends what is left of a previous embedded server: a postmaster that is stopping because its service was killed, and
//! server processes that outlived their postmaster because a busy one does not notice its exit. A new server cannot
//! start on the data folder before they have exited.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time for an orphan to exit after SIGQUIT, before SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Time limit for a stopping postmaster, which writes a checkpoint.
const STOPPING_LIMIT: Duration = Duration::from_secs(20);
/// Time limit for orphaned server processes, which are signalled and then killed.
const ORPHAN_LIMIT: Duration = Duration::from_secs(60);

/// Returns how long to wait where previous processes prevent a start, judged by the end of PostgreSQL's `log`.
pub(super) fn hold_up(log: &str) -> Option<Duration> {
    match () {
        () if log.contains("pre-existing shared memory block") => Some(ORPHAN_LIMIT),
        () if log.contains("lock file \"postmaster.pid\" already exists") => Some(STOPPING_LIMIT),
        () => None,
    }
}

/// Signals the orphans of `data`: SIGQUIT as a postmaster does after a crash, and SIGKILL after [`GRACE`] since
/// `began`. They are Rapport's: the folder's lock is held, and no server runs on it. Returns how many there were;
/// without `/proc` none is found, and they are only waited for.
pub(super) fn end(data: &Path, began: Instant) -> usize {
    let signal = if began.elapsed() < GRACE { libc::SIGQUIT } else { libc::SIGKILL };
    let found = find(data);
    for process in &found {
        tracing::warn!(process, signal, "ending a server process that has outlived its server");
        // SAFETY: a signal to a process that had this data folder and a PostgreSQL program a moment ago.
        unsafe { libc::kill(*process, signal) };
    }
    found.len()
}

/// Returns PostgreSQL's processes in `data`; none where one is the parent of another, which means a live server.
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
    // "1234 (postgres) R 1 …"; the name may contain any character.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
