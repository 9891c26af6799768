//! Counts concurrent work in total and per item, with the limits that its callers apply.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

/// One owner has at most this part of the slots: half.
const SHARE: usize = 2;

#[derive(Debug)]
pub struct Slots {
    most: usize,
    /// Limit of one item.
    pub most_each: usize,
    /// Limit of all items of one owner: half, so that none has all the slots.
    pub most_owned: usize,
    taken: Mutex<HashMap<(Uuid, Uuid), usize>>,
}

/// A slot that is taken until it is dropped.
pub struct Slot {
    slots: Arc<Slots>,
    whose: (Uuid, Uuid),
}

impl Slots {
    pub fn new(most: usize, most_each: usize) -> Self {
        Self { most, most_each, most_owned: most.div_ceil(SHARE), taken: Mutex::default() }
    }

    /// Returns the number of free slots.
    pub fn free(&self) -> usize {
        self.most.saturating_sub(self.taken.lock().values().sum())
    }

    /// Returns the number of slots of each item, with its owner.
    pub fn taken(&self) -> Vec<((Uuid, Uuid), usize)> {
        self.taken.lock().iter().map(|(whose, count)| (*whose, *count)).collect()
    }

    pub fn take(self: &Arc<Self>, owner: Uuid, whose: Uuid) -> Slot {
        let whose = (owner, whose);
        *self.taken.lock().entry(whose).or_default() += 1;
        Slot { slots: self.clone(), whose }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        if let Some(count) = taken.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.whose);
            }
        }
    }
}
