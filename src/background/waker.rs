//! Wakers end the pause of a background task early, because what it waits for has happened in this process.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes one task of this process; clones wake the same one. A task that is busy meanwhile skips its next pause.
#[derive(Clone, Debug, Default)]
pub struct Waker(Arc<Notify>);

impl Waker {
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Completes when [`Waker::wake`] was called since the last time.
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}

impl From<Arc<Notify>> for Waker {
    fn from(notify: Arc<Notify>) -> Self {
        Self(notify)
    }
}
