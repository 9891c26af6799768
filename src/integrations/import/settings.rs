//! Settings of imports over HTTP.

/// Shared with the handlers as `Data<ImportSettings>`.
#[derive(Clone, Copy, Debug)]
pub struct ImportSettings {
    /// Maximum size of an uploaded file, in bytes.
    pub max_bytes: u64,
    /// How long an imported file is kept and the import can be reverted, in days.
    pub retention_days: u32,
}
