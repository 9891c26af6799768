//! From cells to JSON bodies as the API would be sent them. What finds no place of its own is kept in metadata, so that
//! nothing of a file is lost.

use serde_json::{Map, Value as Json};

use super::header::free;
use super::mapping::{Column, Target};
use crate::noun::Kind;

type Object = Map<String, Json>;

/// What the cells of a row make, growing cell by cell.
#[derive(Default)]
pub struct Bodies {
    body: Object,
    company: Object,
    metadata: Object,
    /// With their headers; they wait for the columns of the parts.
    full_names: Vec<(String, String)>,
}

impl Bodies {
    /// Puts a trimmed cell where its column goes. Columns come in order of preference.
    pub fn put(&mut self, column: &Column, cell: &str) {
        if cell.is_empty() {
            return;
        }
        let (object, name, value) = match &column.target {
            Target::Skip => return,
            Target::Metadata(key) => return self.keep(key, cell),
            Target::FullName => return self.full_names.push((column.header.clone(), cell.to_owned())),
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
            Some(_) => self.keep(&column.header, cell),
        }
    }

    /// The body with its metadata, the metadata alone, and the body of the linked company.
    pub fn finish(mut self) -> (Object, Object, Object) {
        for (header, name) in std::mem::take(&mut self.full_names) {
            self.full_name(&header, &name);
        }
        if !self.metadata.is_empty() {
            self.body.insert("metadata".into(), self.metadata.clone().into());
        }
        (self.body, self.metadata, self.company)
    }

    fn keep(&mut self, key: &str, cell: &str) {
        if self.metadata.get(key).is_some_and(|kept| kept == cell) {
            return;
        }
        let key = free(key, |key| self.metadata.contains_key(key));
        self.metadata.insert(key, cell.into());
    }

    /// Adds the labels of a cell: separated by comma, semicolon or bar.
    fn tags(&mut self, name: &str, cell: &str) {
        let tags = self.body.entry(name).or_insert_with(|| Json::Array(Vec::new()));
        let labels = cell.split([',', ';', '|']).map(str::trim).filter(|label| !label.is_empty());
        if let Json::Array(tags) = tags {
            tags.extend(labels.map(Json::from));
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
            return self.keep(header, name);
        }
        for (name, part) in parts.into_iter().filter(|(_, part)| !part.is_empty()) {
            self.body.insert(name.into(), part.into());
        }
    }
}

/// A cell as the JSON that the API would be sent; what does not fit is left to validation.
fn json(kind: Kind, cell: &str) -> Json {
    match kind {
        Kind::Int { .. } => cell.parse::<i64>().map_or_else(|_| cell.into(), Json::from),
        Kind::Bool => cell.parse::<bool>().map_or_else(|_| cell.into(), Json::from),
        _ => cell.into(),
    }
}
