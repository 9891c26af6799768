//! Model checking of the cache protocol: every order of events at a small size, not only those that a test happens to
//! produce.
//!
//! The model covers what the triggers of `migrations/*_cache` do on a write, and what `src/cache` does on a read of one
//! response that is made of all rows. The value of the rows is the set of visible writes. Size: two writers of one
//! transaction each, which may overlap and may be rolled back, on one slot and new ones (a missing slot counts 0); two
//! reads on two replicas, or three (`RAPPORT_TEST_MODEL_READERS=3`, as in `make prove-cache`), each replica with its
//! own validation rounds and single flights.
//!
//! Both tiers of the cache are one store that keeps everything and returns an entry or nothing, nondeterministically.
//! So evicted entries, late ones, old ones that return and those of another process are among the orders of events; and
//! whatever a leader finds in Redis, it and its followers could have hit.
//!
//! A snapshot is what `pg_current_snapshot` returns: which transactions have ended. A replica keeps the result of its
//! last round while the snapshot is the same.
//!
//! Some steps are two in reality, where separating them adds no harder case: a slot is taken and its value drawn; a
//! read begins and joins a round (beginning late, it must show most); it gets its response and ends (ending early, it
//! requires most of others).
//!
//! Left out: several versions in one response (a round reads all in one snapshot), credentials, epochs, rounds that
//! fail or are late (their reads show nothing), and cancelled readers (their flight continues without them).

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model, Property};

const WRITERS: usize = 2;
const READERS: usize = 3;
const REPLICAS: usize = 2;
/// One that existed from the start, and one that each writer may add.
const SLOTS: usize = 1 + WRITERS;

const NEVER_STALE: &str = "a read shows all that was acknowledged or shown before it began";

/// A set of writes: bit n is writer n.
type Writes = u8;
type Version = u8;
/// How many transactions of each writer have ended: two where its data and its version are committed apart.
type Snapshot = [u8; WRITERS];

/// A deliberately broken rule of the protocol; the same as in `src/base/mutants.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// Readers join a round whose statement was already sent.
    JoinInFlight,
    /// The versions are read after the data.
    VersionAfterData,
    /// The version is visible before the data.
    BumpBeforeCommit,
    /// The version is visible after the data, though before the write is acknowledged.
    BumpAfterCommit,
    /// Readers that miss the same response share a flight, whatever their versions.
    FlightWithoutVersion,
    /// The version is the largest slot.
    MaximumInsteadOfSum,
    /// The result of a round is reused under every later snapshot.
    KnownForever,
}

struct Protocol {
    broken: Option<Broken>,
    readers: usize,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct State {
    /// The writes that are visible in the database.
    visible: Writes,
    /// The slots that are visible in the database; 0 is one that has not been added.
    slots: [Version; SLOTS],
    /// The next value of the sequence. It is not reset when a writer is rolled back.
    next_value: Version,
    writers: [Writer; WRITERS],
    /// Per replica, what the round in flight found.
    rounds: [Option<Version>; REPLICAS],
    /// Per replica, what its last round found, and its snapshot.
    known: [Option<(Snapshot, Version)>; REPLICAS],
    /// Everything that was ever stored.
    entries: BTreeSet<(Version, Writes)>,
    readers: [Reader; READERS],
}

/// An open one has changed the rows and set a slot, invisible to others. A half one shows only the data or only the
/// version: there are none while the rules hold.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Writer {
    Idle,
    Open { slot: usize, value: Version },
    Half { slot: usize, value: Version },
    Committed,
    Acknowledged,
    RolledBack,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Reader {
    replica: usize,
    /// Acknowledged, or shown by a read that had ended, when this one began.
    required: Writes,
    phase: Phase,
    /// Data that was read too early, if the versions are read after the data.
    early: Option<Writes>,
}

/// A reader waits for the next round, is aboard when it is sent, and knows the version when it is delivered. Then it
/// hits, leads (`found` when its query has a snapshot) or follows; it is alone if its leader failed.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Phase {
    Idle,
    Waiting,
    Aboard,
    Validated { version: Version },
    Leading { version: Version, found: Option<Writes> },
    Following { leader: usize },
    Alone,
    Failed,
    Ended { shown: Writes, hit: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Write { writer: usize, slot: usize },
    Commit { writer: usize },
    RollBack { writer: usize },
    Acknowledge { writer: usize },
    Begin { reader: usize, replica: usize },
    Send { replica: usize },
    Deliver { replica: usize },
    Hit { reader: usize, entry: Writes },
    Board { reader: usize },
    Compute { reader: usize },
    Land { reader: usize },
    Fail { reader: usize },
}

const NOBODY: Reader = Reader { replica: 0, required: 0, phase: Phase::Idle, early: None };

impl Reader {
    fn ended(self, shown: Writes, hit: bool) -> Self {
        // Its replica does not matter any more: two states become one.
        Self { replica: 0, phase: Phase::Ended { shown, hit }, ..self }
    }
}

impl State {
    fn is_free(&self, slot: usize) -> bool {
        !self.writers.iter().any(|writer| match writer {
            Writer::Open { slot: held, .. } | Writer::Half { slot: held, .. } => *held == slot,
            _ => false,
        })
    }

    /// The writes that a read beginning now must show.
    fn required(&self) -> Writes {
        let acknowledged = (0..WRITERS).filter(|&writer| self.writers[writer] == Writer::Acknowledged);
        let shown = self.shown().map(|(_, shown, _)| shown);
        acknowledged.map(|writer| 1 << writer).chain(shown).fold(0, |all, some| all | some)
    }

    fn snapshot(&self) -> Snapshot {
        self.writers.map(|writer| match writer {
            Writer::Idle | Writer::Open { .. } => 0,
            Writer::Half { .. } => 1,
            Writer::Committed | Writer::Acknowledged | Writer::RolledBack => 2,
        })
    }

    /// The reads that have ended, what they showed and whether it was a hit.
    fn shown(&self) -> impl Iterator<Item = (&Reader, Writes, bool)> {
        self.readers.iter().filter_map(|reader| match reader.phase {
            Phase::Ended { shown, hit } => Some((reader, shown, hit)),
            _ => None,
        })
    }

    /// Entries with exactly this version.
    fn entries(&self, version: Version) -> impl Iterator<Item = Writes> {
        self.entries.iter().filter(move |(known, _)| *known == version).map(|(_, writes)| *writes)
    }

    fn on(&self, replica: usize, phase: Phase) -> impl Iterator<Item = usize> {
        let readers = self.readers;
        (0..READERS).filter(move |&reader| readers[reader].replica == replica && readers[reader].phase == phase)
    }
}

impl Protocol {
    fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    fn version(&self, slots: &[Version; SLOTS]) -> Version {
        match self.breaks(Broken::MaximumInsteadOfSum) {
            true => slots.iter().copied().max().unwrap_or(0),
            false => slots.iter().sum(),
        }
    }

    /// Data and version become visible together; if that rule is broken, one, and on a second call the other.
    fn commit(&self, state: &mut State, writer: usize) {
        let (Writer::Open { slot, value } | Writer::Half { slot, value }) = state.writers[writer] else { return };
        let first = state.writers[writer] == Writer::Open { slot, value };
        let (data, version) = match self.broken {
            Some(Broken::BumpBeforeCommit) => (!first, first),
            Some(Broken::BumpAfterCommit) => (first, !first),
            _ => (true, true),
        };
        state.visible |= Writes::from(data) << writer;
        if version {
            state.slots[slot] = value;
        }
        state.writers[writer] = if first && data != version { Writer::Half { slot, value } } else { Writer::Committed };
    }

    /// The leader of the flight that this reader joins.
    fn leader(&self, state: &State, reader: usize, course: Version) -> Option<usize> {
        let any = self.breaks(Broken::FlightWithoutVersion);
        let leads = |phase| matches!(phase, Phase::Leading { version, .. } if any || version == course);
        let replica = state.readers[reader].replica;
        state.readers.iter().position(|other| other.replica == replica && leads(other.phase))
    }

    fn write_actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Writers are interchangeable: the first is the one that draws first.
        if let Some(writer) = state.writers.iter().position(|writer| *writer == Writer::Idle) {
            let free = || (0..SLOTS).filter(|&slot| state.is_free(slot));
            let set = free().filter(|&slot| state.slots[slot] > 0);
            let new = free().find(|&slot| state.slots[slot] == 0);
            actions.extend(set.chain(new).map(|slot| Action::Write { writer, slot }));
        }
        for writer in 0..WRITERS {
            match state.writers[writer] {
                Writer::Open { .. } => actions.extend([Action::Commit { writer }, Action::RollBack { writer }]),
                Writer::Half { .. } => actions.push(Action::Commit { writer }),
                Writer::Committed => actions.push(Action::Acknowledge { writer }),
                _ => {}
            }
        }
    }

    fn read_actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Readers are interchangeable, and so are replicas: the first of each is the one that begins first.
        if let Some(reader) = (0..self.readers).find(|&reader| state.readers[reader].phase == Phase::Idle) {
            actions.extend((0..REPLICAS.min(reader + 1)).map(|replica| Action::Begin { reader, replica }));
        }
        for replica in 0..REPLICAS {
            if state.rounds[replica].is_some() {
                actions.push(Action::Deliver { replica });
            } else if state.on(replica, Phase::Waiting).next().is_some() {
                actions.push(Action::Send { replica });
            }
        }
        for reader in 0..READERS {
            match state.readers[reader].phase {
                Phase::Validated { version } => {
                    actions.extend(state.entries(version).map(|entry| Action::Hit { reader, entry }));
                    actions.push(Action::Board { reader });
                }
                Phase::Leading { found: None, .. } => {
                    actions.extend([Action::Compute { reader }, Action::Fail { reader }]);
                }
                Phase::Leading { .. } => actions.push(Action::Land { reader }),
                Phase::Alone => actions.push(Action::Compute { reader }),
                _ => {}
            }
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut slots = [0; SLOTS];
        slots[0] = 1;
        vec![State {
            visible: 0,
            slots,
            next_value: 2,
            writers: [Writer::Idle; WRITERS],
            rounds: [None; REPLICAS],
            known: [None; REPLICAS],
            // An earlier read.
            entries: BTreeSet::from([(self.version(&slots), 0)]),
            readers: [NOBODY; READERS],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.write_actions(state, actions);
        self.read_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let followers = |leader: usize| last.on(last.readers[leader].replica, Phase::Following { leader });
        match action {
            Action::Write { writer, slot } => {
                state.writers[writer] = Writer::Open { slot, value: last.next_value };
                state.next_value += 1;
            }
            Action::Commit { writer } => self.commit(&mut state, writer),
            Action::RollBack { writer } => state.writers[writer] = Writer::RolledBack,
            Action::Acknowledge { writer } => state.writers[writer] = Writer::Acknowledged,
            Action::Begin { reader, replica } => {
                let late = self.breaks(Broken::JoinInFlight) && last.rounds[replica].is_some();
                let phase = if late { Phase::Aboard } else { Phase::Waiting };
                let early = self.breaks(Broken::VersionAfterData).then_some(last.visible);
                state.readers[reader] = Reader { replica, required: last.required(), phase, early };
            }
            Action::Send { replica } => {
                let snapshot = last.snapshot();
                let still = |(known, _): &(Snapshot, Version)| *known == snapshot || self.breaks(Broken::KnownForever);
                let version =
                    last.known[replica].filter(still).map_or(self.version(&last.slots), |(_, version)| version);
                state.known[replica] = Some((snapshot, version));
                state.rounds[replica] = Some(version);
                last.on(replica, Phase::Waiting).for_each(|reader| state.readers[reader].phase = Phase::Aboard);
            }
            Action::Deliver { replica } => {
                let phase = Phase::Validated { version: state.rounds[replica].take()? };
                last.on(replica, Phase::Aboard).for_each(|reader| state.readers[reader].phase = phase);
            }
            Action::Hit { reader, entry } => state.readers[reader] = last.readers[reader].ended(entry, true),
            Action::Board { reader } => {
                let Phase::Validated { version } = last.readers[reader].phase else { return None };
                state.readers[reader].phase = match self.leader(last, reader, version) {
                    Some(leader) => Phase::Following { leader },
                    None => Phase::Leading { version, found: None },
                };
            }
            Action::Compute { reader } => {
                let computed = last.readers[reader].early.unwrap_or(last.visible);
                match &mut state.readers[reader].phase {
                    Phase::Leading { found, .. } => *found = Some(computed),
                    _ => state.readers[reader] = last.readers[reader].ended(computed, false),
                }
            }
            Action::Land { reader } => {
                let Phase::Leading { version, found: Some(shown) } = last.readers[reader].phase else { return None };
                state.entries.insert((version, shown));
                let all = followers(reader).chain([reader]);
                all.for_each(|reader| state.readers[reader] = last.readers[reader].ended(shown, false));
            }
            Action::Fail { reader } => {
                state.readers[reader] = Reader { phase: Phase::Failed, ..NOBODY };
                followers(reader).for_each(|follower| state.readers[follower].phase = Phase::Alone);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEVER_STALE, |_, state: &State| {
                state.shown().all(|(reader, shown, _)| reader.required & !shown == 0)
            }),
            Property::always("nothing is shown that is not committed", |_, state: &State| {
                state.shown().all(|(_, shown, _)| shown & !state.visible == 0)
            }),
            Property::sometimes("a hit shows what it must", |_, state: &State| {
                state.shown().any(|(reader, _, hit)| hit && reader.required != 0)
            }),
            Property::sometimes("who follows must show something", |_, state: &State| {
                let follows = |reader: &Reader| matches!(reader.phase, Phase::Following { .. });
                state.readers.iter().any(|reader| follows(reader) && reader.required != 0)
            }),
            Property::sometimes("a follower of a failed leader must show something", |_, state: &State| {
                state.readers.iter().any(|reader| reader.phase == Phase::Alone && reader.required != 0)
            }),
            Property::sometimes("an entry is newer than its version says", |_, state: &State| {
                // Two under one version: one of them was computed after the next write.
                state.entries.iter().any(|(version, _)| state.entries(*version).count() > 1)
            }),
            Property::sometimes("one replica has two flights, of different versions", |_, state: &State| {
                let leads = |reader: &&Reader| reader.replica == 0 && matches!(reader.phase, Phase::Leading { .. });
                state.readers.iter().filter(leads).count() > 1
            }),
            Property::sometimes("a version is known from an earlier round", |_, state: &State| {
                (0..REPLICAS).any(|replica| {
                    let known = state.known[replica].is_some_and(|(snapshot, _)| snapshot == state.snapshot());
                    known && state.on(replica, Phase::Waiting).next().is_some()
                })
            }),
            Property::sometimes("what was drawn first is committed last", |_, state: &State| {
                matches!(state.writers, [Writer::Open { .. }, Writer::Acknowledged])
            }),
        ]
    }
}

#[test]
fn cache_protocol_every_interleaving_never_stale() {
    let began = std::time::Instant::now();
    let readers = std::env::var("RAPPORT_TEST_MODEL_READERS").map_or(2, |text| text.parse().expect("a number"));
    assert!((1..=READERS).contains(&readers), "{readers} readers");
    let checker = Protocol { broken: None, readers }.checker().spawn_bfs().join();
    println!("{} states, all that there are, in {:?}", checker.unique_state_count(), began.elapsed());
    assert!(checker.is_done());
    checker.assert_properties();
}

#[test]
fn cache_protocol_each_broken_rule_yields_a_stale_read() {
    use Broken::*;
    let rules = [
        JoinInFlight,
        VersionAfterData,
        BumpBeforeCommit,
        BumpAfterCommit,
        FlightWithoutVersion,
        MaximumInsteadOfSum,
        KnownForever,
    ];
    let enough = HasDiscoveries::AnyOf(BTreeSet::from([NEVER_STALE]));
    for broken in rules {
        // Two are enough: one that is early and one that is misled.
        let model = Protocol { broken: Some(broken), readers: 2 };
        let checker = model.checker().finish_when(enough.clone()).spawn_bfs().join();
        let found = checker.discovery(NEVER_STALE).unwrap_or_else(|| panic!("{broken:?} makes no read stale"));
        println!("{broken:?}, among {} states: {:?}", checker.unique_state_count(), found.into_actions());
    }
}
