//! The rows of a resource as a type, for responses that hold them: JSON that is written already, described by the schema
//! that follows from the definition.

/// Declares the type of a resource's rows: `row_type!(LeadRow of LEADS)`.
macro_rules! row_type {
    ($name:ident of $resource:expr) => {
        /// A row of the resource, as every response shows it.
        #[derive(Clone, Debug, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(Box<serde_json::value::RawValue>);

        impl TryFrom<$crate::resource::Row> for $name {
            type Error = $crate::base::error::Error;

            /// Errors: 500 when it is not JSON.
            fn try_from(row: $crate::resource::Row) -> std::result::Result<Self, Self::Error> {
                row.raw().map(Self)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::resource::openapi::row(&$resource)
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                $resource.schema.into()
            }
        }
    };
}

pub(crate) use row_type;
