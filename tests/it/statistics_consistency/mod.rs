//! Tests that statistics are equal to a recount of the rows at every moment, in every time zone: while rows are written, moved,
//! deleted and truncated in transactions of all kinds, businesses change their zone, and the processes that fold are killed.
//!
//! Readers take a snapshot and compare what the service's statement says with what the rows say, for every metric, in random zones,
//! periods and intervals. `RAPPORT_STATISTICS_SECONDS` sets the duration (8); with `RAPPORT_STATISTICS_COMPARISONS` histories follow each other
//! until there are as many comparisons. `make prove-statistics` runs it for minutes, and against deliberate bugs, each of which must be found.

mod writers;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{Days, NaiveDate};
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use parking_lot::Mutex;
use rand::Rng;
use rand::seq::IndexedRandom;
use rapport::analytics::{Interval, Period, Question, Sum, recount, sums};
use rapport::base::zones;
use uuid::Uuid;

use self::writers::Writer;
use crate::support::{Database, Program, make_business, until};

const WRITERS: usize = 4;
const READERS: usize = 2;

/// All metrics.
const METRICS: [&str; 22] = [
    "bookings",
    "bookings.service",
    "bookings.staff",
    "messages",
    "messages.member",
    "messages.cost",
    "ai.input",
    "ai.output",
    "ai.cost",
    "conversations",
    "conversations.assignee",
    "leads",
    "leads.source",
    "leads.campaign",
    "leads.assignee",
    "leads.first_touch",
    "closed",
    "closed.source",
    "closed.campaign",
    "closed.assignee",
    "responses",
    "responses.member",
];

/// The businesses and the state of a run.
pub struct History {
    database: Database,
    /// Rows of all kinds are written in the first two; of the third, bookings change their status only.
    businesses: [Uuid; 3],
    zones: Vec<String>,
    mutant: Option<String>,
    until: Instant,
    over: AtomicBool,
    violations: Mutex<Vec<String>>,
    comparisons: AtomicU64,
    sums: AtomicU64,
    writes: AtomicU64,
    kills: AtomicU64,
}

/// The number of bookings of the third business.
const CONSTANT: i64 = 40;

impl History {
    fn begin() -> Self {
        let database = Database::create();
        let businesses = ["first", "second", "constant"].map(|slug| make_business(&database, slug));
        let history = Self {
            businesses,
            zones: zones::names().collect(),
            mutant: std::env::var("RAPPORT_MUTANT").ok(),
            until: Instant::now() + Duration::from_secs(number("RAPPORT_STATISTICS_SECONDS", 8)),
            over: AtomicBool::new(false),
            violations: Mutex::default(),
            comparisons: AtomicU64::new(0),
            sums: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            kills: AtomicU64::new(0),
            database,
        };
        writers::fill(&history.database, &businesses, CONSTANT);
        writers::break_triggers(&history.database, history.mutant.as_deref());
        history
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.until && !self.over.load(Ordering::Relaxed)
    }

    fn violated(&self, text: String) {
        self.violations.lock().push(text);
        // One is enough.
        self.over.store(true, Ordering::Relaxed);
    }

    /// Folds in a process of its own, which is killed at any moment and replaced.
    fn fold(&self) {
        let mut settings = vec![("DATABASE_URL", self.database.url.as_str()), ("RAPPORT_LOG", "off")];
        settings.extend(self.mutant.as_deref().map(|mutant| ("RAPPORT_MUTANT", mutant)));
        while self.goes_on() {
            let worker = Program::work(&settings);
            let life = Duration::from_millis(rand::rng().random_range(300..3_000));
            let began = Instant::now();
            while self.goes_on() && began.elapsed() < life {
                std::thread::sleep(Duration::from_millis(20));
            }
            drop(worker);
            self.kills.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self) {
        let mut conn = self.database.connect();
        // As the service's sessions.
        conn.batch_execute("SET plan_cache_mode = force_generic_plan; SET jit = off").expect("settings");
        while self.goes_on() {
            let pause = Duration::from_millis(rand::rng().random_range(0..50));
            std::thread::sleep(pause);
            // TRUNCATE is not of a snapshot: it waits for the end of this one.
            conn.batch_execute(
                "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; LOCK TABLE messages IN ACCESS SHARE MODE",
            )
            .expect("a snapshot");
            for _ in 0..4 {
                self.compare(&mut conn);
            }
            conn.batch_execute("COMMIT").expect("the end of the snapshot");
        }
    }

    fn read_alone(&self) {
        let mut conn = self.database.connect();
        conn.batch_execute("SET plan_cache_mode = force_generic_plan; SET jit = off").expect("settings");
        while self.goes_on() {
            self.total_is_constant(&mut conn);
            std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..5)));
        }
    }

    /// Compares all metrics of a business, in a snapshot.
    fn compare(&self, conn: &mut PgConnection) {
        let mut random = rand::rng();
        let business = *self.businesses[..2].choose(&mut random).expect("a business");
        let own = conn_cell(conn, &format!("SELECT time_zone FROM businesses WHERE id = '{business}'"));
        let zone = if random.random_bool(0.5) { own } else { self.zones.choose(&mut random).expect("zones").clone() };
        let first = writers::today() - Days::new(random.random_range(0..60));
        let period = Period::new(first, first + Days::new(random.random_range(0..90)), zone);
        let interval = [None, Some(Interval::Day), Some(Interval::Week), Some(Interval::Month)];
        let buckets = period.buckets(*interval.choose(&mut random).expect("an interval"));
        let question = Question { business, metrics: &METRICS, period: &period, buckets: &buckets };
        let counted = recount(conn, &question).expect("a recount");
        let summed = sums(conn, &question).expect("sums");
        self.comparisons.fetch_add(METRICS.len() as u64, Ordering::Relaxed);
        self.sums.fetch_add(counted.len() as u64, Ordering::Relaxed);
        let sorted = |mut sums: Vec<Sum>| {
            sums.sort();
            sums
        };
        let (counted, summed) = (sorted(counted), sorted(summed));
        if counted != summed {
            let extra = summed.iter().filter(|sum| !counted.contains(sum)).take(3).collect::<Vec<_>>();
            let missing = counted.iter().filter(|sum| !summed.contains(sum)).take(3).collect::<Vec<_>>();
            let Period { from, to, zone_name, .. } = &period;
            self.violated(format!("{from} to {to} in {zone_name}: {extra:?} instead of {missing:?}"));
        }
    }

    /// A statement alone sees each change once: a total that no change changes is the same at every moment.
    fn total_is_constant(&self, conn: &mut PgConnection) {
        let period = Period::new(writers::today() - Days::new(200), writers::today() + Days::new(200), "UTC");
        let buckets = period.buckets(None);
        let question =
            Question { business: self.businesses[2], metrics: &["bookings"], period: &period, buckets: &buckets };
        let total: i64 = sums(conn, &question).expect("sums").iter().map(|sum| sum.n).sum();
        self.comparisons.fetch_add(1, Ordering::Relaxed);
        if total != CONSTANT {
            self.violated(format!("{total} bookings of {CONSTANT}"));
        }
    }

    /// Runs it. Returns how much was compared, and the violations.
    fn run(self) -> (u64, Vec<String>) {
        std::thread::scope(|scope| {
            for seed in 0..WRITERS {
                let history = &self;
                scope.spawn(move || Writer::new(history, seed).run());
            }
            let history = &self;
            scope.spawn(move || Writer::new(history, WRITERS).run_in_one_conversation());
            (0..READERS).for_each(|_| drop(scope.spawn(|| self.read())));
            scope.spawn(|| self.read_alone());
            (0..2).for_each(|_| drop(scope.spawn(|| self.fold())));
        });
        if self.violations.lock().is_empty() {
            self.folds_to_the_end();
        }
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        println!(
            "{} comparisons with {} sums, {} writes, {} processes killed: {} differences",
            count(&self.comparisons),
            count(&self.sums),
            count(&self.writes),
            count(&self.kills),
            self.violations.lock().len()
        );
        (count(&self.comparisons), self.violations.into_inner())
    }

    /// Once nobody writes, everything is folded, into the right days.
    fn folds_to_the_end(&self) {
        let mut settings = vec![("DATABASE_URL", self.database.url.as_str())];
        settings.extend(self.mutant.as_deref().map(|mutant| ("RAPPORT_MUTANT", mutant)));
        let worker = Program::work(&settings);
        until("everything is folded", || {
            let missing = "SELECT (SELECT count(*) FROM stat_deltas) + (SELECT count(*) FROM businesses b
                WHERE NOT EXISTS (SELECT FROM stat_zones z WHERE z.business_id = b.id AND z.zone = b.time_zone))";
            self.database.ask(&format!("SELECT ({missing})::text")) == "0"
        });
        drop(worker);
        let mut conn = self.database.connect();
        self.compare(&mut conn);
        // Without triggers, the rows of a business outlive it.
        let wrong = "SELECT count(*)::text FROM stat_differences d WHERE EXISTS (SELECT FROM businesses b WHERE b.id = d.business_id)";
        match self.database.ask(wrong).as_str() {
            "0" => {}
            wrong => {
                let some = "SELECT string_agg(concat_ws(' ', business_id, metric, dim, at, n, amount), '; ') FROM (SELECT * FROM stat_differences LIMIT 5) d";
                let known = self.businesses;
                self.violated(format!("{wrong} sums differ in the end: {} of {known:?}", self.database.ask(some)));
            }
        }
        let orphans = "SELECT count(*)::text FROM stat_quarters q WHERE NOT EXISTS (SELECT FROM businesses b WHERE b.id = q.business_id)";
        match self.database.ask(orphans).as_str() {
            "0" => {}
            orphans => self.violated(format!("{orphans} sums of businesses that are gone")),
        }
    }
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

fn conn_cell(conn: &mut PgConnection, sql: &str) -> String {
    crate::support::statement(sql).scalar::<String>(conn).expect("a cell").expect("a row")
}

/// A day within the rows of the writers.
pub fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

#[test]
fn sums_equal_the_recount_at_every_moment() {
    let (least, mut done) = (number("RAPPORT_STATISTICS_COMPARISONS", 0), 0);
    loop {
        let (comparisons, violations) = History::begin().run();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
        done += comparisons;
        if done >= least {
            break;
        }
        println!("{done} comparisons so far");
    }
}

/// Runs the history in a process of its own for each deliberate bug, which must be found within a minute.
#[cfg(feature = "mutants")]
#[test]
fn each_mutant_of_the_statistics_is_detected() {
    for (name, _) in rapport::base::mutants::STATISTICS_MUTANTS {
        let test = std::env::current_exe().expect("the tests");
        let output = std::process::Command::new(test)
            .args(["statistics_consistency::sums_equal_the_recount_at_every_moment", "--exact", "--nocapture"])
            .env("RAPPORT_MUTANT", name)
            .env("RAPPORT_STATISTICS_SECONDS", "60")
            .output()
            .expect("the tests");
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().find(|line| line.contains("comparisons with")).unwrap_or("nothing was compared");
        println!("{name}: {last}");
        assert!(!output.status.success(), "{name} is not found: {said}");
        assert!(said.contains("differences") && !said.contains(": 0 differences"), "{name} failed otherwise: {said}");
    }
}
