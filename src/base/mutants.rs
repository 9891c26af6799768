//! Deliberate bugs for the tests that must catch them (`make prove-cache`, `make test-rls`); compiled only with the
//! feature `mutants`.
//!
//! With that feature, even without a mutant selected, steps of the cache protocol are delayed at random to expose
//! races.

use std::sync::LazyLock;
use std::time::Duration;

use rand::Rng;

/// One violated rule each; all but the last belong to the cache protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Readers join a validation round whose statement has been sent.
    JoinInFlight,
    /// Versions are read after the data.
    VersionAfterData,
    /// Versions are bumped in a separate transaction, before the write.
    BumpBefore,
    /// Versions are bumped in a separate transaction, after the write.
    BumpAfter,
    /// Requests that miss the same entry share one computation, whatever the versions.
    FlightWithoutVersion,
    /// A version is the largest of its slots instead of their sum.
    Maximum,
    /// Known versions are kept when the snapshot changes.
    KnownForever,
    /// Statements omit the tenant predicate.
    WithoutTenant,
}

/// The mutants of the cache protocol.
pub const ALL: [(&str, Mutant); 7] = [
    ("join-in-flight", Mutant::JoinInFlight),
    ("version-after-data", Mutant::VersionAfterData),
    ("bump-before", Mutant::BumpBefore),
    ("bump-after", Mutant::BumpAfter),
    ("flight-without-version", Mutant::FlightWithoutVersion),
    ("maximum", Mutant::Maximum),
    ("known-forever", Mutant::KnownForever),
];

/// The mutants that row-level security must contain.
pub const TENANT_MUTANTS: [(&str, Mutant); 1] = [("without-tenant", Mutant::WithoutTenant)];

/// Whether versions are bumped apart from writes: the tests drop the triggers that would do it, and the catalogue check
/// must not report that.
pub fn moves_by_hand() -> bool {
    is(Mutant::BumpBefore) || is(Mutant::BumpAfter)
}

static CHOSEN: LazyLock<Option<Mutant>> = LazyLock::new(|| {
    let name = std::env::var("RAPPORT_MUTANT").ok()?;
    ALL.iter().chain(&TENANT_MUTANTS).find(|(known, _)| *known == name).map(|(_, mutant)| *mutant)
});

pub fn is(mutant: Mutant) -> bool {
    *CHOSEN == Some(mutant)
}

/// In microseconds: about as long as a request on a slow machine takes, so that others end within it.
const LONGEST_PAUSE: u64 = 30_000;

fn moment() -> Duration {
    // Mostly zero, so that the test still sends many requests.
    match rand::rng().random_range(0..10) {
        0 => Duration::from_micros(rand::rng().random_range(0..LONGEST_PAUSE)),
        _ => Duration::ZERO,
    }
}

/// Sleeps for a random time; blocks the thread.
pub fn stall() {
    std::thread::sleep(moment());
}

/// Sleeps for a random time without blocking.
pub async fn delay() {
    tokio::time::sleep(moment()).await;
}
