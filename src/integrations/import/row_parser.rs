//! Parses the records of a file, CSV or JSON, into validated changesets.

use std::collections::{HashMap, HashSet};

use csv::ByteRecord;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::csv_reader::Record;
use super::json_members;
use super::mapping::Mapping;
use super::row_mapper::{Aside, Object, RowMapper, uuid};
use super::writer;
use crate::auth::TenantSettings;
use crate::base::error::FieldError;
use crate::crm::companies::COMPANIES;
use crate::resource::{Changeset, Mutability, Resource, body};

/// A row of the file.
#[derive(Debug)]
pub struct Row {
    /// Row number as in a spreadsheet: the header is row 1.
    pub number: u64,
    pub record: ByteRecord,
    /// Byte offset in the file.
    pub place: u64,
    pub length: u64,
    /// The validated row, or its validation errors.
    pub parsed: Result<Parsed, Vec<FieldError>>,
}

/// A validated row.
#[derive(Debug)]
pub struct Parsed {
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

/// Match keys of the rows of a chunk. No two of its rows may match the same database row, because the later one must
/// find what the earlier one has written.
#[derive(Default)]
pub struct Keys {
    unique: HashSet<String>,
    /// By name: the unique keys of the rows with that name.
    names: HashMap<String, Vec<[Option<String>; 2]>>,
}

impl Keys {
    /// Adds `row` and returns true, unless it could match the same database row as one in the chunk.
    pub fn add(&mut self, row: &Row) -> bool {
        let Ok(parsed) = &row.parsed else { return true };
        let unique = unique_keys(&parsed.update);
        let name = name_key(&parsed.update, parsed.company.as_ref());
        let own = [&unique[0], &unique[1]].map(|key| key.clone());
        let unique: Vec<String> = unique.into_iter().flatten().chain(parsed.id.map(|id| format!("id {id}"))).collect();
        let other = |there: &[Option<String>; 2]| {
            there.iter().zip(&own).any(|(one, other)| one.is_some() && other.is_some() && one != other)
        };
        let named = name.as_ref().and_then(|name| self.names.get(name));
        if unique.iter().any(|key| self.unique.contains(key)) || !named.is_none_or(|all| all.iter().all(other)) {
            return false;
        }
        self.unique.extend(unique);
        if let Some(name) = name {
            self.names.entry(name).or_default().push(own);
        }
        true
    }
}

/// Parses rows into changesets.
#[derive(Clone)]
pub struct Parser {
    pub resource: &'static Resource,
    /// Columns of a CSV file; empty if rows are JSON objects.
    pub mapping: Mapping,
    pub business: TenantSettings,
}

/// Maximum nesting of a JSON row: that of a request body by default (RAPPORT_BODY_DEPTH), and one more for the
/// relations of an export.
const MAX_DEPTH: usize = 17;

impl Parser {
    /// Parses a record of a CSV file.
    pub fn row(&self, record: Record) -> Row {
        let Record { number, cells, place, length, fault } = record;
        let parsed = match fault {
            Some(fault) => Err(vec![fault]),
            None => self.parse(&cells),
        };
        Row { number, record: cells, place, length, parsed }
    }

    fn parse(&self, record: &ByteRecord) -> Result<Parsed, Vec<FieldError>> {
        self.understand(self.assemble(record)?.finish(), Vec::new())
    }

    /// Parses a JSON object with the fields of the API, or of an export.
    pub fn parse_json(&self, line: &[u8]) -> Result<Parsed, Vec<FieldError>> {
        let refused = |error| {
            writer::faults(error).unwrap_or_else(|error| vec![FieldError::new("", "invalid", error.to_string())])
        };
        let Json::Object(mut body) = body::json(line, MAX_DEPTH).map_err(refused)? else {
            return Err(vec![FieldError::new("", "not_an_object", "Each line must be a JSON object.")]);
        };
        let twice = json_members::repeated(line).into_iter().map(|name| {
            let detail = format!("`{name}` is in this row more than once. Leave all but one out.");
            FieldError::new(format!("/{}", name.replace('~', "~0").replace('/', "~1")), "duplicate", detail)
        });
        let twice: Vec<FieldError> = twice.collect();
        if !twice.is_empty() {
            return Err(twice);
        }
        let mut bodies = RowMapper::default();
        if let Some(id) = body.get("id").and_then(Json::as_str).and_then(uuid) {
            body.shift_remove("id");
            bodies.id = Some(id);
        }
        let mut ignored = Vec::new();
        let service_set =
            self.resource.fields.iter().filter(|field| field.mutability == Mutability::ReadOnly && field.name != "id");
        let related = self.resource.relations.iter().map(|relation| relation.name);
        for name in service_set.map(|field| field.name).chain(related) {
            let Some(value) = body.shift_remove(name) else { continue };
            if let (Json::Object(company), "company", "contact") = (value, name, self.resource.name) {
                let linked = ["name", "domain"].into_iter().filter_map(|name| Some((name, company.get(name)?.clone())));
                let linked = linked.filter(|(_, value)| value.is_string());
                bodies.company = linked.map(|(name, value)| (name.to_owned(), value)).collect();
            }
            ignored.push(name.to_owned());
        }
        // Validation reports metadata of another type.
        if let Some(Json::Object(metadata)) = body.get("metadata") {
            bodies.metadata = metadata.clone();
            body.shift_remove("metadata");
        }
        bodies.body = body;
        self.understand(bodies, ignored)
    }

    fn understand(&self, bodies: RowMapper, ignored: Vec<String>) -> Result<Parsed, Vec<FieldError>> {
        let RowMapper { mut body, company, metadata, id, asides, guessed, notes, .. } = bodies;
        let company = self.company(company);
        let stands_in = id.is_some() && body.get("external_id").is_none_or(Json::is_null);
        let empties_external_id = body.contains_key("external_id") && stands_in;
        if let (Some(id), true) = (id, stands_in) {
            body.insert("external_id".into(), id.to_string().into());
        }
        let with = |metadata: Object| {
            let mut body = body.clone();
            if !metadata.is_empty() {
                body.insert("metadata".into(), metadata.into());
            }
            body
        };
        let mut kept = metadata.clone();
        for Aside { key, value, .. } in &asides {
            kept.entry(key).or_insert_with(|| value.as_str().into());
        }
        let update = self.change(self.resource, with(metadata.clone()), false);
        let create = self.change(self.resource, with(kept), true);
        match (update, company) {
            (Ok(update), Ok(company)) => {
                let parsed = Parsed {
                    resource: self.resource,
                    update,
                    create,
                    metadata,
                    company,
                    id,
                    stands_in,
                    empties_external_id,
                    asides,
                    guessed,
                    notes,
                    ignored,
                };
                Ok(parsed)
            }
            // The errors of a create include those of an update, and add missing fields.
            (update, company) => {
                let own = create.err().or(update.err()).unwrap_or_default();
                Err(own.into_iter().chain(company.err().unwrap_or_default()).collect())
            }
        }
    }

    fn change(
        &self,
        resource: &'static Resource,
        body: Map<String, Json>,
        creates: bool,
    ) -> Result<Changeset, Vec<FieldError>> {
        Changeset::parse(resource, Json::Object(body), creates, &self.business).map_err(|error| {
            writer::faults(error).unwrap_or_else(|error| vec![FieldError::new("", "invalid", error.to_string())])
        })
    }

    /// Validates the linked company. One which is known only by its domain gets that as its name.
    fn company(&self, mut body: Map<String, Json>) -> Result<Option<Changeset>, Vec<FieldError>> {
        if let Some(domain) = body.get("domain").cloned() {
            body.entry("name").or_insert(domain);
        }
        if body.is_empty() {
            return Ok(None);
        }
        let prefixed = |fault: FieldError| FieldError { pointer: format!("/company{}", fault.pointer), ..fault };
        let made = self.change(&COMPANIES, body, true).map(Some);
        made.map_err(|faults| faults.into_iter().map(prefixed).collect())
    }

    /// Maps each cell by its column. Errors: their number differs from the headers, or they are not UTF-8.
    fn assemble(&self, record: &ByteRecord) -> Result<RowMapper, Vec<FieldError>> {
        let (cells, columns) = (record.len(), self.mapping.columns.len());
        if cells != columns {
            let detail = format!("The row has {cells} cells, the header {columns}.");
            return Err(vec![FieldError::new("", "ragged", detail)]);
        }
        let mut bodies = RowMapper::default();
        let mut faults = Vec::new();
        for column in &self.mapping.columns {
            match std::str::from_utf8(&record[column.index]) {
                Ok(cell) => bodies.put(column, cell),
                Err(_) => {
                    let detail = format!("The cell of `{}` is not UTF-8. Save the file as UTF-8.", column.header);
                    let pointer = format!("/{}", column.header.replace('~', "~0").replace('/', "~1"));
                    faults.push(FieldError::new(pointer, "not_utf8", detail));
                }
            }
        }
        if faults.is_empty() { Ok(bodies) } else { Err(faults) }
    }
}

/// Returns the external id and the other unique field; see [`super::matching`].
pub fn unique_keys(change: &Changeset) -> [Option<String>; 2] {
    let key = |name: &str| change.text(name).map(|text| format!("{name} {}", text.to_lowercase()));
    [key("external_id"), key("email").or_else(|| key("domain"))]
}

/// Returns the name, with the company; or the phone number if the row has no name.
fn name_key(change: &Changeset, company: Option<&Changeset>) -> Option<String> {
    let text = |name| change.text(name).map(str::to_lowercase);
    match (text("last_name"), text("first_name")) {
        (None, None) => text("name").or_else(|| text("phone")),
        (last, first) => {
            let company = company.and_then(|company| company.text("name")).unwrap_or_default();
            Some(format!("{last:?}, {first:?} of {}", company.to_lowercase()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crm::contacts::CONTACTS;
    use crate::integrations::import::csv_header::{delimiter, headers};
    use crate::integrations::import::csv_reader::Records;
    use serde_json::json;

    const SMALL: &[u8] = include_bytes!("../../../tests/data/contacts.csv");

    fn business() -> TenantSettings {
        TenantSettings { id: uuid::Uuid::nil(), country: "US".into(), time_zone: "UTC".into(), currency: "USD".into() }
    }

    fn parse(bytes: &[u8]) -> Vec<Row> {
        let mut records = Records::new(bytes, delimiter(bytes), true);
        let headers = headers(&records.header().unwrap()).unwrap();
        let mapping = Mapping::guess(&CONTACTS, &headers).unwrap();
        let parser = Parser { resource: &CONTACTS, mapping, business: business() };
        records.map(|record| parser.row(record.unwrap())).collect()
    }

    fn codes(row: &Row) -> Vec<(String, &'static str)> {
        let faults = match &row.parsed {
            Err(faults) => faults.as_slice(),
            Ok(parsed) => parsed.create.as_ref().err().map(Vec::as_slice).unwrap_or_default(),
        };
        faults.iter().map(|fault| (fault.pointer.clone(), fault.code)).collect()
    }

    #[test]
    fn parse_row_keeps_every_cell() {
        let rows = parse(SMALL);
        let anna = rows[0].parsed.as_ref().unwrap();
        let text = |name| anna.update.text(name).unwrap_or_default();
        assert_eq!(text("external_id"), "a-1");
        assert_eq!(text("email"), "anna@work.example");
        assert_eq!((text("phone"), text("phone_extension")), ("+14152933313", "12"));
        assert_eq!(
            Json::Object(anna.metadata.clone()),
            json!({"email_home": "anna@home.example", "phone_home": "ask for Tom", "Note": "likes\nline breaks, \"quotes\""})
        );
        let company = anna.company.as_ref().unwrap();
        assert_eq!(company.text("name"), Some("Brekke, Dietrich and Klein"));
        let tags = anna.update.get("tags");
        assert_eq!(tags, Some(&crate::db::SqlValue::Texts(vec!["vip".into(), "press".into()])));
    }

    #[test]
    fn parse_bad_rows_gives_api_error_codes_and_row_numbers() {
        let rows = parse(SMALL);
        let refused: Vec<_> =
            rows.iter().map(|row| (row.number, codes(row))).filter(|(_, codes)| !codes.is_empty()).collect();
        let fault = |pointer: &str, code| (pointer.to_owned(), code);
        assert_eq!(
            refused,
            [
                (4, vec![fault("/email", "format")]),
                (5, vec![fault("", "ragged")]),
                (6, vec![fault("/first_name", "required")]),
            ]
        );
    }

    #[test]
    fn parse_handles_bom_and_separators_names_bad_encodings() {
        let rows = parse(b"\xef\xbb\xbfVorname;E-Mail\r\nJ\xc3\xb6rg;j@a.example\r\n;\r\n\r\nJ\xf6rg;k@a.example\r\n");
        assert_eq!(rows[0].parsed.as_ref().unwrap().update.text("first_name"), Some("Jörg"));
        assert_eq!((rows[1].number, codes(&rows[1])), (4, vec![("/Vorname".into(), "not_utf8")]));
        let header = |bytes: &'static [u8]| Records::new(bytes, b',', true).header().unwrap();
        let refused = |bytes| headers(&header(bytes)).unwrap_err();
        assert!(refused(b"").contains("empty"));
        assert!(refused(b"\xff\xfea\0,\0").contains("UTF-16"));
        assert!(refused(b"a,J\xf6rg\n").contains("column 2"));
        assert_eq!(headers(&header(b"a, a,,a\n")).unwrap(), ["a", "a_2", "column_3", "a_3"]);
    }

    #[test]
    fn full_name_split_unless_first_or_last_name_given() {
        let rows = parse(b"name,first_name\nAnna Maria Schmidt,\n\"Schmidt, Anna Maria\",\nPlato,\nAnna S.,Anne\n");
        let names = |row: &Row| {
            let parsed = row.parsed.as_ref().unwrap();
            let text = |name| parsed.update.text(name).unwrap_or("-").to_owned();
            format!("{}/{}/{}", text("first_name"), text("last_name"), Json::Object(parsed.metadata.clone()))
        };
        let shown: Vec<String> = rows.iter().map(names).collect();
        assert_eq!(
            shown,
            ["Anna Maria/Schmidt/{}", "Anna Maria/Schmidt/{}", "Plato/-/{}", r#"Anne/-/{"name":"Anna S."}"#]
        );
    }
}
