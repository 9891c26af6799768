//! What the preview of an import returns.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use crate::base::error::FieldError;
use crate::resource::openapi::JsonObject;

/// The first changes of a trial, and notes on the columns.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[schema(examples(json!({
    "changes": { "2": { "before": null, "after": { "first_name": "Anna" }, "notes": [] } },
    "notes": { "Labels": "`Tags` is taken as `tags`, too: the labels of all these columns are united." },
})))]
pub struct ImportPreview {
    /// By row of the file, the header of CSV being row 1.
    #[schema(value_type = HashMap<String, PreviewedRow>)]
    pub changes: Map<String, Json>,
    /// By column: what is not simply taken as a field. Of a file without columns: members that the last trial left out.
    // Previews of earlier versions have none.
    #[serde(default)]
    #[schema(required = true, value_type = HashMap<String, String>)]
    pub notes: Option<Map<String, Json>>,
}

/// A row as a trial would have written it.
#[derive(Serialize, ToSchema)]
pub struct PreviewedRow {
    /// The fields before; null for a new row.
    #[schema(required = true, value_type = Option<JsonObject>)]
    pub before: Option<Map<String, Json>>,
    /// The fields after.
    #[schema(value_type = JsonObject)]
    pub after: Map<String, Json>,
    /// What the row says besides that is kept elsewhere.
    pub notes: Vec<FieldError>,
}
