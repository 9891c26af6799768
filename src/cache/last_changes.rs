//! When what a tag stands for changed last: the memory that entries and credentials are compared with. Each database node has its
//! own, since numbers of transactions are a server's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::snapshot::Snapshot;
use super::tags::CacheTag;

/// Slots of the table: 2^19 of 16 bytes are 8 MiB. A tag has two of them, and has changed only if both have. So 20 writes a second
/// with six tags each, for a minute, outdate a tag that they do not concern with a probability of (20 · 6 · 60 / 2^19)² = 0.02 %,
/// and an entry with a hundred tags with one of 2 %.
const SLOTS: usize = 1 << 19;
/// Set beside the transaction's number where a round found changes of several transactions.
const SEVERAL: u64 = 1 << 63;

/// The last change of a slot: the validation round that found it, and its transaction. Zero: none yet.
#[derive(Default)]
struct Slot {
    round: AtomicU64,
    xid: AtomicU64,
}

impl Slot {
    fn record(&self, round: u64, xid: u64, is_several: bool) {
        let before = self.xid.load(Ordering::Relaxed);
        let is_first = self.round.load(Ordering::Relaxed) != round;
        let xid = match (is_first, is_several || !is_first && before != xid) {
            (_, false) => xid,
            (true, true) => SEVERAL | xid,
            (false, true) => SEVERAL | (before & !SEVERAL).max(xid),
        };
        self.xid.store(xid, Ordering::Release);
        self.round.store(round, Ordering::Release);
    }
}

/// The last change of every tag. The thread of the validation rounds writes it, before it replies to the readers of a round.
pub struct LastChanges {
    slots: Box<[Slot]>,
    /// Bases before this round are outdated, whatever their tags: what changed before it is not known.
    floor: AtomicU64,
}

impl Default for LastChanges {
    fn default() -> Self {
        Self { slots: std::iter::repeat_with(Slot::default).take(SLOTS).collect(), floor: AtomicU64::new(0) }
    }
}

impl LastChanges {
    fn slots(&self, tag: CacheTag) -> [&Slot; 2] {
        let slot = |part: u64| &self.slots[part as usize % SLOTS];
        [slot(tag.key()), slot(tag.key() >> 32)]
    }

    /// Records that `round` found a change of transaction `xid` that concerns `tag`; with `is_several`, also of others up to it.
    pub(super) fn record(&self, tag: CacheTag, round: u64, xid: u64, is_several: bool) {
        self.slots(tag).into_iter().for_each(|slot| slot.record(round, xid, is_several));
    }

    /// Records that anything may have changed before `round`.
    pub(super) fn forget_before(&self, round: u64) {
        self.floor.store(round, Ordering::Release);
    }

    /// Forgets all changes before `round`: they are of another epoch.
    pub(super) fn clear(&self, round: u64) {
        self.forget_before(round);
        self.slots.iter().for_each(|slot| slot.xid.store(0, Ordering::Release));
    }

    /// Whether no round after `base` has found a change that concerns one of `tags`.
    pub fn is_current(&self, tags: &[CacheTag], base: u64) -> bool {
        #[cfg(feature = "mutants")]
        if crate::base::mutants::is(crate::base::mutants::Mutant::NoLook) {
            return true;
        }
        base >= self.floor.load(Ordering::Acquire)
            && tags.iter().all(|tag| self.slots(*tag).iter().any(|slot| slot.round.load(Ordering::Acquire) <= base))
    }

    /// Whether `snapshot` saw all changes that concern `tags`, as far as the rounds have found any. It suffices that it saw the
    /// last one: that became visible in a round and not in the one before, so a snapshot that sees it is later than that one,
    /// and sees all that the rounds up to it have found.
    pub fn all_seen_by(&self, tags: &[CacheTag], snapshot: &Snapshot) -> bool {
        let is_seen = |slot: &&Slot| {
            let xid = slot.xid.load(Ordering::Acquire);
            if xid & SEVERAL == 0 { snapshot.sees(xid) } else { snapshot.sees_up_to(xid & !SEVERAL) }
        };
        tags.iter().all(|tag| self.slots(*tag).iter().any(is_seen))
    }
}

/// The last changes of every database node.
pub struct ChangesOfNodes(pub Vec<Arc<LastChanges>>);

impl ChangesOfNodes {
    /// As [`LastChanges::is_current`], on all nodes.
    pub fn is_current(&self, tags: &[CacheTag], base: u64) -> bool {
        self.0.iter().all(|changes| changes.is_current(tags, base))
    }

    /// As [`LastChanges::all_seen_by`], with a snapshot of each node.
    pub fn all_seen_by<'s>(&self, tags: &[CacheTag], snapshots: impl Iterator<Item = &'s Snapshot>) -> bool {
        self.0.iter().zip(snapshots).all(|(changes, snapshot)| changes.all_seen_by(tags, snapshot))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn later_change_of_a_tag_outdates_base_and_snapshot() {
        let changes = LastChanges::default();
        let tags = [1, 2].map(|id| CacheTag::row(Uuid::nil(), "leads", Uuid::from_u128(id)));
        let seen = |text: &str| changes.all_seen_by(&tags, &text.parse().expect("a snapshot"));
        assert!(changes.is_current(&tags, 0) && seen("1:1:"));
        changes.record(tags[1], 7, 100, false);
        assert!(!changes.is_current(&tags, 6) && changes.is_current(&tags, 7) && changes.is_current(&tags[..1], 0));
        assert!(!seen("100:100:") && !seen("99:105:99,100") && seen("99:105:99") && seen("101:101:"));
        // Of several transactions in one round, an older one may have been in progress.
        changes.record(tags[1], 7, 90, false);
        assert!(!seen("90:105:90") && !seen("99:105:99") && seen("101:105:"));
        changes.record(tags[1], 8, 95, false);
        assert!(seen("99:105:99") && !seen("90:105:90,95"));
        changes.forget_before(9);
        assert!(!changes.is_current(&[], 8) && changes.is_current(&tags, 9));
    }
}
