//! The steps of the protocol, its rules, and what each broken rule changes.

use std::collections::BTreeSet;

use stateright::{Model, Property};

use super::properties;
use super::state::*;

/// A deliberately broken rule of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    // The same as in `src/base/mutants.rs`.
    /// Readers join a round whose statement was already sent.
    JoinInFlight,
    /// The base is a round that was joined after the data was read.
    BaseAfterData,
    /// A hit is not compared with the changes since its base.
    NoLook,
    /// A round reads only changes from `xmax` of the last one on.
    WithoutXip,
    /// The log is trimmed by age: of what began before the horizon, also what that does not see.
    HorizonByTime,
    /// Changes do not touch what the row referred to before.
    WithoutOldLinks,
    /// The result of a computation is shared without a comparison.
    FlightWithoutLook,
    /// Of many changes a round reads only some.
    PartOfMany,

    // What else the argument needs.
    /// The snapshot of an entry of Redis is taken to see what was in progress.
    JudgeWithoutXip,
    /// Of several changes in one round, the largest xid stands for all.
    WithoutFlag,
    /// Of several changes in one round, the smallest xid is stored.
    SmallestOfSeveral,
    /// The xid of a slot never becomes smaller, whatever a later round finds.
    LargestOfAll,
    /// An entry of Redis is judged though the process does not know all changes since.
    JudgeUnknown,
    /// A raised floor concerns only the local tier.
    FloorOnlyLocal,
    /// A round does not notice that changes were trimmed before it could read them.
    GapUnnoticed,
    /// An entry of Redis is judged by slots of a round that has raised the floor since the reader's own: of a new
    /// epoch, it has emptied them. (So the floor is compared after the slots.)
    JudgeAfterFloor,
}

/// The protocol, and the size of its model.
pub(super) struct Protocol {
    pub(super) broken: Option<Broken>,
    pub(super) writers: usize,
    pub(super) readers: usize,
    pub(super) restarts: Epoch,
    /// Besides moves and a list, what makes the states many: TRUNCATE, and responses that are a row.
    pub(super) all_kinds: bool,
    /// Whether readers read ahead of their round.
    pub(super) ahead: bool,
}

/// `whole`: there are more changes than are read, so the whole table counts as changed, or at the start as unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Write(Change),
    Commit { xid: Xid },
    RollBack { xid: Xid },
    Trim { horizon: Snapshot, most: usize },
    Restart,
    Start { replica: usize, whole: bool },
    Begin { reader: usize, replica: usize },
    Send { replica: usize, whole: bool },
    Deliver { replica: usize },
    Hit { reader: usize, entry: Writes },
    HitRedis { reader: usize, entry: Writes },
    Share { reader: usize, result: Writes },
    ReadAhead { reader: usize },
    Compute { reader: usize },
    Land { reader: usize },
}

impl Protocol {
    fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    /// Whether the change's row in the log has this tag.
    fn touches(&self, xid: Xid, tag: Tag) -> bool {
        let (old, new) = Change::links(xid);
        tag == Tag::Row(xid) || tag == Tag::Link(new) || tag == Tag::Link(old) && !self.breaks(Broken::WithoutOldLinks)
    }

    /// The changes that trimming by `horizon` removes.
    fn trims(&self, state: &State, horizon: Snapshot) -> impl Iterator<Item = Xid> {
        let by_time = self.breaks(Broken::HorizonByTime);
        let old = move |xid: &Xid| horizon.sees(*xid) || by_time && *xid < horizon.xmax;
        state.log().map(|(xid, _)| xid).filter(old)
    }

    /// The changes that a round after `last` finds; in another epoch, or when the process starts, the whole log.
    fn changes(&self, state: &State, last: Option<Base>) -> Vec<(Xid, Change)> {
        let Some(last) = last.filter(|last| last.epoch == state.epoch) else { return state.log().collect() };
        let since = if self.breaks(Broken::WithoutXip) { last.snapshot.without_xip() } else { last.snapshot };
        let most = if self.breaks(Broken::PartOfMany) { 1 } else { WRITERS };
        state.log().filter(|(xid, _)| !since.sees(*xid)).take(most).collect()
    }

    /// The statement of a round after `last`.
    fn round(&self, state: &State, last: Option<Base>, whole: bool) -> Round {
        let changes = self.changes(state, last);
        let moves = changes.iter().filter(|(_, change)| *change == Change::Move).map(|(xid, _)| *xid);
        let slot = |slot: usize| {
            let shared = slot < state.shared_slots;
            let touches = |xid: &Xid| whole || shared || self.touches(*xid, state.tag);
            let xids: Vec<Xid> = moves.clone().filter(touches).collect();
            let chosen = if self.breaks(Broken::SmallestOfSeveral) { xids.first() } else { xids.last() };
            let several = xids.len() > 1 && !self.breaks(Broken::WithoutFlag);
            chosen.filter(|_| whole == (slot == WHOLE)).map(|xid| Found { xid: *xid, several })
        };
        let snapshot = state.snapshot();
        let gap = |last: Base| !last.snapshot.includes(state.mark) && !self.breaks(Broken::GapUnnoticed);
        let known_since = match last.filter(|last| last.epoch == state.epoch) {
            _ if changes.iter().any(|(_, change)| *change == Change::Truncate) => Some(snapshot),
            Some(last) => gap(last).then_some(snapshot),
            None if whole => Some(snapshot),
            None => Some(state.mark),
        };
        Round { epoch: state.epoch, snapshot, found: std::array::from_fn(slot), known_since }
    }

    /// Records a round in its process, as its readers will see it.
    fn record(&self, replica: &mut Replica, round: Round) -> Base {
        let mut base = Base { epoch: round.epoch, snapshot: round.snapshot, ..replica.last.unwrap_or(Base::FIRST) };
        base.number += Number::from(round.known_since.is_some() || round.found.iter().any(Option::is_some));
        if let Some(known_since) = round.known_since {
            replica.floor = base.number;
            if !self.breaks(Broken::FloorOnlyLocal) {
                base.known_since = known_since;
            }
        }
        if replica.last.is_some_and(|last| last.epoch != round.epoch) {
            replica.slots = [None; SLOTS];
        }
        for (slot, found) in replica.slots.iter_mut().zip(round.found) {
            let Some(mut found) = found else { continue };
            if let (true, Some((_, last))) = (self.breaks(Broken::LargestOfAll), *slot) {
                found.xid = found.xid.max(last.xid);
            }
            *slot = Some((base.number, found));
        }
        if !self.breaks(Broken::NoLook) {
            // An outdated entry never becomes valid again. So all that the local tier still has are hits.
            let all = std::mem::take(&mut replica.entries);
            replica.entries = all.into_iter().filter(|(base, _)| replica.is_current(*base)).collect();
        }
        replica.last = Some(base);
        base
    }

    /// Stores a response in the local tier.
    fn store(&self, replica: &mut Replica, base: Base, shown: Writes) {
        if replica.is_current(base.number) || self.breaks(Broken::NoLook) {
            replica.entries.insert((base.number, shown));
        }
    }

    /// The entries of Redis that a reader may use that is ready after `round`.
    pub(super) fn in_redis(&self, state: &State, reader: &Reader, round: Base) -> impl Iterator<Item = Writes> {
        let replica = &state.replicas[reader.replica];
        let is_late = round.number < replica.floor && !self.breaks(Broken::JudgeAfterFloor);
        state.redis.iter().filter_map(move |(epoch, snapshot, shown)| {
            let judged = if self.breaks(Broken::JudgeWithoutXip) { snapshot.without_xip() } else { *snapshot };
            let is_known = judged.includes(round.known_since) || self.breaks(Broken::JudgeUnknown);
            let sees = |last: Found| if last.several { last.xid < judged.xmin() } else { judged.sees(last.xid) };
            let is_valid = is_known && replica.holds(|(_, last)| sees(last));
            (*epoch == round.epoch && !is_late && is_valid).then_some(*shown)
        })
    }

    /// The results in flight that a reader may use that is ready, with their bases.
    pub(super) fn shared(&self, state: &State, reader: &Reader) -> impl Iterator<Item = (Base, Writes)> {
        let any = self.breaks(Broken::FlightWithoutLook);
        let replica = &state.replicas[reader.replica];
        state.in_flight(reader.replica).filter(move |(base, _)| any || replica.is_current(base.number))
    }

    fn write_actions(&self, state: &State, actions: &mut Vec<Action>) {
        // After the last round was sent, all these could only make responses newer.
        if !state.will_send(self.readers) {
            return;
        }
        if state.writers[..self.writers].contains(&Writer::Idle) {
            actions.push(Action::Write(Change::Move));
            // It changes every response in the same way: one is enough.
            if self.all_kinds && matches!(state.tag, Tag::Link(_)) {
                actions.push(Action::Write(Change::Truncate));
            }
        }
        for (writer, xid) in state.writers.iter().zip(0..) {
            if let Writer::Open(_) = writer {
                actions.extend([Action::Commit { xid }, Action::RollBack { xid }]);
            }
        }
        if state.epoch < self.restarts {
            actions.push(Action::Restart);
        }
        for (_, horizon, _) in &state.redis {
            if *horizon != state.mark && horizon.includes(state.mark) {
                // All that it sees, or those with the smallest xids, if they are many.
                let count = self.trims(state, *horizon).count();
                actions.extend((count.min(1)..=count).map(|most| Action::Trim { horizon: *horizon, most }));
            }
        }
    }

    fn round_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (replica, known) in state.replicas.iter().enumerate() {
            // How many are too many is left open: two may be.
            let many = self.changes(state, known.last).len() > 1;
            let whole = [false, true].into_iter().take(if many { 2 } else { 1 });
            if known.sent.is_some() {
                actions.push(Action::Deliver { replica });
            } else if known.last.is_none() && state.will_begin(self.readers) {
                actions.extend(whole.map(|whole| Action::Start { replica, whole }));
            } else if state.on(replica, Phase::Waiting).next().is_some() {
                actions.extend(whole.map(|whole| Action::Send { replica, whole }));
            }
        }
    }

    fn read_actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Readers are interchangeable: the first is the one that begins first.
        if let Some(reader) = (0..self.readers).find(|&reader| state.readers[reader].phase == Phase::Idle) {
            let started = (0..REPLICAS).filter(|&replica| state.replicas[replica].last.is_some());
            actions.extend(started.map(|replica| Action::Begin { reader, replica }));
        }
        for (reader, known) in state.readers.iter().enumerate() {
            match known.phase {
                Phase::Ready(round) => {
                    let local = state.replicas[known.replica].entries.iter();
                    actions.extend(local.map(|(_, entry)| Action::Hit { reader, entry: *entry }));
                    let redis = self.in_redis(state, known, round);
                    actions.extend(redis.map(|entry| Action::HitRedis { reader, entry }));
                    let shared = self.shared(state, known);
                    actions.extend(shared.map(|(_, result)| Action::Share { reader, result }));
                    actions.push(Action::Compute { reader });
                }
                Phase::Computed(..) => actions.push(Action::Land { reader }),
                // After its round is sent, it could only show more on the same base.
                Phase::Waiting if self.ahead && known.ahead.is_none() => actions.push(Action::ReadAhead { reader }),
                _ => {}
            }
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        // An earlier read has left its response.
        let first = Replica { last: Some(Base::FIRST), entries: BTreeSet::from([(0, 0)]), ..Replica::NEW };
        let request = |(tag, shared_slots)| State {
            tag,
            shared_slots,
            epoch: 0,
            writers: [Writer::Idle; WRITERS],
            trimmed: 0,
            mark: Snapshot::FIRST,
            replicas: [first.clone(), Replica::NEW],
            redis: BTreeSet::from([(0, Snapshot::FIRST, 0)]),
            readers: [Reader::IDLE; READERS],
        };
        // A row does not depend on the changes of others, unless their tags have its slots.
        let rows = if self.all_kinds { 0..self.writers as Xid } else { 0..0 };
        let rows = rows.flat_map(|xid| [0, 1, 2].map(|shared_slots| (Tag::Row(xid), shared_slots)));
        rows.chain([(Tag::Link(Link::Here), 0)]).map(request).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.write_actions(state, actions);
        self.round_actions(state, actions);
        self.read_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Write(change) => {
                let next = state.writers.iter_mut().find(|writer| **writer == Writer::Idle)?;
                *next = Writer::Open(change);
            }
            Action::Commit { xid } => {
                let writer = &mut state.writers[usize::from(xid)];
                let Writer::Open(change) = *writer else { return None };
                *writer = Writer::Committed(change);
            }
            Action::RollBack { xid } => state.writers[usize::from(xid)] = Writer::RolledBack,
            Action::Trim { horizon, most } => {
                state.mark = horizon;
                state.trimmed |= self.trims(last, horizon).take(most).fold(0, |all, xid| all | 1 << xid);
            }
            Action::Restart => {
                state.epoch += 1;
                let open = state.writers.iter_mut().filter(|writer| matches!(writer, Writer::Open(_)));
                open.for_each(|writer| *writer = Writer::RolledBack);
            }
            Action::Start { replica, whole } => {
                self.record(&mut state.replicas[replica], self.round(last, None, whole));
            }
            Action::Begin { reader, replica } => {
                let late = self.breaks(Broken::JoinInFlight) && last.replicas[replica].sent.is_some();
                let phase = if late { Phase::Aboard } else { Phase::Waiting };
                let early = self.breaks(Broken::BaseAfterData).then(|| last.data());
                state.readers[reader] = Reader { replica, required: last.data(), phase, ahead: None, early };
            }
            Action::Send { replica, whole } => {
                state.replicas[replica].sent = Some(self.round(last, last.replicas[replica].last, whole));
                last.on(replica, Phase::Waiting).for_each(|reader| state.readers[reader].phase = Phase::Aboard);
            }
            Action::Deliver { replica } => {
                let round = state.replicas[replica].sent.take()?;
                let phase = Phase::Ready(self.record(&mut state.replicas[replica], round));
                last.on(replica, Phase::Aboard).for_each(|reader| state.readers[reader].phase = phase);
            }
            Action::Hit { reader, entry: shown } | Action::Share { reader, result: shown } => {
                state.readers[reader] = last.readers[reader].ended(shown);
            }
            Action::HitRedis { reader, entry } => {
                let Reader { replica, phase: Phase::Ready(base), .. } = last.readers[reader] else { return None };
                state.readers[reader] = last.readers[reader].ended(entry);
                self.store(&mut state.replicas[replica], base, entry);
            }
            Action::ReadAhead { reader } => {
                let base = last.replicas[last.readers[reader].replica].last?;
                state.readers[reader].ahead = Some((base, last.data()));
            }
            Action::Compute { reader } => {
                let Reader { phase: Phase::Ready(round), ahead, early, .. } = last.readers[reader] else { return None };
                let (base, result) = ahead.unwrap_or_else(|| (round, early.unwrap_or_else(|| last.data())));
                state.readers[reader].phase = Phase::Computed(base, result);
                state.readers[reader].ahead = None;
            }
            Action::Land { reader } => {
                let Reader { replica, phase: Phase::Computed(base, result), .. } = last.readers[reader] else {
                    return None;
                };
                state.readers[reader] = last.readers[reader].ended(result);
                self.store(&mut state.replicas[replica], base, result);
            }
        }
        state.redis.insert((state.epoch, state.snapshot(), state.data()));
        state.merge(self.readers);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }
}
