//! OpenAPI description of the statistics.

use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::{agents_http, dashboards_http, http, openapi_parameters};
use crate::resource::openapi;

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    http::overview,
    http::bookings,
    http::messages,
    http::conversations,
    http::leads,
    http::funnel,
    http::campaigns,
    http::ai,
    http::ai_usage,
    http::revenue,
    http::response_times,
    http::campaign,
    agents_http::agents,
    dashboards_http::sales,
    dashboards_http::inbox,
    dashboards_http::bookings,
))]
struct AnalyticsApi;

/// Adds the operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    let schemas = openapi_parameters::schemas().map(|(name, schema)| (name.to_owned(), schema.into()));
    api.components.get_or_insert_default().schemas.extend(schemas);
    let mut own = named(AnalyticsApi::openapi());
    openapi::conditional(&mut own);
    openapi::merge(api, own);
}

/// Names the schemas that are of figures by them, as in other resources: `Series_BookingFigures` becomes `BookingSeries`.
fn named(api: OpenApi) -> OpenApi {
    let Ok(mut text) = serde_json::to_string(&api) else { return api };
    for figures in ["AiUsage", "Ai", "Booking", "Conversation", "Lead", "Message", "Response", "Revenue"] {
        for of in ["PreviousSeries", "Series", "Bucket", "Ranked"] {
            text = text.replace(&format!("{of}_{figures}Figures\""), &format!("{figures}{of}\""));
        }
    }
    serde_json::from_str(&text).unwrap_or(api)
}
