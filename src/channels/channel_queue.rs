//! Rows that are due by channel, such as files to be fetched: each process claims some, of each channel as many as it has free slots, so that
//! none waits for another's backlog.

use crate::background::Slots;
use crate::db::Statement;

/// A table of rows that are worked off by channel: `(business_id, id, channel_id, due_at, tries, claim)`, with an index on
/// `(business_id, channel_id, due_at)` of those that are open. While a process works on a row, `due_at` is when its lease ends.
#[derive(Debug)]
pub struct ChannelQueue {
    pub table: &'static str,
    /// Which rows of `table` are open, as its index has it.
    pub open: &'static str,
    /// Whether those of channels that are paused or deleted wait.
    pub only_active: bool,
    /// How long a claim lasts, in seconds: longer than the work may take.
    pub lease_seconds: u32,
}

impl ChannelQueue {
    /// Begins a statement that claims what is due: `WITH … taken AS (UPDATE … RETURNING *)`; the caller selects from `taken`. First come the
    /// channels that have any open (a loose index scan), then of each those that are due, in turns. Rows to lock are found by id (`due_at +
    /// interval '0'` keeps the index of open rows out of it); those that another process has locked are left out.
    pub fn claiming(&self, free: usize, slots: &Slots) -> Statement {
        let table = self.table;
        let mut sql = Statement::new("WITH RECURSIVE ");
        pending_channels(&mut sql, table, self.open);
        sql.sql(", ");
        busy_channels(&mut sql, slots);
        sql.sql(
            ", due AS MATERIALIZED (SELECT * FROM (SELECT d.*, coalesce(b.taken, 0) + row_number() OVER (\
             PARTITION BY d.business_id, d.channel_id ORDER BY d.due_at) AS turn FROM pending p ",
        );
        if self.only_active {
            sql.sql(
                "JOIN channels c ON c.business_id = p.business_id AND c.id = p.channel_id AND c.state = 'active' AND c.deleted_at IS NULL ",
            );
        }
        sql.sql(
            "LEFT JOIN busy b ON b.business_id = p.business_id AND b.channel_id = p.channel_id CROSS JOIN LATERAL (\
             SELECT business_id, id, channel_id, due_at FROM ",
        );
        sql.sql(table).sql(" WHERE business_id = p.business_id AND channel_id = p.channel_id AND ").sql(self.open);
        // A literal: of a parameter the planner expects a tenth of all rows, and would join the whole table.
        sql.sql(" AND due_at <= clock_timestamp() ORDER BY due_at LIMIT ").number(slots.most_each as u32);
        sql.sql(") d) d WHERE turn <= ")
            .number(slots.most_each as u32)
            .sql(" ORDER BY turn, due_at LIMIT ")
            .bind(free as i64);
        sql.sql(
            "), locked AS MATERIALIZED (SELECT l.* FROM due d CROSS JOIN LATERAL (SELECT q.business_id, q.id FROM ",
        );
        sql.sql(table).sql(
            " q WHERE q.business_id = d.business_id AND q.id = d.id AND q.due_at + interval '0' <= clock_timestamp() \
             FOR NO KEY UPDATE SKIP LOCKED) l), taken AS (UPDATE ",
        );
        sql.sql(table).sql(" q SET claim = q.claim + 1, tries = q.tries + 1, due_at = clock_timestamp() + interval '");
        sql.number(self.lease_seconds);
        sql.sql(" seconds' FROM locked l WHERE q.business_id = l.business_id AND q.id = l.id RETURNING q.*) ");
        sql
    }
}

/// Appends `pending`, the channels that have open rows: one step in the index for each, whatever it has.
pub fn pending_channels(sql: &mut Statement, table: &'static str, open: &'static str) {
    sql.sql("pending AS ((SELECT business_id, channel_id FROM ").sql(table).sql(" WHERE ").sql(open);
    sql.sql(
        " ORDER BY business_id, channel_id LIMIT 1) UNION ALL SELECT n.business_id, n.channel_id FROM pending p CROSS JOIN LATERAL (\
         SELECT business_id, channel_id FROM ",
    );
    sql.sql(table).sql(" WHERE ").sql(open).sql(
        " AND (business_id, channel_id) > (p.business_id, p.channel_id) ORDER BY business_id, channel_id LIMIT 1) n)",
    );
}

/// Appends `busy`, the channels that this process works for, and how many slots each has.
pub fn busy_channels(sql: &mut Statement, slots: &Slots) {
    let busy = slots.taken();
    sql.sql("busy AS MATERIALIZED (SELECT * FROM unnest(");
    sql.bind(busy.iter().map(|((owner, _), _)| *owner).collect::<Vec<_>>()).sql(", ");
    sql.bind(busy.iter().map(|((_, channel), _)| *channel).collect::<Vec<_>>()).sql(", ");
    sql.bind(busy.iter().map(|(_, count)| *count as i64).collect::<Vec<_>>());
    sql.sql(") AS b (business_id, channel_id, taken))");
}
