//! A fair queue in front of the worker threads: one queue for each business, served round-robin, so that a client that
//! sends many requests delays only its own business.
//!
//! A business that is alone may use every thread. Once another one sends requests, each is limited to its share of the
//! threads and of the queue. Work of no business (credentials, sign-in) counts as one more tenant, with a share of the
//! queue only.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use uuid::Uuid;

/// How long shares apply after requests of two different businesses followed each other.
const PRESENT: Duration = Duration::from_secs(10);

/// The business that work belongs to; `None`: no business.
pub type TenantKey = Option<Uuid>;

pub struct FairQueue<J> {
    state: Mutex<State<J>>,
    ready: Condvar,
    limits: Limits,
}

/// Limits on waiting and running jobs.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Jobs that may wait, in total.
    pub places: usize,
    /// Of these, jobs of one business while there are others.
    pub places_each: usize,
    /// Jobs of one business that may run at once while there are others.
    pub running_each: usize,
}

struct State<J> {
    queues: HashMap<TenantKey, TenantQueue<J>>,
    /// Tenants with waiting jobs, each once, the next first.
    turns: VecDeque<TenantKey>,
    waiting: usize,
    /// The last business to push a job, and when it last differed from the one before.
    last: TenantKey,
    mixed: Option<Instant>,
    closed: bool,
}

struct TenantQueue<J> {
    jobs: VecDeque<J>,
    running: usize,
}

impl<J> FairQueue<J> {
    pub fn new(limits: Limits) -> Self {
        let state = State {
            queues: HashMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            last: None,
            mixed: None,
            closed: false,
        };
        Self { state: Mutex::new(state), ready: Condvar::new(), limits }
    }

    /// Queues `job`; returns it when there is no room.
    pub fn push(&self, tenant: TenantKey, job: J) -> Result<(), J> {
        let mut state = self.state.lock();
        let places = if state.is_shared_by(tenant) { self.limits.places_each } else { self.limits.places };
        let mine = state.queues.get(&tenant).map_or(0, |queue| queue.jobs.len());
        if state.waiting >= self.limits.places || mine >= places {
            return Err(job);
        }
        let queue = state.queues.entry(tenant).or_insert_with(|| TenantQueue { jobs: VecDeque::new(), running: 0 });
        queue.jobs.push_back(job);
        state.waiting += 1;
        if mine == 0 {
            state.turns.push_back(tenant);
        }
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for the next job, round-robin over tenants. It counts as running until [`FairQueue::done`]. `None`: the
    /// queue is closed and empty.
    pub fn pop(&self) -> Option<(TenantKey, J)> {
        let mut state = self.state.lock();
        loop {
            if let Some(next) = state.next(self.limits.running_each) {
                return Some(next);
            }
            if state.closed && state.waiting == 0 {
                return None;
            }
            self.ready.wait(&mut state);
        }
    }

    /// Closes the queue: once it is empty, [`FairQueue::pop`] returns `None`.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_all();
    }

    pub fn done(&self, tenant: TenantKey) {
        let mut state = self.state.lock();
        if state.closed {
            // A worker that waits for a share must notice that the queue is closed.
            self.ready.notify_all();
        }
        let Some(queue) = state.queues.get_mut(&tenant) else { return };
        queue.running -= 1;
        if queue.running == 0 && queue.jobs.is_empty() {
            state.queues.remove(&tenant);
        } else if !queue.jobs.is_empty() {
            // It may have waited for its share.
            self.ready.notify_one();
        }
    }

    /// Returns the number of waiting jobs.
    pub fn len(&self) -> usize {
        self.state.lock().waiting
    }
}

impl<J> State<J> {
    /// Whether several businesses are active; `tenant` pushes a job now.
    fn is_shared_by(&mut self, tenant: TenantKey) -> bool {
        if tenant.is_some() {
            if self.last.is_some_and(|last| Some(last) != tenant) {
                self.mixed = Some(Instant::now());
            }
            self.last = tenant;
        }
        self.is_shared()
    }

    fn is_shared(&self) -> bool {
        self.mixed.is_some_and(|mixed| mixed.elapsed() < PRESENT)
    }

    fn next(&mut self, share: usize) -> Option<(TenantKey, J)> {
        let shared = self.is_shared();
        let queues = &self.queues;
        let may_run = |tenant: &TenantKey| {
            let running = queues.get(tenant).map_or(0, |queue| queue.running);
            !shared || tenant.is_none() || running < share
        };
        let place = self.turns.iter().position(may_run)?;
        let tenant = self.turns.remove(place)?;
        let queue = self.queues.get_mut(&tenant)?;
        let job = queue.jobs.pop_front()?;
        queue.running += 1;
        self.waiting -= 1;
        if !queue.jobs.is_empty() {
            self.turns.push_back(tenant);
        }
        Some((tenant, job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { places: 8, places_each: 6, running_each: 2 };

    #[test]
    fn pop_alternates_tenants_and_limits_each() {
        let queue = FairQueue::new(LIMITS);
        let pop = || queue.pop().expect("a job");
        let (loud, quiet) = (Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2)));
        for number in 0..4 {
            queue.push(loud, number).expect("a place");
        }
        // Alone, it has every thread.
        assert_eq!([pop(), pop(), pop()], [(loud, 0), (loud, 1), (loud, 2)]);
        queue.push(quiet, 10).expect("a place");
        queue.push(quiet, 11).expect("a place");
        // Not the first one, which has more than its share.
        assert_eq!([pop(), pop()], [(quiet, 10), (quiet, 11)]);
        queue.push(None, 20).expect("a place");
        assert_eq!(pop(), (None, 20));
        queue.done(loud);
        queue.done(loud);
        assert_eq!(pop(), (loud, 3));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn push_beyond_limit_of_tenant_or_queue_refused() {
        let queue = FairQueue::new(LIMITS);
        let tenant = |number| Some(Uuid::from_u128(number));
        queue.push(tenant(1), 0).expect("a place");
        queue.push(tenant(2), 0).expect("a place");
        let mut placed = 0;
        while queue.push(tenant(1), 1).is_ok() {
            placed += 1;
        }
        assert_eq!(placed, 5);
        queue.push(tenant(2), 2).expect("its own place");
        assert_eq!(queue.push(tenant(2), 3), Err(3), "no place for anyone");
    }
}
