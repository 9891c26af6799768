//! What each member did over the last days: messages, answers, conversations and leads that are assigned to them.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::pg::PgConnection;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::figures::{ConversationFigures, Figures, LeadFigures, MessageFigures};
use super::period::{Period, zone_or_utc};
use super::report::{now, tagged};
use super::responses::ResponseFigures;
use super::roll_up::{self, Question};
use super::statistic::AGENTS;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::cache::ComputedResponse;
use crate::db::Statement;
use crate::db::schema::business_users;
use crate::resource::computed_read::ComputedRead;

/// The windows, in days.
pub const WINDOWS: [i32; 3] = [7, 30, 90];

/// The figures of every member over the last days.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentMetrics {
    #[schema(minimum = 7, maximum = 90)]
    pub window_days: i32,
    /// The first day.
    pub from: NaiveDate,
    /// The last day: today, or of a snapshot the day before it was made.
    pub to: NaiveDate,
    /// Of which the days are.
    pub time_zone: String,
    /// When the figures were computed.
    #[schema(format = DateTime)]
    pub as_of: String,
    /// Every member, also those who did nothing.
    pub data: Vec<AgentFigures>,
}

/// The figures of a member.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentFigures {
    pub user_id: Uuid,
    #[schema(required = true)]
    pub name: Option<String>,
    #[serde(flatten)]
    pub figures: MemberFigures,
}

/// What a member did.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct MemberFigures {
    /// Messages that they wrote.
    pub messages: MessageFigures,
    /// Answers that they gave, also in conversations of others.
    pub responses: ResponseFigures,
    /// Conversations that are assigned to them, of those that were started.
    pub conversations: ConversationFigures,
    /// Leads that are assigned to them, of those that entered or were closed.
    pub leads: LeadFigures,
}

impl MemberFigures {
    fn add(&mut self, metric: &str, values: &[&str], n: i64, amount: roll_up::Micros) {
        match metric {
            "messages.member" => self.messages.add(metric, values, n, amount),
            "responses.member" => self.responses.add(metric, values, n, amount),
            "conversations.assignee" => self.conversations.add(metric, values, n, amount),
            _ => self.leads.add(metric, values, n, amount),
        }
    }

    fn settle(&mut self) {
        self.messages.settle();
        self.responses.settle();
        self.conversations.settle();
        self.leads.settle();
    }
}

/// Returns the figures of a member who did nothing.
pub fn nothing() -> MemberFigures {
    let mut figures = MemberFigures::default();
    figures.settle();
    figures
}

/// Returns the figures of members in a period, by user. Queries: one.
pub fn of_members(conn: &mut PgConnection, business: Uuid, period: &Period) -> Result<BTreeMap<String, MemberFigures>> {
    let metrics = AGENTS.map(|source| source.metric);
    let buckets = period.buckets(None);
    let sums = roll_up::sums(conn, &Question { business, metrics: &metrics, period, buckets: &buckets })?;
    let mut members: BTreeMap<String, MemberFigures> = BTreeMap::new();
    for sum in &sums {
        let Some(source) = AGENTS.iter().find(|source| source.metric == sum.metric) else { continue };
        let parts = source.split(&sum.dim);
        let member = members.entry(parts.group.unwrap_or_default().to_owned()).or_default();
        member.add(source.metric, &parts.values, sum.n, sum.amount);
    }
    members.values_mut().for_each(MemberFigures::settle);
    Ok(members)
}

#[derive(QueryableByName)]
#[diesel(table_name = business_users)]
struct Member {
    id: Uuid,
    name: Option<String>,
}

/// A request for live figures.
#[derive(Debug)]
pub struct AgentReport {
    pub window_days: i32,
    period: Period,
}

impl AgentReport {
    /// Those of the last `window_days`, with today in the zone.
    pub fn new(window_days: i32, zone: &str, at: DateTime<Utc>) -> Self {
        let today = zone_or_utc(zone).begun_day(at).unwrap_or_else(|| at.date_naive());
        Self { window_days, period: window(window_days, today, zone) }
    }
}

/// Returns the window that ends on a day.
pub fn window(days: i32, last: NaiveDate, zone: &str) -> Period {
    Period::new(last - Days::new(days.unsigned_abs().saturating_sub(1).into()), last, zone)
}

impl ComputedRead for AgentReport {
    fn canonical(&self) -> String {
        let Period { from, to, zone_name, .. } = &self.period;
        format!("agents {} {from} {to} {zone_name:?} {}", self.window_days, self.period.rules())
    }

    fn tables(&self) -> Vec<&'static str> {
        vec!["messages", "conversations", "leads", "memberships", "users"]
    }

    fn compute(&self, conn: &mut PgConnection, tenant: &Tenant) -> Result<ComputedResponse> {
        let as_of = now();
        let mut members = of_members(conn, tenant.id(), &self.period)?;
        let mut sql = Statement::new("SELECT id, name FROM business_users WHERE business_id = ");
        sql.bind(tenant.id());
        // Who sees what is assigned to them sees their own figures.
        if let Some(user) = tenant.restricted_to_user() {
            sql.sql(" AND id = ").bind(user);
        }
        let people: Vec<Member> = sql.sql(" ORDER BY created_at, id").load(conn)?;
        let figures = |Member { id, name }| {
            let figures = members.remove(&id.to_string()).unwrap_or_else(nothing);
            AgentFigures { user_id: id, name, figures }
        };
        let data = people.into_iter().map(figures).collect();
        let Period { from, to, zone_name, .. } = &self.period;
        let (window_days, time_zone) = (self.window_days, zone_name.clone());
        tagged(&AgentMetrics { window_days, from: *from, to: *to, time_zone, as_of: String::new(), data }, &as_of)
    }
}
