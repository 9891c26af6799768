//! Model checking of the cache protocol (docs/CACHE.md): every order of events at a small size, not only those that a
//! test happens to produce.
//!
//! The model covers what the triggers of the log do on a write, what `src/cache` does on a read of one response, the
//! trimming of the log, and, in a run of its own, a restart of the server. Size: two writers of one transaction each,
//! which may overlap and may be rolled back; two readers on two replicas, one of which starts at any time. `make
//! prove-cache` has three readers (`RAPPORT_TEST_MODEL_READERS`, and `RAPPORT_TEST_MODEL_WRITERS`), but only moves of
//! rows between lists. In one of the models readers may read ahead, before the reply of their round; with
//! `RAPPORT_TEST_MODEL_AHEAD`, in all with two readers. All readers request the same: a row, or the list of the rows with one link. The value of a
//! response is the set of writes that it shows.
//!
//! A read must show each write that concerns it and was committed when it began. That is more than the promise: a write
//! is acknowledged after its commit, and what an earlier read showed was committed when that read ended. So reads do
//! not go back in time either.
//!
//! Both tiers return any entry that they ever had, or nothing, nondeterministically. So evicted entries, late ones and
//! old ones that return are among the orders of events. Redis has an entry for each snapshot that ever was, as a
//! process outside the model could have stored it, with data of just that moment: what a reader of the model stores
//! under the same snapshot is not older.
//!
//! Some steps are two in reality, where separating them adds no harder case: a transaction begins and changes its rows;
//! it commits and is acknowledged (early, it requires most of reads); a read begins and joins a round (late, it must
//! show most); it gets its response and ends; a round finds more changes than it reads, and sends its second statement.
//! Where a step can be at any time before another, both are one: a horizon is any snapshot of the past, whenever it was
//! recorded, and a reader shares any result in flight, whenever it joined.
//!
//! Left out: several statements or tags in one response (each is judged alone), credentials (they are judged like
//! entries), rounds that fail (their readers show nothing, and the next one begins where the last success ended),
//! epochs with another history, and cancelled readers (their flight continues without them).

mod properties;
mod protocol;
mod state;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use self::properties::NEVER_STALE;
use self::protocol::{Broken, Protocol};
use self::state::{READERS, WRITERS};

/// Enough for most broken rules.
const SMALL: Protocol = Protocol { broken: None, writers: 2, readers: 2, restarts: 0, all_kinds: false, ahead: false };

/// Whether readers read ahead of their round in the larger models, too, which takes minutes (`make prove-cache`).
fn is_thorough() -> bool {
    std::env::var_os("RAPPORT_TEST_MODEL_AHEAD").is_some()
}

/// Explores all states, in each of which the properties must hold.
fn explore(model: Protocol) {
    let began = Instant::now();
    let checker = model.checker().spawn_bfs().join();
    println!("{} states, all that there are, in {:?}", checker.unique_state_count(), began.elapsed());
    assert!(checker.is_done());
    checker.assert_properties();
}

#[test]
fn cache_protocol_every_interleaving_never_stale() {
    explore(Protocol { all_kinds: true, ahead: is_thorough(), ..SMALL });
}

#[test]
fn cache_protocol_every_interleaving_with_a_restart_never_stale() {
    explore(Protocol { restarts: 1, ahead: is_thorough(), ..SMALL });
}

#[test]
fn cache_protocol_every_interleaving_of_more_readers_never_stale() {
    let number = |name: &str| std::env::var(name).map_or(2, |text| text.parse().expect("a number"));
    let (writers, readers) = (number("RAPPORT_TEST_MODEL_WRITERS"), number("RAPPORT_TEST_MODEL_READERS"));
    assert!((2..=WRITERS).contains(&writers), "{writers} writers");
    assert!((2..=READERS).contains(&readers), "{readers} readers");
    explore(Protocol { writers, readers, ahead: readers == 2, ..SMALL });
}

/// A deliberate bug each, as the other `mutants`.
#[test]
#[cfg_attr(not(feature = "mutants"), ignore = "make prove-cache")]
fn cache_protocol_each_broken_rule_yields_a_stale_read() {
    use Broken::*;
    let rules = [
        JoinInFlight,
        BaseAfterData,
        NoLook,
        WithoutXip,
        HorizonByTime,
        WithoutOldLinks,
        FlightWithoutLook,
        PartOfMany,
        JudgeWithoutXip,
        WithoutFlag,
        SmallestOfSeveral,
        LargestOfAll,
        JudgeUnknown,
        FloorOnlyLocal,
        GapUnnoticed,
        JudgeAfterFloor,
    ];
    let enough = HasDiscoveries::AnyOf(BTreeSet::from([NEVER_STALE]));
    for broken in rules {
        let restarts = u8::from(broken == JudgeAfterFloor);
        let all_kinds = broken == FloorOnlyLocal;
        // Results are shared in two ways: of a computation after a round, and of one ahead of it.
        let ways: &[bool] = if broken == FlightWithoutLook { &[false, true] } else { &[false] };
        for &ahead in ways {
            let model = Protocol { broken: Some(broken), restarts, all_kinds, ahead, ..SMALL };
            let checker = model.checker().finish_when(enough.clone()).spawn_bfs().join();
            let found = checker.discovery(NEVER_STALE).unwrap_or_else(|| panic!("{broken:?} makes no read stale"));
            println!("{broken:?}, among {} states: {:?}", checker.unique_state_count(), found.into_actions());
        }
    }
}
