//! The lifecycle of a process: started, ready, impaired, draining. The probes answer from it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::RwLock;

/// Where the process is between start and stop; what the probes tell.
#[derive(Debug)]
pub struct Life {
    pub began: Instant,
    ready: AtomicBool,
    draining: AtomicBool,
    /// Why requests should not come although it has started, by the component that says so.
    impaired: RwLock<BTreeMap<&'static str, String>>,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            impaired: RwLock::default(),
        }
    }
}

impl Life {
    /// The schema is this binary's: requests may come.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The process was told to stop: no new requests, please.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub fn is_started(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// `component` cannot serve, for `reason`, until [`Life::recovered`] is called: readiness fails and tells it.
    /// Logged where it is new.
    pub fn impair(&self, component: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        let before = self.impaired.write().insert(component, reason.clone());
        if before.as_deref() != Some(&reason) {
            tracing::error!(component, reason, "not ready");
        }
    }

    /// `component` serves again.
    pub fn recovered(&self, component: &'static str) {
        if self.impaired.read().contains_key(component) && self.impaired.write().remove(component).is_some() {
            tracing::info!(component, "recovered");
        }
    }

    /// The components that cannot serve, each with the reason.
    pub fn impairments(&self) -> BTreeMap<&'static str, String> {
        self.impaired.read().clone()
    }

    pub fn is_ready(&self) -> bool {
        self.is_started() && !self.is_draining() && self.impaired.read().is_empty()
    }
}
