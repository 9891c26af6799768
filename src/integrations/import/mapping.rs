//! Maps the columns of a file to fields: as given by a mapping, else guessed from the headers.

use serde_json::{Map, Value as Json};

use super::column_target::{Target, names};
use super::guess_headers::guess;
use crate::base::error::{Error, FieldError};
use crate::resource::{Resource, did_you_mean};

#[derive(Clone, Debug)]
pub struct Column {
    /// Index in the record.
    pub index: usize,
    /// Unique in the file.
    pub header: String,
    pub target: Target,
    /// Preference among columns for one field: the lowest one which is not empty wins.
    rank: usize,
}

/// The columns of a file in order of preference: the first non-empty cell is a field's value.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub columns: Vec<Column>,
}

impl Mapping {
    /// Guesses every column. Errors: no column resembles a field.
    pub fn guess(resource: &'static Resource, headers: &[String]) -> Result<Self, String> {
        Self::build(resource, headers, &Map::new())
    }

    /// Parses the text of a mapping file and guesses the columns which it omits. Errors: all its errors at once.
    pub fn read(resource: &'static Resource, headers: &[String], text: &str) -> Result<Self, String> {
        let given: Map<String, Json> = serde_json::from_str(text)
            .map_err(|error| format!("a mapping is a JSON object from header to field: {error}"))?;
        Self::build(resource, headers, &given)
    }

    /// Guesses the columns which `given`, from header to target, omits. Errors: all its errors at once.
    pub fn build(resource: &'static Resource, headers: &[String], given: &Map<String, Json>) -> Result<Self, String> {
        let mut faults = Vec::new();
        let mut columns: Vec<Column> = Vec::new();
        for (index, header) in headers.iter().enumerate() {
            let (rank, target) = guess(resource, header);
            let header = header.clone();
            columns.push(Column { index, header, target, rank });
        }
        skip_report(&mut columns);
        for (header, value) in given {
            let Some(column) = columns.iter_mut().find(|column| column.header == header.trim()) else {
                let hint = did_you_mean(header, headers.iter().map(String::as_str));
                faults.push(format!("there is no column `{header}`.{hint}"));
                continue;
            };
            column.rank = 0;
            match value {
                Json::Null => column.target = Target::Skip,
                // A name as `targets` shows it: sending it back changes nothing.
                Json::String(name) if column.target.is_aside() && column.target.name().as_ref() == Some(name) => {}
                Json::String(name) => match Target::named(resource, name) {
                    Some(target) => column.target = target,
                    None => {
                        let hint = did_you_mean(name, names(resource));
                        faults.push(format!("`{header}`: there is no field `{name}` to import.{hint}"));
                    }
                },
                _ => faults.push(format!("`{header}`: the name of a field, or null to skip the column")),
            }
        }
        let is_known = |column: &Column| {
            use Target::{Metadata, Related, Report, ServiceSet, Skip};
            !matches!(column.target, Metadata(_) | Skip | ServiceSet(_) | Related(_) | Report)
        };
        if faults.is_empty() && !columns.iter().any(is_known) {
            faults
                .push(format!("no column sounds like a field of a {}; say in a mapping which is which", resource.name));
        }
        // The sort is stable: columns of one rank keep the file's order.
        columns.sort_by_key(|column| column.rank);
        if faults.is_empty() { Ok(Self { columns }) } else { Err(faults.join("; ")) }
    }

    /// Builds the mapping of a file in `format`, as [`Mapping::build`]; it is empty for NDJSON. Errors: 422.
    pub fn of_file(
        resource: &'static Resource,
        format: &str,
        headers: &[String],
        given: &Map<String, Json>,
    ) -> crate::base::error::Result<Self> {
        let fault = |detail: String| Error::Invalid(vec![FieldError::new("/mapping", "mapping", detail)]);
        match format {
            "csv" => Self::build(resource, headers, given).map_err(fault),
            _ if given.is_empty() => Ok(Self { columns: Vec::new() }),
            _ => Err(fault("The rows of an NDJSON file have the fields of the API: there is nothing to map.".into())),
        }
    }

    /// Returns the targets as `{"header": "field"}`, in the file's order.
    pub fn targets(&self) -> Json {
        let mut columns: Vec<_> = self.columns.iter().collect();
        columns.sort_by_key(|column| column.index);
        Json::Object(columns.into_iter().map(|column| (column.header.clone(), column.target.name().into())).collect())
    }
}

/// Skips the columns which a report of refused rows adds, so that a corrected report can be imported.
fn skip_report(columns: &mut [Column]) {
    let is = |column: Option<&Column>, name: &str| column.is_some_and(|column| column.header == name);
    let ends = columns.iter().rev().map(|column| column.header.as_str());
    if is(columns.first(), "row") && ends.take(3).eq(["detail", "code", "pointer"]) {
        let last = columns.len() - 3;
        let own = columns.iter_mut().enumerate().filter(|(index, _)| *index == 0 || *index >= last);
        own.for_each(|(_, column)| column.target = Target::Report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crm::{companies, contacts};

    fn headers(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// `header → target`, in order of preference.
    fn shown(mapping: &Mapping) -> Vec<String> {
        let show = |column: &Column| {
            format!("{} → {}", column.header, column.target.name().unwrap_or_else(|| "nothing".to_owned()))
        };
        mapping.columns.iter().map(show).collect()
    }

    #[test]
    fn guess_maps_headers_of_various_spellings() {
        for (header, expected) in [
            ("First Name", "first_name"),
            ("VORNAME", "first_name"),
            ("Surname", "last_name"),
            ("E-Mail", "email"),
            ("email_address", "email"),
            ("Tel.", "phone"),
            ("Job Title", "title"),
            ("Organisation", "company.name"),
            ("ID", "external_id"),
            ("Labels", "tags"),
            ("Name", "full_name"),
            ("company_id", "company_id"),
            ("Company ID", "metadata.Company ID"),
            ("created_at", "metadata.created_at"),
            ("company.industry", "metadata.company.industry"),
            ("company.name", "company.name"),
            ("metadata", "metadata"),
            ("id", "id"),
            ("Shoe size", "metadata.Shoe size"),
            ("metadata.plan", "metadata.plan"),
        ] {
            let with = headers(&["last_name", header]);
            let mapping = Mapping::guess(&contacts::CONTACTS, &with).unwrap();
            assert!(shown(&mapping).contains(&format!("{header} → {expected}")), "{header}: {:?}", shown(&mapping));
        }
        let mapping = Mapping::guess(&companies::COMPANIES, &headers(&["Company", "id", "Branche"])).unwrap();
        assert_eq!(shown(&mapping), ["id → id", "Company → name", "Branche → industry"]);
    }

    #[test]
    fn guess_prefers_work_over_home_over_other_email() {
        let asked = headers(&["email_other", "email_home", "email_work", "email"]);
        let mapping = Mapping::guess(&contacts::CONTACTS, &asked).unwrap();
        assert_eq!(
            shown(&mapping),
            ["email → email", "email_work → email", "email_home → email", "email_other → email"]
        );
    }

    #[test]
    fn read_explicit_mapping_overrides_guesses() {
        let asked = headers(&["email", "Rufname", "Note", "secret"]);
        let text = r#"{"Rufname": "first_name", "Note": "email", "secret": null}"#;
        let mapping = Mapping::read(&contacts::CONTACTS, &asked, text).unwrap();
        assert_eq!(shown(&mapping), ["Rufname → first_name", "Note → email", "secret → nothing", "email → email"]);
        // The targets shown for an export can be sent back without changing anything.
        let asked = headers(&["email", "version", "company.industry"]);
        let text = r#"{"version": "metadata.version", "company.industry": "metadata.company.industry"}"#;
        let mapping = Mapping::read(&contacts::CONTACTS, &asked, text).unwrap();
        assert_eq!(mapping.columns.iter().filter(|column| column.target.is_aside()).count(), 2);
    }

    #[test]
    fn read_invalid_mapping_lists_every_error() {
        let asked = headers(&["mail", "b"]);
        let text = r#"{"male": "email", "mail": "emial", "b": 3}"#;
        let faults = Mapping::read(&contacts::CONTACTS, &asked, text).unwrap_err();
        for part in ["`male`. Did you mean `mail`", "`emial` to import. Did you mean `email`", "`b`: the name"] {
            assert!(faults.contains(part), "{faults}");
        }
        assert!(Mapping::read(&contacts::CONTACTS, &asked, "[]").is_err());
        assert!(Mapping::read(&contacts::CONTACTS, &asked, r#"{"b": "version"}"#).is_err());
        assert!(Mapping::guess(&contacts::CONTACTS, &headers(&["x", "y"])).is_err());
    }
}
