//! Reads the calendars of who performs a service, in three statements.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{BigInt, Bool, Date, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value as Json;
use uuid::Uuid;

use super::calendar::{Calendar, DayCount, ServiceRules, StaffMember};
use super::interval::Interval;
use super::working_time::{WorkingTime, without_breaks};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::base::zones;
use crate::db::Statement;
use crate::scheduling::schedules::{self, TimeSpan};

/// Members of staff who are looked at for one service: more share no service.
const MAX_STAFF: u32 = 200;
/// How far beyond the range bookings are looked at: buffers and days of other zones end within it.
const MARGIN: TimeDelta = TimeDelta::days(2);

/// A member of staff who performs the service, with its rules; without one, the service alone.
#[derive(QueryableByName)]
struct Performer {
    /// Of the wish, from 1 on.
    #[diesel(sql_type = BigInt)]
    place: i64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    staff_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    time_zone: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    priority: Option<i32>,
    #[diesel(sql_type = Nullable<Integer>)]
    staff_max_per_day: Option<i32>,
    #[diesel(sql_type = Bool)]
    is_active: bool,
    #[diesel(sql_type = Integer)]
    duration_minutes: i32,
    #[diesel(sql_type = Integer)]
    buffer_before_minutes: i32,
    #[diesel(sql_type = Integer)]
    buffer_after_minutes: i32,
    #[diesel(sql_type = Integer)]
    slot_interval_minutes: i32,
    #[diesel(sql_type = Integer)]
    min_notice_minutes: i32,
    #[diesel(sql_type = Integer)]
    horizon_days: i32,
    #[diesel(sql_type = Nullable<Integer>)]
    max_per_day: Option<i32>,
}

/// Hours of a weekday, hours of a day, or a day off.
#[derive(QueryableByName)]
struct HoursRow {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    staff_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SmallInt>)]
    weekday: Option<i16>,
    #[diesel(sql_type = Nullable<Integer>)]
    starts_minute: Option<i32>,
    #[diesel(sql_type = Nullable<Integer>)]
    ends_minute: Option<i32>,
    #[diesel(sql_type = Bool)]
    is_break: bool,
    #[diesel(sql_type = Nullable<Date>)]
    day: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    hours: Option<Json>,
}

/// A booking that takes time, with what its service blocks beside it.
#[derive(QueryableByName)]
struct TakenRow {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    staff_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    service_id: Option<Uuid>,
    #[diesel(sql_type = Timestamptz)]
    starts_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    ends_at: DateTime<Utc>,
    #[diesel(sql_type = Integer)]
    buffer_before_minutes: i32,
    #[diesel(sql_type = Integer)]
    buffer_after_minutes: i32,
}

/// What is looked for: a service within a range, with one member of staff or with anyone.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub service: Uuid,
    pub staff: Option<Uuid>,
    pub range: Interval,
}

/// Who performs a service.
#[derive(Debug, Default)]
pub struct Performers {
    pub staff: Vec<Uuid>,
    /// Of those who have hours.
    pub calendars: Vec<Calendar>,
}

fn minutes(count: i32) -> TimeDelta {
    TimeDelta::minutes(count.into())
}

/// Reads the calendars of those who perform the services of `wishes`, as of `now`, in three statements. In the place of a service that is not
/// there: `None`. Bookings `except` take no time.
pub fn load(
    conn: &mut PgConnection,
    tenant: &Tenant,
    wishes: &[Wish],
    except: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Vec<Option<Performers>>> {
    let performers = performers(tenant, wishes).load::<Performer>(conn)?;
    let mut of_wish: Vec<Option<Vec<Performer>>> = wishes.iter().map(|_| None).collect();
    for performer in performers {
        let place = usize::try_from(performer.place - 1).unwrap_or_default();
        if let Some(of_wish) = of_wish.get_mut(place) {
            of_wish.get_or_insert_default().push(performer);
        }
    }
    let around = |wish: &Wish| Interval::new(wish.range.start - MARGIN, wish.range.end + MARGIN);
    let asked = wishes.iter().zip(&of_wish).flat_map(|(wish, performers)| {
        let ids = performers.iter().flatten().filter_map(|performer| performer.staff_id);
        ids.map(move |staff| (staff, around(wish)))
    });
    let asked: Vec<(Uuid, Interval)> = asked.collect();
    if asked.is_empty() {
        return Ok(of_wish.into_iter().map(|performers| performers.map(|_| Performers::default())).collect());
    }
    let hours = Hours::of(hours_of(tenant, &asked).load::<HoursRow>(conn)?);
    let taken = taken(tenant, wishes, &asked, except).load::<TakenRow>(conn)?;
    let performers_of = |(wish, performers): (&Wish, Option<Vec<Performer>>)| {
        let calendars = |performers: &[Performer]| {
            let calendar = |performer: &Performer| {
                let (working, member) = (hours.working(performer)?, performer.member()?);
                let around = around(wish);
                let rows = || taken.iter().filter(|row| row.starts_at < around.end && row.ends_at > around.start);
                let of_staff = rows().filter(|row| row.staff_id == Some(member.id));
                let times = of_staff.map(TakenRow::blocked).collect();
                let booked = booked(rows(), member.id, wish.service, &working);
                Some(Calendar::new(member, &working, around, times, booked, now))
            };
            performers.iter().filter_map(calendar).collect()
        };
        performers.map(|performers| Performers {
            staff: performers.iter().filter_map(|performer| performer.staff_id).collect(),
            calendars: calendars(&performers),
        })
    };
    Ok(wishes.iter().zip(of_wish).map(performers_of).collect())
}

/// How much is booked on each local day of a calendar.
fn booked<'r>(
    rows: impl Iterator<Item = &'r TakenRow>,
    staff: Uuid,
    service: Uuid,
    working: &WorkingTime,
) -> BTreeMap<NaiveDate, DayCount> {
    let mut booked: BTreeMap<NaiveDate, DayCount> = BTreeMap::new();
    for row in rows {
        let Some(day) = working.zone.day(row.starts_at) else { continue };
        let count = booked.entry(day).or_default();
        count.of_staff += u32::from(row.staff_id == Some(staff));
        count.of_service += u32::from(row.service_id == Some(service));
    }
    booked
}

impl TakenRow {
    fn blocked(&self) -> Interval {
        Interval::new(
            self.starts_at - minutes(self.buffer_before_minutes),
            self.ends_at + minutes(self.buffer_after_minutes),
        )
    }
}

impl Performer {
    fn member(&self) -> Option<StaffMember> {
        let number = |limit: Option<i32>| limit.and_then(|limit| u32::try_from(limit).ok());
        Some(StaffMember {
            id: self.staff_id?,
            is_active: true,
            priority: self.priority?,
            max_per_day: number(self.staff_max_per_day),
            rules: ServiceRules {
                is_active: self.is_active,
                duration: minutes(self.duration_minutes),
                buffer_before: minutes(self.buffer_before_minutes),
                buffer_after: minutes(self.buffer_after_minutes),
                slot_interval: minutes(self.slot_interval_minutes),
                min_notice: minutes(self.min_notice_minutes),
                horizon_days: u32::try_from(self.horizon_days).unwrap_or_default(),
                max_per_day: number(self.max_per_day),
            },
        })
    }
}

/// The hours of several members of staff.
#[derive(Default)]
struct Hours {
    weekly: HashMap<Uuid, [Vec<TimeSpan>; 7]>,
    overrides: HashMap<Uuid, BTreeMap<NaiveDate, Vec<TimeSpan>>>,
    holidays: HashMap<Option<Uuid>, BTreeSet<NaiveDate>>,
}

impl Hours {
    fn of(rows: Vec<HoursRow>) -> Self {
        let (mut hours, mut breaks) = (Self::default(), HashMap::<(Uuid, usize), Vec<TimeSpan>>::new());
        for row in rows {
            match (row.staff_id, row.weekday, row.day, row.hours) {
                (Some(staff), Some(weekday), ..) => {
                    let place = usize::try_from(weekday - 1).unwrap_or_default().min(6);
                    let minute =
                        |minute: Option<i32>| minute.and_then(|minute| u16::try_from(minute).ok()).unwrap_or_default();
                    let of_row = TimeSpan { starts: minute(row.starts_minute), ends: minute(row.ends_minute) };
                    match row.is_break {
                        true => breaks.entry((staff, place)).or_default().push(of_row),
                        false => hours.weekly.entry(staff).or_default()[place].push(of_row),
                    }
                }
                (Some(staff), None, Some(day), Some(of_day)) => {
                    drop(hours.overrides.entry(staff).or_default().insert(day, schedules::spans_of(&of_day)));
                }
                (staff, None, Some(day), None) => drop(hours.holidays.entry(staff).or_default().insert(day)),
                _ => {}
            }
        }
        for ((staff, place), pauses) in breaks {
            if let Some(weekly) = hours.weekly.get_mut(&staff) {
                weekly[place] = weekly[place].iter().flat_map(|hours| without_breaks(*hours, &pauses)).collect();
            }
        }
        hours
    }

    /// When a member works; `None` for one without any hours.
    fn working(&self, performer: &Performer) -> Option<WorkingTime> {
        let staff = performer.staff_id?;
        let (weekly, overrides) = (self.weekly.get(&staff), self.overrides.get(&staff));
        if weekly.is_none() && overrides.is_none() {
            return None;
        }
        let of = |whose: Option<Uuid>| self.holidays.get(&whose).into_iter().flatten().copied();
        Some(WorkingTime {
            zone: performer.time_zone.as_deref().and_then(zones::get).unwrap_or_else(zones::utc),
            weekly: weekly.cloned().unwrap_or_default(),
            overrides: overrides.cloned().unwrap_or_default(),
            holidays: of(None).chain(of(Some(staff))).collect(),
        })
    }
}

/// The statements of [`load`], with their names.
pub fn statements(tenant: &Tenant, wishes: &[Wish], staff: &[Uuid]) -> [(&'static str, Statement); 3] {
    let range =
        wishes.first().map_or_else(|| Interval::new(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH), |wish| wish.range);
    let asked: Vec<(Uuid, Interval)> = staff.iter().map(|staff| (*staff, range)).collect();
    [
        ("who performs services", performers(tenant, wishes)),
        ("hours of staff", hours_of(tenant, &asked)),
        ("what is booked with staff", taken(tenant, wishes, &asked, &[])),
    ]
}

/// Selects those who perform the services of `wishes`; one row without staff where nobody does.
fn performers(tenant: &Tenant, wishes: &[Wish]) -> Statement {
    let mut sql = Statement::new(
        "SELECT w.place, p.staff_id, p.time_zone, p.priority, p.staff_max_per_day, v.active AS is_active, \
         coalesce(p.duration_minutes, v.duration_minutes) AS duration_minutes, v.buffer_before_minutes, v.buffer_after_minutes, \
         v.slot_interval_minutes, v.min_notice_minutes, v.horizon_days, v.max_per_day FROM unnest(",
    );
    sql.bind(wishes.iter().map(|wish| wish.service).collect::<Vec<_>>()).sql("::uuid[], ");
    // No member of staff has the nil id: then it is anyone.
    sql.bind(wishes.iter().map(|wish| wish.staff.unwrap_or_default()).collect::<Vec<_>>());
    sql.sql("::uuid[]) WITH ORDINALITY AS w (service_id, staff_id, place) JOIN services v ON v.id = w.service_id AND v.deleted_at IS NULL AND v.business_id = ");
    sql.bind(tenant.id()).sql(
        " LEFT JOIN LATERAL (SELECT s.id AS staff_id, s.time_zone, s.priority, s.max_per_day AS staff_max_per_day, l.duration_minutes FROM staff s \
         LEFT JOIN staff_services l ON l.business_id = s.business_id AND l.staff_id = s.id AND l.service_id = v.id \
         WHERE s.active AND s.deleted_at IS NULL AND s.business_id = v.business_id AND (s.id = w.staff_id OR w.staff_id = '00000000-0000-0000-0000-000000000000') \
         AND (l.id IS NOT NULL OR NOT EXISTS (SELECT FROM staff_services o WHERE o.business_id = s.business_id AND o.staff_id = s.id)) \
         ORDER BY s.priority, s.id LIMIT ",
    );
    sql.number(MAX_STAFF).sql(") p ON true");
    sql
}

/// Selects the hours of members, and the days off and other hours around what is asked.
fn hours_of(tenant: &Tenant, asked: &[(Uuid, Interval)]) -> Statement {
    let staff: Vec<Uuid> = asked.iter().map(|(staff, _)| *staff).collect();
    let first = asked.iter().map(|(_, around)| around.start).min().unwrap_or_default().date_naive();
    let last = asked.iter().map(|(_, around)| around.end).max().unwrap_or_default().date_naive();
    let days = |sql: &mut Statement| {
        sql.sql(" AND day BETWEEN ").bind(first).sql(" AND ").bind(last);
    };
    let mut sql = Statement::new(
        "SELECT staff_id, weekday, starts_minute, ends_minute, kind = 'break' AS is_break, NULL::date AS day, NULL::jsonb AS hours \
         FROM schedule_hours WHERE business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND staff_id = ANY(").bind(staff.clone());
    sql.sql(
        ") UNION ALL SELECT staff_id, NULL, NULL, NULL, false, day, hours FROM schedule_overrides WHERE business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND staff_id = ANY(").bind(staff.clone()).sql(")");
    days(&mut sql);
    sql.sql(" UNION ALL SELECT staff_id, NULL, NULL, NULL, false, day, NULL FROM holidays WHERE business_id = ");
    sql.bind(tenant.id());
    days(&mut sql);
    sql.sql(" AND (staff_id IS NULL OR staff_id = ANY(").bind(staff).sql("))");
    sql
}

/// Selects the bookings that take time of these members, or are of these services, around what is asked. Of each member also the last one
/// that began before it, which may last until then: bookings of one member do not overlap.
fn taken(tenant: &Tenant, wishes: &[Wish], asked: &[(Uuid, Interval)], except: &[Uuid]) -> Statement {
    const BLOCKING: &str = " AND b.status IN ('held', 'pending', 'confirmed') AND b.deleted_at IS NULL";
    const WITHIN: &str = " AND b.starts_at >= m.since AND b.starts_at < m.until";
    let mut sql = Statement::new("WITH m AS MATERIALIZED (SELECT DISTINCT * FROM unnest(");
    sql.bind(asked.iter().map(|(staff, _)| *staff).collect::<Vec<_>>()).sql("::uuid[], ");
    sql.bind(asked.iter().map(|(_, around)| around.start).collect::<Vec<_>>()).sql("::timestamptz[], ");
    sql.bind(asked.iter().map(|(_, around)| around.end).collect::<Vec<_>>())
        .sql("::timestamptz[]) m (id, since, until)), ");
    sql.sql("s AS MATERIALIZED (SELECT DISTINCT * FROM unnest(");
    sql.bind(wishes.iter().map(|wish| wish.service).collect::<Vec<_>>()).sql("::uuid[], ");
    sql.bind(wishes.iter().map(|wish| wish.range.start - MARGIN).collect::<Vec<_>>()).sql("::timestamptz[], ");
    sql.bind(wishes.iter().map(|wish| wish.range.end + MARGIN).collect::<Vec<_>>())
        .sql("::timestamptz[]) m (id, since, until)) ");
    sql.sql(
        "SELECT t.staff_id, t.service_id, t.starts_at, t.ends_at, coalesce(v.buffer_before_minutes, 0) AS buffer_before_minutes, \
         coalesce(v.buffer_after_minutes, 0) AS buffer_after_minutes FROM (",
    );
    let rows = |sql: &mut Statement, from: &'static str, link: &'static str| {
        sql.sql("SELECT b.* FROM ")
            .sql(from)
            .sql(
                " m CROSS JOIN LATERAL (SELECT b.id, b.staff_id, b.service_id, b.starts_at, b.ends_at \
         FROM bookings b WHERE b.business_id = ",
            )
            .bind(tenant.id());
        sql.sql(" AND b.").sql(link).sql(" = m.id");
    };
    rows(&mut sql, "m", "staff_id");
    sql.sql(WITHIN).sql(BLOCKING).sql(") b UNION ");
    rows(&mut sql, "s", "service_id");
    sql.sql(WITHIN).sql(BLOCKING).sql(") b UNION ");
    rows(&mut sql, "m", "staff_id");
    sql.sql(" AND b.starts_at < m.since")
        .sql(BLOCKING)
        .sql(
            " ORDER BY b.starts_at DESC LIMIT 1) b) t \
         LEFT JOIN services v ON v.business_id = ",
        )
        .bind(tenant.id());
    sql.sql(" AND v.id = t.service_id WHERE t.id <> ALL(").bind(except.to_vec()).sql(") ORDER BY t.starts_at, t.id");
    sql
}
