//! Maps the columns of a file to fields: as given by a mapping, else guessed from the headers.

use serde_json::{Map, Value as Json};

use crate::resource::{Cardinality, Field, FieldType, Mutability, Resource, did_you_mean};

/// What the cells of a column map to.
#[derive(Clone, Debug)]
pub enum Target {
    Field(&'static Field),
    /// Given and family name in one cell; contacts only.
    FullName,
    /// `name` or `domain` of the linked company; contacts only.
    Company(&'static str),
    /// A key of `metadata`.
    Metadata(String),
    /// All of `metadata`, as JSON, as exports write it.
    Object,
    /// Id of an existing row; a value which is not a UUID is the external id.
    Id,
    /// A reference, under a header which another system may use for its own ids: unresolvable ids are kept in metadata.
    Link(&'static Field),
    /// A read-only field of an export: ignored for the row which was exported, else kept in metadata.
    ServiceSet(&'static Field),
    /// A field of a related row of an export, with its header: ignored for an existing row, kept in metadata of a new
    /// one.
    Related(String),
    /// A column which a report of refused rows adds to their cells.
    Report,
    Skip,
}

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

/// Headers by target, folded, in order of preference. A field's own name always maps to it and comes first.
type Synonyms = &'static [(&'static str, &'static str)];

const CONTACTS: Synonyms = &[
    ("external_id", "id contactid recordid"),
    ("first_name", "givenname forename given vorname prénom"),
    ("last_name", "familyname surname family nachname familienname"),
    ("full_name", "fullname name displayname contactname"),
    (
        "email",
        "emailaddress mail primaryemail emailwork workemail businessemail email1 emailhome homeemail \
         personalemail privateemail emailother otheremail email2 secondaryemail email3",
    ),
    (
        "phone",
        "phonenumber telephone tel telefon telefonnummer primaryphone mobile mobilephone cell cellphone \
         handy phonemobile phonework workphone businessphone phone1 phonehome homephone phoneother \
         otherphone phone2 phone3",
    ),
    ("phone_extension", "extension ext durchwahl"),
    ("title", "jobtitle position jobposition role funktion"),
    (
        "company.name",
        "companyname company organisation organization organisationname organizationname account \
         accountname employer firma unternehmen",
    ),
    ("company.domain", "companydomain"),
    ("tags", "tag labels label"),
];

const COMPANIES: Synonyms = &[
    ("external_id", "id companyid accountid recordid"),
    (
        "name",
        "companyname company organisation organization organisationname organizationname account \
         accountname firma unternehmen",
    ),
    ("domain", "companydomain webdomain"),
    ("industry", "sector branche"),
    ("size", "companysize"),
    ("phone", "phonenumber telephone tel telefon telefonnummer phonework"),
    ("address", "postaladdress adresse anschrift"),
    ("tags", "tag labels label"),
];

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
                Json::String(name) => match target(resource, name) {
                    Some(target) => column.target = target,
                    None => {
                        let hint = did_you_mean(name, known(resource));
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
}

impl Target {
    /// Whether exports have it and no import sets it. A mapping which repeats its name leaves it unchanged.
    fn is_aside(&self) -> bool {
        matches!(self, Target::ServiceSet(_) | Target::Related(_))
    }

    /// Its name in a mapping; `None`: the column is skipped.
    pub fn name(&self) -> Option<String> {
        match self {
            Target::Field(field) => Some(field.name.to_owned()),
            Target::FullName => Some("full_name".to_owned()),
            Target::Company(name) => Some(format!("company.{name}")),
            Target::Metadata(key) | Target::Related(key) => Some(format!("metadata.{key}")),
            Target::Object => Some("metadata".to_owned()),
            Target::Id => Some("id".to_owned()),
            Target::Link(field) => Some(field.name.to_owned()),
            Target::ServiceSet(field) => Some(format!("metadata.{}", field.name)),
            Target::Skip | Target::Report => None,
        }
    }
}

/// Skips the columns which a report of refused rows adds, so that a corrected report can be imported.
fn skip_report(columns: &mut [Column]) {
    let is = |column: Option<&Column>, name: &str| column.is_some_and(|column| column.header == name);
    let ends = columns.iter().rev().map(|column| column.header.as_str());
    if is(columns.first(), "row") && ends.take(3).eq(["detail", "code", "pointer"]) {
        let last = columns.len() - 3;
        let own = columns.iter_mut().enumerate().filter(|(place, _)| *place == 0 || *place >= last);
        own.for_each(|(_, column)| column.target = Target::Report);
    }
}

/// Guesses rank and target of a header. An unknown header is kept in metadata under its own name.
fn guess(resource: &'static Resource, header: &str) -> (usize, Target) {
    if header.starts_with("metadata.") {
        return (1, target(resource, header).unwrap_or(Target::Skip));
    }
    if let Some(exported) = exported(resource, header) {
        return exported;
    }
    let folded = fold(header);
    let own = resource
        .fields
        .iter()
        .find(|field| is_importable(field) && field.field_type != FieldType::Uuid && fold(field.name) == folded);
    if let Some(field) = own {
        return (1, Target::Field(field));
    }
    let synonyms: Synonyms = match resource.name {
        "contact" => CONTACTS,
        "company" => COMPANIES,
        _ => &[],
    };
    synonyms
        .iter()
        .find_map(|(name, headers)| {
            let place = headers.split_whitespace().position(|header| header == folded)?;
            Some((2 + place, target(resource, name)?))
        })
        .unwrap_or_else(|| (1, Target::Metadata(header.to_owned())))
}

/// Returns rank and target of a header which exports write. It must match exactly: another system may mean something
/// else by a similar name.
fn exported(resource: &'static Resource, header: &str) -> Option<(usize, Target)> {
    if let Some((relation, name)) = header.split_once('.') {
        let relation = resource.relation(relation).filter(|relation| relation.arity == Cardinality::One)?;
        relation.resource().field(name)?;
        return Some((1, target(resource, header).unwrap_or_else(|| Target::Related(header.to_owned()))));
    }
    let field = resource.field(header)?;
    match (field.name, field.field_type) {
        // Ranks after a column of external ids.
        ("id", _) => Some((2, Target::Id)),
        // Ranks before single keys of metadata.
        ("metadata", FieldType::Object) => Some((0, Target::Object)),
        _ if field.mutability == Mutability::ReadOnly => Some((1, Target::ServiceSet(field))),
        (_, FieldType::Uuid) => Some((1, Target::Link(field))),
        _ => None,
    }
}

/// Keeps letters and digits only, in lower case: `E-Mail Address` and `email_address` are the same.
fn fold(header: &str) -> String {
    header.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_importable(field: &Field) -> bool {
    field.mutability != Mutability::ReadOnly && field.field_type != FieldType::Object
}

/// Returns the target which a mapping calls `name`.
fn target(resource: &'static Resource, name: &str) -> Option<Target> {
    if let Some(key) = name.strip_prefix("metadata.").filter(|key| !key.is_empty()) {
        return Some(Target::Metadata(key.to_owned()));
    }
    match name {
        "id" => Some(Target::Id),
        "metadata" => Some(Target::Object),
        "full_name" if resource.name == "contact" => Some(Target::FullName),
        "company.name" if resource.name == "contact" => Some(Target::Company("name")),
        "company.domain" if resource.name == "contact" => Some(Target::Company("domain")),
        _ => resource.field(name).filter(|field| is_importable(field)).map(Target::Field),
    }
}

fn known(resource: &'static Resource) -> impl Iterator<Item = &'static str> {
    let special = ["full_name", "company.name", "company.domain"].into_iter();
    let fields = resource.fields.iter().filter(|field| is_importable(field));
    special.filter(|_| resource.name == "contact").chain(["id", "metadata"]).chain(fields.map(|field| field.name))
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
