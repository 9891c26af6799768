//! OpenAPI description of the parameters of statistics.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};

use super::agent_metrics::WINDOWS;
use super::parameters::{DEFAULT_PERIOD, FORMATS, HOURS};
use super::period::RELATIVE;
use super::statistic::Statistic;
use crate::http::openapi_responses::reference;
use crate::resource::openapi::query;

/// The names of the parameters' schemas.
const PERIOD: &str = "StatisticsPeriod";
const INTERVAL: &str = "StatisticsInterval";
const FORMAT: &str = "StatisticsFormat";
const COMPARISON: &str = "StatisticsComparison";

/// Returns the schemas that the parameters refer to, with their names, but for that of the interval, which responses have, too.
pub fn schemas() -> [(&'static str, Schema); 3] {
    [
        (PERIOD, choice(RELATIVE, "A period that depends on the day.")),
        (FORMAT, choice(FORMATS, "How a statistic is written.")),
        (COMPARISON, choice(["previous"], "With what a period is compared.")),
    ]
}

/// The parameters of a period.
pub struct PeriodParameters;

impl IntoParams for PeriodParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let zone = "A name of the IANA database, such as `Europe/Berlin`; that of the business, when left out.";
        let period = format!(
            "Instead of `from` and `to`; `{DEFAULT_PERIOD}` when all are left out. The last days end with today."
        );
        vec![
            query("from", date(), "The first day of the period, in the time zone."),
            query("to", date(), "The last day of the period; today, when left out."),
            query("period", reference(PERIOD), &period),
            query("time_zone", Schema::from(ObjectBuilder::new().schema_type(Type::String).build()), zone),
        ]
    }
}

/// The parameters of the overview.
pub struct OverviewParameters;

impl IntoParams for OverviewParameters {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = PeriodParameters::into_params(place);
        parameters.extend([
            query("compare", reference(COMPARISON), "`previous` adds the same number of days before."),
            query("format", reference(FORMAT), "How it is written; `json` when left out."),
        ]);
        parameters
    }
}

/// The parameters of the funnel.
pub struct FunnelParameters;

impl IntoParams for FunnelParameters {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut parameters = OverviewParameters::into_params(place);
        parameters.push(grouping(Statistic::Funnel, "By what the leads are divided.", "Divides the leads."));
        parameters
    }
}

fn grouping(statistic: Statistic, about: &str, use_of: &str) -> Parameter {
    query("group_by", choice(statistic.groupings().iter().map(|grouping| grouping.name), about), use_of)
}

/// The parameters of a statistic by day, week or month; `STATISTIC` is its number.
pub struct SeriesParameters<const STATISTIC: u8>;

impl<const STATISTIC: u8> IntoParams for SeriesParameters<STATISTIC> {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let statistic = Statistic::SERIES.into_iter().find(|statistic| *statistic as u8 == STATISTIC);
        let mut parameters = OverviewParameters::into_params(place);
        let interval = "How long a bucket is; a `day` when left out. Weeks begin on Monday.";
        parameters.push(query("interval", reference(INTERVAL), interval));
        parameters.extend(statistic.map(|of| grouping(of, "By what the buckets are divided.", "Divides the buckets.")));
        if statistic == Some(Statistic::ResponseTimes) {
            let hours =
                "`business` counts only the time within the opening hours of the business; `all` when left out.";
            parameters.push(query("hours", choice(HOURS, "Which time counts as waiting."), hours));
        }
        parameters
    }
}

fn date() -> Schema {
    let format = SchemaFormat::KnownFormat(KnownFormat::Date);
    ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build().into()
}

fn choice(names: impl IntoIterator<Item = &'static str>, about: &str) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).description(Some(about)).build().into()
}

/// The parameters of the figures of members.
pub struct AgentParameters;

impl IntoParams for AgentParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let days =
            ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)));
        let flag = ObjectBuilder::new().schema_type(Type::Boolean);
        vec![
            query(
                "window_days",
                Schema::from(days.enum_values(Some(WINDOWS)).build()),
                "How many days; 30 when left out.",
            ),
            query("snapshot", Schema::from(flag.build()), "As it was on the last night."),
        ]
    }
}
