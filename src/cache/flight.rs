//! Single-flight: of those who miss the same answer under the same versions, one computes it and the others wait.
//!
//! The versions are part of what is the same. Without them, a reader who came after a write could be handed an answer
//! whose query had begun before it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::entry::{Entry, Key};
use super::scope::Stamp;

/// What the one who computes tells the others; nothing when it failed.
type Outcome = Option<Arc<Entry>>;
type Followers = Vec<oneshot::Sender<Outcome>>;
type Course = (Key, Stamp);

#[derive(Default)]
pub struct Flights(Arc<Mutex<HashMap<Course, Followers>>>);

/// What to do about a miss.
pub enum Boarding {
    /// Compute it, and land.
    Lead(Flight),
    /// Someone does.
    Follow(oneshot::Receiver<Outcome>),
}

/// A computation under way. Dropped without landing, it tells the others that it failed.
pub struct Flight {
    flights: Arc<Mutex<HashMap<Course, Followers>>>,
    course: Course,
}

impl Flights {
    pub fn board(&self, key: &Key, stamp: &Stamp) -> Boarding {
        let course = (key.clone(), stamp.clone());
        #[cfg(feature = "mutants")]
        let course = match super::mutants::is(super::mutants::Mutant::FlightWithoutVersion) {
            true => (course.0, Stamp { epoch: 0, versions: Box::default() }),
            false => course,
        };
        let mut flights = self.0.lock();
        if let Some(followers) = flights.get_mut(&course) {
            let (answer, answered) = oneshot::channel();
            followers.push(answer);
            return Boarding::Follow(answered);
        }
        flights.insert(course.clone(), Vec::new());
        Boarding::Lead(Flight { flights: self.0.clone(), course })
    }
}

impl Flight {
    pub fn land(self, entry: &Arc<Entry>) {
        for follower in self.end() {
            let _ = follower.send(Some(entry.clone()));
        }
    }

    fn end(&self) -> Followers {
        self.flights.lock().remove(&self.course).unwrap_or_default()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        for follower in self.end() {
            let _ = follower.send(None);
        }
    }
}
