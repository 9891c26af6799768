//! Single flight: of the requests that miss the same entry under the same version stamp, one computes it and the others
//! wait for the result.
//!
//! The stamp is part of the key. Without it, a reader that arrived after a write could get a response whose query had
//! begun before that write.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::entry::{Entry, Key};
use super::tags::VersionStamp;

/// What the leader sends to the followers; `None` when its computation failed.
type Outcome = Option<Arc<Entry>>;
type Followers = Vec<oneshot::Sender<Outcome>>;
type Course = (Key, VersionStamp);

#[derive(Default)]
pub struct SingleFlight(Arc<Mutex<HashMap<Course, Followers>>>);

/// How a request handles its miss.
pub enum FlightRole {
    /// Compute the entry and pass it to [`Flight::complete`].
    Lead(Flight),
    /// Another request computes it.
    Follow(oneshot::Receiver<Outcome>),
}

/// A computation in progress. Dropped without completing, it reports failure to its followers.
pub struct Flight {
    flights: Arc<Mutex<HashMap<Course, Followers>>>,
    course: Course,
}

impl SingleFlight {
    pub fn enter(&self, key: &Key, stamp: &VersionStamp) -> FlightRole {
        let course = (key.clone(), stamp.clone());
        #[cfg(feature = "mutants")]
        let course = match crate::base::mutants::is(crate::base::mutants::Mutant::FlightWithoutVersion) {
            true => (course.0, VersionStamp { epoch: 0, versions: Box::default() }),
            false => course,
        };
        let mut flights = self.0.lock();
        if let Some(followers) = flights.get_mut(&course) {
            let (answer, answered) = oneshot::channel();
            followers.push(answer);
            return FlightRole::Follow(answered);
        }
        flights.insert(course.clone(), Vec::new());
        FlightRole::Lead(Flight { flights: self.0.clone(), course })
    }
}

impl Flight {
    pub fn complete(self, entry: &Arc<Entry>) {
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
