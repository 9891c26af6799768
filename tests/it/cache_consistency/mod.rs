//! Tests the cache's consistency under fault injection: a read that began after a write was acknowledged never shows
//! older data, on any replica, whatever happens to Redis, to the processes, and to PostgreSQL and the connections to it.
//!
//! Writers, readers and faults run at random for a while: in one history PostgreSQL crashes, in another its standby takes
//! over. Rows carry their version, so every response is checked on arrival:
//! - no row is older than its newest write that was acknowledged before the read began, nor than what any read that
//!   ended before showed;
//! - no row is newer than any attempted write;
//! - a row that was created and acknowledged before a list was requested is in it, and counted;
//! - a response that is confirmed (304) is judged as if it had been sent again;
//! - a key that was deleted, acknowledged, is refused.
//!
//! `RAPPORT_HISTORY_SECONDS` sets the duration (8), `RAPPORT_HISTORY_READS` how many reads there are at least (0). `make prove-cache` runs
//! it for minutes, and against deliberate bugs in the protocol, each of which must be caught.

mod by_hand;
mod faults;
mod primary;
mod world;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use self::primary::Primary;
use self::world::World;
use crate::support::{Answer, postgres_program};

/// Few, so that readers and writers meet on the same rows.
const ROWS: usize = 6;
const READERS: usize = 6;
const WRITERS: usize = 3;

/// The known versions of one row.
#[derive(Default)]
struct Known {
    /// The newest version that was acknowledged or shown.
    least: AtomicI64,
    /// The newest version that can exist: every attempt counts, also those with an unknown result.
    most: AtomicI64,
}

struct History {
    world: World,
    rows: RwLock<HashMap<String, std::sync::Arc<Known>>>,
    leads: Vec<String>,
    /// Leads move from one to the other.
    companies: Vec<String>,
    /// The number of rows created and acknowledged.
    made: AtomicU64,
    /// The ETag and the content of the last response to some requests.
    seen: Mutex<HashMap<String, (String, Value)>>,
    until: Instant,
    least_reads: u64,
    over: AtomicBool,
    violations: Mutex<Vec<String>>,
    reads: AtomicU64,
    hits: AtomicU64,
    confirmed: AtomicU64,
    revoked: AtomicU64,
    writes: AtomicU64,
    refused: AtomicU64,
    faults: AtomicU64,
    failovers: AtomicU64,
}

impl History {
    fn begin(mutant: Option<&'static str>, primary: Primary, seconds: u64, least_reads: u64) -> Self {
        let world = World::begin(mutant, primary);
        let api = &world.replicas[0].client;
        let companies: Vec<String> =
            ["Brekke", "Klein"].map(|name| api.make("companies", json!({ "name": name }))).into();
        let lead = |_| api.make("leads", json!({ "title": "Roof", "company_id": companies[0] }));
        let leads: Vec<String> = (0..ROWS).map(lead).collect();
        let known = |id: &String| (id.clone(), std::sync::Arc::new(Known { least: 1.into(), most: 1.into() }));
        let rows = leads.iter().chain(&companies).map(known).collect();
        by_hand::break_database(&world, mutant);
        Self {
            world,
            rows: RwLock::new(rows),
            made: (leads.len() as u64).into(),
            leads,
            companies,
            seen: Mutex::default(),
            until: Instant::now() + Duration::from_secs(seconds),
            least_reads,
            over: AtomicBool::new(false),
            violations: Mutex::default(),
            reads: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            revoked: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            failovers: AtomicU64::new(0),
        }
    }

    fn goes_on(&self) -> bool {
        let is_long_enough = Instant::now() >= self.until && self.reads.load(Ordering::Relaxed) >= self.least_reads;
        !is_long_enough && !self.over.load(Ordering::Relaxed)
    }

    fn violated(&self, text: String) {
        self.violations.lock().push(text);
        // One violation is enough.
        self.over.store(true, Ordering::Relaxed);
    }

    fn known(&self, id: &str) -> Option<std::sync::Arc<Known>> {
        self.rows.read().get(id).cloned()
    }

    /// The minimum version of every row for a read that begins now.
    fn floors(&self) -> HashMap<String, i64> {
        self.rows.read().iter().map(|(id, known)| (id.clone(), known.least.load(Ordering::SeqCst))).collect()
    }

    fn any_replica(&self) -> &world::Replica {
        self.world.replicas.choose(&mut rand::rng()).expect("replicas")
    }

    /// Checks the rows of a response, and the rows included with them.
    fn judge<'a>(&self, what: &str, floors: &HashMap<String, i64>, rows: impl Iterator<Item = &'a Value>) {
        for row in rows {
            let included = row["leads"].as_array().into_iter().flatten();
            for row in [row, &row["company"]].into_iter().chain(included).filter(|row| row.is_object()) {
                let (Some(id), Some(version)) = (row["id"].as_str(), row["version"].as_i64()) else {
                    return self.violated(format!("{what}: not a row: {row}"));
                };
                let Some(known) = self.known(id) else { continue };
                let (floor, most) = (floors.get(id).copied().unwrap_or_default(), known.most.load(Ordering::SeqCst));
                if version < floor {
                    self.violated(format!("{what}: {id} was at {floor} before, and is shown at {version}"));
                }
                if version > most {
                    self.violated(format!("{what}: {id} is shown at {version}, and {most} was the most attempted"));
                }
                known.least.fetch_max(version, Ordering::SeqCst);
            }
        }
    }

    /// `None` for a lost connection or a 503, which are acceptable; any other 5xx is a violation.
    fn taken(&self, what: &str, answer: Option<Answer>) -> Option<Answer> {
        let answer = match answer {
            None => return None,
            Some(answer) if answer.status == 503 => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Some(answer) => answer,
        };
        if answer.status >= 500 {
            self.violated(format!("{what}: {} {}", answer.status, answer.text));
            return None;
        }
        Some(answer)
    }

    fn read_something(&self) {
        let replica = self.any_replica();
        let (lead, kind) = (self.leads.choose(&mut rand::rng()).expect("leads"), rand::rng().random_range(0..10));
        let company = self.companies.choose(&mut rand::rng()).expect("companies");
        let path = match kind {
            0 => format!("leads/{lead}"),
            1 => format!("leads/{lead}?include=company"),
            2 => "leads?sort=created_at&limit=500&count=exact".to_owned(),
            3 => "leads?include=company&limit=500".to_owned(),
            4 => format!("companies/{company}"),
            5 | 6 => format!("leads?company_id={company}&limit=500"),
            7 | 8 => format!("companies/{company}?include=leads"),
            _ => "leads?q=roof&limit=500".to_owned(),
        };
        let (floors, made) = (self.floors(), self.made.load(Ordering::SeqCst));
        let seen = self.seen.lock().get(&path).filter(|_| rand::rng().random_bool(0.3)).cloned();
        let mut request = replica.client.request("GET", &path);
        if let Some((etag, _)) = &seen {
            request = request.header("If-None-Match", etag);
        }
        let Some(mut answer) = self.taken(&path, replica.client.attempt(request)) else { return };
        match (answer.status, seen) {
            (200, _) => {
                drop(self.seen.lock().insert(path.clone(), (answer.header("etag").to_owned(), answer.json.clone())))
            }
            (304, Some((_, content))) => {
                self.confirmed.fetch_add(1, Ordering::Relaxed);
                answer.json = content;
            }
            _ => return self.violated(format!("{path}: {} {}", answer.status, answer.text)),
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.hits.fetch_add(u64::from(answer.header("cache-status").contains("hit")), Ordering::Relaxed);
        let what = format!("{path} ({})", answer.header("cache-status"));
        match answer.json["data"].as_array() {
            Some(rows) if path.contains("company_id") => self.judge(&what, &floors, rows.iter()),
            Some(rows) => {
                self.judge(&what, &floors, rows.iter());
                // All rows fit into one page during a run of normal length; larger lists are not checked.
                if made < 500 && (rows.len() as u64) < made {
                    self.violated(format!("{what}: {made} rows were made before, and {} are shown", rows.len()));
                }
                if answer.json["page"]["total"].as_u64().is_some_and(|total| total < made) {
                    self.violated(format!(
                        "{what}: {made} rows were made before, and {} are counted",
                        answer.json["page"]["total"]
                    ));
                }
            }
            None => self.judge(&what, &floors, std::iter::once(&answer.json)),
        }
    }

    fn write_something(&self) {
        let replica = self.any_replica();
        if rand::rng().random_range(0..100) == 0 {
            if let Some(made) = replica.client.try_post("leads", json!({ "title": "Roof" })) {
                let made = self.taken("POST leads", Some(made));
                self.made.fetch_add(u64::from(made.is_some_and(|made| made.status == 201)), Ordering::SeqCst);
            }
            return;
        }
        let company = self.companies.choose(&mut rand::rng()).expect("companies");
        // A value that the row has already would not be written.
        let number: u64 = rand::rng().random();
        let lead = self.leads.choose(&mut rand::rng()).expect("leads");
        let (path, id, body) = match rand::rng().random_range(0..5) {
            0 => (format!("companies/{company}"), company, json!({ "name": format!("Brekke {number}") })),
            1 => (format!("leads/{lead}"), lead, json!({ "company_id": company, "title": format!("Roof {number}") })),
            _ => (format!("leads/{lead}"), lead, json!({ "title": format!("Roof {number}") })),
        };
        let Some(known) = self.known(id) else { return };
        known.most.fetch_add(1, Ordering::SeqCst);
        let Some(answer) = self.taken(&path, replica.client.try_patch(&path, body)) else { return };
        let Some(version) = answer.json["version"].as_i64().filter(|_| answer.status == 200) else {
            return self.violated(format!("PATCH {path}: {} {}", answer.status, answer.text));
        };
        known.least.fetch_max(version, Ordering::SeqCst);
        self.writes.fetch_add(1, Ordering::Relaxed);
        // Read-your-writes on another replica.
        let floors = self.floors();
        let elsewhere = self.any_replica();
        if let Some(answer) = self.taken(&path, elsewhere.client.try_get(&path)).filter(|answer| answer.status == 200) {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let what = format!("after its write {path} ({})", answer.header("cache-status"));
            self.judge(&what, &floors, std::iter::once(&answer.json));
        }
    }

    /// Makes a key, reads with it, deletes it: no replica accepts it after that.
    fn revoke_key(&self) {
        let body = json!({ "name": "Spare", "role": "viewer" });
        let made = self.any_replica().client.try_post("api-keys", body);
        let Some(made) = self.taken("POST api-keys", made).filter(|made| made.status == 201) else { return };
        let (id, key) = (made.json["id"].as_str().expect("an id"), made.json["key"].as_str().expect("a key"));
        let read = |replica: &world::Replica| {
            self.taken("a read with a key", replica.client_with(key).try_get("leads?limit=1"))
                .map(|answer| answer.status)
        };
        for replica in &self.world.replicas {
            if let Some(status @ ..=199 | status @ 201..) = read(replica) {
                return self.violated(format!("a key was made, and is answered {status}"));
            }
        }
        let client = &self.any_replica().client;
        let gone = client.attempt(client.request("DELETE", &format!("api-keys/{id}")));
        if self.taken("DELETE api-keys", gone).is_none_or(|answer| answer.status != 204) {
            return;
        }
        for replica in &self.world.replicas {
            if let Some(status @ ..=400 | status @ 402..) = read(replica) {
                return self.violated(format!("a key was deleted, and is answered {status}"));
            }
        }
        self.revoked.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs to the end and returns the violations.
    fn run(self) -> Vec<String> {
        std::thread::scope(|scope| {
            let again = |work: fn(&Self), pause: u64| {
                let history = &self;
                scope.spawn(move || {
                    while history.goes_on() {
                        work(history);
                        std::thread::sleep(Duration::from_millis(pause));
                    }
                });
            };
            (0..READERS).for_each(|_| again(Self::read_something, 0));
            (0..WRITERS).for_each(|_| again(Self::write_something, 10));
            again(Self::write_by_hand, 60);
            again(Self::revoke_key, 300);
            again(Self::do_harm, 500);
            if !self.world.primary.can_crash() {
                again(Self::fail_over, 1_000);
            }
        });
        if !self.world.primary.can_crash() {
            assert!(self.failovers.load(Ordering::Relaxed) > 0, "no standby took over");
        }
        // Sampled hits were recomputed in the background: none may be inconsistent.
        for replica in &self.world.replicas {
            let inconsistent = replica.client.try_get("ops/cache").map(|a| a.json["total"]["inconsistent"].clone());
            if let Some(count) = inconsistent.and_then(|count| count.as_u64()).filter(|count| *count > 0) {
                self.violations.lock().push(format!("the sampler found {count} inconsistent hits"));
            }
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "history{}: {} reads judged ({} hits, {} confirmed), {} writes, {} keys revoked, {} faults, {} failovers, {} refusals, {} rows made; \
             {} violations",
            self.world.mutant.map(|mutant| format!(" of {mutant}")).unwrap_or_default(),
            count(&self.reads),
            count(&self.hits),
            count(&self.confirmed),
            count(&self.writes),
            count(&self.revoked),
            count(&self.faults),
            count(&self.failovers),
            count(&self.refused),
            count(&self.made),
            self.violations.lock().len(),
        );
        std::mem::take(&mut *self.violations.lock())
    }
}

fn seconds(default: u64) -> u64 {
    std::env::var("RAPPORT_HISTORY_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn read_during_faults_never_older_than_acknowledged_write() {
    let least_reads = std::env::var("RAPPORT_HISTORY_READS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let history = History::begin(None, Primary::crashing(), seconds(8), least_reads);
    let (reads, violations) = (history.until, history.run());
    assert!(violations.is_empty(), "{reads:?}:\n{}", violations.join("\n"));
}

#[test]
fn read_during_failovers_never_older_than_acknowledged_write() {
    if postgres_program("pg_basebackup").is_none() {
        return;
    }
    let violations = History::begin(None, Primary::failing_over(), seconds(8), 0).run();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[cfg(feature = "mutants")]
#[test]
fn each_cache_protocol_mutant_is_detected() {
    let only = std::env::var("RAPPORT_TEST_MUTANT").ok();
    for (name, _) in rapport::base::mutants::ALL {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let violations = History::begin(Some(name), Primary::crashing(), 60, 0).run();
        println!("{name}: {}", violations.first().map_or("NOT CAUGHT", String::as_str));
        assert!(!violations.is_empty(), "{name} was not caught within a minute");
    }
}
