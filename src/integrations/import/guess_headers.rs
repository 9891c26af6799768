//! Guesses from its header what a column of a file is: a field, by its name or a synonym, or a key of metadata.

use super::column_target::{Target, is_importable};
use crate::resource::{Cardinality, FieldType, Mutability, Resource};

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

/// Guesses rank and target of a header. An unknown header is kept in metadata under its own name.
pub fn guess(resource: &'static Resource, header: &str) -> (usize, Target) {
    if header.starts_with("metadata.") {
        return (1, Target::named(resource, header).unwrap_or(Target::Skip));
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
            let position = headers.split_whitespace().position(|header| header == folded)?;
            Some((2 + position, Target::named(resource, name)?))
        })
        .unwrap_or_else(|| (1, Target::Metadata(header.to_owned())))
}

/// Returns rank and target of a header which exports write. It must match exactly: another system may mean something
/// else by a similar name.
fn exported(resource: &'static Resource, header: &str) -> Option<(usize, Target)> {
    if let Some((relation, name)) = header.split_once('.') {
        let relation = resource.relation(relation).filter(|relation| relation.arity == Cardinality::One)?;
        relation.resource().field(name)?;
        return Some((1, Target::named(resource, header).unwrap_or_else(|| Target::Related(header.to_owned()))));
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
