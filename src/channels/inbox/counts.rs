//! Counts the conversations of a business for the tabs of an inbox, in one statement.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::dto::{ChannelCount, ConversationCounts, LabelCount};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::cache::ComputedResponse;
use crate::channels::conversations::CONVERSATIONS;
use crate::db::Statement;
use crate::resource::computed_read::ComputedRead;
use crate::resource::list_query::COUNT_CAP;
use crate::resource::select;

/// Counts for a caller.
#[derive(Debug)]
pub struct Counts {
    /// The user who asks; `None`: an API key.
    pub user: Option<Uuid>,
}

/// A number, and what it is of.
#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = Text)]
    tab: String,
    /// The channel's kind.
    #[diesel(sql_type = Nullable<Text>)]
    kind: Option<String>,
    /// The channel or the label.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    id: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    n: i64,
}

impl ComputedRead for Counts {
    // With the user: what is unread for one is not what is unread for another.
    fn canonical(&self) -> String {
        format!("counts {:?}", self.user)
    }

    fn tables(&self) -> Vec<&'static str> {
        vec!["conversations", "conversation_labels"]
    }

    // Only the user's own: what others read, they do as often as they look.
    fn rows(&self) -> Vec<(&'static str, Uuid)> {
        self.user.into_iter().flat_map(|user| ["read_positions", "memberships"].map(|table| (table, user))).collect()
    }

    fn compute(&self, conn: &mut PgConnection, tenant: &Tenant) -> Result<ComputedResponse> {
        let mut counts = ConversationCounts::default();
        for Counted { tab, kind, id, n } in statement(tenant, self.user).load::<Counted>(conn)? {
            match tab.as_str() {
                "open" => counts.open = n,
                "active" => counts.active = n,
                "pending" => counts.pending = n,
                "snoozed" => counts.snoozed = n,
                "closed" => (counts.closed, counts.closed_is_at_least) = (n.min(COUNT_CAP), n > COUNT_CAP),
                "mine" => counts.mine = self.user.map(|_| n),
                "unassigned" => counts.unassigned = n,
                "handled_by_ai" => counts.handled_by_ai = n,
                "unread" => counts.unread = n,
                "unread_by_me" => counts.unread_by_me = self.user.map(|_| n),
                "channel" => {
                    counts.by_channel.extend(kind.map(|channel| ChannelCount { channel, channel_id: id, count: n }))
                }
                _ => counts.by_label.extend(id.map(|label_id| LabelCount { label_id, count: n })),
            }
        }
        let body = serde_json::to_vec(&counts).map_err(|error| Error::Internal(error.to_string()))?;
        let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
        Ok(ComputedResponse { body, etag, tags: Vec::new() })
    }
}

/// Returns the statement: all that is open is read once, by its status; of what is closed, as much as is counted.
pub fn statement(tenant: &Tenant, user: Option<Uuid>) -> Statement {
    let visible = || {
        let mut sql = select::tenant_predicate(&CONVERSATIONS, tenant);
        select::not_deleted(&mut sql, &CONVERSATIONS);
        sql
    };
    let mut sql = Statement::new(
        "WITH seen AS MATERIALIZED (SELECT t.id, t.status, t.channel, t.channel_id, t.assignee_id, t.handler, t.unread_count > 0 AS is_unread, \
         t.snoozed_until IS NOT NULL AS is_snoozed, ",
    );
    match user {
        // As the filter `unread_by`; with joins, since it is of all that is open.
        Some(user) => {
            sql.sql("coalesce(t.last_inbound_at > coalesce(p.read_until, (SELECT m.created_at FROM memberships m WHERE m.business_id = ");
            sql.bind(tenant.id()).sql(" AND m.user_id = ").bind(user);
            sql.sql(")), false) AS is_unread_by_me, t.assignee_id = ").bind(user).sql(
                " AS is_mine FROM conversations t LEFT JOIN read_positions p ON p.business_id = t.business_id \
                 AND p.conversation_id = t.id AND p.user_id = ",
            );
            sql.bind(user);
        }
        None => {
            sql.sql("false AS is_unread_by_me, false AS is_mine FROM conversations t");
        }
    }
    sql.append(visible()).sql(" AND t.status IN ('active', 'pending')");
    sql.sql("), shown AS MATERIALIZED (SELECT * FROM seen WHERE NOT is_snoozed) SELECT v.tab, NULL::text AS kind, NULL::uuid AS id, v.n FROM (SELECT \
         count(*) AS open, count(*) FILTER (WHERE status = 'active') AS active, count(*) FILTER (WHERE status = 'pending') AS pending, \
         count(*) FILTER (WHERE is_mine) AS mine, count(*) FILTER (WHERE assignee_id IS NULL) AS unassigned, \
         count(*) FILTER (WHERE handler = 'ai') AS handled_by_ai, count(*) FILTER (WHERE is_unread) AS unread, count(*) FILTER (WHERE is_unread_by_me) AS unread_by_me FROM shown) s CROSS JOIN LATERAL \
         (VALUES ('open', s.open), ('active', s.active), ('pending', s.pending), ('mine', s.mine), ('unassigned', s.unassigned), ('handled_by_ai', s.handled_by_ai), \
         ('unread', s.unread), ('unread_by_me', s.unread_by_me)) v (tab, n) \
         UNION ALL SELECT 'snoozed', NULL, NULL, count(*) FROM seen WHERE is_snoozed \
         UNION ALL SELECT 'closed', NULL, NULL, count(*) FROM (SELECT FROM conversations t");
    sql.append(visible()).sql(" AND t.status = 'closed' LIMIT ").number(COUNT_CAP + 1);
    sql.sql(") c UNION ALL (SELECT 'channel', channel, channel_id, count(*) FROM shown GROUP BY channel, channel_id ORDER BY channel, channel_id) \
         UNION ALL (SELECT 'label', NULL, l.label_id, count(*) FROM shown s JOIN conversation_labels l ON l.business_id = ");
    sql.bind(tenant.id()).sql(" AND l.conversation_id = s.id GROUP BY l.label_id ORDER BY l.label_id)");
    sql
}
