//! HTTP handlers of `GET /dashboards/…`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::dashboards::{BookingsDashboard, InboxDashboard, SalesDashboard};
use super::http::answer;
use super::openapi_parameters::PeriodParameters;
use super::statistic::Statistic;
use crate::base::error::Result;
use crate::http::caller::UnverifiedCaller;
use crate::http::openapi_problems::{BadRequest, CallerProblems, ServiceProblems};
use crate::http::routing;
use crate::resource::ReadService;

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/dashboards/sales").reads(Method::GET, sales).register(api);
    routing::resource("/dashboards/inbox").reads(Method::GET, inbox).register(api);
    routing::resource("/dashboards/bookings").reads(Method::GET, bookings).register(api);
}

/// Declares the handler of a dashboard.
macro_rules! dashboard {
    ($name:ident, $statistic:ident, $body:ty, $path:literal, $id:literal, $summary:literal, $about:literal) => {
        #[utoipa::path(
                                            get,
                                            path = $path,
                                            tag = "statistics",
                                            operation_id = $id,
                                            summary = $summary,
                                            description = $about,
                                            params(PeriodParameters),
                                            responses(
                                                (status = 200, description = "What the screen shows.", body = $body),
                                                (status = 400, response = BadRequest),
                                                CallerProblems,
                                                ServiceProblems,
                                            )
                                        )]
        pub async fn $name(
            reads: Data<ReadService>,
            caller: UnverifiedCaller,
            request: HttpRequest,
            _: Bytes,
        ) -> Result<HttpResponse> {
            answer(Statistic::$statistic, None, reads, caller, request).await
        }
    };
}

dashboard!(
    sales,
    SalesDashboard,
    SalesDashboard,
    "/api/v1/dashboards/sales",
    "getSalesDashboard",
    "What the sales team looks at",
    "Leads of a period and of as many days before, the funnel, where they came from, who works on them, and those that wait for an \
     answer."
);
dashboard!(
    inbox,
    InboxDashboard,
    InboxDashboard,
    "/api/v1/dashboards/inbox",
    "getInboxDashboard",
    "What those who answer look at",
    "Messages, conversations and response times of a period and of as many days before, who answered, what is open now, and who has \
     waited longest."
);
dashboard!(
    bookings,
    BookingsDashboard,
    BookingsDashboard,
    "/api/v1/dashboards/bookings",
    "getBookingsDashboard",
    "What those who keep the calendar look at",
    "Bookings and revenue of a period and of as many days before, the services and staff that are booked most, and the bookings of \
     today."
);
