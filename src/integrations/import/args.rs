//! Command-line options of imports.

use clap::Args;

/// Options of imports.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// Largest file that is uploaded to be imported, in bytes
    #[arg(long, env = "RAPPORT_IMPORT_BYTES", default_value_t = 1024 * 1024 * 1024)]
    pub import_bytes: u64,
    /// How long an imported file is kept, and can be taken back, in days
    #[arg(long, env = "RAPPORT_IMPORT_RETENTION_DAYS", default_value_t = 30)]
    pub import_retention_days: u32,
}
