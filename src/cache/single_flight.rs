//! Single flight: of the requests that miss the same entry, one computes it and the others wait for the result.
//!
//! A request may wait for a computation that began before it, unless that is known to be outdated. So it compares the result
//! with the changes that the rounds have found meanwhile, its own among them, before it uses it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::entry::{Entry, Key};

/// What the leader sends to the followers; `None` when its computation failed.
type Outcome = Option<Arc<Entry>>;
type Courses = Mutex<HashMap<Key, Arc<Course>>>;

/// A computation in progress.
struct Course {
    /// The number of the round after which it began.
    base: u64,
    followers: Mutex<Vec<oneshot::Sender<Outcome>>>,
}

#[derive(Default)]
pub struct SingleFlight(Arc<Courses>);

/// How a request handles its miss.
pub enum FlightRole {
    /// Compute the entry and pass it to [`Flight::complete`].
    Lead(Flight),
    /// Another request computes it.
    Follow(oneshot::Receiver<Outcome>),
}

/// The leader's part. Dropped without completing, it reports failure to its followers.
pub struct Flight {
    courses: Arc<Courses>,
    key: Key,
    course: Arc<Course>,
}

impl SingleFlight {
    /// Joins the computation of `key` whose base `is_current`, or leads one after round `base`.
    pub fn enter(&self, key: &Key, base: u64, is_current: impl Fn(u64) -> bool) -> FlightRole {
        let mut courses = self.0.lock();
        if let Some(course) = courses.get(key).filter(|course| is_current(course.base)) {
            let (answer, answered) = oneshot::channel();
            course.followers.lock().push(answer);
            return FlightRole::Follow(answered);
        }
        let course = Arc::new(Course { base, followers: Mutex::default() });
        courses.insert(key.clone(), course.clone());
        FlightRole::Lead(Flight { courses: self.0.clone(), key: key.clone(), course })
    }
}

impl Flight {
    pub fn complete(self, entry: &Arc<Entry>) {
        for follower in self.end() {
            let _ = follower.send(Some(entry.clone()));
        }
    }

    /// Ends the computation: nobody joins it any more. Another one of the same key may have taken its place.
    fn end(&self) -> Vec<oneshot::Sender<Outcome>> {
        let mut courses = self.courses.lock();
        if courses.get(&self.key).is_some_and(|course| Arc::ptr_eq(course, &self.course)) {
            courses.remove(&self.key);
        }
        std::mem::take(&mut *self.course.followers.lock())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        for follower in self.end() {
            let _ = follower.send(None);
        }
    }
}

/// With the mutant, requests share a computation whatever has changed.
pub(super) fn may_look_away() -> bool {
    #[cfg(feature = "mutants")]
    return crate::base::mutants::is(crate::base::mutants::Mutant::FlightWithoutLook);
    #[cfg(not(feature = "mutants"))]
    false
}
