//! Panics on purpose, to test that real tasks survive panics; compiled with the feature `mutants` only.
//!
//! `RAPPORT_MUTANT=panic-<task>` makes that task panic in its own loop, at the first successes that it reports.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Number of panics: the second one shows that the restart works, too.
const TIMES: u32 = 2;

static DONE: AtomicU32 = AtomicU32::new(0);

static CHOSEN: LazyLock<Option<String>> =
    LazyLock::new(|| Some(std::env::var("RAPPORT_MUTANT").ok()?.strip_prefix("panic-")?.to_owned()));

/// Panics if `task` is chosen and has not yet panicked often enough.
#[expect(clippy::panic, reason = "the panic is what is tested")]
pub(super) fn pass(task: &str) {
    if CHOSEN.as_deref() == Some(task) && DONE.fetch_add(1, Ordering::Relaxed) < TIMES {
        panic!("on purpose, as RAPPORT_MUTANT asks");
    }
}
