//! What the endpoints of statistics return.

use chrono::NaiveDate;
use serde::Serialize;
use utoipa::ToSchema;

use super::amounts::{Cost, Money};
use super::figures::{AiFigures, BookingFigures, ConversationFigures, LeadFigures, MessageFigures};
use super::period::Interval;
use super::responses::ResponseFigures;

/// The figures of a period on one page.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Overview {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Of which the days are.
    pub time_zone: String,
    /// When the figures were computed. Nothing that they count has changed since.
    #[schema(format = DateTime)]
    pub as_of: String,
    #[serde(flatten)]
    pub figures: OverviewFigures,
    /// With `compare=previous`: the same number of days before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub previous: Option<PreviousOverview>,
}

/// The figures of the same number of days before.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviousOverview {
    pub from: NaiveDate,
    pub to: NaiveDate,
    #[serde(flatten)]
    pub figures: OverviewFigures,
}

/// The figures of an overview.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OverviewFigures {
    pub bookings: BookingFigures,
    pub messages: MessageFigures,
    pub conversations: ConversationFigures,
    pub leads: LeadFigures,
    /// What messages cost, by currency.
    pub cost: Vec<Cost>,
    /// The prices of completed bookings, by currency.
    pub revenue: Vec<Money>,
    pub ai: AiFigures,
    /// As in `bookings`.
    #[schema(required = true)]
    pub no_show_rate: Option<f64>,
    pub first_response: ResponseFigures,
}

/// A statistic by day, week or month.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Series<F: ToSchema> {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Of which the days are.
    pub time_zone: String,
    /// When the figures were computed. Nothing that they count has changed since.
    #[schema(format = DateTime)]
    pub as_of: String,
    pub interval: Interval,
    /// By what the buckets are divided; null where they are not.
    #[schema(required = true)]
    pub group_by: Option<&'static str>,
    /// Every bucket of the period, also where nothing is; with `group_by` one for each group, the largest groups first.
    pub data: Vec<Bucket<F>>,
    /// All buckets together, with the groups that are left out.
    pub total: F,
    /// How many groups are left out, which are the smallest.
    pub groups_left_out: u32,
    /// With `compare=previous`: the same number of days before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub previous: Option<PreviousSeries<F>>,
}

/// A statistic of the same number of days before.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviousSeries<F: ToSchema> {
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub data: Vec<Bucket<F>>,
    pub total: F,
}

/// The figures of a day, a week or a month.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Bucket<F: ToSchema> {
    /// Its first day; of a week or a month that the period only has a part of, the first day of that week or month.
    pub bucket: NaiveDate,
    /// With `group_by`: of which group, such as an id or a status; null: of rows without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false)]
    pub group: Option<Option<String>>,
    #[serde(flatten)]
    pub figures: F,
}
