//! Locations: a place on the map (Meta, Cloud API, "Location messages").

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde_json::{Map, Value as Json, json};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::resource::FieldType;
use crate::resource::body::{BodyErrors, value_type};

value_type! {
    /// The name of a place.
    pub PlaceName(String): FieldType::Text { min: 1, max: 200 }, r#""Reed Plumbing""#;
    /// The address of a place.
    pub PlaceAddress(String): FieldType::Text { min: 1, max: 500 }, r#""1 Mill Lane, Leeds""#;
}

/// Degrees of latitude or longitude, from `-MAX` to `MAX`, as they were written.
pub struct Degrees<const MAX: u8>(Json);

impl<const MAX: u8> Deserr<BodyErrors> for Degrees<MAX> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> std::result::Result<Self, BodyErrors> {
        match Json::from(value) {
            Json::Null => Err(BodyErrors::of(location, "required", "is required.")),
            number if number.as_f64().is_some_and(|degrees| degrees.abs() <= f64::from(MAX)) => Ok(Self(number)),
            Json::Number(_) => {
                let detail = format!("is a number of degrees from -{MAX} to {MAX}.");
                Err(BodyErrors::of(location, "out_of_range", &detail))
            }
            _ => Err(BodyErrors::of(location, "type", "must be a number.")),
        }
    }
}

impl<const MAX: u8> PartialSchema for Degrees<MAX> {
    fn schema() -> RefOr<Schema> {
        let degrees = ObjectBuilder::new().schema_type(Type::Number).description(Some("Degrees."));
        degrees.minimum(Some(-f64::from(MAX))).maximum(Some(f64::from(MAX))).into()
    }
}

impl<const MAX: u8> ToSchema for Degrees<MAX> {}

/// A place on the map.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "latitude": 53.79, "longitude": -1.54, "name": "Reed Plumbing", "address": "1 Mill Lane, Leeds" })))]
pub struct Location {
    #[schema(inline)]
    latitude: Degrees<90>,
    #[schema(inline)]
    longitude: Degrees<180>,
    #[deserr(default)]
    name: Option<PlaceName>,
    #[deserr(default)]
    address: Option<PlaceAddress>,
}

impl Location {
    /// Returns it as the message's `payload`, as that of an inbound one is.
    pub fn payload(self) -> Json {
        let mut payload =
            Map::from_iter([("latitude".to_owned(), self.latitude.0), ("longitude".to_owned(), self.longitude.0)]);
        payload.extend(self.name.map(|PlaceName(name)| ("name".to_owned(), json!(name))));
        payload.extend(self.address.map(|PlaceAddress(address)| ("address".to_owned(), json!(address))));
        Json::Object(payload)
    }
}
