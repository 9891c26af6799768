//! Which column of a file is which field: as a mapping file says, or as the header sounds.

use serde_json::{Map, Value as Json};

use crate::noun::{Arity, Field, Kind, Noun, Written, did_you_mean};

/// Where the cells of a column go.
#[derive(Clone, Debug)]
pub enum Target {
    Field(&'static Field),
    /// Given and family name in one cell; only for contacts.
    FullName,
    /// The linked company's `name` or `domain`; only for contacts.
    Company(&'static str),
    /// A key of `metadata`.
    Metadata(String),
    /// All of `metadata`, as JSON: what an export has in this column.
    Object,
    /// The id of a row here; what is none is its external id.
    Id,
    /// A link, by a header that another system may have for ids of its own: what leads nowhere is kept in metadata.
    Link(&'static Field),
    /// What the service sets, in an export: nothing of a row that is there, metadata of a new one.
    ServiceSet(&'static Field),
    /// A field of a row that is linked, in an export; as above. With its header.
    Related(String),
    /// What a report of refused rows has besides their cells.
    Report,
    Skip,
}

#[derive(Clone, Debug)]
pub struct Column {
    /// Place in the row.
    pub index: usize,
    /// Unique in the file.
    pub header: String,
    pub target: Target,
    /// Of several columns for one field, the lowest that is not empty wins.
    rank: usize,
}

/// The columns of a file in order of preference: the first cell that is not empty is a field's value.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub columns: Vec<Column>,
}

/// Headers by target, folded, in order of preference. A field's own name always leads to it and comes first.
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
    /// Guesses every column. Errors: no column sounds like a field.
    pub fn guess(noun: &'static Noun, headers: &[String]) -> Result<Self, String> {
        Self::build(noun, headers, &Map::new())
    }

    /// Reads a mapping file's `text` and guesses the columns that it leaves out. Errors: every fault of it, at once.
    pub fn read(noun: &'static Noun, headers: &[String], text: &str) -> Result<Self, String> {
        let given: Map<String, Json> = serde_json::from_str(text)
            .map_err(|error| format!("a mapping is a JSON object from header to field: {error}"))?;
        Self::build(noun, headers, &given)
    }

    /// Guesses the columns that `given`, from header to target, leaves out. Errors: every fault of it, at once.
    pub fn build(noun: &'static Noun, headers: &[String], given: &Map<String, Json>) -> Result<Self, String> {
        let mut faults = Vec::new();
        let mut columns: Vec<Column> = Vec::new();
        for (index, header) in headers.iter().enumerate() {
            let (rank, target) = guess(noun, header);
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
                // As `targets` names it: sent back, that must change nothing.
                Json::String(name) if column.target.is_aside() && column.target.name().as_ref() == Some(name) => {}
                Json::String(name) => match target(noun, name) {
                    Some(target) => column.target = target,
                    None => {
                        let hint = did_you_mean(name, known(noun));
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
            faults.push(format!("no column sounds like a field of a {}; say in a mapping which is which", noun.name));
        }
        // Stable, so columns of one rank stay in the file's order.
        columns.sort_by_key(|column| column.rank);
        if faults.is_empty() { Ok(Self { columns }) } else { Err(faults.join("; ")) }
    }
}

impl Target {
    /// What an export has and no import sets. A mapping that names it so leaves it that.
    fn is_aside(&self) -> bool {
        matches!(self, Target::ServiceSet(_) | Target::Related(_))
    }

    /// As a mapping names it; nothing: the column is skipped.
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

/// Skips what a report of refused rows has besides their cells: such a file can be mended and imported.
fn skip_report(columns: &mut [Column]) {
    let is = |column: Option<&Column>, name: &str| column.is_some_and(|column| column.header == name);
    let ends = columns.iter().rev().map(|column| column.header.as_str());
    if is(columns.first(), "row") && ends.take(3).eq(["detail", "code", "pointer"]) {
        let last = columns.len() - 3;
        let own = columns.iter_mut().enumerate().filter(|(place, _)| *place == 0 || *place >= last);
        own.for_each(|(_, column)| column.target = Target::Report);
    }
}

/// What a header sounds like, and how well; what sounds like nothing is kept in metadata under its own name.
fn guess(noun: &'static Noun, header: &str) -> (usize, Target) {
    if header.starts_with("metadata.") {
        return (1, target(noun, header).unwrap_or(Target::Skip));
    }
    if let Some(exported) = exported(noun, header) {
        return exported;
    }
    let folded = fold(header);
    let own =
        noun.fields.iter().find(|field| is_importable(field) && field.kind != Kind::Uuid && fold(field.name) == folded);
    if let Some(field) = own {
        return (1, Target::Field(field));
    }
    let synonyms: Synonyms = match noun.name {
        "contact" => CONTACTS,
        "company" => COMPANIES,
        _ => &[],
    };
    synonyms
        .iter()
        .find_map(|(name, headers)| {
            let place = headers.split_whitespace().position(|header| header == folded)?;
            Some((2 + place, target(noun, name)?))
        })
        .unwrap_or_else(|| (1, Target::Metadata(header.to_owned())))
}

/// What an export calls so: names to the letter, of which another system may mean something of its own by some.
fn exported(noun: &'static Noun, header: &str) -> Option<(usize, Target)> {
    if let Some((relation, name)) = header.split_once('.') {
        let relation = noun.relation(relation).filter(|relation| relation.arity == Arity::One)?;
        relation.noun.field(name)?;
        return Some((1, target(noun, header).unwrap_or_else(|| Target::Related(header.to_owned()))));
    }
    let field = noun.field(header)?;
    match (field.name, field.kind) {
        // After a column of external ids.
        ("id", _) => Some((2, Target::Id)),
        // Before what is kept besides.
        ("metadata", Kind::Object) => Some((0, Target::Object)),
        _ if field.written == Written::Never => Some((1, Target::ServiceSet(field))),
        (_, Kind::Uuid) => Some((1, Target::Link(field))),
        _ => None,
    }
}

/// Letters and digits only, in lower case: `E-Mail Address` and `email_address` are the same.
fn fold(header: &str) -> String {
    header.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_importable(field: &Field) -> bool {
    field.written != Written::Never && field.kind != Kind::Object
}

/// The target that a mapping calls `name`.
fn target(noun: &'static Noun, name: &str) -> Option<Target> {
    if let Some(key) = name.strip_prefix("metadata.").filter(|key| !key.is_empty()) {
        return Some(Target::Metadata(key.to_owned()));
    }
    match name {
        "id" => Some(Target::Id),
        "metadata" => Some(Target::Object),
        "full_name" if noun.name == "contact" => Some(Target::FullName),
        "company.name" if noun.name == "contact" => Some(Target::Company("name")),
        "company.domain" if noun.name == "contact" => Some(Target::Company("domain")),
        _ => noun.field(name).filter(|field| is_importable(field)).map(Target::Field),
    }
}

fn known(noun: &'static Noun) -> impl Iterator<Item = &'static str> {
    let special = ["full_name", "company.name", "company.domain"].into_iter();
    let fields = noun.fields.iter().filter(|field| is_importable(field));
    special.filter(|_| noun.name == "contact").chain(["id", "metadata"]).chain(fields.map(|field| field.name))
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
    fn headers_are_guessed_whatever_their_spelling() {
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
    fn work_comes_before_home_before_other() {
        let asked = headers(&["email_other", "email_home", "email_work", "email"]);
        let mapping = Mapping::guess(&contacts::CONTACTS, &asked).unwrap();
        assert_eq!(
            shown(&mapping),
            ["email → email", "email_work → email", "email_home → email", "email_other → email"]
        );
    }

    #[test]
    fn a_mapping_comes_before_guesses() {
        let asked = headers(&["email", "Rufname", "Note", "secret"]);
        let text = r#"{"Rufname": "first_name", "Note": "email", "secret": null}"#;
        let mapping = Mapping::read(&contacts::CONTACTS, &asked, text).unwrap();
        assert_eq!(shown(&mapping), ["Rufname → first_name", "Note → email", "secret → nothing", "email → email"]);
        // What was shown of an export and is sent back means the same.
        let asked = headers(&["email", "version", "company.industry"]);
        let text = r#"{"version": "metadata.version", "company.industry": "metadata.company.industry"}"#;
        let mapping = Mapping::read(&contacts::CONTACTS, &asked, text).unwrap();
        assert_eq!(mapping.columns.iter().filter(|column| column.target.is_aside()).count(), 2);
    }

    #[test]
    fn every_fault_of_a_mapping_is_told() {
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
