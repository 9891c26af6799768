//! Tests of the response cache: hits, sharing between replicas, and no stale reads after any kind of write.

use std::collections::HashMap;
use std::io::Read;
use std::time::{Duration, Instant};

use rapport::app::registry::RESOURCES;
use rapport::auth::Role;
use serde_json::json;

use crate::support::proxy::{Mode, Proxy};
use crate::support::{Answer, Client, Database, Program, Samples, Service, make_business, make_key, redis, until};

const LOCAL: &str = "rapport; hit; detail=local";
const REDIS: &str = "rapport; hit; detail=redis";
const MISS: &str = "rapport; fwd=miss";

fn status(answer: &Answer) -> &str {
    answer.header("cache-status")
}

/// A second service on the same database, with the same key.
fn replica(of: &Service, settings: &'static [&'static str]) -> Service {
    let key = make_key(&of.database, of.business, Role::Owner);
    Service::on(of.database.clone(), of.business, &key, settings)
}

#[test]
fn repeated_read_hits_cache_and_writes_show_on_all_replicas() {
    let one = Service::start();
    let two = replica(&one, &[]);
    let (here, there) = (&one.client, &two.client);
    let lead = here.make("leads", json!({ "title": "Roof" }));
    let path = format!("leads/{lead}");
    for query in ["leads", "leads?include=company&count=true", &path, &format!("{path}?include=conversations")] {
        for api in [here, there] {
            let first = api.get(query).expect(200);
            assert_eq!((status(&first), first.queries() > 0), (MISS, true), "{query}");
            let again = api.get(query).expect(200);
            assert_eq!((status(&again), again.queries(), &again.text), (LOCAL, 0, &first.text), "{query}");
            assert_eq!(again.header("etag"), first.header("etag"));
            let known = api.request("GET", query).header("If-None-Match", first.header("etag"));
            let unchanged = api.send(known).expect(304);
            assert_eq!((status(&unchanged), unchanged.text.as_str()), (LOCAL, ""));
        }
        // All spellings of one query share one cache entry.
    }
    assert_eq!(status(&here.get("leads?count=true&include=company").expect(200)), LOCAL);

    for turn in 0..20 {
        let (writer, reader) = if turn % 2 == 0 { (here, there) } else { (there, here) };
        let title = format!("Roof {turn}");
        writer.patch(&path, json!({ "title": title })).expect(200);
        assert_eq!(reader.get(&path).expect(200).json["title"], title);
        assert_eq!(reader.get("leads").expect(200).rows()[0]["title"], title);
        assert_eq!(writer.get("leads").expect(200).rows()[0]["title"], title);
    }
    here.delete(&path).expect(204);
    there.get(&path).expect(404);
    assert_eq!(there.get("leads").expect(200).rows().len(), 0);
    there.post(&format!("{path}/restoration"), json!({})).expect(200);
    here.get(&path).expect(200);

    // A change of an included row changes the response; a change of an unrelated row does not.
    let company = here.make("companies", json!({ "name": "Brekke" }));
    here.patch(&path, json!({ "company_id": company })).expect(200);
    let with_company = format!("{path}?include=company");
    assert_eq!(there.get(&with_company).expect(200).json["company"]["name"], "Brekke");
    here.patch(&format!("companies/{company}"), json!({ "name": "Klein" })).expect(200);
    assert_eq!(there.get(&with_company).expect(200).json["company"]["name"], "Klein");
    here.make("notes", json!({ "body": "n", "lead_id": lead }));
    assert_eq!(status(&there.get(&with_company).expect(200)), LOCAL);
}

#[test]
fn max_stale_accepts_hits_as_old_without_a_round() {
    for allowed in ["0", "1", "600"] {
        let direct = Database::create();
        let key = make_key(&direct, make_business(&direct, "acme"), Role::Owner);
        let proxy = Proxy::to_postgres(&direct.url);
        let url = proxy.url(&direct.url);
        let program = Program::serve(&[
            ("DATABASE_URL", url.as_str()),
            ("RAPPORT_CACHE_MAX_STALE_SECONDS", allowed),
            ("RAPPORT_CACHE_VALIDATION_TIMEOUT_MS", "1000"),
        ]);
        program.until_ready();
        let api = program.client(&key);
        let path = format!("leads/{}", api.make("leads", json!({ "title": "Old" })));
        let read = |control: &str| api.send(api.request("GET", &path).header("Cache-Control", control));
        let title = |answer: &Answer| answer.json["title"].as_str().unwrap_or_default().to_owned();
        for _ in 0..2 {
            assert_eq!(title(&read("max-stale=0").expect(200)), "Old");
        }
        // No round succeeds any more.
        proxy.set(Mode::Cut);
        direct.run("UPDATE leads SET title = 'New'");
        std::thread::sleep(Duration::from_millis(2_100));
        read("").expect(503);
        let answer = read("max-stale=600");
        if allowed == "600" {
            assert_eq!(title(&answer.expect(200)), "Old");
            let answer = read("max-age=500");
            let (age, status) = (answer.header("age"), answer.header("cache-status"));
            assert!(age.parse::<u32>().is_ok_and(|age| (2..30).contains(&age)), "{age}");
            assert_eq!(status, format!("rapport; hit; detail=local; ttl=-{age}"));
            for control in ["max-age=1", "max-stale=600, no-cache", "no-store, max-stale=600"] {
                read(control).expect(503);
            }
        } else {
            answer.expect(503);
        }
        proxy.set(Mode::Pass);
        until("reads are answered", || read("").status == 200);
        let answer = read("").expect(200);
        assert_eq!((title(&answer).as_str(), answer.header("age")), ("New", ""));
        assert_eq!(title(&read("max-stale=600").expect(200)), "New");
    }
}

#[test]
fn direct_sql_write_invalidates_cached_reads() {
    let service = Service::start();
    let (api, database) = (&service.client, &service.database);
    let lead = api.make("leads", json!({ "title": "Roof" }));
    let title = || api.get("leads").expect(200).rows()[0]["title"].clone();
    assert_eq!(title(), "Roof");
    database.run("UPDATE leads SET title = 'Door'");
    assert_eq!(title(), "Door");
    // Only on commit, and not after a rollback.
    database.run("BEGIN; UPDATE leads SET title = 'Never'; ROLLBACK");
    assert_eq!(title(), "Door");
    database
        .run("BEGIN; UPDATE leads SET title = 'x'; SAVEPOINT s; UPDATE leads SET title = 'y'; ROLLBACK TO s; COMMIT");
    assert_eq!(title(), "x");
    // As when a dump is restored, and with any search path of the session.
    database.run("SET session_replication_role = replica; UPDATE leads SET title = 'Restored'");
    assert_eq!(title(), "Restored");
    database.run("CREATE TEMP TABLE change_log (LIKE public.change_log); UPDATE leads SET title = 'Shadowed'");
    assert_eq!(title(), "Shadowed");
    database.run("SET search_path = ''; UPDATE public.leads SET title = 'Qualified'");
    assert_eq!(title(), "Qualified");
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        database.run(&format!("BEGIN ISOLATION LEVEL {isolation}; UPDATE leads SET title = '{isolation}'; COMMIT"));
        assert_eq!(title(), isolation);
    }
    // A mark of another server, as a dump may bring it, does not keep entries from being used.
    database.run("UPDATE cache_epoch SET mark = '9000000000:9000000000:'");
    assert_eq!(title(), "SERIALIZABLE");
    assert_eq!(api.get("leads").expect(200).header("cache-status"), "rapport; hit; detail=local");
    // A restored epoch is a new one, whatever the log has lost.
    let restore =
        "UPDATE leads SET title = 'Found'; CREATE TEMP TABLE dump AS SELECT * FROM cache_epoch; TRUNCATE change_log;
         INSERT INTO cache_epoch SELECT * FROM dump";
    database.run(&format!("BEGIN; {restore}; COMMIT"));
    assert_eq!(title(), "Found");
    // With the log emptied nobody can read the change there.
    database.run("BEGIN; UPDATE leads SET title = 'Lost'; TRUNCATE change_log; COMMIT");
    assert_eq!(title(), "Lost");
    database.run("UPDATE leads SET title = 'SERIALIZABLE'");
    // Conversely, rows deleted by a cascade.
    let thread = api.make("conversations", json!({ "channel": "sms", "address": "+4915112345678" }));
    let message = json!({ "conversation_id": thread, "direction": "inbound", "body": "Hi" });
    api.create("messages", message);
    assert_eq!(api.get("messages").expect(200).rows().len(), 1);
    database.run("DELETE FROM conversations");
    assert_eq!(api.get("messages").expect(200).rows().len(), 0);
    assert_eq!(api.get(&format!("leads/{lead}")).expect(200).json["title"], "SERIALIZABLE");
    database.run("TRUNCATE leads CASCADE");
    assert_eq!(api.get("leads").expect(200).rows().len(), 0);
    api.get(&format!("leads/{lead}")).expect(404);
}

#[test]
fn each_write_statement_is_in_the_change_log() {
    let service = Service::start();
    let database = &service.database;
    let mut samples = Samples::new(&service.client);
    RESOURCES.iter().for_each(|resource| drop(samples.row(resource)));
    let logged = || -> HashMap<String, i64> {
        let rows = database.rows::<2>("SELECT changed, count(*)::text FROM change_log GROUP BY changed");
        rows.into_iter().map(|[table, count]| (table, count.parse().expect("a number"))).collect()
    };
    let moves = |table: &str, sql: &str| {
        let before = logged().get(table).copied().unwrap_or_default();
        database.run(sql);
        assert!(logged()[table] > before, "{table}: {sql}");
    };
    let tables: std::collections::BTreeSet<&str> = RESOURCES
        .iter()
        .filter(|resource| resource.cacheable)
        .flat_map(|resource| resource.tables())
        .copied()
        .collect();
    for table in &tables {
        moves(table, &format!("UPDATE {table} SET version = version + 1"));
        let before = logged();
        database.run(&format!("UPDATE {table} SET version = version + 1 WHERE false"));
        assert_eq!(logged(), before, "{table}");
    }
    moves("notes", "COPY notes (business_id, id, body) FROM PROGRAM 'true'; UPDATE notes SET body = 'b'");
    // Tables that others reference go last, or the cascade would delete their rows.
    let last = ["conversations", "services", "staff", "users", "memberships", "businesses"];
    for table in
        tables.iter().filter(|table| !last.contains(table)).chain(&["conversations", "services", "staff", "businesses"])
    {
        moves(table, &format!("DELETE FROM {table} WHERE ctid = (SELECT ctid FROM {table} LIMIT 1)"));
    }
    for table in tables {
        moves(table, &format!("TRUNCATE {table} CASCADE"));
    }
}

#[test]
fn revoked_or_changed_api_key_takes_effect_on_all_replicas() {
    let one = Service::start();
    let two = replica(&one, &["--credential-cache-ms", "60000"]);
    let made = one.client.create("api-keys", json!({ "name": "n", "role": "agent" }));
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let agent = Client::new(two.address, key);
    agent.get("leads").expect(200);
    assert_eq!(status(&agent.get("leads").expect(200)), LOCAL);
    agent.post("leads", json!({ "title": "t" })).expect(201);

    one.database.run(&format!("UPDATE api_keys SET role = 'viewer' WHERE id = '{id}'"));
    agent.post("leads", json!({ "title": "t" })).expect(403);
    agent.get("leads").expect(200);
    one.database.run(&format!("UPDATE api_keys SET role = 'admin' WHERE id = '{id}'"));
    agent.get("api-keys").expect(200);

    one.client.delete(&format!("api-keys/{id}")).expect(204);
    agent.get("leads").expect(401);
    agent.post("leads", json!({ "title": "t" })).expect(401);
    agent.get("/health/detailed").expect(401);
}

#[test]
fn single_flight_100_concurrent_reads_run_one_query() {
    let service = Service::with(&["--db-connections", "4", "--lock-wait-ms", "0"]);
    let api = &service.client;
    api.make("leads", json!({ "title": "Roof" }));
    api.get("companies").expect(200);
    let mut lock = service.database.connect();
    let locked = diesel::connection::SimpleConnection::batch_execute(
        &mut lock,
        "BEGIN; LOCK TABLE leads IN ACCESS EXCLUSIVE MODE",
    );
    locked.expect("a lock");
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let api = api.clone();
            std::thread::spawn(move || api.get("leads?limit=10"))
        })
        .collect();
    std::thread::sleep(Duration::from_millis(700));
    diesel::connection::SimpleConnection::batch_execute(&mut lock, "COMMIT").expect("released");
    let answers: Vec<Answer> = readers.into_iter().map(|reader| reader.join().unwrap().expect(200)).collect();
    assert!(answers.iter().all(|answer| answer.rows().len() == 1));
    assert_eq!(answers.iter().map(|answer| answer.queries()).sum::<u32>(), 1);
    let counts = &api.get("ops/cache").expect(200).json["resources"]["leads"];
    assert_eq!(counts["misses"], 1, "{counts}");
}

#[test]
fn read_with_no_store_or_cache_off_bypasses_cache() {
    let service = Service::start();
    let api = &service.client;
    api.get("leads").expect(200);
    assert_eq!(status(&api.get("leads").expect(200)), LOCAL);
    let asked = api.send(api.request("GET", "leads").header("Cache-Control", "max-age=0, No-Store")).expect(200);
    assert_eq!((status(&asked), asked.queries()), ("rapport; fwd=bypass", 1));
    assert_eq!(status(&api.post("leads", json!({ "title": "t" })).expect(201)), "rapport; fwd=method");
    assert_eq!(status(&service.stranger().get("/health").expect(200)), "rapport; fwd=bypass");

    let without = replica(&service, &["--cache", "off"]);
    for _ in 0..2 {
        let answer = without.client.get("leads").expect(200);
        assert_eq!((status(&answer), answer.queries()), ("rapport; fwd=bypass", 1));
    }
    assert_eq!(without.client.get("ops/cache").expect(200).json, json!({ "enabled": false }));
}

#[test]
fn frequent_response_compressed_by_accept_encoding() {
    let service = Service::start();
    let api = &service.client;
    for number in 0..20 {
        api.make("leads", json!({ "title": format!("Roof {number}") }));
    }
    let plain = api.get("leads").expect(200);
    let asking = |coding: &str| api.request("GET", "leads").header("Accept-Encoding", coding);
    for coding in ["gzip", "br"] {
        let began = Instant::now();
        while api.send(asking(coding)).header("content-encoding") != coding {
            assert!(began.elapsed() < Duration::from_secs(5), "never compressed as {coding}");
        }
    }
    let packed = asking("gzip;q=0.5, br;q=0").send().expect("an answer");
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let tag = packed.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(tag, format!("\"{}-gzip\"", plain.header("etag").trim_matches('"')), "other bytes, another tag");
    assert!(packed.headers()["vary"].to_str().unwrap().contains("Accept-Encoding"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("gzip");
    assert_eq!(text, plain.text);
    let packed = asking("br, gzip").send().expect("an answer");
    assert_eq!(packed.headers()["content-encoding"], "br");
    let mut text = String::new();
    brotli::Decompressor::new(packed, 4096).read_to_string(&mut text).expect("brotli");
    assert_eq!(text, plain.text);
    api.send(asking("br").header("If-None-Match", tag)).expect(304);
    assert_eq!(api.send(asking("identity")).expect(200).text, plain.text);

    // Secrets next to attacker-controlled text would leak by their compressed length, so they are not compressed.
    for number in 0..20 {
        api.create("api-keys", json!({ "name": format!("key {number}"), "role": "agent" }));
    }
    for _ in 0..10 {
        let keys = api.send(api.request("GET", "api-keys").header("Accept-Encoding", "gzip, br")).expect(200);
        assert_eq!(keys.header("content-encoding"), "");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn redis_tier_shares_entries_and_ignores_corrupt_ones() {
    let Some(url) = redis() else { panic!("no redis-server: see scripts/redis.sh") };
    let settings: &'static [&'static str] =
        Box::leak(Box::new(["--redis-url", Box::leak(url.clone().into_boxed_str()), "--redis-timeout-ms", "500"]));
    let one = Service::with(settings);
    let two = replica(&one, settings);
    for service in [&one, &two] {
        let began = Instant::now();
        while service.client.get("ops/cache").expect(200).json["redis"]["connected"] != true {
            assert!(began.elapsed() < Duration::from_secs(5), "Redis is not connected");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let lead = one.client.make("leads", json!({ "title": "Roof" }));
    let path = format!("leads/{lead}?fields=title");
    let first = one.client.get(&path).expect(200);
    assert_eq!(status(&first), MISS);
    std::thread::sleep(Duration::from_millis(200));
    let shared = two.client.get(&path).expect(200);
    assert_eq!((status(&shared), shared.queries(), &shared.text), (REDIS, 0, &first.text));
    assert_eq!(status(&two.client.get(&path).expect(200)), LOCAL);

    one.client.patch(&format!("leads/{lead}"), json!({ "title": "Door" })).expect(200);
    assert_eq!(two.client.get(&path).expect(200).json["title"], "Door");

    // Garbage and entries of another business count as a miss.
    let client = deadpool_redis::redis::Client::open(url).expect("a client");
    let mut conn = client.get_connection().expect("a connection");
    let ask = |conn: &mut deadpool_redis::redis::Connection, words: &[&str]| -> deadpool_redis::redis::Value {
        let mut command = deadpool_redis::redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(word);
        });
        command.query(conn).expect("an answer")
    };
    let pattern = format!("rapport:*{}*", one.business);
    let names: Vec<String> = deadpool_redis::redis::cmd("KEYS").arg(&pattern).query(&mut conn).expect("names");
    assert!(!names.is_empty());
    for name in &names {
        ask(&mut conn, &["SET", name, "garbage"]);
    }
    let three = replica(&one, settings);
    assert_eq!(three.client.get(&path).expect(200).json["title"], "Door");
    for name in &names {
        // Atomically, so that a concurrent store comes before or after, not between.
        let swap = "redis.call('DEL', KEYS[1]) return redis.call('LPUSH', KEYS[1], 'a list')";
        ask(&mut conn, &["EVAL", swap, "1", name]);
    }
    let four = replica(&one, settings);
    assert_eq!(four.client.get(&path).expect(200).json["title"], "Door");

    // An operator clears the cache of all replicas.
    for service in [&one, &two] {
        service.client.get("leads").expect(200);
        assert_eq!(status(&service.client.get("leads").expect(200)), LOCAL);
    }
    let purged = one.client.post("ops/cache/purge", json!({ "resource": "leads" })).expect(200).json;
    assert!(purged["local"].as_u64().unwrap() >= 1 && purged["redis"].is_u64(), "{purged}");
    for service in [&one, &two] {
        assert_ne!(status(&service.client.get("leads").expect(200)), LOCAL);
    }
    one.client.post("ops/cache/purge", json!({ "resource": "lead" })).expect(422);
    one.client_as(Role::Manager).post("ops/cache/purge", json!({})).expect(403);
}

#[test]
fn cache_validation_timeout_503_and_recovers() {
    let service = Service::with(&["--cache-validation-timeout-ms", "300"]);
    let api = &service.client;
    api.get("leads").expect(200);
    assert_eq!(status(&api.get("leads").expect(200)), LOCAL);
    let mut lock = service.database.connect();
    let run = |conn: &mut diesel::PgConnection, sql: &str| {
        diesel::connection::SimpleConnection::batch_execute(conn, sql).expect("it runs");
    };
    run(&mut lock, "BEGIN; LOCK TABLE change_log IN ACCESS EXCLUSIVE MODE");
    let began = Instant::now();
    let refused = api.get("leads").expect(503);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(refused.code(), "validation_unavailable");
    assert!(!refused.header("retry-after").is_empty());
    service.stranger().get("/health/readiness").expect(200);
    run(&mut lock, "COMMIT");
    let began = Instant::now();
    while api.get("leads").status != 200 {
        assert!(began.elapsed() < Duration::from_secs(5), "it does not come back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn closed_connection_of_validation_rounds_is_replaced_unnoticed() {
    let service = Service::start();
    let api = &service.client;
    api.get("leads").expect(200);
    service.database.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'rapport rounds'",
    );
    assert_eq!(status(&api.get("leads").expect(200)), LOCAL);
}

#[test]
fn frequent_reads_refreshed_after_write_and_warmed_at_start() {
    let service = Service::with(&["--cache-refresh-ms", "50"]);
    let api = &service.client;
    let lead = api.make("leads", json!({ "title": "Roof" }));
    let refreshed =
        |api: &Client| api.get("ops/cache").expect(200).json["resources"]["leads"]["refreshed"].as_u64().unwrap_or(0);
    let began = Instant::now();
    loop {
        // Read often enough to be recorded as hot, then changed; the refresh recomputes it before the next read.
        (0..32).for_each(|_| drop(api.get("leads").expect(200)));
        let before = refreshed(api);
        api.patch(&format!("leads/{lead}"), json!({ "title": format!("{:?}", Instant::now()) })).expect(200);
        std::thread::sleep(Duration::from_millis(150));
        let answer = api.get("leads").expect(200);
        assert_eq!(answer.rows()[0]["version"], api.get(&format!("leads/{lead}")).expect(200).json["version"]);
        if refreshed(api) > before && status(&answer) == LOCAL {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "never refreshed ahead");
    }

    // Saved warm-up queries are run once at start.
    service.database.run(&format!(
        "INSERT INTO cache_warmup_queries VALUES ('{0}', 'owner', 'leads', 'list ?limit=7'), ('{0}', 'owner', 'leads', 'one {lead}?include=company'),
         ('{0}', 'owner', 'gone', 'list ?'), ('{0}', 'owner', 'leads', 'list ?nonsense=1')",
        service.business
    ));
    let started = replica(&service, &[]);
    let began = Instant::now();
    while started.client.get("ops/cache").expect(200).json["total"]["sets"].as_u64() != Some(2) {
        assert!(began.elapsed() < Duration::from_secs(10), "never warmed up");
        std::thread::sleep(Duration::from_millis(20));
    }
    for asked in ["leads?limit=7", &format!("leads/{lead}?include=company")] {
        assert_eq!(status(&started.client.get(asked).expect(200)), LOCAL, "{asked}");
    }
}
