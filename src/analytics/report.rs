//! Computes the response of a statistic: sums of the database become figures of buckets and groups.

use std::collections::BTreeMap;

use chrono::{Days, SecondsFormat, Utc};
use diesel::pg::PgConnection;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::ai_usage::{self, AiUsageFigures};
use super::business_hours;
use super::dashboards::{self, DashboardPeriod, Figured};
use super::dto::{Bucket, Overview, OverviewFigures, PreviousOverview, PreviousSeries, Series};
use super::figures::{
    AiFigures, BookingFigures, ConversationFigures, CostFigures, Figures, LeadFigures, MessageFigures, RevenueFigures,
    figures_of,
};
use super::funnel::{Funnel, FunnelFigures, PreviousFunnel};
use super::parameters::Parameters;
use super::period::{Buckets, Period};
use super::responses::ResponseFigures;
use super::roll_up::{self, Question, Sum};
use super::statistic::{Parts, Source, Statistic};
use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::cache::ComputedResponse;
use crate::db::Statement;
use crate::resource::computed_read::ComputedRead;

/// Groups of a response at most.
const MAX_GROUPS: usize = 100;
/// Buckets of all groups of a response at most: a few megabytes.
const MAX_CELLS: usize = 20_000;

/// A statistic as it is asked for.
#[derive(Debug)]
pub struct Report {
    pub statistic: Statistic,
    pub parameters: Parameters,
    /// Only this campaign.
    pub campaign: Option<Uuid>,
}

/// The form of a response.
type Rendered = Result<serde_json::Value>;

impl ComputedRead for Report {
    fn canonical(&self) -> String {
        let Parameters { period, interval, grouping, compares, in_business_hours, business_rules, today } =
            &self.parameters;
        let (group, campaign) = (grouping.map(|grouping| grouping.name), self.campaign);
        // Replicas whose data of a zone differ answer differently.
        let Period { from, to, zone_name, .. } = period;
        let (statistic, rules) = (self.statistic, period.rules());
        let hours = in_business_hours.then_some(business_rules);
        let today = Some(today).filter(|_| statistic == Statistic::BookingsDashboard);
        format!(
            "{statistic:?} {from} {to} {zone_name:?} {rules} {interval:?} {group:?} {campaign:?} {compares} {hours:?} {today:?}"
        )
    }

    fn tables(&self) -> Vec<&'static str> {
        let mut tables = self.statistic.tables().to_vec();
        tables.extend(self.campaign.map(|_| "campaigns"));
        tables.extend(self.parameters.in_business_hours.then_some("businesses"));
        tables
    }

    fn compute(&self, conn: &mut PgConnection, tenant: &Tenant) -> Result<ComputedResponse> {
        // Before the figures are read: what is committed later is not in them.
        let as_of = now();
        tagged(&self.render(conn, tenant, "")?, &as_of)
    }
}

/// Returns the response whose `as_of` is filled in. Its tag is of everything but that, and so a weak one: the same figures have the same tag.
pub fn tagged(response: &impl Serialize, as_of: &str) -> Result<ComputedResponse> {
    let mut body = json(response)?;
    let etag = format!("W/\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(body.to_string().as_bytes()));
    if let Some(member) = body.get_mut("as_of") {
        *member = as_of.into();
    }
    Ok(ComputedResponse { body: body.to_string().into_bytes(), etag, tags: Vec::new() })
}

/// Returns the current time as in `as_of`.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Report {
    /// Computes the response as JSON. Queries: one, one for the campaign, and those of dashboards. Errors: 403; 404 when there is no such campaign.
    pub fn render(&self, conn: &mut PgConnection, tenant: &Tenant, as_of: &str) -> Rendered {
        if tenant.restricted_to_user().is_some() {
            let detail = "Statistics count all rows of the business; you may read those that are assigned to you only.";
            return Err(Error::Forbidden(detail.into()));
        }
        if let Some(campaign) = self.campaign {
            must_exist(conn, tenant, campaign)?;
        }
        let sums = self.sums(conn, tenant)?;
        match self.statistic {
            Statistic::Overview => json(&self.overview(&sums, as_of)),
            Statistic::Bookings => json(&self.series::<BookingFigures>(&sums, as_of)),
            Statistic::Messages => json(&self.series::<MessageFigures>(&sums, as_of)),
            Statistic::Conversations => json(&self.series::<ConversationFigures>(&sums, as_of)),
            Statistic::Funnel => json(&self.funnel(&sums, as_of)),
            Statistic::Leads | Statistic::Campaigns => json(&self.series::<LeadFigures>(&sums, as_of)),
            Statistic::Ai => json(&self.series::<AiFigures>(&sums, as_of)),
            Statistic::AiUsage => json(&self.series::<AiUsageFigures>(&sums, as_of)),
            Statistic::Revenue => json(&self.series::<RevenueFigures>(&sums, as_of)),
            Statistic::ResponseTimes => json(&self.series::<ResponseFigures>(&sums, as_of)),
            Statistic::SalesDashboard => {
                let figured = self.figured(conn, tenant, &sums, as_of)?;
                json(&dashboards::sales(conn, tenant, figured)?)
            }
            Statistic::InboxDashboard => {
                let figured = self.figured(conn, tenant, &sums, as_of)?;
                json(&dashboards::inbox(conn, tenant, figured)?)
            }
            Statistic::BookingsDashboard => {
                let Parameters { period, today, .. } = &self.parameters;
                let day = (*today, period.start(*today), period.start(*today + Days::new(1)));
                let figured = self.figured(conn, tenant, &sums, as_of)?;
                json(&dashboards::bookings(conn, tenant, figured, day)?)
            }
        }
    }

    /// Returns the sums of a dashboard by bucket, with those of its rankings, which are of the whole period. Queries: one.
    fn figured<'s>(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        sums: &'s [Sum],
        as_of: &str,
    ) -> Result<Figured<'s>> {
        let metrics: Vec<&'static str> = self.statistic.ranked().iter().map(|source| source.metric).collect();
        let whole = self.parameters.period.buckets(None);
        let ranked = self.asked(conn, tenant, &metrics, &whole)?;
        let Parameters { period: Period { from, to, zone_name, .. }, interval, .. } = &self.parameters;
        let (previous, buckets) = self.buckets();
        let (time_zone, as_of) = (zone_name.clone(), as_of.to_owned());
        let period = DashboardPeriod { from: *from, to: *to, time_zone, as_of, interval: *interval };
        let before = previous.as_ref().map_or(0, |previous| previous.labels.len());
        let previous = self.parameters.period.previous();
        Ok(Figured { sums, ranked, before, buckets, period, previous: (previous.from, previous.to) })
    }

    fn sources(&self) -> &'static [Source] {
        self.parameters.grouping.map_or(self.statistic.sources(), |grouping| grouping.sources)
    }

    /// Returns the buckets of the period, after those of the previous one if it is compared with.
    fn buckets(&self) -> (Option<Buckets>, Buckets) {
        let interval = Some(self.parameters.interval).filter(|_| self.statistic.is_series());
        let period = &self.parameters.period;
        let previous = self.parameters.compares.then(|| period.previous().buckets(interval));
        (previous, period.buckets(interval))
    }

    fn sums(&self, conn: &mut PgConnection, tenant: &Tenant) -> Result<Vec<Sum>> {
        let metrics: Vec<&'static str> = self.sources().iter().map(|source| source.metric).collect();
        let (previous, current) = self.buckets();
        let buckets = match previous {
            Some(previous) => previous.followed_by(current),
            None => current,
        };
        self.asked(conn, tenant, &metrics, &buckets)
    }

    fn asked(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        metrics: &[&'static str],
        buckets: &Buckets,
    ) -> Result<Vec<Sum>> {
        let question = Question { business: tenant.id(), metrics, period: &self.parameters.period, buckets };
        let sums = match self.statistic {
            Statistic::AiUsage => ai_usage::sums(conn, &question)?,
            _ if self.parameters.in_business_hours => business_hours::sums(conn, &question)?,
            _ => roll_up::sums(conn, &question)?,
        };
        if sums.len() > roll_up::MAX_SUMS {
            let detail = "There are too many groups in too many buckets. Ask for a shorter period, a longer `interval`, or no `group_by`.";
            return Err(Error::parameters(vec![FieldError::new("/query/group_by", "out_of_range", detail)]));
        }
        Ok(sums)
    }

    fn overview(&self, sums: &[Sum], as_of: &str) -> Overview {
        let Period { from, to, zone_name, .. } = &self.parameters.period;
        let current = usize::from(self.parameters.compares);
        let previous = self.parameters.compares.then(|| {
            let Period { from, to, .. } = self.parameters.period.previous();
            PreviousOverview { from, to, figures: self.overview_figures(sums, 0) }
        });
        Overview {
            from: *from,
            to: *to,
            time_zone: zone_name.clone(),
            as_of: as_of.to_owned(),
            figures: self.overview_figures(sums, current),
            previous,
        }
    }

    fn overview_figures(&self, sums: &[Sum], bucket: usize) -> OverviewFigures {
        let bookings: BookingFigures = self.figures(sums, bucket, "bookings");
        let revenue: RevenueFigures = self.figures(sums, bucket, "bookings");
        let cost: CostFigures = self.figures(sums, bucket, "messages.cost");
        OverviewFigures {
            no_show_rate: bookings.no_show_rate,
            bookings,
            messages: self.figures(sums, bucket, "messages"),
            conversations: self.figures(sums, bucket, "conversations"),
            leads: self.figures_of(sums, bucket, &["leads", "closed"]),
            cost: cost.cost,
            revenue: revenue.revenue,
            ai: self.figures_of(sums, bucket, &["ai.input", "ai.output", "ai.cost"]),
            first_response: self.figures(sums, bucket, "responses"),
        }
    }

    fn funnel(&self, sums: &[Sum], as_of: &str) -> Funnel {
        let Period { from, to, zone_name, .. } = &self.parameters.period;
        let groups = self.groups::<FunnelFigures>(sums);
        let (shown, left_out) = groups.split_at(groups.len().min(MAX_GROUPS));
        let current = usize::from(self.parameters.compares);
        let stages = |bucket: usize| {
            let of_group = |group: &Group<FunnelFigures>| {
                let figures = group.figures.get(&bucket).cloned().unwrap_or_default();
                figures.stages(self.is_grouped().then_some(&group.name))
            };
            shown.iter().flat_map(of_group).collect()
        };
        let first_touch = |bucket: usize| self.total::<FunnelFigures>(sums, |of| of == bucket).first_touch;
        let previous = self.parameters.compares.then(|| {
            let Period { from, to, .. } = self.parameters.period.previous();
            PreviousFunnel { from, to, data: stages(0), first_touch: first_touch(0) }
        });
        Funnel {
            from: *from,
            to: *to,
            time_zone: zone_name.clone(),
            as_of: as_of.to_owned(),
            group_by: self.parameters.grouping.map(|grouping| grouping.name),
            data: stages(current),
            first_touch: first_touch(current),
            groups_left_out: u32::try_from(left_out.len()).unwrap_or(u32::MAX),
            previous,
        }
    }

    fn figures<F: Figures>(&self, sums: &[Sum], bucket: usize, metric: &'static str) -> F {
        self.figures_of(sums, bucket, &[metric])
    }

    fn figures_of<F: Figures>(&self, sums: &[Sum], bucket: usize, metrics: &[&'static str]) -> F {
        let sources = self.sources().iter().filter(|source| metrics.contains(&source.metric));
        figures_of(sources, sums, |of| of == bucket)
    }

    fn series<F: Figures + ToSchema>(&self, sums: &[Sum], as_of: &str) -> Series<F> {
        let (previous, current) = self.buckets();
        let before = previous.as_ref().map_or(0, |previous| previous.labels.len());
        let buckets = before + current.labels.len();
        let mut groups = self.groups::<F>(sums);
        let shown = (MAX_CELLS / buckets).clamp(1, MAX_GROUPS);
        let groups_left_out = groups.len().saturating_sub(shown);
        groups.truncate(shown);
        let Period { from, to, zone_name, .. } = &self.parameters.period;
        let previous = previous.map(|buckets| {
            let Period { from, to, .. } = self.parameters.period.previous();
            let total = self.total(sums, |bucket| bucket < before);
            PreviousSeries { from, to, data: self.data(&buckets, &groups, 0), total }
        });
        Series {
            from: *from,
            to: *to,
            time_zone: zone_name.clone(),
            as_of: as_of.to_owned(),
            interval: self.parameters.interval,
            group_by: self.parameters.grouping.filter(|_| self.is_grouped()).map(|grouping| grouping.name),
            data: self.data(&current, &groups, before),
            total: self.total(sums, |bucket| bucket >= before),
            groups_left_out: u32::try_from(groups_left_out).unwrap_or(u32::MAX),
            previous,
        }
    }

    /// Calls `add` with each sum and the parts of its dimension, unless it is of another campaign.
    fn each_sum<'s>(&self, sums: &'s [Sum], mut add: impl FnMut(&Source, &'s Sum, Parts<'s>)) {
        let campaign = self.campaign.map(|campaign| campaign.to_string());
        for source in self.sources() {
            for sum in sums.iter().filter(|sum| sum.metric == source.metric) {
                let parts = source.split(&sum.dim);
                if campaign.is_none() || campaign.as_deref() == parts.group {
                    add(source, sum, parts);
                }
            }
        }
    }

    /// Returns the figures of all groups together.
    fn total<F: Figures>(&self, sums: &[Sum], is_in: impl Fn(usize) -> bool) -> F {
        let has_all = self.has_all();
        let mut total = F::default();
        self.each_sum(sums, |source, sum, parts| {
            // Beside the sums of all groups, those of each would count twice.
            if is_in(sum.bucket) && parts.is_of_all == has_all {
                total.add(source.metric, &parts.values, sum.n, sum.amount);
            }
        });
        total.settle();
        total
    }

    /// Whether the sums of all groups are among the sources.
    fn has_all(&self) -> bool {
        self.sources().iter().any(|source| source.split("").is_of_all)
    }

    /// Whether the buckets are divided: those of one campaign are not.
    fn is_grouped(&self) -> bool {
        self.parameters.grouping.is_some() && self.campaign.is_none()
    }

    /// Returns the figures of each group by bucket, the largest group first; of one group without a name where nothing is grouped.
    fn groups<F: Figures>(&self, sums: &[Sum]) -> Vec<Group<F>> {
        let has_all = self.has_all();
        let mut groups: BTreeMap<Option<String>, BTreeMap<usize, F>> = BTreeMap::new();
        if !self.is_grouped() {
            groups.insert(None, BTreeMap::new());
        }
        self.each_sum(sums, |source, sum, parts| {
            let mut add = |group: Option<&str>, sign: i64| {
                let figures = groups.entry(group.map(str::to_owned)).or_default().entry(sum.bucket).or_default();
                figures.add(source.metric, &parts.values, sign * sum.n, roll_up::Micros::from(sign) * sum.amount);
            };
            add(parts.group.filter(|_| self.is_grouped()), 1);
            if has_all && !parts.is_of_all {
                // What the groups leave of all is that of rows without one.
                add(None, -1);
            }
        });
        let groups = groups.into_iter().map(|(name, figures)| Group::settled(name, figures));
        let mut groups: Vec<Group<F>> = groups.filter(|group| group.count != 0 || !self.is_grouped()).collect();
        groups.sort_by(|a, b| b.rank.cmp(&a.rank).then_with(|| a.name.cmp(&b.name)));
        groups
    }

    /// Returns the buckets, whose figures begin at `first` in each group.
    fn data<F: Figures + ToSchema>(&self, buckets: &Buckets, groups: &[Group<F>], first: usize) -> Vec<Bucket<F>> {
        let mut data = Vec::with_capacity(buckets.labels.len() * groups.len());
        for (place, label) in buckets.labels.iter().enumerate() {
            for group in groups {
                let figures = group.figures.get(&(first + place)).cloned().unwrap_or_default();
                let name = self.is_grouped().then(|| group.name.clone());
                data.push(Bucket { bucket: *label, group: name, figures });
            }
        }
        data
    }
}

/// The figures of a group, by bucket; of buckets without any, they are those of nothing.
struct Group<F> {
    name: Option<String>,
    figures: BTreeMap<usize, F>,
    count: i64,
    rank: (i64, i64),
}

impl<F: Figures> Group<F> {
    fn settled(name: Option<String>, mut figures: BTreeMap<usize, F>) -> Self {
        figures.values_mut().for_each(Figures::settle);
        let count = figures.values().map(Figures::count).sum();
        let rank = figures.values().map(Figures::rank).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        Self { name, figures, count, rank }
    }
}

fn json(response: &impl Serialize) -> Rendered {
    serde_json::to_value(response).map_err(|error| Error::Internal(error.to_string()))
}

fn must_exist(conn: &mut PgConnection, tenant: &Tenant, campaign: Uuid) -> Result<()> {
    let mut sql = Statement::new("SELECT EXISTS (SELECT FROM campaigns WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(campaign).sql(")");
    match sql.scalar::<bool>(conn)? {
        Some(true) => Ok(()),
        _ => Err(Error::NotFound(format!("There is no campaign {campaign}."))),
    }
}
