//! The line in front of the database threads: one for each business, served in turn, so that whoever sends much waits
//! behind themselves and not in front of others.
//!
//! A business that is alone has every thread. As soon as another asks, it has its share of them and of the places in line;
//! what belongs to no business (credentials, signing in) is one party more, with its share of the places only.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use uuid::Uuid;

/// How long a business counts as present after it last asked.
const PRESENT: Duration = Duration::from_secs(10);

/// Whose work it is; `None`: no business'.
pub type Party = Option<Uuid>;

pub struct Queue<J> {
    state: Mutex<State<J>>,
    ready: Condvar,
    limits: Limits,
}

/// What parties may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Jobs that may wait, of all.
    pub places: usize,
    /// Of these, for one business beside others.
    pub places_each: usize,
    /// Jobs of one business that may run at once beside others.
    pub running_each: usize,
}

struct State<J> {
    lines: HashMap<Party, Line<J>>,
    /// Parties that wait, each once, the next first.
    turns: VecDeque<Party>,
    waiting: usize,
    /// The last to ask, and when another than they did.
    last: Party,
    mixed: Option<Instant>,
    closed: bool,
}

struct Line<J> {
    jobs: VecDeque<J>,
    running: usize,
}

impl<J> Queue<J> {
    pub fn new(limits: Limits) -> Self {
        let state =
            State { lines: HashMap::new(), turns: VecDeque::new(), waiting: 0, last: None, mixed: None, closed: false };
        Self { state: Mutex::new(state), ready: Condvar::new(), limits }
    }

    /// Puts `job` in line; gives it back when there is no place.
    pub fn push(&self, party: Party, job: J) -> Result<(), J> {
        let mut state = self.state.lock();
        let places = if state.is_shared_by(party) { self.limits.places_each } else { self.limits.places };
        let mine = state.lines.get(&party).map_or(0, |line| line.jobs.len());
        if state.waiting >= self.limits.places || mine >= places {
            return Err(job);
        }
        let line = state.lines.entry(party).or_insert_with(|| Line { jobs: VecDeque::new(), running: 0 });
        line.jobs.push_back(job);
        state.waiting += 1;
        if mine == 0 {
            state.turns.push_back(party);
        }
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// The next job, of whoever's turn it is; waits for one. It counts as running until [`Queue::done`]. `None`: it is
    /// closed and empty.
    pub fn pop(&self) -> Option<(Party, J)> {
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

    /// Nothing comes any more: whoever waits in vain is told so.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_all();
    }

    pub fn done(&self, party: Party) {
        let mut state = self.state.lock();
        if state.closed {
            // Who waits for a share may wait for nothing.
            self.ready.notify_all();
        }
        let Some(line) = state.lines.get_mut(&party) else { return };
        line.running -= 1;
        if line.running == 0 && line.jobs.is_empty() {
            state.lines.remove(&party);
        } else if !line.jobs.is_empty() {
            // It may have waited for its share.
            self.ready.notify_one();
        }
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.state.lock().waiting
    }
}

impl<J> State<J> {
    /// Whether there are several businesses; `party` asks now.
    fn is_shared_by(&mut self, party: Party) -> bool {
        if party.is_some() {
            if self.last.is_some_and(|last| Some(last) != party) {
                self.mixed = Some(Instant::now());
            }
            self.last = party;
        }
        self.is_shared()
    }

    fn is_shared(&self) -> bool {
        self.mixed.is_some_and(|mixed| mixed.elapsed() < PRESENT)
    }

    fn next(&mut self, share: usize) -> Option<(Party, J)> {
        let shared = self.is_shared();
        let lines = &self.lines;
        let may_run = |party: &Party| {
            let running = lines.get(party).map_or(0, |line| line.running);
            !shared || party.is_none() || running < share
        };
        let place = self.turns.iter().position(may_run)?;
        let party = self.turns.remove(place)?;
        let line = self.lines.get_mut(&party)?;
        let job = line.jobs.pop_front()?;
        line.running += 1;
        self.waiting -= 1;
        if !line.jobs.is_empty() {
            self.turns.push_back(party);
        }
        Some((party, job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { places: 8, places_each: 6, running_each: 2 };

    #[test]
    fn parties_take_turns_and_none_takes_all() {
        let queue = Queue::new(LIMITS);
        let pop = || queue.pop().expect("a job");
        let (loud, quiet) = (Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2)));
        for number in 0..4 {
            queue.push(loud, number).expect("a place");
        }
        // Alone, it has every thread.
        assert_eq!([pop(), pop(), pop()], [(loud, 0), (loud, 1), (loud, 2)]);
        queue.push(quiet, 10).expect("a place");
        queue.push(quiet, 11).expect("a place");
        // Not the one that came first: it has more than its share.
        assert_eq!([pop(), pop()], [(quiet, 10), (quiet, 11)]);
        queue.push(None, 20).expect("a place");
        assert_eq!(pop(), (None, 20));
        queue.done(loud);
        queue.done(loud);
        assert_eq!(pop(), (loud, 3));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn the_line_has_an_end_for_one_and_for_all() {
        let queue = Queue::new(LIMITS);
        let party = |number| Some(Uuid::from_u128(number));
        queue.push(party(1), 0).expect("a place");
        queue.push(party(2), 0).expect("a place");
        let mut placed = 0;
        while queue.push(party(1), 1).is_ok() {
            placed += 1;
        }
        assert_eq!(placed, 5);
        queue.push(party(2), 2).expect("its own place");
        assert_eq!(queue.push(party(2), 3), Err(3), "no place for anyone");
    }
}
