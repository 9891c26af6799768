//! A row of an imported file, and its validated form.

use csv::ByteRecord;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::base::error::FieldError;
use crate::resource::{Changeset, Field, Resource};

/// A row of the file.
#[derive(Debug)]
pub struct Row {
    /// Row number as in a spreadsheet: the header is row 1.
    pub number: u64,
    pub record: ByteRecord,
    /// Byte offset in the file.
    pub offset: u64,
    pub length: u64,
    /// The validated row, or its validation errors.
    pub parsed: Result<ParsedRow, Vec<FieldError>>,
}

/// A validated row.
#[derive(Debug)]
pub struct ParsedRow {
    pub resource: &'static Resource,
    /// Changeset for an existing row.
    pub update: Changeset,
    /// Changeset for a new row, which may require more fields.
    pub create: Result<Changeset, Vec<FieldError>>,
    pub metadata: Map<String, Json>,
    /// Changeset which creates the linked company.
    pub company: Option<Changeset>,
    /// Id of an existing row, from the file.
    pub id: Option<Uuid>,
    /// Whether that id serves as the external id, which the row lacks: for rows matched otherwise, and for new ones.
    pub stands_in: bool,
    /// Whether the row empties its external id explicitly.
    pub empties_external_id: bool,
    /// Values which an existing row does not take.
    pub asides: Vec<Aside>,
    /// References which may be ids of another system, with their headers: unresolvable ones are kept in metadata.
    pub guessed: Vec<(&'static str, String)>,
    /// Notes on values which were kept elsewhere than in their field.
    pub notes: Vec<FieldError>,
    /// Members which were left out because no import sets them.
    pub ignored: Vec<String>,
}

/// A value which no import sets, such as a read-only field of an export.
#[derive(Clone, Debug)]
pub struct Aside {
    /// Metadata key in a new row.
    pub key: String,
    /// The read-only field; `None`: an id, or a field of a related row.
    pub field: Option<&'static Field>,
    pub value: String,
}
