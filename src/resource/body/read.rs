//! Reads a body into the type that its operation takes, with every validation error at once.

use actix_web::web::Bytes;
use deserr::Deserr;
use serde_json::{Map, Value as Json};

use super::body_errors::BodyErrors;
use super::json_body::json;
use super::validation_errors::ValidationErrors;
use crate::base::error::{Error, Result};

/// Maximum nesting depth of a body that holds no rows.
const DEPTH: usize = 4;

/// The body of an operation that takes none: nothing, or an object without members.
#[derive(Deserr)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
pub struct NoBody {}

/// Reads a body; an empty one counts as `{}`. Errors: 400 when it is not a JSON object; 422 with every validation error.
pub fn read<T: Deserr<BodyErrors>>(body: &Bytes) -> Result<T> {
    read_within(body, DEPTH)
}

/// As [`read`], of a body whose objects are nested to `depth` at most.
pub fn read_within<T: Deserr<BodyErrors>>(body: &Bytes, depth: usize) -> Result<T> {
    typed(members(body, depth)?).map_err(|errors| Error::Invalid(errors.into_inner()))
}

/// Reads a body whose parts are validated afterwards, so that their errors can be reported together with those found
/// here: returns what the right members say, and the errors of the others. `T` requires no member. Errors: 400 when it
/// is not a JSON object.
pub fn read_parts<T: Deserr<BodyErrors>>(body: &Bytes, depth: usize) -> Result<(T, ValidationErrors)> {
    let (mut right, mut errors) = (Map::new(), ValidationErrors::default());
    for (name, value) in members(body, depth)? {
        match typed::<T>(Map::from_iter([(name.clone(), value.clone())])) {
            Ok(_) => drop(right.insert(name, value)),
            Err(wrong) => errors.extend(wrong),
        }
    }
    let read = typed(right).map_err(|errors| Error::Invalid(errors.into_inner()))?;
    Ok((read, errors))
}

/// Reads the members of a body; an empty one has none. Errors: 400 when it is not a JSON object.
pub fn members(body: &Bytes, depth: usize) -> Result<Map<String, Json>> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match json(body, depth)? {
        Json::Object(members) => Ok(members),
        _ => Err(Error::malformed("not_an_object", "The body must be a JSON object.")),
    }
}

fn typed<T: Deserr<BodyErrors>>(members: Map<String, Json>) -> Result<T, ValidationErrors> {
    deserr::deserialize::<T, Json, BodyErrors>(Json::Object(members)).map_err(BodyErrors::into_errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::FieldType;
    use crate::resource::body::{JsonObject, value_type};

    value_type! {
        /// A slug.
        pub Slug(String): FieldType::Text { min: 1, max: 63 }, r#""demo""#;
        /// A count.
        pub Count(i64): FieldType::Int { min: 0, max: 9 }, "1";
    }

    #[derive(Deserr)]
    #[deserr(deny_unknown_fields, error = BodyErrors)]
    struct Example {
        name: Slug,
        slug: Slug,
        #[deserr(default)]
        count: Option<Count>,
    }

    #[derive(Deserr)]
    #[deserr(deny_unknown_fields, error = BodyErrors)]
    struct Parts {
        #[deserr(default)]
        lead: Option<JsonObject>,
        #[deserr(default)]
        count: Option<Count>,
    }

    fn errors(body: &'static str) -> Vec<(String, &'static str, String)> {
        let Err(Error::Invalid(errors)) = read::<Example>(&Bytes::from(body)) else { panic!("{body} is valid") };
        errors.into_iter().map(|error| (error.pointer, error.code, error.detail)).collect()
    }

    #[test]
    fn read_reports_every_error_unknown_fields_last() {
        let found = errors(r#"{"cuont":1,"a/b":1,"slug":" ","count":10}"#);
        let told: Vec<_> = found.iter().map(|(pointer, code, detail)| (&**pointer, *code, &**detail)).collect();
        assert_eq!(
            told,
            [
                ("/slug", "blank", "`slug` must not be blank."),
                ("/count", "out_of_range", "`count` must be a whole number from 0 to 9."),
                ("/name", "required", "`name` is required."),
                ("/cuont", "unknown_field", "There is no field `cuont`. Did you mean `count`?"),
                ("/a~1b", "unknown_field", "There is no field `a/b`. There are name, slug, count."),
            ]
        );
    }

    #[test]
    fn read_null_counts_as_absent() {
        let found = errors(r#"{"name":null,"slug":7,"count":null}"#);
        let told: Vec<_> = found.iter().map(|(pointer, code, detail)| (&**pointer, *code, &**detail)).collect();
        assert_eq!(
            told,
            [
                ("/name", "required", "`name` is required."),
                ("/slug", "type", "`slug` must be a text of 1 to 63 characters."),
            ]
        );
    }

    #[test]
    fn read_cleans_texts() {
        let Example { name, slug, count } =
            read(&Bytes::from_static("{\"name\":\" Bo\\u200b \",\"slug\":\"demo\",\"count\":3}".as_bytes())).unwrap();
        assert_eq!((name.0.as_str(), slug.0.as_str(), count.map(|Count(count)| count)), ("Bo", "demo", Some(3)));
    }

    #[test]
    fn read_empty_body_as_object_without_members() {
        assert!(read::<NoBody>(&Bytes::new()).is_ok());
        assert_eq!(errors("").len(), 2);
        let refused = read::<NoBody>(&Bytes::from_static(b"[]"));
        assert!(matches!(refused, Err(Error::Malformed { code: "not_an_object", .. })));
    }

    #[test]
    fn read_parts_returns_the_right_members_with_the_errors_of_others() {
        let body = Bytes::from_static(br#"{"lead":{"title":"Roof"},"count":"many","laed":1}"#);
        let (parts, errors) = read_parts::<Parts>(&body, 16).unwrap();
        assert!(parts.count.is_none() && parts.lead.is_some_and(|JsonObject(lead)| lead["title"] == "Roof"));
        let codes: Vec<_> = errors.into_inner().into_iter().map(|error| error.code).collect();
        assert_eq!(codes, ["type", "unknown_field"]);
    }
}
