//! Command-line options of privacy requests.

use clap::Args;

/// Options of the export of personal data.
#[derive(Args, Clone, Debug)]
pub struct PrivacyArgs {
    /// Rows that the export of all about one contact has at most
    #[arg(long, env = "RAPPORT_EXPORT_ROWS", default_value_t = 50_000)]
    pub export_rows: usize,
}
