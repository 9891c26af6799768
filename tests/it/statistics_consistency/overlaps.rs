//! Overlaps by plan: what meets by chance once in a minute is made to meet again and again, namely passes of the fold with each other,
//! with corrections, with businesses that change their zone, and with the statements of readers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use parking_lot::Mutex;
use rand::Rng;
use rand::seq::IndexedRandom;

use super::{History, writers};
use crate::support::Program;

/// The most bookings that the fourth business has.
const HIGHEST: i64 = 60;

/// How many bookings the fourth business has had: each read sees one of those numbers, of the time in which it ran.
pub struct Tide {
    /// The number before the first change, and after each that has begun.
    levels: Mutex<Vec<i64>>,
    /// How many changes have ended.
    ended: AtomicUsize,
}

impl Default for Tide {
    fn default() -> Self {
        Self { levels: Mutex::new(vec![0]), ended: AtomicUsize::new(0) }
    }
}

impl Tide {
    /// Returns what `read` finds, and what it may find.
    pub fn around(&self, read: impl FnOnce() -> i64) -> (i64, Vec<i64>) {
        let ended = self.ended.load(Ordering::SeqCst);
        let found = read();
        (found, self.levels.lock()[ended..].to_vec())
    }

    /// `change` is given the number of bookings and what it shall be, and returns whether it is.
    fn turn(&self, change: impl FnOnce(i64, i64) -> bool) {
        let level = *self.levels.lock().last().expect("the first");
        let next = (level + rand::rng().random_range(1..HIGHEST)) % HIGHEST;
        self.levels.lock().push(next);
        if change(level, next) {
            self.ended.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The longest time for which passes are waited for: longer than the pause between two of them.
const LONGEST_WAIT: Duration = Duration::from_millis(450);

impl History {
    /// Folds in processes that are killed at any moment and replaced. `settings` are theirs, and they live for so many milliseconds.
    pub fn fold(&self, settings: &[(&str, &str)], lives: std::ops::Range<u64>) {
        let settings = [self.of_workers(), settings.to_vec()].concat();
        while self.goes_on() {
            let worker = Program::work(&settings);
            self.pause(lives.clone());
            drop(worker);
            self.kills.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has passes of several processes begin at the same moment, and all of them find days of another zone. Reads of turns, and corrections,
    /// begin at that moment, too.
    pub fn gather(&self) {
        let mut gate = self.database.connect();
        while self.goes_on() {
            // A pass locks this table first.
            let closed = gate.batch_execute("BEGIN; LOCK TABLE conversation_closings IN ACCESS EXCLUSIVE MODE");
            if closed.is_ok() && self.awaits(2, "LOCK TABLE messages, conversation_closings") {
                self.turn_zone(2);
                self.gathered.fetch_add(1, Ordering::Relaxed);
            }
            gate.batch_execute("ROLLBACK").expect("the end of it");
            self.pause(200..900);
        }
    }

    /// Has a pass wait in its midst, at a turn that it has read again, or at a change that it takes: after it has looked at the zone of a business. Meanwhile others begin, and both the messages and the zone change.
    pub fn hold(&self) {
        let mut holder = self.database.connect();
        while self.goes_on() {
            let place = rand::rng().random_range(0..4);
            let business = self.businesses[place];
            // The statement of the pass, and what it waits for.
            let (held, statement) = match place {
                0 => ("stat_turns", "rapport_fold_turns"),
                _ => ("stat_deltas", "DELETE FROM stat_deltas"),
            };
            let hold = format!("BEGIN; SELECT FROM {held} WHERE business_id = '{business}' FOR UPDATE SKIP LOCKED");
            holder.batch_execute(&hold).expect("rows");
            if self.awaits(1, statement) {
                self.turn_zone(place);
                self.pause(5..60);
                self.held.fetch_add(1, Ordering::Relaxed);
            }
            holder.batch_execute("ROLLBACK").expect("the end of it");
            self.pause(5..100);
        }
    }

    /// Has the days of a business be of another zone.
    fn turn_zone(&self, place: usize) {
        let turn = writers::turned(self.businesses[place]);
        // Not if a writer is at it.
        let _ = self.database.connect().batch_execute(&format!("SET lock_timeout = '50ms'; {turn}"));
    }

    /// Waits until so many sessions wait for a lock at a statement. Returns whether they do.
    fn awaits(&self, sessions: i64, statement: &str) -> bool {
        let waiting = format!(
            "SELECT (count(*) >= {sessions})::text FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock' AND strpos(query, '{statement}') > 0"
        );
        let began = Instant::now();
        while self.goes_on() && began.elapsed() < LONGEST_WAIT {
            if self.database.ask(&waiting) == "true" {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Corrects one business after the other, beside the fold. Nothing is ever to be corrected.
    pub fn correct(&self) {
        let mut conn = self.database.connect();
        while self.goes_on() {
            let business = *self.businesses.choose(&mut rand::rng()).expect("a business");
            let correct = format!("SELECT rapport_correct_statistics('{business}')");
            // A deadlock with TRUNCATE is possible.
            if let Ok(Some(wrong @ 1..)) = crate::support::statement(correct).scalar::<i64>(&mut conn) {
                self.violated(format!("{wrong} sums of {business} were corrected"));
            }
            self.corrected.fetch_add(1, Ordering::Relaxed);
            self.pause(10..150);
        }
    }

    /// Makes some bookings of the fourth business, or deletes some. What a pass moves from the deltas to the sums is not 0 in total, so a
    /// read that sees it twice or not at all finds another number than any that there has been meanwhile.
    pub fn turn_the_tide(&self) {
        let business = self.businesses[3];
        let (mut conn, mut random) = (self.database.connect(), rand::rng());
        while self.goes_on() {
            self.tide.turn(|level, next| {
                let change = match next - level {
                    more @ 1.. => writers::booking(business, more, "NULL"),
                    less => format!("DELETE FROM bookings WHERE {}", writers::few(business, "bookings", -less)),
                };
                let zone = if random.random_bool(0.2) { writers::turned(business) } else { "SELECT".to_owned() };
                let turned = format!("{change}; {zone}");
                // A worker ends bookings that are held for too long, so a deadlock is possible.
                while self.goes_on() {
                    if conn.batch_execute(&turned).is_ok() {
                        return true;
                    }
                }
                false
            });
            self.pause(5..80);
        }
    }

    /// Sleeps for a random time of so many milliseconds, or until the end.
    pub fn pause(&self, milliseconds: std::ops::Range<u64>) {
        let until = Instant::now() + Duration::from_millis(rand::rng().random_range(milliseconds));
        while self.goes_on() && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_millis(20)));
        }
    }
}
