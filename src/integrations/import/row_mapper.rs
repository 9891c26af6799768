//! Maps the cells of a file row to the JSON bodies which the API accepts for the row and its linked company. Cells
//! without a field go to `metadata`, so that no data of the file is lost.

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::column_target::Target;
use super::csv_header::free;
use super::mapping::Column;
use super::row::Aside;
use crate::base::error::FieldError;
use crate::resource::FieldType;
use crate::resource::export::unescape_formula;

pub type Object = Map<String, Json>;

/// Characters of a hyphenated UUID, as exports write it.
const UUID_LEN: usize = 36;

/// The JSON bodies of one row, filled cell by cell.
#[derive(Debug, Default)]
pub struct RowMapper {
    pub body: Object,
    /// Body of the linked company.
    pub company: Object,
    /// Keys for `metadata`, not yet part of `body`.
    pub metadata: Object,
    /// Id of an existing row, from the file.
    pub id: Option<Uuid>,
    /// Values which only a new row keeps, in its metadata.
    pub asides: Vec<Aside>,
    /// References whose header another system may use for its own ids, with that header.
    pub guessed: Vec<(&'static str, String)>,
    /// Notes on values which were kept in metadata instead of their field.
    pub notes: Vec<FieldError>,
    /// Full names with their headers; split after the last cell, because columns for the parts take precedence.
    full_names: Vec<(String, String)>,
}

impl RowMapper {
    /// Stores a cell in the place its column maps to. Columns must come in order of preference.
    pub fn put(&mut self, column: &Column, cell: &str) {
        let cell = unescape_formula(cell.trim());
        if cell.is_empty() {
            return;
        }
        let aside = |field| Aside { key: column.header.clone(), field, value: cell.to_owned() };
        let (object, name, value) = match &column.target {
            Target::Skip | Target::Report => return,
            Target::Metadata(key) => return self.keep(key, cell.into()),
            Target::Object => return self.object(cell),
            Target::FullName => return self.full_names.push((column.header.clone(), cell.to_owned())),
            Target::ServiceSet(field) => return self.asides.push(aside(Some(*field))),
            Target::Related(_) => return self.asides.push(aside(None)),
            Target::Id => match uuid(cell) {
                Some(id) => {
                    self.id = Some(id);
                    // If no row here has this id, it is another system's: a new row keeps it in its metadata.
                    if self.body.contains_key("external_id") {
                        self.asides.push(aside(None));
                    }
                    return;
                }
                None => (&mut self.body, "external_id", cell.into()),
            },
            Target::Link(field) => match uuid(cell) {
                Some(_) => {
                    self.guessed.push((field.name, column.header.clone()));
                    (&mut self.body, field.name, cell.into())
                }
                None => return self.keep(&column.header, cell.into()),
            },
            Target::Field(field) if field.field_type == FieldType::Tags => return self.tags(field.name, cell),
            Target::Field(field) => (&mut self.body, field.name, json(field.field_type, cell)),
            Target::Company(name) => (&mut self.company, *name, cell.into()),
        };
        match object.get(name) {
            None => {
                object.insert(name.to_owned(), value);
            }
            Some(first) if *first == value => {}
            // The first non-empty column wins.
            Some(_) => self.besides(name, &column.header, cell),
        }
    }

    /// Completes the bodies after the last cell.
    pub fn finish(mut self) -> Self {
        for (header, name) in std::mem::take(&mut self.full_names) {
            self.full_name(&header, &name);
        }
        self
    }

    /// Keeps a value in metadata, because an earlier column set its field.
    fn besides(&mut self, name: &str, header: &str, cell: &str) {
        self.keep(header, cell.into());
        let detail =
            format!("`{header}` has another {name} than the column before it; it is kept as `metadata.{header}`.");
        self.notes.push(FieldError::new(format!("/{name}"), "kept_in_metadata", detail));
    }

    fn keep(&mut self, key: &str, value: Json) {
        if self.metadata.get(key).is_some_and(|kept| *kept == value) {
            return;
        }
        let key = free(key, |key| self.metadata.contains_key(key));
        self.metadata.insert(key, value);
    }

    fn object(&mut self, cell: &str) {
        match serde_json::from_str::<Object>(cell) {
            Ok(object) => object.into_iter().for_each(|(key, value)| self.keep(&key, value)),
            Err(_) => self.keep("metadata", cell.into()),
        }
    }

    /// Adds the tags of a cell: separated by comma, semicolon or bar, or a JSON array.
    fn tags(&mut self, name: &str, cell: &str) {
        let tags = self.body.entry(name).or_insert_with(|| Json::Array(Vec::new()));
        let Json::Array(tags) = tags else { return };
        match serde_json::from_str::<Vec<String>>(cell) {
            Ok(labels) => tags.extend(labels.into_iter().map(Json::from)),
            Err(_) => {
                let labels = cell.split([',', ';', '|']).map(str::trim).filter(|label| !label.is_empty());
                tags.extend(labels.map(Json::from));
            }
        }
    }

    /// Splits `Anna Maria Schmidt` and `Schmidt, Anna Maria`. Columns for the parts take precedence.
    fn full_name(&mut self, header: &str, name: &str) {
        let turned = name.split_once(',').map(|(last, first)| (first, last));
        let (first, last) = turned.or_else(|| name.rsplit_once(char::is_whitespace)).unwrap_or((name, ""));
        let parts = [("first_name", first.trim()), ("last_name", last.trim())];
        let text = |name: &str| self.body.get(name).and_then(Json::as_str).unwrap_or_default();
        if parts.iter().all(|(name, part)| text(name) == *part) {
            return;
        }
        if parts.iter().any(|(name, _)| self.body.contains_key(*name)) {
            return self.besides("first_name", header, name);
        }
        for (name, part) in parts.into_iter().filter(|(_, part)| !part.is_empty()) {
            self.body.insert(name.into(), part.into());
        }
    }
}

/// Parses `cell` as a hyphenated UUID.
pub fn uuid(cell: &str) -> Option<Uuid> {
    Uuid::try_parse(cell).ok().filter(|_| cell.len() == UUID_LEN)
}

/// Converts a cell to JSON for the API. A value of the wrong type stays a string, which validation rejects.
fn json(kind: FieldType, cell: &str) -> Json {
    match kind {
        FieldType::Int { .. } => cell.parse::<i64>().map_or_else(|_| cell.into(), Json::from),
        FieldType::Bool => cell.parse::<bool>().map_or_else(|_| cell.into(), Json::from),
        _ => cell.into(),
    }
}
