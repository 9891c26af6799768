//! What writers do: rows of every kind that is counted, by every way of writing, in transactions of every kind.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::NaiveDate;
use diesel::QueryResult;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::History;
use crate::support::Database;

/// Zones with offsets of 15, 30 and 45 minutes, and with days of 23, 24.5 and 25 hours about [`today`].
pub const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/Havana",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
    "America/Vancouver",
    "Pacific/Chatham",
    "America/St_Johns",
];

/// About which the rows are: a night in which clocks are changed in many places.
pub fn today() -> NaiveDate {
    super::day("2026-11-01")
}

/// An instant within fifty days of [`today`], often within a quarter of an hour of midnight somewhere.
const INSTANT: &str = "(timestamptz '2026-11-01 00:00:00+00' + (random() * 100 - 50)::int * interval '1 day' + (random() * 96)::int * interval '15 minutes'
    + (random() * 3 - 1) * interval '1 second')";

/// Makes members, and what rows refer to.
pub fn fill(database: &Database, businesses: &[Uuid; 4], constant: i64) {
    for business in businesses {
        database.run(&format!(
            "WITH made AS (INSERT INTO users (id, email, name) SELECT gen_random_uuid(), gen_random_uuid() || '@example.com', 'Anna' FROM generate_series(1, 3) RETURNING id)
                 INSERT INTO memberships (business_id, user_id, role) SELECT '{business}', id, 'agent' FROM made;
             INSERT INTO campaigns (business_id, name, channel) SELECT '{business}', 'Spring ' || n, 'email' FROM generate_series(1, 3) n;
             INSERT INTO services (business_id, name, duration_minutes) SELECT '{business}', 'Cut ' || n, 30 FROM generate_series(1, 3) n;
             INSERT INTO staff (business_id, name) SELECT '{business}', 'Ben ' || n FROM generate_series(1, 3) n"
        ));
    }
    database.run(&booking(businesses[2], constant, "NULL"));
    database.run(&format!(
        "INSERT INTO conversations (business_id, id, channel, address) VALUES ('{}', '{BUSY}', 'web', 'busy')",
        businesses[0]
    ));
}

/// Has the triggers count wrongly.
pub fn break_triggers(database: &Database, mutant: Option<&str>) {
    match mutant {
        Some("before-forgotten") => database.run(
            "DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('rapport_count_bookings'::regproc), 'TG_OP = ''INSERT''', 'TG_OP <> ''DELETE'''); END $do$",
        ),
        Some("delta-after-commit") => {
            for function in ["count_bookings", "count_messages", "count_conversations", "count_leads", "mark_conversation"] {
                database.run(&format!(
                    "CREATE OR REPLACE FUNCTION rapport_{function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
                     SET search_path = public, pg_temp AS $$ BEGIN RETURN NULL; END $$"
                ));
            }
        }
        _ => {}
    }
}

/// A conversation in which much is written.
const BUSY: &str = "01939d5e-0000-7000-8000-00000000b005";

pub fn booking(business: Uuid, count: i64, staff: &str) -> String {
    format!(
        "INSERT INTO bookings (business_id, code, service_id, staff_id, customer_name, starts_at, ends_at, time_zone, day, status, price_minor, currency)
         SELECT '{business}', left(gen_random_uuid()::text, 13), {service}, {staff}, 'Ola', s.at, s.at + interval '30 minutes', 'UTC', '2026-11-01',
             (ARRAY['held', 'pending', 'confirmed', 'completed', 'cancelled', 'no_show'])[1 + (random() * 5)::int],
             CASE WHEN random() < 0.8 THEN (random() * 10000)::int END, (ARRAY['EUR', 'USD'])[1 + (random())::int]
         FROM (SELECT {INSTANT} AS at FROM generate_series(1, {count})) s",
        service = some(business, "services"),
    )
}

/// Has the days of a business be of another zone.
pub fn turned(business: Uuid) -> String {
    let zone = ZONES.choose(&mut rand::rng()).expect("zones");
    format!("UPDATE businesses SET time_zone = '{zone}' WHERE id = '{business}'; {}", shuffled(business))
}

/// Bookings change their status, and stay as many.
fn shuffled(business: Uuid) -> String {
    format!(
        "UPDATE bookings SET status = (ARRAY['confirmed', 'completed', 'cancelled'])[1 + (random() * 2)::int] WHERE {}",
        few(business, "bookings", 10)
    )
}

/// The same rows by COPY, over a file of the server.
fn copied(insert: &str, file: &Path) -> String {
    let (table, rows) = insert.strip_prefix("INSERT INTO ").and_then(|rest| rest.split_once("SELECT ")).expect("rows");
    let file = file.display();
    format!("COPY (SELECT {rows}) TO '{file}'; COPY {table} FROM '{file}'")
}

/// The id of a random row, or none.
fn some(business: Uuid, table: &str) -> String {
    let id = if table == "memberships" { "user_id" } else { "id" };
    format!("(SELECT {id} FROM {table} WHERE business_id = '{business}' AND random() < 0.8 ORDER BY random() LIMIT 1)")
}

/// A condition for a few random rows of a table.
pub fn few(business: Uuid, table: &str, count: impl Display) -> String {
    format!(
        "business_id = '{business}' AND id IN (SELECT id FROM {table} WHERE business_id = '{business}' ORDER BY random() LIMIT {count})"
    )
}

pub struct Writer<'h> {
    history: &'h History,
    random: StdRng,
    conn: PgConnection,
    /// The file by which it copies rows.
    copy: PathBuf,
}

impl<'h> Writer<'h> {
    pub fn new(history: &'h History, seed: usize) -> Self {
        let mut conn = history.database.connect();
        // A conflict of two writers is no subject here.
        conn.batch_execute("SET lock_timeout = '500ms'; SET deadlock_timeout = '50ms'").expect("settings");
        let copy = history.copies.join(seed.to_string());
        Self { history, random: StdRng::seed_from_u64(seed as u64), conn, copy }
    }

    pub fn run(mut self) {
        while self.history.goes_on() {
            let done = if self.random.random_bool(0.1) { self.in_two_phases() } else { self.in_one() };
            // Some fail: two bookings at the same time, a deadlock.
            if done.is_err() {
                let _ = self.conn.batch_execute("ROLLBACK; RESET session_replication_role");
            }
            self.history.writes.fetch_add(1, Ordering::Relaxed);
            if self.history.mutant.as_deref() == Some("delta-after-commit") {
                for business in &self.history.businesses {
                    let _ = self.conn.batch_execute(&format!("SELECT rapport_correct_statistics('{business}')"));
                }
            }
            std::thread::sleep(Duration::from_millis(self.random.random_range(0..30)));
        }
    }

    /// Writes to one conversation again and again, so that passes of the fold that overlap find it changed.
    pub fn run_in_one_conversation(mut self) {
        while self.history.goes_on() {
            let changes = self.busy_conversation();
            let _ = self.conn.batch_execute(&changes);
            std::thread::sleep(Duration::from_millis(self.random.random_range(0..15)));
        }
    }

    fn in_one(&mut self) -> QueryResult<()> {
        let changes = self.transaction();
        self.conn.batch_execute(&changes)
    }

    /// A transaction that belongs to no session for a while, and is ended by another one.
    fn in_two_phases(&mut self) -> QueryResult<()> {
        let name = Uuid::now_v7();
        let changes = format!("BEGIN; {}; {}; PREPARE TRANSACTION '{name}'", self.change(), self.change());
        self.conn.batch_execute(&changes)?;
        std::thread::sleep(Duration::from_millis(self.random.random_range(0..300)));
        let end = if self.random.random_bool(0.8) { "COMMIT" } else { "ROLLBACK" };
        self.history.database.run(&format!("{end} PREPARED '{name}'"));
        Ok(())
    }

    /// A transaction: one statement, several, with a savepoint, open for a while, rolled back.
    fn transaction(&mut self) -> String {
        let pause = self.random.random_range(0..300) as f64 / 1000.0;
        match self.random.random_range(0..12) {
            0 => format!("BEGIN; {}; {}; ROLLBACK", self.change(), self.change()),
            1 => format!(
                "BEGIN; {}; SAVEPOINT s; {}; ROLLBACK TO s; {}; COMMIT",
                self.change(),
                self.change(),
                self.change()
            ),
            // Others commit meanwhile, with greater places.
            2 => format!("BEGIN; {}; SELECT pg_sleep({pause}); {}; COMMIT", self.change(), self.change()),
            3 => format!("BEGIN; {}; {}; {}; COMMIT", self.change(), self.change(), self.change()),
            // Other triggers do not fire.
            4 => format!("SET session_replication_role = replica; {}; RESET session_replication_role", self.change()),
            _ => self.change(),
        }
    }

    fn change(&mut self) -> String {
        let change = self.any_change();
        let is_insert = change.starts_with("INSERT INTO") && !change.contains(';');
        if is_insert && self.random.random_bool(0.3) { copied(&change, &self.copy) } else { change }
    }

    fn any_change(&mut self) -> String {
        let business = self.history.businesses[self.random.random_range(0..2)];
        let count = self.random.random_range(1..15);
        match self.random.random_range(0..24) {
            0 | 1 => self.constant(),
            2 | 3 => self.messages(business, count),
            4 => format!("UPDATE messages SET status = CASE direction WHEN 'inbound' THEN 'read' ELSE (ARRAY['sent', 'delivered', 'read', 'failed'])[1 + (random() * 3)::int] END WHERE {}", few(business, "messages", count)),
            5 => format!("UPDATE messages SET sent_at = {INSTANT}, cost = random()::numeric(14, 6), body = 'moved' WHERE {}", few(business, "messages", count)),
            6 => format!("UPDATE messages SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END WHERE {}", few(business, "messages", count)),
            7 => format!("DELETE FROM messages WHERE {}", few(business, "messages", count)),
            8 => format!(
                "INSERT INTO conversations (business_id, channel, address, started_at, status, assignee_id)
                 SELECT '{business}', (ARRAY['whatsapp', 'sms', 'email', 'web'])[1 + (random() * 3)::int], gen_random_uuid()::text, {INSTANT}, 'active', {}
                 FROM generate_series(1, {count})", some(business, "memberships")),
            9 => format!("UPDATE conversations SET status = (ARRAY['active', 'pending', 'closed'])[1 + (random() * 2)::int], started_at = {INSTANT}, assignee_id = {} WHERE {}", some(business, "memberships"), few(business, "conversations", count)),
            10 => format!("DELETE FROM conversations WHERE {}", few(business, "conversations", 2) + &format!(" AND id <> '{BUSY}'")),
            11 | 12 => booking(business, i64::from(count), &some(business, "staff")),
            13 => format!("UPDATE bookings SET status = (ARRAY['confirmed', 'completed', 'cancelled', 'no_show'])[1 + (random() * 3)::int] WHERE {}", few(business, "bookings", count)),
            14 => format!("UPDATE bookings SET starts_at = s.at, ends_at = s.at + interval '1 hour', price_minor = (random() * 9999)::int, deleted_at = CASE WHEN random() < 0.3 THEN now() END
                 FROM (SELECT {INSTANT} AS at) s WHERE {}", few(business, "bookings", 2)),
            15 => format!("DELETE FROM bookings WHERE {}", few(business, "bookings", count)),
            16 | 17 => format!(
                "INSERT INTO leads (business_id, title, status, source, campaign_id, assignee_id, entered_at, value_minor, currency)
                 SELECT '{business}', 'Roof', (ARRAY['new', 'contacted', 'qualified'])[1 + (random() * 2)::int], (ARRAY['web', 'trade/fair', NULL])[1 + (random() * 2)::int],
                     {}, {}, {INSTANT}, (random() * 100000)::int, 'EUR' FROM generate_series(1, {count})",
                some(business, "campaigns"), some(business, "memberships")),
            18 => format!("UPDATE leads SET status = (ARRAY['won', 'lost', 'proposal'])[1 + (random() * 2)::int], closed_at = {INSTANT}, first_touch_at = {INSTANT}, score = (random() * 100)::int WHERE {}", few(business, "leads", count)),
            19 => format!("UPDATE leads SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END, title = 'Wall' WHERE {}", few(business, "leads", count)),
            // Rows that refer to them are set to none.
            20 => format!("DELETE FROM campaigns WHERE {}; INSERT INTO campaigns (business_id, name, channel) VALUES ('{business}', 'Autumn', 'sms')", few(business, "campaigns", 1)),
            21 => format!("UPDATE businesses SET time_zone = '{}' WHERE id = '{business}'", ZONES.choose(&mut self.random).expect("zones")),
            22 => self.brief_business(),
            _ if self.random.random_bool(0.1) => "TRUNCATE messages".to_owned(),
            _ => format!("UPDATE leads SET title = title || '!' WHERE {}", few(business, "leads", count)),
        }
    }

    /// A question and an answer, in place of older ones.
    fn busy_conversation(&mut self) -> String {
        let business = self.history.businesses[0];
        let message = |direction: &str, author: &str, status: &str| {
            format!(
                "INSERT INTO messages (business_id, conversation_id, direction, author, status, sent_at)
                 SELECT '{business}', '{BUSY}', '{direction}', '{author}', '{status}', {INSTANT} WHERE EXISTS (SELECT FROM conversations WHERE id = '{BUSY}')"
            )
        };
        format!(
            "{}; {}; DELETE FROM messages WHERE business_id = '{business}' AND id IN (SELECT id FROM messages WHERE conversation_id = '{BUSY}' ORDER BY id DESC OFFSET 20)",
            message("inbound", "contact", "received"),
            message("outbound", "user", "sent")
        )
    }

    fn constant(&mut self) -> String {
        let business = self.history.businesses[2];
        if self.random.random_bool(0.2) { turned(business) } else { shuffled(business) }
    }

    fn messages(&mut self, business: Uuid, count: u32) -> String {
        format!(
            "INSERT INTO messages (business_id, conversation_id, direction, author, author_id, status, sent_at, body, cost, cost_currency, model, input_tokens, output_tokens, ai_cost)
             SELECT '{business}', c.id, CASE a.author WHEN 'contact' THEN 'inbound' ELSE 'outbound' END, a.author, CASE a.author WHEN 'user' THEN {member} END,
                 CASE a.author WHEN 'contact' THEN 'received' ELSE 'sent' END, {INSTANT}, 'hello', CASE WHEN random() < 0.5 THEN random()::numeric(14, 6) END, 'EUR',
                 CASE a.author WHEN 'ai' THEN 'gpt-5-mini' END, (random() * 900)::int, (random() * 90)::int, CASE WHEN random() < 0.5 THEN random()::numeric(14, 6) END
             FROM (SELECT (ARRAY['contact', 'user', 'ai', 'system'])[1 + (random() * 3)::int] AS author FROM generate_series(1, {count})) a
             CROSS JOIN (SELECT id FROM conversations WHERE business_id = '{business}' ORDER BY random() LIMIT 2) c",
            member = some(business, "memberships"),
        )
    }

    /// A business that is made and deleted again, with its rows.
    fn brief_business(&mut self) -> String {
        let id = Uuid::now_v7();
        format!(
            "INSERT INTO businesses (id, name, slug, time_zone, currency, country) VALUES ('{id}', 'Brief', '{id}', 'Asia/Tokyo', 'JPY', 'JP');
             INSERT INTO conversations (business_id, channel, address) VALUES ('{id}', 'web', 'x');
             {}; DELETE FROM businesses WHERE id = '{id}'", self.messages(id, 3)
        )
    }
}
