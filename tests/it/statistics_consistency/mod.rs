//! Tests that statistics are equal to a recount of the rows at every moment, in every time zone: while rows are written, moved,
//! deleted and truncated in transactions of all kinds, businesses change their zone, and the processes that fold are killed; and
//! while passes of the fold, corrections and reads meet each other by plan.
//!
//! Readers take a snapshot and compare what the service's statement says with what the rows say, for every metric, in random zones,
//! periods and intervals. `RAPPORT_STATISTICS_SECONDS` sets the duration (8); with `RAPPORT_STATISTICS_COMPARISONS` histories follow each other
//! until there are as many comparisons. `make prove-statistics` runs it for minutes, and against deliberate bugs, each of which must be found.

mod overlaps;
mod writers;

use std::path::PathBuf;
use std::sync::LazyLock;
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
use rapport::db::{ScalarType, Statement, migrate};
use uuid::Uuid;

use self::overlaps::Tide;
use self::writers::Writer;
use crate::support::{Database, OwnServer, Program, make_business, scratch, until};

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
    /// Rows of all kinds are written in the first two; of the third, bookings change their status only; of the fourth, they are
    /// made and deleted.
    businesses: [Uuid; 4],
    zones: Vec<String>,
    mutant: Option<String>,
    until: Instant,
    over: AtomicBool,
    violations: Mutex<Vec<String>>,
    comparisons: AtomicU64,
    sums: AtomicU64,
    writes: AtomicU64,
    kills: AtomicU64,
    tide: Tide,
    /// How often passes were made to begin at once, or held in their midst, and how many corrections there were beside them.
    gathered: AtomicU64,
    held: AtomicU64,
    corrected: AtomicU64,
    /// Where the server keeps what writers copy.
    copies: PathBuf,
}

/// The number of bookings of the third business.
const CONSTANT: i64 = 40;

impl History {
    fn begin() -> Self {
        let database = create_database();
        let businesses = ["first", "second", "constant", "tide"].map(|slug| make_business(&database, slug));
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
            tide: Tide::default(),
            gathered: AtomicU64::new(0),
            held: AtomicU64::new(0),
            corrected: AtomicU64::new(0),
            copies: scratch("statistics-copies"),
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

    /// The settings of processes that fold.
    fn of_workers(&self) -> Vec<(&str, &str)> {
        let mut settings = vec![("DATABASE_URL", self.database.url.as_str()), ("RAPPORT_LOG", "off")];
        settings.extend(self.mutant.as_deref().map(|mutant| ("RAPPORT_MUTANT", mutant)));
        settings
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
            self.total_is_possible(&mut conn);
            std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..5)));
        }
    }

    /// Compares all metrics of a business, in a snapshot.
    fn compare(&self, conn: &mut PgConnection) {
        let mut random = rand::rng();
        let business = *self.businesses.choose(&mut random).expect("a business");
        let own = format!("SELECT time_zone FROM businesses WHERE id = '{business}'");
        let own = scalar::<String>(conn, crate::support::statement(own));
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

    /// A statement alone sees each change once: a total that no change changes is the same at every moment, and one that
    /// changes is one of those that there have been while the statement ran, in the zones of days and of quarters.
    fn total_is_possible(&self, conn: &mut PgConnection) {
        let mut random = rand::rng();
        let zone = *writers::ZONES.choose(&mut random).expect("zones");
        let period = Period::new(writers::today() - Days::new(200), writers::today() + Days::new(200), zone);
        let buckets = period.buckets(None);
        let mut total = |business| -> i64 {
            let question = Question { business, metrics: &["bookings"], period: &period, buckets: &buckets };
            sums(conn, &question).expect("sums").iter().map(|sum| sum.n).sum()
        };
        let [.., constant, tide] = self.businesses;
        let (total, possible) = match random.random_bool(0.3) {
            true => (total(constant), vec![CONSTANT]),
            false => self.tide.around(|| total(tide)),
        };
        self.comparisons.fetch_add(1, Ordering::Relaxed);
        if !possible.contains(&total) {
            self.violated(format!("{total} bookings instead of {possible:?}, in {zone}"));
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
            (0..READERS).for_each(|_| drop(scope.spawn(|| self.read_alone())));
            scope.spawn(|| self.turn_the_tide());
            scope.spawn(|| self.correct());
            scope.spawn(|| self.gather());
            scope.spawn(|| self.hold());
            scope.spawn(|| self.fold(&[], 300..3_000));
            // A process needs a second until it folds, so these live longer. They wait for a lock as long as it takes, and go on with what
            // they have seen before, where the others give up and begin anew.
            (0..2).for_each(|_| drop(scope.spawn(|| self.fold(&[("RAPPORT_LOCK_WAIT_MS", "0")], 4_000..20_000))));
        });
        if self.violations.lock().is_empty() {
            self.folds_to_the_end();
        }
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        println!(
            "passes gathered {} times and held {} times, {} corrections",
            count(&self.gathered),
            count(&self.held),
            count(&self.corrected)
        );
        // Of a short history, or one that has ended early, none may have been planned yet.
        let is_long = self.violations.lock().is_empty() && number("RAPPORT_STATISTICS_SECONDS", 8) >= 20;
        let overlaps = count(&self.gathered).min(count(&self.held)).min(count(&self.corrected));
        assert!(overlaps > 0 || !is_long, "no pass has overlapped by plan");
        println!(
            "{} comparisons with {} sums, {} writes, {} processes killed: {} differences",
            count(&self.comparisons),
            count(&self.sums),
            count(&self.writes),
            count(&self.kills),
            self.violations.lock().len()
        );
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.database.name());
        SERVER.database("postgres").run(&drop);
        (count(&self.comparisons), self.violations.into_inner())
    }

    /// Once nobody writes, everything is folded, into the right days.
    fn folds_to_the_end(&self) {
        let worker = Program::work(&self.of_workers());
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
        let zeros = "SELECT ((SELECT count(*) FROM stat_quarters WHERE n = 0 AND amount = 0) + (SELECT count(*) FROM stat_days WHERE n = 0 AND amount = 0))::text";
        match self.database.ask(zeros).as_str() {
            "0" => {}
            zeros => self.violated(format!("{zeros} sums are nothing, and still there")),
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

/// The only cell of the only row.
fn scalar<T: ScalarType>(conn: &mut PgConnection, sql: Statement) -> T {
    sql.scalar::<T>(conn).expect("a cell").expect("a row")
}

/// The server of all histories of this process: one that has prepared transactions.
static SERVER: LazyLock<OwnServer> = LazyLock::new(|| {
    OwnServer::start("statistics").database("postgres").run("ALTER SYSTEM SET max_prepared_transactions = 16");
    OwnServer::start("statistics")
});

fn create_database() -> Database {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!("history_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let database = SERVER.create(&name, "TEMPLATE template0 ENCODING 'UTF8'");
    migrate::run(&database.url).expect("migrations");
    database
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

/// Runs the history in a process of its own for each deliberate bug, which must be found within half a minute: it takes
/// some seconds.
#[cfg(feature = "mutants")]
#[test]
fn each_mutant_of_the_statistics_is_detected() {
    for (name, _) in rapport::base::mutants::STATISTICS_MUTANTS {
        let test = std::env::current_exe().expect("the tests");
        let output = std::process::Command::new(test)
            .args(["statistics_consistency::sums_equal_the_recount_at_every_moment", "--exact", "--nocapture"])
            .env("RAPPORT_MUTANT", name)
            .env("RAPPORT_STATISTICS_SECONDS", "30")
            .output()
            .expect("the tests");
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().find(|line| line.contains("comparisons with")).unwrap_or("nothing was compared");
        println!("{name}: {last}");
        assert!(!output.status.success(), "{name} is not found: {said}");
        assert!(said.contains("differences") && !said.contains(": 0 differences"), "{name} failed otherwise: {said}");
    }
}
