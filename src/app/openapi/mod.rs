//! The OpenAPI document of the service. `document` builds it from the resources; `shared_parameters` and `default_error`
//! move into components what `operations` have in common, `named_schemas` gives schemas their names. `version_3_0`
//! converts it, `inline` helps both, and `serve` answers requests for it.

mod default_error;
mod document;
mod inline;
mod named_schemas;
mod operations;
mod serve;
mod shared_parameters;
mod version_3_0;

pub use self::document::build;
pub use self::serve::{SpecVersion, document, shape, text, welcome};
