//! From the cells of a row to the bodies that the API would be sent. What finds no place of its own is kept in metadata, so that
//! nothing of a file is lost.

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::header::free;
use super::mapping::{Column, Target};
use crate::error::Fault;
use crate::noun::export::unescape_formula;
use crate::noun::{Field, Kind};

pub type Object = Map<String, Json>;

/// Characters of a UUID as exports have it.
const UUID_LEN: usize = 36;

/// What the cells of a row make, growing cell by cell.
#[derive(Debug, Default)]
pub struct Bodies {
    pub body: Object,
    /// Of the linked company.
    pub company: Object,
    /// What is kept besides; not yet in the body.
    pub metadata: Object,
    /// The id of a row here, as the row says.
    pub id: Option<Uuid>,
    /// What only a new row keeps, in its metadata.
    pub asides: Vec<Aside>,
    /// Links whose header may mean ids of another system, with that header.
    pub guessed: Vec<(&'static str, String)>,
    /// What the row says besides, and where that went.
    pub notes: Vec<Fault>,
    /// With their headers; they wait for the columns of the parts.
    full_names: Vec<(String, String)>,
}

/// What an export says of a row that no import can set.
#[derive(Clone, Debug)]
pub struct Aside {
    /// Its key in the metadata of a new row.
    pub key: String,
    /// The field that the service sets; none: it is of another row.
    pub field: Option<&'static Field>,
    pub value: String,
}

impl Bodies {
    /// Puts a cell where its column goes. Columns come in order of preference.
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
                    // Where no row here has it, it is that of another system.
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
            Target::Field(field) if field.kind == Kind::Tags => return self.tags(field.name, cell),
            Target::Field(field) => (&mut self.body, field.name, json(field.kind, cell)),
            Target::Company(name) => (&mut self.company, *name, cell.into()),
        };
        match object.get(name) {
            None => {
                object.insert(name.to_owned(), value);
            }
            Some(first) if *first == value => {}
            // The first column that is not empty wins.
            Some(_) => self.besides(name, &column.header, cell),
        }
    }

    /// Completes the bodies when all cells are there.
    pub fn finish(mut self) -> Self {
        for (header, name) in std::mem::take(&mut self.full_names) {
            self.full_name(&header, &name);
        }
        self
    }

    /// Keeps the value of a column whose field another column has.
    fn besides(&mut self, name: &str, header: &str, cell: &str) {
        self.keep(header, cell.into());
        let detail =
            format!("`{header}` has another {name} than the column before it; it is kept as `metadata.{header}`.");
        self.notes.push(Fault::new(format!("/{name}"), "kept_in_metadata", detail));
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

    /// Adds the labels of a cell: separated by comma, semicolon or bar, or a JSON array.
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

    /// `Anna Maria Schmidt` and `Schmidt, Anna Maria`. Where the parts have columns of their own, those are right.
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

/// `cell`, if it is a UUID as exports write it.
pub fn uuid(cell: &str) -> Option<Uuid> {
    Uuid::try_parse(cell).ok().filter(|_| cell.len() == UUID_LEN)
}

/// A cell as the JSON that the API would be sent; what does not fit is left to validation.
fn json(kind: Kind, cell: &str) -> Json {
    match kind {
        Kind::Int { .. } => cell.parse::<i64>().map_or_else(|_| cell.into(), Json::from),
        Kind::Bool => cell.parse::<bool>().map_or_else(|_| cell.into(), Json::from),
        _ => cell.into(),
    }
}
