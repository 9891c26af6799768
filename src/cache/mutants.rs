//! Deliberate breakages, for the tests that must catch them (`make prove-cache`, `make prove-walls`); compiled with the
//! feature `mutants` only.
//!
//! With that feature, also of the real thing, what happens between two steps of the protocol takes a random moment
//! longer, so that what can go wrong between them does.

use std::sync::LazyLock;
use std::time::Duration;

use rand::Rng;

/// A rule, broken: all but the last are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Readers join a round whose statement has been sent.
    JoinInFlight,
    /// The versions are read after the data.
    VersionAfterData,
    /// Versions move in a transaction of their own, before the write's.
    BumpBefore,
    /// Versions move in a transaction of their own, after the write's.
    BumpAfter,
    /// Whoever misses the same answer shares it, whatever the versions.
    FlightWithoutVersion,
    /// The version is the largest slot instead of the sum.
    Maximum,
    /// What a round knows is not forgotten when the snapshot moves.
    KnownForever,
    /// Statements leave the tenant's predicate out.
    WithoutTenant,
}

/// The protocol's.
pub const ALL: [(&str, Mutant); 7] = [
    ("join-in-flight", Mutant::JoinInFlight),
    ("version-after-data", Mutant::VersionAfterData),
    ("bump-before", Mutant::BumpBefore),
    ("bump-after", Mutant::BumpAfter),
    ("flight-without-version", Mutant::FlightWithoutVersion),
    ("maximum", Mutant::Maximum),
    ("known-forever", Mutant::KnownForever),
];

/// Those that the second wall must hold against.
pub const WALLS: [(&str, Mutant); 1] = [("without-tenant", Mutant::WithoutTenant)];

/// Whether versions are moved apart from writes: the tests drop the triggers that would do it, and no check may notice.
pub fn moves_by_hand() -> bool {
    is(Mutant::BumpBefore) || is(Mutant::BumpAfter)
}

static CHOSEN: LazyLock<Option<Mutant>> = LazyLock::new(|| {
    let name = std::env::var("RAPPORT_MUTANT").ok()?;
    ALL.iter().chain(&WALLS).find(|(known, _)| *known == name).map(|(_, mutant)| *mutant)
});

pub fn is(mutant: Mutant) -> bool {
    *CHOSEN == Some(mutant)
}

fn moment() -> Duration {
    // Mostly nothing, so that the test still asks a lot.
    match rand::rng().random_range(0..10) {
        0 => Duration::from_micros(rand::rng().random_range(0..5_000)),
        _ => Duration::ZERO,
    }
}

/// A random moment, on a thread that may block.
pub fn stall() {
    std::thread::sleep(moment());
}

/// A random moment, on one that may not.
pub async fn linger() {
    tokio::time::sleep(moment()).await;
}
