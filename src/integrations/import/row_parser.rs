//! Parses the records of a file, CSV or JSON, into validated changesets.

use csv::ByteRecord;
use serde_json::{Map, Value as Json};

use super::csv_reader::Record;
use super::json_duplicates;
use super::mapping::Mapping;
use super::row::{Aside, ParsedRow, Row};
use super::row_errors;
use super::row_mapper::{Object, RowMapper, uuid};
use crate::auth::TenantSettings;
use crate::base::error::FieldError;
use crate::crm::companies::COMPANIES;
use crate::resource::{Changeset, Mutability, Resource, body};

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
        let Record { number, cells, offset, length, fault } = record;
        let parsed = match fault {
            Some(fault) => Err(vec![fault]),
            None => self.parse(&cells),
        };
        Row { number, record: cells, offset, length, parsed }
    }

    fn parse(&self, record: &ByteRecord) -> Result<ParsedRow, Vec<FieldError>> {
        self.validate(self.map_cells(record)?.finish(), Vec::new())
    }

    /// Parses a JSON object with the fields of the API, or of an export.
    pub fn parse_json(&self, line: &[u8]) -> Result<ParsedRow, Vec<FieldError>> {
        let refused = |error| {
            row_errors::of(error).unwrap_or_else(|error| vec![FieldError::new("", "invalid", error.to_string())])
        };
        let Json::Object(mut body) = body::json(line, MAX_DEPTH).map_err(refused)? else {
            return Err(vec![FieldError::new("", "not_an_object", "Each line must be a JSON object.")]);
        };
        let twice = json_duplicates::repeated(line).into_iter().map(|name| {
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
        self.validate(bodies, ignored)
    }

    fn validate(&self, bodies: RowMapper, ignored: Vec<String>) -> Result<ParsedRow, Vec<FieldError>> {
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
                let parsed = ParsedRow {
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
            row_errors::of(error).unwrap_or_else(|error| vec![FieldError::new("", "invalid", error.to_string())])
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
    fn map_cells(&self, record: &ByteRecord) -> Result<RowMapper, Vec<FieldError>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crm::contacts::CONTACTS;
    use crate::integrations::import::csv_delimiter;
    use crate::integrations::import::csv_header::headers;
    use crate::integrations::import::csv_reader::Records;
    use serde_json::json;

    const SMALL: &[u8] = include_bytes!("../../../tests/data/contacts.csv");

    fn business() -> TenantSettings {
        TenantSettings { id: uuid::Uuid::nil(), country: "US".into(), time_zone: "UTC".into(), currency: "USD".into() }
    }

    fn parse(bytes: &[u8]) -> Vec<Row> {
        let mut records = Records::new(bytes, csv_delimiter::detect(bytes), true);
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
        let text = |name| anna.update.text_field(name).unwrap_or_default();
        assert_eq!(text("external_id"), "a-1");
        assert_eq!(text("email"), "anna@work.example");
        assert_eq!((text("phone"), text("phone_extension")), ("+14152933313", "12"));
        assert_eq!(
            Json::Object(anna.metadata.clone()),
            json!({"email_home": "anna@home.example", "phone_home": "ask for Tom", "Note": "likes\nline breaks, \"quotes\""})
        );
        let company = anna.company.as_ref().unwrap();
        assert_eq!(company.text_field("name"), Some("Brekke, Dietrich and Klein"));
        let tags = anna.update.get_field("tags");
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
        assert_eq!(rows[0].parsed.as_ref().unwrap().update.text_field("first_name"), Some("Jörg"));
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
            let text = |name| parsed.update.text_field(name).unwrap_or("-").to_owned();
            format!("{}/{}/{}", text("first_name"), text("last_name"), Json::Object(parsed.metadata.clone()))
        };
        let shown: Vec<String> = rows.iter().map(names).collect();
        assert_eq!(
            shown,
            ["Anna Maria/Schmidt/{}", "Anna Maria/Schmidt/{}", "Plato/-/{}", r#"Anne/-/{"name":"Anna S."}"#]
        );
    }
}
