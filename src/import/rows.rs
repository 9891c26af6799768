//! From records of a file to changes that the API would accept.

use std::collections::{HashMap, HashSet};

use csv::ByteRecord;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::bodies::{Aside, Bodies, Object, uuid};
use super::csv_reader::Record;
use super::json_members;
use super::mapping::Mapping;
use super::writer;
use crate::auth::Business;
use crate::crm::companies::COMPANIES;
use crate::error::Fault;
use crate::noun::{Change, Noun, Written, body};

/// A row of the file.
#[derive(Debug)]
pub struct Row {
    /// As a spreadsheet counts: the header is row 1.
    pub number: u64,
    pub record: ByteRecord,
    /// The bytes of the file that it is.
    pub place: u64,
    pub length: u64,
    /// What it asks for, or why it is refused.
    pub parsed: Result<Parsed, Vec<Fault>>,
}

/// A row, validated.
#[derive(Debug)]
pub struct Parsed {
    /// Its fields, for a row that exists.
    pub update: Change,
    /// Its fields, for a row that is to be made, which may need more of them.
    pub create: Result<Change, Vec<Fault>>,
    pub metadata: Map<String, Json>,
    /// The company that it links, as it would be made.
    pub company: Option<Change>,
    /// The id that it has here, as it says.
    pub id: Option<Uuid>,
    /// Whether that id stands in for the external id that it does not say: for rows that are found otherwise, and new ones.
    pub stands_in: bool,
    /// Whether it says that it has no external id.
    pub empties_external_id: bool,
    /// What a row that is there does not take.
    pub asides: Vec<Aside>,
    /// Links that may be ids of another system, with their headers: where they lead nowhere they are kept in metadata.
    pub guessed: Vec<(&'static str, String)>,
    /// What it says besides, and where that went.
    pub notes: Vec<Fault>,
    /// Members that the service sets, and that it left out.
    pub ignored: Vec<String>,
}

/// What the rows of a chunk could be found by: no two of them may mean the same, because the later one must find what the
/// earlier one has made.
#[derive(Default)]
pub struct Keys {
    unique: HashSet<String>,
    /// By name: who else is called so, by what only one can have.
    names: HashMap<String, Vec<[Option<String>; 2]>>,
}

impl Keys {
    /// Adds `row`, unless it could mean the same as one that is there.
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

/// Makes changes of rows.
#[derive(Clone)]
pub struct Parser {
    pub noun: &'static Noun,
    /// Of the columns of a CSV file; none where a row is a JSON object.
    pub mapping: Mapping,
    pub business: Business,
}

/// Deepest nesting of a row that is JSON: that of a body by default (RAPPORT_BODY_DEPTH), and one more for what an export
/// includes.
const MAX_DEPTH: usize = 17;

impl Parser {
    /// A record of a CSV file.
    pub fn row(&self, record: Record) -> Row {
        let Record { number, cells, place, length, fault } = record;
        let parsed = match fault {
            Some(fault) => Err(vec![fault]),
            None => self.parse(&cells),
        };
        Row { number, record: cells, place, length, parsed }
    }

    fn parse(&self, record: &ByteRecord) -> Result<Parsed, Vec<Fault>> {
        self.understand(self.assemble(record)?.finish(), Vec::new())
    }

    /// A row that is a JSON object with the fields of the API, or as an export has it.
    pub fn parse_json(&self, line: &[u8]) -> Result<Parsed, Vec<Fault>> {
        let refused =
            |error| writer::faults(error).unwrap_or_else(|error| vec![Fault::new("", "invalid", error.to_string())]);
        let Json::Object(mut body) = body::json(line, MAX_DEPTH).map_err(refused)? else {
            return Err(vec![Fault::new("", "not_an_object", "Each line must be a JSON object.")]);
        };
        let twice = json_members::repeated(line).into_iter().map(|name| {
            let detail = format!("`{name}` is in this row more than once. Leave all but one out.");
            Fault::new(format!("/{}", name.replace('~', "~0").replace('/', "~1")), "duplicate", detail)
        });
        let twice: Vec<Fault> = twice.collect();
        if !twice.is_empty() {
            return Err(twice);
        }
        let mut bodies = Bodies::default();
        if let Some(id) = body.get("id").and_then(Json::as_str).and_then(uuid) {
            body.shift_remove("id");
            bodies.id = Some(id);
        }
        let mut ignored = Vec::new();
        let service_set = self.noun.fields.iter().filter(|field| field.written == Written::Never && field.name != "id");
        let related = self.noun.relations.iter().map(|relation| relation.name);
        for name in service_set.map(|field| field.name).chain(related) {
            let Some(value) = body.shift_remove(name) else { continue };
            if let (Json::Object(company), "company", "contact") = (value, name, self.noun.name) {
                let linked = ["name", "domain"].into_iter().filter_map(|name| Some((name, company.get(name)?.clone())));
                let linked = linked.filter(|(_, value)| value.is_string());
                bodies.company = linked.map(|(name, value)| (name.to_owned(), value)).collect();
            }
            ignored.push(name.to_owned());
        }
        // What is wrong with another, validation says.
        if let Some(Json::Object(metadata)) = body.get("metadata") {
            bodies.metadata = metadata.clone();
            body.shift_remove("metadata");
        }
        bodies.body = body;
        self.understand(bodies, ignored)
    }

    fn understand(&self, bodies: Bodies, ignored: Vec<String>) -> Result<Parsed, Vec<Fault>> {
        let Bodies { mut body, company, metadata, id, asides, guessed, notes, .. } = bodies;
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
        let update = self.change(self.noun, with(metadata.clone()), false);
        let create = self.change(self.noun, with(kept), true);
        match (update, company) {
            (Ok(update), Ok(company)) => {
                let parsed = Parsed {
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
            // A creation's faults are an update's and those of what is missing.
            (update, company) => {
                let own = create.err().or(update.err()).unwrap_or_default();
                Err(own.into_iter().chain(company.err().unwrap_or_default()).collect())
            }
        }
    }

    fn change(&self, noun: &'static Noun, body: Map<String, Json>, creates: bool) -> Result<Change, Vec<Fault>> {
        Change::parse(noun, Json::Object(body), creates, &self.business).map_err(|error| {
            writer::faults(error).unwrap_or_else(|error| vec![Fault::new("", "invalid", error.to_string())])
        })
    }

    /// The linked company; one that is known by its domain only is called by it.
    fn company(&self, mut body: Map<String, Json>) -> Result<Option<Change>, Vec<Fault>> {
        if let Some(domain) = body.get("domain").cloned() {
            body.entry("name").or_insert(domain);
        }
        if body.is_empty() {
            return Ok(None);
        }
        let prefixed = |fault: Fault| Fault { pointer: format!("/company{}", fault.pointer), ..fault };
        let made = self.change(&COMPANIES, body, true).map(Some);
        made.map_err(|faults| faults.into_iter().map(prefixed).collect())
    }

    /// The cells, each in its place. Errors: they are not as many as the headers, or not UTF-8.
    fn assemble(&self, record: &ByteRecord) -> Result<Bodies, Vec<Fault>> {
        let (cells, columns) = (record.len(), self.mapping.columns.len());
        if cells != columns {
            let detail = format!("The row has {cells} cells, the header {columns}.");
            return Err(vec![Fault::new("", "ragged", detail)]);
        }
        let mut bodies = Bodies::default();
        let mut faults = Vec::new();
        for column in &self.mapping.columns {
            match std::str::from_utf8(&record[column.index]) {
                Ok(cell) => bodies.put(column, cell),
                Err(_) => {
                    let detail = format!("The cell of `{}` is not UTF-8. Save the file as UTF-8.", column.header);
                    let pointer = format!("/{}", column.header.replace('~', "~0").replace('/', "~1"));
                    faults.push(Fault::new(pointer, "not_utf8", detail));
                }
            }
        }
        if faults.is_empty() { Ok(bodies) } else { Err(faults) }
    }
}

/// Its external id, and the other field that only one row can have; see [`super::matching`].
pub fn unique_keys(change: &Change) -> [Option<String>; 2] {
    let key = |name: &str| change.text(name).map(|text| format!("{name} {}", text.to_lowercase()));
    [key("external_id"), key("email").or_else(|| key("domain"))]
}

/// What it is called, with the company; or its number, where it has no name.
fn name_key(change: &Change, company: Option<&Change>) -> Option<String> {
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
    use crate::import::csv_reader::Records;
    use crate::import::header::{delimiter, headers};
    use serde_json::json;

    const SMALL: &[u8] = include_bytes!("../../tests/data/contacts.csv");

    fn business() -> Business {
        Business { id: uuid::Uuid::nil(), country: "US".into(), time_zone: "UTC".into(), currency: "USD".into() }
    }

    fn parse(bytes: &[u8]) -> Vec<Row> {
        let mut records = Records::new(bytes, delimiter(bytes), true);
        let headers = headers(&records.header().unwrap()).unwrap();
        let mapping = Mapping::guess(&CONTACTS, &headers).unwrap();
        let parser = Parser { noun: &CONTACTS, mapping, business: business() };
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
    fn nothing_of_a_row_is_lost() {
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
        assert_eq!(tags, Some(&crate::db::Value::Texts(vec!["vip".into(), "press".into()])));
    }

    #[test]
    fn faults_are_those_of_the_api_with_the_number_of_the_row() {
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
    fn marks_separators_and_encodings_are_understood_or_named() {
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
    fn full_names_are_split_unless_the_parts_are_given() {
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
