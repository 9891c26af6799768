//! Dashboards: what a screen shows, in one request. Figures of a period and of as many days before, the largest groups with their
//! names, and the rows that are next.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::dashboard_rows::{
    ListedBooking, ListedConversation, ListedLead, OpenConversations, bookings_within, count_of_waiting,
    count_to_confirm, open_conversations, waiting_conversations, waiting_leads, won_leads,
};
use super::dto::Bucket;
use super::figures::{
    BookingFigures, ConversationFigures, Figures, LeadFigures, MessageFigures, RevenueFigures, figures_of,
};
use super::funnel::{FunnelFigures, FunnelStage};
use super::period::{Buckets, Interval};
use super::responses::ResponseFigures;
use super::roll_up::Sum;
use super::statistic::{Source, dashboard};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::Statement;

/// Groups of a ranking at most.
const RANKED: usize = 5;

/// Of what a dashboard is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DashboardPeriod {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Of which the days are.
    pub time_zone: String,
    /// When the figures were computed. Nothing that they count has changed since.
    #[schema(format = DateTime)]
    pub as_of: String,
    /// A day, or a month where the period has more than 92 days.
    pub interval: Interval,
}

/// What the sales team looks at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SalesDashboard {
    #[serde(flatten)]
    pub period: DashboardPeriod,
    pub leads: LeadFigures,
    /// Of as many days before.
    pub previous: PreviousLeads,
    pub data: Vec<Bucket<LeadFigures>>,
    /// How far the leads have come that entered.
    pub funnel: Vec<FunnelStage>,
    /// From the entry of a lead to when someone first answered it.
    pub first_touch: ResponseFigures,
    /// The sources of most leads.
    pub sources: Vec<Ranked<LeadFigures>>,
    /// The campaigns of most leads.
    pub campaigns: Vec<Ranked<LeadFigures>>,
    /// The members with most leads.
    pub assignees: Vec<Ranked<LeadFigures>>,
    /// New leads that nobody has answered, of now: 10000 at most are counted.
    pub waiting_count: i64,
    /// Those that have waited longest.
    pub waiting: Vec<ListedLead>,
    /// Those that were won last.
    pub won: Vec<ListedLead>,
}

/// The leads of as many days before.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviousLeads {
    pub from: NaiveDate,
    pub to: NaiveDate,
    #[serde(flatten)]
    pub leads: LeadFigures,
}

/// What those who answer look at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InboxDashboard {
    #[serde(flatten)]
    pub period: DashboardPeriod,
    pub messages: MessageFigures,
    pub conversations: ConversationFigures,
    pub first_response: ResponseFigures,
    /// Of as many days before.
    pub previous: PreviousInbox,
    pub data: Vec<Bucket<MessageFigures>>,
    /// The members who answered most.
    pub members: Vec<Ranked<ResponseFigures>>,
    /// Conversations that are open, of now.
    pub open: OpenConversations,
    /// Active conversations with unread messages whose last message is oldest, of the 10000 with the oldest ones.
    pub waiting: Vec<ListedConversation>,
}

/// The figures of an inbox, of as many days before.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviousInbox {
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub messages: MessageFigures,
    pub conversations: ConversationFigures,
    pub first_response: ResponseFigures,
}

/// What those who keep the calendar look at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BookingsDashboard {
    #[serde(flatten)]
    pub period: DashboardPeriod,
    pub bookings: BookingFigures,
    pub revenue: RevenueFigures,
    /// Of as many days before.
    pub previous: PreviousCalendar,
    pub data: Vec<Bucket<BookingFigures>>,
    /// The services that are booked most.
    pub services: Vec<Ranked<BookingFigures>>,
    /// The staff who are booked most.
    pub staff: Vec<Ranked<BookingFigures>>,
    /// The day that has begun there.
    pub today: NaiveDate,
    /// The first bookings of today.
    pub bookings_today: Vec<ListedBooking>,
    /// Bookings from today on that wait to be confirmed: 10000 at most are counted.
    pub to_confirm: i64,
}

/// The figures of a calendar, of as many days before.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviousCalendar {
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub bookings: BookingFigures,
    pub revenue: RevenueFigures,
}

/// A group of a ranking.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Ranked<F: ToSchema> {
    /// An id, or what the group is called.
    pub group: String,
    /// The name of what has that id; null where it is gone.
    #[schema(required = true)]
    pub name: Option<String>,
    #[serde(flatten)]
    pub figures: F,
}

/// The sums of a dashboard, in the buckets of the previous period and then of its own.
pub struct Figured<'s> {
    pub sums: &'s [Sum],
    /// Those of the rankings, of the whole period.
    pub ranked: Vec<Sum>,
    /// How many buckets are of the previous period.
    pub before: usize,
    pub buckets: Buckets,
    pub period: DashboardPeriod,
    /// The first and the last day of the previous period.
    pub previous: (NaiveDate, NaiveDate),
}

impl Figured<'_> {
    fn total<F: Figures>(&self, sources: &[Source]) -> F {
        figures_of(sources, self.sums, |bucket| bucket >= self.before)
    }

    fn earlier<F: Figures>(&self, sources: &[Source]) -> F {
        figures_of(sources, self.sums, |bucket| bucket < self.before)
    }

    fn data<F: Figures + ToSchema>(&self, sources: &[Source]) -> Vec<Bucket<F>> {
        let labels = self.buckets.labels.iter().enumerate();
        let bucket = |(place, label): (usize, &NaiveDate)| Bucket {
            bucket: *label,
            group: None,
            figures: figures_of(sources, self.sums, |bucket| bucket == self.before + place),
        };
        labels.map(bucket).collect()
    }

    /// Returns the largest groups; those of ids without their names.
    fn ranking<F: Figures + ToSchema>(&self, sources: &[Source]) -> Vec<Ranked<F>> {
        let mut groups: BTreeMap<&str, F> = BTreeMap::new();
        for source in sources {
            for sum in self.ranked.iter().filter(|sum| sum.metric == source.metric) {
                let parts = source.split(&sum.dim);
                if let Some(group) = parts.group {
                    groups.entry(group).or_default().add(source.metric, &parts.values, sum.n, sum.amount);
                }
            }
        }
        let mut groups: Vec<Ranked<F>> = groups
            .into_iter()
            .filter(|(_, figures)| figures.count() != 0)
            .map(|(group, figures)| Ranked { group: group.to_owned(), name: None, figures })
            .collect();
        groups.sort_by(|a, b| b.figures.rank().cmp(&a.figures.rank()).then_with(|| a.group.cmp(&b.group)));
        groups.truncate(RANKED);
        groups.iter_mut().for_each(|group| group.figures.settle());
        groups
    }
}

/// Names the groups of a ranking whose groups are ids of `table`. Queries: one.
fn name<F: ToSchema>(
    conn: &mut PgConnection,
    tenant: &Tenant,
    table: &'static str,
    ranking: &mut [Ranked<F>],
) -> Result<()> {
    #[derive(QueryableByName)]
    struct Named {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Nullable<Text>)]
        name: Option<String>,
    }
    let ids: Vec<Uuid> = ranking.iter().filter_map(|group| Uuid::try_parse(&group.group).ok()).collect();
    let mut sql = Statement::new("SELECT id, name FROM ");
    sql.ident(table).sql(" WHERE business_id = ").bind(tenant.id()).sql(" AND id = ANY (").bind(ids).sql(")");
    let names: HashMap<String, Option<String>> =
        sql.load::<Named>(conn)?.into_iter().map(|named| (named.id.to_string(), named.name)).collect();
    for group in ranking {
        group.name = names.get(&group.group).cloned().flatten();
    }
    Ok(())
}

/// Queries: five.
pub fn sales(conn: &mut PgConnection, tenant: &Tenant, figured: Figured<'_>) -> Result<SalesDashboard> {
    let (mut campaigns, mut assignees) =
        (figured.ranking(&dashboard::CAMPAIGNS), figured.ranking(&dashboard::ASSIGNEES));
    name(conn, tenant, "campaigns", &mut campaigns)?;
    name(conn, tenant, "business_users", &mut assignees)?;
    let funnel: FunnelFigures = figured.total(&dashboard::FUNNEL);
    let mut sources: Vec<Ranked<LeadFigures>> = figured.ranking(&dashboard::SOURCES);
    sources.iter_mut().for_each(|source| source.name = Some(source.group.clone()));
    let (from, to) = figured.previous;
    Ok(SalesDashboard {
        leads: figured.total(&dashboard::LEADS),
        previous: PreviousLeads { from, to, leads: figured.earlier(&dashboard::LEADS) },
        data: figured.data(&dashboard::LEADS),
        funnel: funnel.stages(None),
        first_touch: funnel.first_touch,
        sources,
        campaigns,
        assignees,
        waiting_count: count_of_waiting(tenant.id()).scalar::<i64>(conn)?.unwrap_or_default(),
        waiting: waiting_leads(tenant.id()).load::<ListedLead>(conn)?,
        won: won_leads(tenant.id()).load::<ListedLead>(conn)?,
        period: figured.period,
    })
}

/// Queries: three.
pub fn inbox(conn: &mut PgConnection, tenant: &Tenant, figured: Figured<'_>) -> Result<InboxDashboard> {
    let mut members = figured.ranking(&dashboard::RESPONDERS);
    name(conn, tenant, "business_users", &mut members)?;
    let open = open_conversations(tenant.id()).first::<OpenConversations>(conn)?.unwrap_or_default();
    let waiting = waiting_conversations(tenant.id()).load::<ListedConversation>(conn)?;
    let (from, to) = figured.previous;
    Ok(InboxDashboard {
        messages: figured.total(&dashboard::MESSAGES),
        conversations: figured.total(&dashboard::CONVERSATIONS),
        first_response: figured.total(&dashboard::RESPONSES),
        previous: PreviousInbox {
            from,
            to,
            messages: figured.earlier(&dashboard::MESSAGES),
            conversations: figured.earlier(&dashboard::CONVERSATIONS),
            first_response: figured.earlier(&dashboard::RESPONSES),
        },
        data: figured.data(&dashboard::MESSAGES),
        members,
        open,
        waiting,
        period: figured.period,
    })
}

/// `today` and the instant at which it began. Queries: four.
pub fn bookings(
    conn: &mut PgConnection,
    tenant: &Tenant,
    figured: Figured<'_>,
    (today, begins, ends): (NaiveDate, DateTime<Utc>, DateTime<Utc>),
) -> Result<BookingsDashboard> {
    let (mut services, mut staff) = (figured.ranking(&dashboard::SERVICES), figured.ranking(&dashboard::STAFF));
    name(conn, tenant, "services", &mut services)?;
    name(conn, tenant, "staff", &mut staff)?;
    let bookings_today = bookings_within(tenant.id(), begins, ends).load::<ListedBooking>(conn)?;
    let to_confirm = count_to_confirm(tenant.id(), begins).scalar::<i64>(conn)?.unwrap_or_default();
    let (from, to) = figured.previous;
    Ok(BookingsDashboard {
        bookings: figured.total(&dashboard::BOOKINGS),
        revenue: figured.total(&dashboard::BOOKINGS),
        previous: PreviousCalendar {
            from,
            to,
            bookings: figured.earlier(&dashboard::BOOKINGS),
            revenue: figured.earlier(&dashboard::BOOKINGS),
        },
        data: figured.data(&dashboard::BOOKINGS),
        services,
        staff,
        today,
        bookings_today,
        to_confirm,
        period: figured.period,
    })
}
