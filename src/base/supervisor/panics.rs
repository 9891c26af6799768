//! Catches, logs and counts panics of background work.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::LazyLock;
use std::task::Poll;

use chrono::{DateTime, Utc};
use metrics::counter;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::JoinHandle;
use utoipa::ToSchema;

use crate::base::error::{Error, Result};

/// Panics in background work that is not restarted, by name of the work.
pub const PANICS: &str = "rapport_background_panics_total";

/// Panics of one kind of work.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Panics {
    pub panics: u64,
    pub last_at: DateTime<Utc>,
}

static KNOWN: LazyLock<Mutex<BTreeMap<&'static str, Panics>>> = LazyLock::new(Mutex::default);

/// A handle to work that was passed to [`detach`]; dropping it leaves the work running.
pub struct Detached<T>(JoinHandle<Option<T>>);

impl<T> Detached<T> {
    /// Waits for the work. Errors: 500 when it panicked.
    pub async fn outcome(self) -> Result<T> {
        let done = self.0.await.ok().flatten();
        done.ok_or_else(|| Error::Internal("work beside the request was cut off; the log has the reason".into()))
    }
}

/// Runs `work`, which need not be awaited, on this thread's runtime. A panic is logged and counted under `name`; it
/// ends the work, which is resumed by its lease or by the caller's retry.
pub fn detach<T: 'static>(name: &'static str, work: impl Future<Output = T> + 'static) -> Detached<T> {
    // In a box: a task is moved several times before it runs.
    let work = Box::pin(caught(work));
    #[expect(clippy::disallowed_methods, reason = "what it spawns is watched here")]
    Detached(actix_web::rt::spawn(async move {
        let done = work.await;
        done.inspect_err(|reason| note(name, reason)).ok()
    }))
}

/// Runs `work` on this thread. A panic is logged and counted under `name`. Errors: 500 when it panicked.
pub fn guarded<T>(name: &'static str, work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        note(name, &text(&*payload));
        Error::Internal(format!("{name} panicked"))
    })
}

/// Returns the panics since the process started.
pub fn panics() -> BTreeMap<&'static str, Panics> {
    KNOWN.lock().clone()
}

fn note(name: &'static str, reason: &str) {
    tracing::error!(task = name, reason, "background work panicked");
    counter!(PANICS, "task" => name).increment(1);
    let mut known = KNOWN.lock();
    let known = known.entry(name).or_insert(Panics { panics: 0, last_at: Utc::now() });
    known.panics += 1;
    known.last_at = Utc::now();
}

/// Awaits `work`, with a panic as an error.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> std::result::Result<T, String> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Err(payload) => Poll::Ready(Err(text(&*payload))),
    })
    .await
}

/// Returns the message of a panic.
pub(super) fn text(payload: &(dyn Any + Send)) -> String {
    let said = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    said.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it does not say why".into())
}
