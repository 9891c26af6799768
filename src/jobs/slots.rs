//! How much of something is under way, in all and for each.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

#[derive(Debug)]
pub struct Slots {
    most: usize,
    pub most_each: usize,
    taken: Mutex<HashMap<Uuid, usize>>,
}

/// One that is taken, until it is dropped.
pub struct Slot {
    slots: Arc<Slots>,
    whose: Uuid,
}

impl Slots {
    pub fn new(most: usize, most_each: usize) -> Self {
        Self { most, most_each, taken: Mutex::default() }
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        self.most.saturating_sub(self.taken.lock().values().sum())
    }

    /// How many each has.
    pub fn taken(&self) -> Vec<(Uuid, usize)> {
        self.taken.lock().iter().map(|(whose, count)| (*whose, *count)).collect()
    }

    pub fn take(self: &Arc<Self>, whose: Uuid) -> Slot {
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
