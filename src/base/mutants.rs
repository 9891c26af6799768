//! Deliberate bugs for the tests that must catch them (`make prove-cache`, `make test-rls`, `make prove-statistics`,
//! `make prove-channels`); compiled only with the
//! feature `mutants`.
//!
//! With that feature, even without a mutant selected, steps of the cache protocol are delayed at random to expose
//! races.

use std::sync::LazyLock;
use std::time::Duration;

use rand::Rng;

/// One violated rule each: of the cache protocol, of tenants, of the statistics, of what channels deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Readers join a validation round whose statement has been sent.
    JoinInFlight,
    /// An entry's base is a round that was joined after its data was read.
    BaseAfterData,
    /// Entries are not compared with the changes since their base.
    NoLook,
    /// A round looks only at transactions that had not begun at the last one, not at those that were in progress.
    WithoutXip,
    /// The log is trimmed by age, whether or not its transactions could be seen.
    HorizonByTime,
    /// The triggers do not log what a row referred to before.
    WithoutOldLinks,
    /// Requests that miss the same entry share one computation, whatever has changed meanwhile.
    FlightWithoutLook,
    /// Of more changes than a round reads, it looks at the first only.
    PartOfMany,
    /// Statements omit the tenant predicate.
    WithoutTenant,
    /// Sums and what is not folded are read by two statements.
    TwoStatements,
    /// The fold goes by the greatest place that it has seen: what commits later with a smaller one is forgotten.
    WatermarkBySequence,
    /// What a change counts is written in a transaction after its own.
    DeltaAfterCommit,
    /// The fold takes no lock, so days are made anew beside another one.
    FoldWithoutLock,
    /// The fold adds numbers and forgets amounts.
    AmountForgotten,
    /// A change counts what a row is, and does not take away what it was.
    BeforeForgotten,
    /// Days are used though they are of another zone.
    StaleRules,
    /// What channels tell of a message takes no lock of it.
    MessageUnlocked,
    /// People are looked for without their lock.
    PersonUnlocked,
    /// What waits for a message is not looked for when that comes.
    WaitingForgotten,
    /// A failure takes back that a message has arrived.
    FailureFalls,
    /// A message whose answer was lost is sent again.
    AnswerLostResent,
    /// What came of a message is recorded by a process that has lost it to another one.
    AttemptClaimUnchecked,
    /// The messages of a conversation do not wait for each other.
    OrderForgotten,
    /// A file is stored by a process that has lost it to another one.
    FileClaimUnchecked,
}

/// The mutants of the cache protocol.
pub const ALL: [(&str, Mutant); 8] = [
    ("join-in-flight", Mutant::JoinInFlight),
    ("base-after-data", Mutant::BaseAfterData),
    ("no-look", Mutant::NoLook),
    ("without-xip", Mutant::WithoutXip),
    ("horizon-by-time", Mutant::HorizonByTime),
    ("without-old-links", Mutant::WithoutOldLinks),
    ("flight-without-look", Mutant::FlightWithoutLook),
    ("part-of-many", Mutant::PartOfMany),
];

/// The mutants that row-level security must contain.
pub const TENANT_MUTANTS: [(&str, Mutant); 1] = [("without-tenant", Mutant::WithoutTenant)];

/// The mutants of the statistics.
pub const STATISTICS_MUTANTS: [(&str, Mutant); 7] = [
    ("two-statements", Mutant::TwoStatements),
    ("watermark-by-sequence", Mutant::WatermarkBySequence),
    ("delta-after-commit", Mutant::DeltaAfterCommit),
    ("fold-without-lock", Mutant::FoldWithoutLock),
    ("amount-forgotten", Mutant::AmountForgotten),
    ("before-forgotten", Mutant::BeforeForgotten),
    ("stale-rules", Mutant::StaleRules),
];

/// The mutants of what channels deliver.
pub const CHANNEL_MUTANTS: [(&str, Mutant); 4] = [
    ("message-unlocked", Mutant::MessageUnlocked),
    ("person-unlocked", Mutant::PersonUnlocked),
    ("waiting-forgotten", Mutant::WaitingForgotten),
    ("failure-falls", Mutant::FailureFalls),
];

/// The mutants of what is sent to channels, and fetched from them.
pub const SENDING_MUTANTS: [(&str, Mutant); 4] = [
    ("answer-lost-resent", Mutant::AnswerLostResent),
    ("attempt-claim-unchecked", Mutant::AttemptClaimUnchecked),
    ("order-forgotten", Mutant::OrderForgotten),
    ("file-claim-unchecked", Mutant::FileClaimUnchecked),
];

/// Whether the tests change what the database does, which the catalogue check must not report.
pub fn changes_database() -> bool {
    [Mutant::WithoutOldLinks, Mutant::HorizonByTime, Mutant::DeltaAfterCommit, Mutant::BeforeForgotten]
        .into_iter()
        .any(is)
}

static CHOSEN: LazyLock<Option<Mutant>> = LazyLock::new(|| {
    let name = std::env::var("RAPPORT_MUTANT").ok()?;
    ALL.iter()
        .chain(&TENANT_MUTANTS)
        .chain(&STATISTICS_MUTANTS)
        .chain(&CHANNEL_MUTANTS)
        .chain(&SENDING_MUTANTS)
        .find(|(known, _)| *known == name)
        .map(|(_, mutant)| *mutant)
});

pub fn is(mutant: Mutant) -> bool {
    *CHOSEN == Some(mutant)
}

/// In microseconds: about as long as a request on a slow machine takes, so that others end within it.
const LONGEST_PAUSE: u64 = 30_000;

fn moment() -> Duration {
    // Mostly zero, so that the test still sends many requests; but this one is found only by what happens within it.
    let is_always = is(Mutant::FoldWithoutLock);
    match rand::rng().random_range(0..10) {
        place if place == 0 || is_always => Duration::from_micros(rand::rng().random_range(0..LONGEST_PAUSE)),
        _ => Duration::ZERO,
    }
}

/// Sleeps for a random time; blocks the thread.
pub fn stall() {
    std::thread::sleep(moment());
}

/// Sleeps for about as long as a pass of the fold takes, where a mutant has steps that may come apart; blocks the thread.
pub fn stall_for_a_pass() {
    std::thread::sleep(Duration::from_micros(rand::rng().random_range(0..5 * LONGEST_PAUSE)));
}

/// Sleeps for a random time without blocking.
pub async fn delay() {
    tokio::time::sleep(moment()).await;
}
