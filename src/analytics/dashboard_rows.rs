//! The rows that a dashboard lists and counts of now.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::base::timestamp;
use crate::db::Statement;

/// Rows of a list at most: what fits on a screen.
const LISTED: u32 = 10;
/// Rows that are counted at most, where they are not statistics.
const COUNTED: u32 = 10_000;

/// A lead on a dashboard.
#[derive(Clone, Debug, Serialize, ToSchema, QueryableByName)]
pub struct ListedLead {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Text)]
    pub title: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    #[schema(required = true)]
    pub assignee_id: Option<Uuid>,
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "timestamp::serialize")]
    pub entered_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    #[serde(serialize_with = "timestamp::serialize_option")]
    #[schema(required = true)]
    pub closed_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    #[schema(required = true)]
    pub value_minor: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    #[schema(required = true)]
    pub currency: Option<String>,
}

/// A conversation on a dashboard.
#[derive(Clone, Debug, Serialize, ToSchema, QueryableByName)]
pub struct ListedConversation {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Text)]
    pub channel: String,
    #[diesel(sql_type = Text)]
    pub address: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    #[schema(required = true)]
    pub assignee_id: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    pub unread_count: i64,
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "timestamp::serialize")]
    pub last_message_at: DateTime<Utc>,
}

/// How many conversations are open: the newest 10000 of each status are counted.
#[derive(Clone, Debug, Default, Serialize, ToSchema, QueryableByName)]
pub struct OpenConversations {
    #[diesel(sql_type = BigInt)]
    pub active: i64,
    #[diesel(sql_type = BigInt)]
    pub pending: i64,
    /// Without an assignee.
    #[diesel(sql_type = BigInt)]
    pub unassigned: i64,
    /// With unread messages.
    #[diesel(sql_type = BigInt)]
    pub unread: i64,
}

/// A booking on a dashboard.
#[derive(Clone, Debug, Serialize, ToSchema, QueryableByName)]
pub struct ListedBooking {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Text)]
    pub code: String,
    #[diesel(sql_type = Text)]
    pub status: String,
    #[diesel(sql_type = Text)]
    pub customer_name: String,
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "timestamp::serialize")]
    pub starts_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    #[serde(serialize_with = "timestamp::serialize")]
    pub ends_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    #[schema(required = true)]
    pub service_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    #[schema(required = true)]
    pub staff_id: Option<Uuid>,
}

/// Returns the statements of what is listed and counted of now, with their names: for the tests of their plans.
pub fn statements(business: Uuid, begins: DateTime<Utc>, ends: DateTime<Utc>) -> Vec<(&'static str, Statement)> {
    vec![
        ("leads that wait, counted", count_of_waiting(business)),
        ("leads that wait", waiting_leads(business)),
        ("leads that were won", won_leads(business)),
        ("conversations that are open", open_conversations(business)),
        ("conversations that wait", waiting_conversations(business)),
        ("bookings of a day", bookings_within(business, begins, ends)),
        ("bookings to be confirmed", count_to_confirm(business, begins)),
    ]
}

/// Leads that nobody has answered. (Those of infinite times cannot be shown.)
const WAITING: &str = " AND status = 'new' AND first_touch_at IS NULL";
const LISTED_LEADS: &str = "SELECT lead_id AS id, title, assignee_id, entered_at, closed_won_at AS closed_at, value_minor, currency \
     FROM lead_facts WHERE business_id = ";

pub fn count_of_waiting(business: Uuid) -> Statement {
    let mut sql = Statement::new("SELECT count(*) FROM (SELECT FROM lead_facts WHERE business_id = ");
    sql.bind(business).sql(WAITING).sql(" LIMIT ").number(COUNTED).sql(") l");
    sql
}

pub fn waiting_leads(business: Uuid) -> Statement {
    let mut sql = Statement::new(LISTED_LEADS);
    sql.bind(business)
        .sql(WAITING)
        .sql(" AND rapport_is_counted(entered_at) ORDER BY entered_at, lead_id LIMIT ")
        .number(LISTED);
    sql
}

pub fn won_leads(business: Uuid) -> Statement {
    let mut sql = Statement::new(LISTED_LEADS);
    sql.bind(business).sql(" AND rapport_is_counted(closed_won_at) AND rapport_is_counted(entered_at) ORDER BY closed_won_at DESC, lead_id DESC LIMIT ");
    sql.number(LISTED);
    sql
}

pub fn open_conversations(business: Uuid) -> Statement {
    let mut sql = Statement::new(
        "SELECT count(*) FILTER (WHERE status = 'active') AS active, count(*) FILTER (WHERE status = 'pending') AS pending, \
         count(*) FILTER (WHERE assignee_id IS NULL) AS unassigned, count(*) FILTER (WHERE unread_count > 0) AS unread \
         FROM (",
    );
    // The newest of each.
    for (place, status) in ["active", "pending"].into_iter().enumerate() {
        sql.sql(if place == 0 { "(" } else { " UNION ALL (" });
        sql.sql("SELECT status, assignee_id, unread_count FROM conversations WHERE deleted_at IS NULL AND status = ");
        sql.bind(status).sql(" AND business_id = ").bind(business);
        sql.sql(" ORDER BY last_message_at DESC, id DESC LIMIT ").number(COUNTED).sql(")");
    }
    sql.sql(") c");
    sql
}

pub fn waiting_conversations(business: Uuid) -> Statement {
    let mut sql = Statement::new(
        "SELECT id, channel, address, assignee_id, unread_count::bigint AS unread_count, last_message_at FROM ( \
         SELECT * FROM conversations WHERE status = 'active' AND deleted_at IS NULL AND rapport_is_counted(last_message_at) AND business_id = ",
    );
    sql.bind(business).sql(" ORDER BY last_message_at, id LIMIT ").number(COUNTED);
    sql.sql(") c WHERE unread_count > 0 ORDER BY last_message_at, id LIMIT ").number(LISTED);
    sql
}

pub fn bookings_within(business: Uuid, begins: DateTime<Utc>, ends: DateTime<Utc>) -> Statement {
    let mut sql = Statement::new(
        "SELECT id, code, status, customer_name, starts_at, ends_at, service_id, staff_id FROM bookings \
         WHERE deleted_at IS NULL AND status <> 'cancelled' AND rapport_is_counted(ends_at) AND business_id = ",
    );
    sql.bind(business).sql(" AND starts_at >= ").bind(begins).sql(" AND starts_at < ").bind(ends);
    sql.sql(" ORDER BY starts_at, id LIMIT ").number(LISTED);
    sql
}

pub fn count_to_confirm(business: Uuid, begins: DateTime<Utc>) -> Statement {
    let mut sql = Statement::new(
        "SELECT count(*) FROM (SELECT FROM bookings WHERE status IN ('held', 'pending') AND deleted_at IS NULL AND business_id = ",
    );
    sql.bind(business).sql(" AND starts_at >= ").bind(begins).sql(" LIMIT ").number(COUNTED).sql(") b");
    sql
}
