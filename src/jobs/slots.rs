//! How much of something is under way, in all and for each.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

/// One owner has at most this part of them.
const SHARE: usize = 2;

#[derive(Debug)]
pub struct Slots {
    most: usize,
    /// Of one.
    pub most_each: usize,
    /// Of all that belong to the same owner: half, so that none has them all.
    pub most_owned: usize,
    taken: Mutex<HashMap<(Uuid, Uuid), usize>>,
}

/// One that is taken, until it is dropped.
pub struct Slot {
    slots: Arc<Slots>,
    whose: (Uuid, Uuid),
}

impl Slots {
    pub fn new(most: usize, most_each: usize) -> Self {
        Self { most, most_each, most_owned: most.div_ceil(SHARE), taken: Mutex::default() }
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        self.most.saturating_sub(self.taken.lock().values().sum())
    }

    /// How many each has: its owner, who it is, and the number.
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
