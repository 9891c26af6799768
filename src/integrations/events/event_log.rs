//! Reads the event log: events with their numbers, joined with their audit log entries.

use std::collections::{HashMap, HashSet};

use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{BigInt, Nullable};
use uuid::Uuid;

use super::event_types::{About, EventType, EventTypes};
use super::query::After;
use super::stored_event::{COLUMNS, Event, FoundEvent};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::Statement;
use crate::resource::{Resource, RowVisibility, select};

/// Numbers that one read scans for the wanted types. They have no gaps, so a reader of rare types continues from there.
const MAX_POSITION_LAG: i64 = 10_000;

/// A page of the event log.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<Event>,
    /// All wanted events up to this number are on this page or were before it.
    pub reached: i64,
    /// The newest number.
    pub last: i64,
}

impl Page {
    /// `after` of the next page; `None` when there is no more now.
    pub fn next(&self) -> Option<i64> {
        (self.reached < self.last).then_some(self.reached)
    }
}

/// The bounds of the log with one of its events, or without any.
#[derive(QueryableByName)]
struct PageRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    oldest: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    last: Option<i64>,
    #[diesel(embed)]
    event: FoundEvent,
}

/// Reads up to `limit` events of `types` after `after`, without those of rows that the tenant may not see. Queries:
/// one, and for a caller restricted to their own rows one more per resource. Errors: 410 when the next events have
/// expired, or `after` is unknown.
pub fn page(conn: &mut PgConnection, tenant: &Tenant, after: After, types: &EventTypes, limit: u32) -> Result<Page> {
    let from = match after {
        After::Nothing => 0,
        After::Number(number) => number,
        After::Latest => i64::MAX / 2,
    };
    let mut sql = Statement::new("SELECT h.oldest, h.last, ");
    sql.sql(COLUMNS).sql(
        " FROM (SELECT b.id, b.after, \
             (SELECT min(sequence) FROM events m WHERE m.business_id = b.id) AS oldest, \
             (SELECT max(sequence) FROM events m WHERE m.business_id = b.id) AS last FROM (SELECT ",
    );
    sql.bind(tenant.id()).sql(" AS id, ").bind(from).sql(
        " AS after) b OFFSET 0) h LEFT JOIN LATERAL (SELECT * FROM events e WHERE e.business_id = h.id \
         AND e.sequence > greatest(h.after, h.oldest - 1) AND e.sequence <= greatest(h.after, h.oldest - 1) + ",
    );
    sql.number(MAX_POSITION_LAG).sql(" AND e.resource || '.' || e.action = ANY(").bind(types.stored_names());
    sql.sql(") ORDER BY e.sequence LIMIT ")
        .number(limit)
        .sql(") e ON true LEFT JOIN audit_log a ON a.business_id = e.business_id AND a.id = e.id ORDER BY e.sequence");
    let rows: Vec<PageRow> = sql.load(conn)?;
    let (oldest, last) = rows.first().map_or((None, None), |row| (row.oldest, row.last));
    let (oldest, last) = (oldest.unwrap_or(1), last.unwrap_or(0));
    if let After::Number(number) = after {
        is_kept(number, oldest, last)?;
    }
    let stored = rows.iter().filter_map(|row| row.event.0.as_ref());
    let mut events =
        stored.filter_map(|stored| stored.event(types.registry).transpose()).collect::<Result<Vec<Event>>>()?;
    let reached = match events.last().filter(|_| events.len() == limit as usize) {
        Some(event) => event.sequence,
        None => from.max(oldest - 1).saturating_add(MAX_POSITION_LAG).min(last),
    };
    let seen = VisibilityFilter::of(conn, tenant, events.iter().map(|event| event.about))?;
    events.retain(|event| seen.has(event.about));
    Ok(Page { events, reached, last })
}

/// Errors: 410 when events after `number` have expired, or there was no such number.
fn is_kept(number: i64, oldest: i64, last: i64) -> Result<()> {
    let gone = |code, what: String| {
        let detail = format!("{what} Read the rows themselves again, and go on with `after=latest` as of before that.");
        Err(Error::Gone { code, detail })
    };
    if number + 1 < oldest {
        return gone(
            "events_expired",
            format!("The events after {number} are not kept any more; the oldest is {oldest}."),
        );
    }
    if number > last {
        return gone("events_unknown", format!("There was no event {number}; the newest is {last}."));
    }
    Ok(())
}

/// The rows that a caller restricted to their own rows may see; `None` when the caller is not restricted.
pub struct VisibilityFilter(Option<HashSet<(usize, Uuid)>>);

impl VisibilityFilter {
    /// Looks up the rows that events are `about`. Queries: none, or one for each resource whose rows are not visible to
    /// all.
    pub fn of(conn: &mut PgConnection, tenant: &Tenant, about: impl Iterator<Item = About>) -> Result<Self> {
        if tenant.restricted_to_user().is_none() {
            return Ok(Self(None));
        }
        let mut asked: HashMap<usize, (&Resource, HashSet<Uuid>)> = HashMap::new();
        for about in about {
            let EventType { resource, index, .. } = about.event_type;
            asked.entry(index).or_insert_with(|| (resource, HashSet::new())).1.insert(about.row);
        }
        let mut seen = HashSet::new();
        for (index, (resource, rows)) in asked {
            if matches!(resource.visibility, RowVisibility::All) {
                seen.extend(rows.into_iter().map(|row| (index, row)));
                continue;
            }
            let mut sql = Statement::new("SELECT t.id FROM ");
            sql.ident(resource.table)
                .sql(" t")
                .append(select::tenant_predicate(resource, tenant))
                .sql(" AND t.id = ANY(");
            sql.bind(rows.into_iter().collect::<Vec<_>>()).sql(")");
            seen.extend(sql.scalars::<Uuid>(conn)?.into_iter().map(|row| (index, row)));
        }
        Ok(Self(Some(seen)))
    }

    pub fn has(&self, about: About) -> bool {
        self.0.as_ref().is_none_or(|seen| seen.contains(&(about.event_type.index, about.row)))
    }
}
