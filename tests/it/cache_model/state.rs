//! What the database, the processes, Redis and the readers have at one moment.

use std::collections::BTreeSet;

/// At most; how many there are is up to [`Protocol`](super::protocol::Protocol).
pub(super) const WRITERS: usize = 3;
pub(super) const READERS: usize = 3;
pub(super) const REPLICAS: usize = 2;

/// A transaction's number: the index of its writer, since they begin in that order.
pub(super) type Xid = u8;
/// A set of writes: bit n is the one with xid n.
pub(super) type Writes = u8;
/// The number of a round. It counts only rounds that found something: no slot distinguishes others from the one before.
pub(super) type Number = u8;
/// How often the server has restarted.
pub(super) type Epoch = u8;

/// What `pg_current_snapshot` returns. A transaction that was rolled back counts as seen: it has left nothing to see.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Snapshot {
    /// All that have ended are below.
    pub(super) xmax: Xid,
    /// Those below that are in progress.
    pub(super) xip: Writes,
}

impl Snapshot {
    /// Before all writers.
    pub(super) const FIRST: Self = Self { xmax: 0, xip: 0 };

    pub(super) fn sees(self, xid: Xid) -> bool {
        xid < self.xmax && self.xip & 1 << xid == 0
    }

    pub(super) fn includes(self, other: Self) -> bool {
        (0..other.xmax).all(|xid| self.sees(xid) || !other.sees(xid))
    }

    /// All below have ended.
    pub(super) fn xmin(self) -> Xid {
        (0..self.xmax).find(|xid| !self.sees(*xid)).unwrap_or(self.xmax)
    }

    pub(super) fn without_xip(self) -> Self {
        Self { xip: 0, ..self }
    }
}

/// What a change touches, and what a response depends on.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) enum Tag {
    /// The row of the writer with this xid: each has one.
    Row(Xid),
    /// The rows that refer to this one of two others.
    Link(Link),
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) enum Link {
    Here,
    There,
}

/// What a transaction does.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) enum Change {
    /// It changes the link of its row.
    Move,
    /// It empties the table.
    Truncate,
}

impl Change {
    /// The link of a row before and after its move. The first one leaves the list that others enter.
    pub(super) fn links(xid: Xid) -> (Link, Link) {
        if xid == 0 { (Link::Here, Link::There) } else { (Link::There, Link::Here) }
    }

    /// Whether it changes a response with this tag, whatever the log has.
    pub(super) fn concerns(self, xid: Xid, tag: Tag) -> bool {
        let (old, new) = Self::links(xid);
        match (self, tag) {
            (Self::Truncate, _) => true,
            (Self::Move, Tag::Row(row)) => row == xid,
            (Self::Move, Tag::Link(link)) => link == old || link == new,
        }
    }
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) enum Writer {
    Idle,
    /// It has changed rows and appended to the log, invisible to others.
    Open(Change),
    Committed(Change),
    RolledBack,
}

/// The xid that a round found for a slot; of several the largest, and a flag.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) xid: Xid,
    pub(super) several: bool,
}

/// Two for the tag of the response, and one for all of its table. No other slot is looked at.
pub(super) const SLOTS: usize = 3;
/// The last one.
pub(super) const WHOLE: usize = 2;

/// The result of a round's statement.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) epoch: Epoch,
    pub(super) snapshot: Snapshot,
    pub(super) found: [Option<Found>; SLOTS],
    /// Raises the floor: from now on the process knows only the changes that this snapshot does not see.
    pub(super) known_since: Option<Snapshot>,
}

/// A round as its readers see it.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) number: Number,
    pub(super) epoch: Epoch,
    pub(super) snapshot: Snapshot,
    /// The process knows all changes that this snapshot does not see.
    pub(super) known_since: Snapshot,
}

impl Base {
    /// Before all writers.
    pub(super) const FIRST: Self =
        Self { number: 0, epoch: 0, snapshot: Snapshot::FIRST, known_since: Snapshot::FIRST };
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct Replica {
    /// Its last round; `None` before it has started.
    pub(super) last: Option<Base>,
    /// The round in flight.
    pub(super) sent: Option<Round>,
    /// The last changes, each with the number of its round.
    pub(super) slots: [Option<(Number, Found)>; SLOTS],
    pub(super) floor: Number,
    /// The local tier: bases, and which writes the responses show.
    pub(super) entries: BTreeSet<(Number, Writes)>,
}

impl Replica {
    pub(super) const NEW: Self =
        Self { last: None, sent: None, slots: [None; SLOTS], floor: 0, entries: BTreeSet::new() };

    /// Whether a condition holds for the last change of all of the table, and for that of one of the tag's slots.
    pub(super) fn holds(&self, condition: impl Fn((Number, Found)) -> bool) -> bool {
        let [one, other, whole] = self.slots.map(|last| last.is_none_or(&condition));
        (one || other) && whole
    }

    /// Whether no round has found a change after `base`.
    pub(super) fn is_current(&self, base: Number) -> bool {
        base >= self.floor && self.holds(|(number, _)| number <= base)
    }
}

/// A reader waits for the next round, is aboard when it is sent, and ready when it is delivered. Then it hits, or
/// shares what another reader has computed, or computes: reads the data, and later stores and shows them. It may have read them
/// ahead, after the last round and before its own.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Waiting,
    Aboard,
    Ready(Base),
    Computed(Base, Writes),
    Ended { stale: bool },
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) replica: usize,
    /// What its response must show.
    pub(super) required: Writes,
    pub(super) phase: Phase,
    /// What it has read ahead, with its base.
    pub(super) ahead: Option<(Base, Writes)>,
    /// Data that was read too early, if that rule is broken.
    pub(super) early: Option<Writes>,
}

impl Reader {
    pub(super) const IDLE: Self = Self { replica: 0, required: 0, phase: Phase::Idle, ahead: None, early: None };

    pub(super) fn ended(self, shown: Writes) -> Self {
        Self { phase: Phase::Ended { stale: self.required & !shown != 0 }, ..Self::IDLE }
    }

    fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Ended { .. })
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct State {
    /// What the response that all readers request depends on.
    pub(super) tag: Tag,
    /// How many of its slots the tags of all changes happen to share.
    pub(super) shared_slots: usize,
    pub(super) epoch: Epoch,
    pub(super) writers: [Writer; WRITERS],
    /// The changes that were removed from the log.
    pub(super) trimmed: Writes,
    /// The horizon of the last trimming.
    pub(super) mark: Snapshot,
    pub(super) replicas: [Replica; REPLICAS],
    /// The entries of Redis: all snapshots that ever were, and which writes a response showed then.
    pub(super) redis: BTreeSet<(Epoch, Snapshot, Writes)>,
    pub(super) readers: [Reader; READERS],
}

impl State {
    pub(super) fn snapshot(&self) -> Snapshot {
        let ended = |writer: &Writer| matches!(writer, Writer::Committed(_) | Writer::RolledBack);
        let xmax = self.writers.iter().rposition(ended).map_or(0, |last| last + 1);
        let open = self.writers[..xmax].iter().zip(0..).filter(|(writer, _)| !ended(writer));
        Snapshot { xmax: xmax as Xid, xip: open.fold(0, |all, (_, xid)| all | 1 << xid) }
    }

    pub(super) fn committed(&self) -> impl Iterator<Item = (Xid, Change)> {
        self.writers.iter().zip(0..).filter_map(|(writer, xid)| match writer {
            Writer::Committed(change) => Some((xid, *change)),
            _ => None,
        })
    }

    /// What the response shows if it is read now.
    pub(super) fn data(&self) -> Writes {
        let shown = self.committed().filter(|(xid, change)| change.concerns(*xid, self.tag));
        shown.fold(0, |all, (xid, _)| all | 1 << xid)
    }

    /// The visible rows of the log.
    pub(super) fn log(&self) -> impl Iterator<Item = (Xid, Change)> {
        self.committed().filter(|(xid, _)| self.trimmed & 1 << xid == 0)
    }

    pub(super) fn on(&self, replica: usize, phase: Phase) -> impl Iterator<Item = usize> {
        let readers = self.readers;
        (0..READERS).filter(move |&reader| readers[reader].replica == replica && readers[reader].phase == phase)
    }

    /// The readers whose round was delivered.
    pub(super) fn ready(&self) -> impl Iterator<Item = (&Reader, Base)> {
        self.readers.iter().filter_map(|reader| match reader.phase {
            Phase::Ready(round) => Some((reader, round)),
            _ => None,
        })
    }

    /// The results of `replica` that its readers have computed and not stored.
    pub(super) fn in_flight(&self, replica: usize) -> impl Iterator<Item = (Base, Writes)> {
        self.readers.iter().filter(move |reader| reader.replica == replica).filter_map(|reader| match reader.phase {
            Phase::Computed(base, result) => Some((base, result)),
            _ => reader.ahead,
        })
    }

    /// Whether one of the first `readers` has not begun.
    pub(super) fn will_begin(&self, readers: usize) -> bool {
        self.readers[..readers].iter().any(|reader| reader.phase == Phase::Idle)
    }

    /// Whether a round is still to be sent.
    pub(super) fn will_send(&self, readers: usize) -> bool {
        self.will_begin(readers) || self.readers.iter().any(|reader| reader.phase == Phase::Waiting)
    }

    /// Removes what decides nothing any more, so that many states become one.
    pub(super) fn merge(&mut self, readers: usize) {
        for index in 0..REPLICAS {
            let is_used = |reader: &Reader| reader.replica == index && reader.is_active();
            if !self.will_begin(readers) && !self.readers.iter().any(is_used) {
                self.replicas[index] = Replica::NEW;
            }
        }
        if !self.will_send(readers) {
            (self.trimmed, self.mark) = (0, Snapshot::FIRST);
            if !self.readers.iter().any(Reader::is_active) {
                self.redis.clear();
            }
        }
    }
}
