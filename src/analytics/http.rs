//! HTTP handlers of `GET /stats/…` and `GET /campaigns/{id}/statistics`.

use std::sync::Arc;

use actix_web::http::{Method, header};
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;
use uuid::Uuid;

use super::ai_usage::AiUsageFigures;
use super::csv;
use super::dto::{Overview, Series};
use super::figures::{AiFigures, BookingFigures, ConversationFigures, LeadFigures, MessageFigures, RevenueFigures};
use super::funnel::Funnel;
use super::openapi_parameters::{FunnelParameters, OverviewParameters, SeriesParameters};
use super::parameters::Parameters;
use super::report::{self, Report};
use super::resource::STATISTICS;
use super::responses::ResponseFigures;
use super::statistic::Statistic;
use crate::auth::{Action, Identity, TenantSettings};
use crate::base::error::{Error, Result};
use crate::http::caller::UnverifiedCaller;
use crate::http::openapi_problems::{BadRequest, CallerProblems, NotFound, ServiceProblems};
use crate::http::routing;
use crate::resource::ReadService;
use crate::resource::cached_read::cached_read;
use crate::resource::http::path_uuid;
use crate::resource::read_query::{ReadQuery, ReadTarget};

type State = Data<ReadService>;

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/stats/overview").reads(Method::GET, overview).register(api);
    routing::resource("/stats/bookings").reads(Method::GET, bookings).register(api);
    routing::resource("/stats/messages").reads(Method::GET, messages).register(api);
    routing::resource("/stats/conversations").reads(Method::GET, conversations).register(api);
    routing::resource("/stats/leads").reads(Method::GET, leads).register(api);
    routing::resource("/stats/leads/funnel").reads(Method::GET, funnel).register(api);
    routing::resource("/stats/campaigns").reads(Method::GET, campaigns).register(api);
    routing::resource("/stats/ai").reads(Method::GET, ai).register(api);
    routing::resource("/stats/ai-usage").reads(Method::GET, ai_usage).register(api);
    routing::resource("/stats/revenue").reads(Method::GET, revenue).register(api);
    routing::resource("/stats/response-times").reads(Method::GET, response_times).register(api);
}

/// Registers the route below `/campaigns`.
pub fn of_campaigns(scope: &mut ServiceConfig) {
    routing::resource("/{id}/statistics").reads(Method::GET, campaign).register(scope);
}

#[utoipa::path(
    get,
    path = "/api/v1/stats/overview",
    tag = "statistics",
    operation_id = "getOverview",
    summary = "The figures of a period on one page",
    description = "Equal to a count of the rows at this moment. Bookings and revenue count at the time for which they are booked, \
                   messages when they were sent, conversations when they were started, leads when they entered, answers when \
                   they were given. Deleted rows do not count.",
    params(OverviewParameters),
    responses(
        (status = 200, description = "The figures.", content(
            (Overview = "application/json"),
            (String = "text/csv"),
        )),
        (status = 400, response = BadRequest),
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn overview(reads: State, caller: UnverifiedCaller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    answer(Statistic::Overview, None, reads, caller, request).await
}

#[utoipa::path(
    get,
    path = "/api/v1/stats/leads/funnel",
    tag = "statistics",
    operation_id = "getFunnel",
    summary = "How far the leads of a period have come",
    description = "Of the leads that entered in the period: how many have ever reached each stage, also those that were lost since or \
                   set back; how many are there now; and how many were lost there. A lead that is won has passed every stage.",
    params(FunnelParameters),
    responses(
        (status = 200, description = "The stages.", content(
            (Funnel = "application/json"),
            (String = "text/csv"),
        )),
        (status = 400, response = BadRequest),
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn funnel(reads: State, caller: UnverifiedCaller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    answer(Statistic::Funnel, None, reads, caller, request).await
}

/// Declares the handler of a statistic by day, week or month.
macro_rules! series {
    ($name:ident, $statistic:ident, $figures:ty, $path:literal, $id:literal, $summary:literal, $about:literal) => {
        #[utoipa::path(
                                                            get,
                                                            path = $path,
                                                            tag = "statistics",
                                                            operation_id = $id,
                                                            summary = $summary,
                                                            description = $about,
                                                            params(SeriesParameters<{ Statistic::$statistic as u8 }>),
                                                            responses(
                                                                (status = 200, description = "The buckets.", content(
                                                                    (Series<$figures> = "application/json"),
                                                                    (String = "text/csv"),
                                                                )),
                                                                (status = 400, response = BadRequest),
                                                                CallerProblems,
                                                                ServiceProblems,
                                                            )
                                                        )]
        pub async fn $name(
            reads: State,
            caller: UnverifiedCaller,
            request: HttpRequest,
            _: Bytes,
        ) -> Result<HttpResponse> {
            answer(Statistic::$statistic, None, reads, caller, request).await
        }
    };
}

series!(
    bookings,
    Bookings,
    BookingFigures,
    "/api/v1/stats/bookings",
    "getBookingStatistics",
    "Bookings by day, week or month",
    "By the time for which they are booked, and by their status now."
);
series!(
    messages,
    Messages,
    MessageFigures,
    "/api/v1/stats/messages",
    "getMessageStatistics",
    "Messages by day, week or month",
    "By the time at which they were sent. `group_by=member` credits the author of a message, and not the assignee of the conversation."
);
series!(
    conversations,
    Conversations,
    ConversationFigures,
    "/api/v1/stats/conversations",
    "getConversationStatistics",
    "Conversations by day, week or month",
    "By the time at which they were started, and by their status now."
);
series!(
    leads,
    Leads,
    LeadFigures,
    "/api/v1/stats/leads",
    "getLeadStatistics",
    "Leads by day, week or month",
    "Leads that entered, by their status now; and leads that were won or lost, at the time of that."
);
series!(
    campaigns,
    Campaigns,
    LeadFigures,
    "/api/v1/stats/campaigns",
    "getCampaignStatistics",
    "The leads of each campaign by day, week or month",
    "As the statistics of leads, of those that came from a campaign."
);
series!(
    ai,
    Ai,
    AiFigures,
    "/api/v1/stats/ai",
    "getAiStatistics",
    "What models have written by day, week or month",
    "By the time at which the messages were sent."
);
series!(
    ai_usage,
    AiUsage,
    AiUsageFigures,
    "/api/v1/stats/ai-usage",
    "getAiUsage",
    "What models used by day, week or month",
    "Of the runs that workers reported with the tasks they claimed, when these ended, also of those whose answer was discarded. \
     Messages count in `/stats/ai`, and not here."
);
series!(
    revenue,
    Revenue,
    RevenueFigures,
    "/api/v1/stats/revenue",
    "getRevenueStatistics",
    "The prices of completed bookings by day, week or month",
    "By the time for which they were booked, and by currency. Amounts are never added over currencies."
);
series!(
    response_times,
    ResponseTimes,
    ResponseFigures,
    "/api/v1/stats/response-times",
    "getResponseTimes",
    "How long people took to answer, by day, week or month",
    "Each time that a contact writes and a member answers: from the first message that was not answered to the answer. Messages of \
     models and automatic ones are no answers, and a conversation that is closed is not waiting. An answer counts when it was \
     given, and is credited to who gave it. `hours=business` counts only the time within the `opening_hours` of the business."
);

#[utoipa::path(
    get,
    path = "/api/v1/campaigns/{id}/statistics",
    tag = "campaigns",
    operation_id = "getStatisticsOfCampaign",
    summary = "The leads of a campaign by day, week or month",
    params(
        ("id" = Uuid, Path, description = "Id of the campaign."),
        SeriesParameters<{ Statistic::Campaigns as u8 }>,
    ),
    responses(
        (status = 200, description = "The buckets.", content(
            (Series<LeadFigures> = "application/json"),
            (String = "text/csv"),
        )),
        (status = 400, response = BadRequest),
        (status = 404, response = NotFound),
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn campaign(reads: State, caller: UnverifiedCaller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let id = path_uuid(&request, "id");
    let id = id.ok_or_else(|| Error::NotFound("There is no such campaign.".into()))?;
    answer(Statistic::Campaigns, Some(id), reads, caller, request).await
}

pub async fn answer(
    statistic: Statistic,
    campaign: Option<Uuid>,
    reads: State,
    caller: UnverifiedCaller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let parse = |business: &TenantSettings| {
        let parameters = Parameters::parse(statistic, request.query_string(), business, Utc::now())?;
        Ok(Report { statistic, parameters, campaign })
    };
    if !statistic.is_dashboard() && wants_csv(&request) {
        return file(parse, reads, caller).await;
    }
    // Not kept by its text: `period=today` is another query tomorrow.
    let ask = |identity: &Identity| {
        let target = ReadTarget::Computed(Arc::new(parse(&identity.settings)?));
        Ok(Arc::new(ReadQuery::new(&STATISTICS, target, &identity.settings, None)))
    };
    cached_read(reads, caller, &request, &STATISTICS, ask).await
}

/// Whether the response is a file, as far as the parameter is valid.
fn wants_csv(request: &HttpRequest) -> bool {
    let mut pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
    pairs.any(|(name, value)| name == "format" && value.trim() == "csv")
}

/// Answers with a file, beside the cache.
async fn file(
    parse: impl Fn(&TenantSettings) -> Result<Report>,
    reads: State,
    caller: UnverifiedCaller,
) -> Result<HttpResponse> {
    let caller = caller.revalidate().await?;
    let tenant = caller.identity().require(STATISTICS.area, Action::Read)?;
    let report = parse(caller.business())?;
    let (name, columns, period) = (report.statistic.name(), report.statistic.columns(), &report.parameters.period);
    let name = format!("attachment; filename=\"{name}-{}-{}.csv\"", period.from, period.to);
    let scoped = reads.db.for_tenant(&tenant);
    let response = scoped.read("statistics_file", move |conn| report.render(conn, &tenant, &report::now())).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(csv::write(&response, columns)?))
}
