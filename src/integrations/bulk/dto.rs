//! What a bulk operation returns.

use serde::Serialize;
use utoipa::ToSchema;

use crate::integrations::jobs::JobRow;

/// How many rows a bulk operation changes, and the job that does it.
#[derive(Serialize, ToSchema)]
pub struct BulkOperationResult {
    /// How many rows the filter finds.
    #[schema(minimum = 0)]
    pub matched: i64,
    /// The job; null with `dry_run`.
    #[schema(required = true)]
    pub job: Option<JobRow>,
}
