//! Settings of the requests of data subjects.

use std::time::Duration;

/// Shared with the handlers as `Data<PrivacySettings>`.
#[derive(Clone, Copy, Debug)]
pub struct PrivacySettings {
    /// Rows that the export of all about one contact has at most.
    pub max_export_rows: usize,
    /// After this time a read that was in progress has stored its response in the cache, or never will.
    pub longest_read: Duration,
}
