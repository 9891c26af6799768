//! The lifecycle of a process: started, ready, impaired, draining. The health probes report it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::RwLock;

/// The state of the process between start and stop.
#[derive(Debug)]
pub struct Lifecycle {
    pub began: Instant,
    ready: AtomicBool,
    draining: AtomicBool,
    /// Why requests should not come although it has started, by component.
    impaired: RwLock<BTreeMap<&'static str, String>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            impaired: RwLock::default(),
        }
    }
}

impl Lifecycle {
    /// The schema matches this binary: requests may come.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The process is stopping: new requests should not come.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn is_started(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Marks `component` as unable to serve, for `reason`, until [`Lifecycle::recovered`] is called: readiness fails
    /// and reports it. Logged when it is new.
    pub fn impair(&self, component: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        let before = self.impaired.write().insert(component, reason.clone());
        if before.as_deref() != Some(&reason) {
            tracing::error!(component, reason, "not ready");
        }
    }

    /// Marks `component` as serving again.
    pub fn recovered(&self, component: &'static str) {
        if self.impaired.read().contains_key(component) && self.impaired.write().remove(component).is_some() {
            tracing::info!(component, "recovered");
        }
    }

    /// Returns the components that cannot serve, each with the reason.
    pub fn impairments(&self) -> BTreeMap<&'static str, String> {
        self.impaired.read().clone()
    }

    pub fn is_ready(&self) -> bool {
        self.is_started() && !self.is_draining() && self.impaired.read().is_empty()
    }
}
