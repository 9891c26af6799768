//! Tests of the sequencer: each committed change is in the audit log and the events once, and every read finds it from its
//! commit on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use rand::Rng;
use serde_json::json;

use crate::support::{Database, Service, make_business};

const LEADS: usize = 4;

/// Leads whose `value_minor` counts the committed changes of each.
fn counted_leads(database: &Database) -> Vec<String> {
    let business = make_business(database, "acme");
    // Without it no horizon is taken, and nothing is trimmed.
    database.run("INSERT INTO cache_epoch (id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING");
    // The database is a copy of another; to notice that, the sequencer waits for writers.
    database.run("SELECT rapport_check_sequencer()");
    database.run(&format!(
        "INSERT INTO leads (business_id, title, value_minor) SELECT '{business}', 'Lead', 0 FROM generate_series(1, {LEADS})"
    ));
    database.rows::<1>("SELECT id::text FROM leads ORDER BY id").into_iter().map(|[id]| id).collect()
}

/// Enters all that is committed.
fn enter_all(database: &Database) -> Result<(), String> {
    for _ in 0..1_000 {
        if database.ask("SELECT rapport_is_sequencer_behind()::text") == "false" {
            return Ok(());
        }
        database.run("SELECT rapport_sequence_changes(50); SELECT rapport_add_deliveries(50, '{}')");
    }
    Err("the sequencer does not come to an end".into())
}

/// Changes some of the leads in a transaction, which sometimes lasts, has parts that are undone, or is undone as a whole.
fn change(database: &Database, leads: &[String], changes: usize) {
    let mut conn = database.connect();
    let mut random = rand::rng();
    for _ in 0..changes {
        let update = |place: usize| {
            let id = &leads[place];
            format!("UPDATE leads SET value_minor = value_minor + 1, version = version + 1 WHERE id = '{id}';")
        };
        let mut sql = "BEGIN;".to_owned();
        // In one order, so that they do not deadlock.
        for place in 0..leads.len() {
            if random.random_bool(0.1) {
                sql += "SELECT pg_sleep(0.02);";
            }
            for _ in 0..random.random_range(0..3) {
                sql += &update(place);
            }
            if random.random_bool(0.3) {
                sql += &format!("SAVEPOINT part; {} ROLLBACK TO part;", update(place));
            }
            if random.random_bool(0.3) {
                sql += &format!("SAVEPOINT part; {} RELEASE part;", update(place));
            }
        }
        sql += if random.random_bool(0.8) { "COMMIT" } else { "ROLLBACK" };
        conn.batch_execute(&sql).expect("a transaction");
    }
}

/// Every snapshot has as many entries of each lead as it counts.
const DIFFERING: &str = "
    SELECT count(*)::text FROM leads l CROSS JOIN LATERAL (
        SELECT count(*) AS entries, count(DISTINCT id) AS ids, count(DISTINCT changes) AS values FROM audit_entries a
        WHERE a.business_id = l.business_id AND a.row_id = l.id AND a.action = 'updated') a
    WHERE (a.entries, a.ids, a.values) IS DISTINCT FROM (l.value_minor, l.value_minor, l.value_minor)";

/// Writers, two sequencers that take a part at a time, trimming and a reader, all at once. Errors: what was wrong.
fn write_beside_sequencers(database: &Database) -> Result<(), String> {
    let leads = counted_leads(database);
    let over = AtomicBool::new(false);
    let repeat = |pause: u64, sql: &(dyn Fn() -> String + Sync)| {
        let mut conn = database.connect();
        while !over.load(Ordering::Acquire) {
            conn.batch_execute(&sql()).expect("a statement");
            std::thread::sleep(Duration::from_millis(rand::rng().random_range(0..pause)));
        }
    };
    let seen = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|_| scope.spawn(|| change(database, &leads, 60))).collect();
        for _ in 0..2 {
            let pass = || format!("SELECT rapport_sequence_changes({})", rand::rng().random_range(1..20));
            scope.spawn(move || repeat(60, &pass));
        }
        let trim = || "SELECT rapport_add_horizon(); SELECT rapport_trim_change_log('0', 100000)".to_owned();
        scope.spawn(move || repeat(40, &trim));
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !over.load(Ordering::Acquire) {
                let differing = database.ask(DIFFERING);
                if differing != "0" {
                    return Err(format!("{differing} leads with other entries than changes"));
                }
                reads += 1;
            }
            Ok(reads)
        });
        writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
        over.store(true, Ordering::Release);
        reader.join().expect("a reader")
    })?;
    let demand = |what: &str, sql: &str, expected: &str| {
        let got = database.ask(sql);
        if got == expected { Ok(()) } else { Err(format!("{what}: {got}")) }
    };
    enter_all(database)?;
    if seen <= 20 {
        return Err(format!("{seen} reads"));
    }
    demand("trimmed", "SELECT (count(*) > 0)::text FROM cache_epoch WHERE mark IS NOT NULL", "true")?;
    demand("a tail", "SELECT count(*)::text FROM change_log_tail", "0")?;
    demand("entries", &DIFFERING.replace("audit_entries", "audit_log"), "0")?;
    demand(
        "numbers",
        "SELECT (count(*) = max(sequence) AND min(sequence) = 1 AND count(*) > 200)::text FROM events",
        "true",
    )?;
    let disordered = "SELECT count(*)::text FROM (
            SELECT (a.changes -> 'value_minor' ->> 'new')::bigint AS is_now,
                row_number() OVER (PARTITION BY e.row_id ORDER BY e.sequence) AS expected
            FROM events e JOIN audit_log a ON a.business_id = e.business_id AND a.id = e.id WHERE e.action = 'updated') changes
        WHERE is_now <> expected";
    demand("disordered events", disordered, "0")?;
    let missing = "SELECT ((SELECT sum(value_minor) FROM leads) - count(*))::text FROM events WHERE action = 'updated'";
    demand("missing events", missing, "0")
}

#[test]
fn each_committed_change_is_entered_once_in_order_and_never_missing() {
    write_beside_sequencers(&Database::create()).expect("each change once");
}

#[test]
fn log_restored_on_another_server_entered_once() {
    for shift in ["+ 1000000", "- 500"] {
        let database = Database::create();
        let leads = counted_leads(&database);
        change(&database, &leads, 20);
        database.run("SELECT rapport_sequence_changes(30)");
        assert_ne!(database.ask("SELECT count(*)::text FROM change_log_tail"), "0");
        assert_ne!(database.ask("SELECT count(*)::text FROM audit_log"), "0");
        // As another server finds it in a dump: numbers of transactions that mean nothing there.
        database.run(&format!(
            "UPDATE change_log SET xid = (xid::text::bigint {shift})::text::xid8;
             UPDATE change_log_position SET server = 'another/1'"
        ));
        let check = || {
            database.run("SELECT rapport_check_sequencer()");
            assert_eq!(database.ask(DIFFERING), "0", "{shift}");
            enter_all(&database).expect("an end");
            assert_eq!(database.ask(&DIFFERING.replace("audit_entries", "audit_log")), "0", "{shift}");
            assert_eq!(database.ask(DIFFERING), "0", "{shift}");
            let numbers =
                "SELECT (count(*) = max(sequence) AND count(*) = (SELECT count(*) FROM audit_log))::text FROM events";
            assert_eq!(database.ask(numbers), "true", "{shift}");
        };
        check();
        change(&database, &leads, 20);
        check();
    }
}

/// Erases contacts while a sequencer enters what they erase. Errors: what is left.
fn erase_beside_sequencer(service: &Service) -> Result<(), String> {
    let (api, database) = (&service.client, &service.database);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut conn = database.connect();
            while !over.load(Ordering::Acquire) {
                // It has read, and the erasure comes before others can see what it has entered.
                let slow = "BEGIN; SELECT rapport_sequence_changes(3); SELECT pg_sleep(0.005); COMMIT";
                conn.batch_execute(slow).expect("a pass");
            }
        });
        let erase = |number: usize| {
            let body = json!({ "first_name": "Canary", "email": format!("canary{number}@example.com") });
            let contact = api.make("contacts", body);
            for step in 0..number % 7 {
                api.patch(&format!("contacts/{contact}"), json!({ "last_name": format!("Canary{step}") })).expect(200);
            }
            let mode = if number.is_multiple_of(2) { "delete" } else { "anonymise" };
            api.post(&format!("contacts/{contact}/erasure"), json!({ "mode": mode })).expect(200);
            let left =
                format!("SELECT count(*)::text FROM audit_entries WHERE row_id = '{contact}' AND changes <> '{{}}'");
            match database.ask(&left).as_str() {
                "0" => Ok(()),
                left => Err(format!("{left} entries have values")),
            }
        };
        let done = (0..25).try_for_each(erase);
        over.store(true, Ordering::Release);
        done
    })?;
    enter_all(database)?;
    for table in ["audit_log", "change_log"] {
        let left = database.ask(&format!("SELECT count(*)::text FROM {table} t WHERE t::text ILIKE '%canary%'"));
        if left != "0" {
            return Err(format!("{left} rows of {table}"));
        }
    }
    let erased = "SELECT count(*)::text FROM events WHERE action = 'erased' AND resource = 'contacts'";
    assert_eq!(database.ask(erased), "25");
    Ok(())
}

#[test]
fn erasure_beside_the_sequencer_leaves_no_value() {
    erase_beside_sequencer(&Service::start()).expect("no value");
}

#[test]
fn delivery_after_one_that_a_replay_made_is_pending() {
    let database = Database::create();
    let leads = counted_leads(&database);
    enter_all(&database).expect("an end");
    database.run("INSERT INTO webhooks (business_id, url, types) SELECT id, 'https://example.com', '{lead.updated}' FROM businesses");
    let change = format!("UPDATE leads SET value_minor = value_minor + 1 WHERE id = '{}'", leads[0]);
    database.run(&change);
    database.run("SELECT rapport_sequence_changes(100)");
    // A replay held the lock of the business, and made this delivery, which has arrived.
    database.run(
        "INSERT INTO webhook_deliveries (business_id, webhook_id, event_id, sequence, event_type, row_id, status)
         SELECT e.business_id, w.id, e.id, e.sequence, 'lead.updated', e.row_id, 'delivered' FROM events e, webhooks w WHERE e.action = 'updated'",
    );
    database.run(&change);
    database.run("SELECT rapport_sequence_changes(100)");
    database.run("SELECT rapport_add_deliveries(100, '{\"leads\": \"lead\"}')");
    let deliveries = database.ask("SELECT string_agg(status, ',' ORDER BY sequence) FROM webhook_deliveries");
    assert_eq!(deliveries, "delivered,pending");
    assert_eq!(database.ask("SELECT rapport_is_sequencer_behind()::text"), "false");
}

#[test]
fn sequencer_survives_whatever_sessions_set_and_write() {
    let database = Database::create();
    let leads = counted_leads(&database);
    let deep = 200;
    for actor in ["system", "user", "user abc", "bot 01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71", "' user", " "] {
        database.run(&format!(
            "SET rapport.actor = '{}'; UPDATE leads SET value_minor = value_minor + 1,
                 metadata = (repeat('{{\"a\":', {deep}) || '1' || repeat('}}', {deep}))::jsonb WHERE id = '{}'",
            actor.replace('\'', "''"),
            leads[0]
        ));
    }
    // More than 16 MB, as jsonb.
    database.run("UPDATE leads SET metadata = jsonb_build_object('text', (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 300000) n))");
    let entries =
        "SELECT count(*) || ' ' || string_agg(DISTINCT actor_kind, ',') FROM audit_entries WHERE action = 'updated'";
    assert_eq!(database.ask(entries), "10 system,user");
    enter_all(&database).expect("an end");
    assert_eq!(database.ask(&entries.replace("audit_entries", "audit_log")), "10 system,user");
    let position = "SELECT (number > 2 AND target IS NULL)::text FROM change_log_now";
    assert_eq!(database.ask(position), "true", "a pass for each 16 MB");
}

/// Rules without which a change is missing, is there twice, or comes in another order.
#[cfg(feature = "mutants")]
const BROKEN: [(&str, &str, &str); 5] = [
    (
        "rapport_sequence_changes(integer)",
        "BY t.business_id ORDER BY t.place)",
        "BY t.business_id ORDER BY t.xid DESC, t.place)",
    ),
    ("rapport_sequence_changes(integer)", "WHERE pg_visible_in_snapshot(x, here.target)", "WHERE false"),
    ("rapport_sequence_changes(integer)", "AND place > here.place AND", "AND"),
    ("rapport_trim_change_log(interval, integer)", "AND pg_visible_in_snapshot(xid, entered)", ""),
    (
        "change_log_tail",
        "(pg_visible_in_snapshot(x.x, pg_current_snapshot()) OR (x.x = pg_current_xact_id_if_assigned()))",
        "false",
    ),
];

#[cfg(feature = "mutants")]
fn break_rule(database: &Database, object: &str, rule: &str, broken: &str) {
    let text = match object.contains('(') {
        true => database.ask(&format!("SELECT pg_get_functiondef('{object}'::regprocedure)")),
        false => database.ask(&format!("SELECT 'CREATE OR REPLACE VIEW {object} AS ' || pg_get_viewdef('{object}')")),
    };
    assert!(text.contains(rule), "{rule}: {text}");
    database.run(&text.replace(rule, broken));
}

#[cfg(feature = "mutants")]
#[test]
fn each_broken_rule_of_the_sequencer_is_caught() {
    for (object, rule, broken) in BROKEN {
        let caught = (0..8).find_map(|_| {
            let database = Database::create();
            break_rule(&database, object, rule, broken);
            write_beside_sequencers(&database).err()
        });
        eprintln!("{rule}: {caught:?}");
        assert!(caught.is_some(), "{object} without {rule}");
    }
    let caught = (0..4).find_map(|_| {
        let service = Service::start();
        break_rule(&service.database, "rapport_sequence_changes(integer)", "IF erased IS NOT NULL", "IF false");
        break_rule(
            &service.database,
            "rapport_erase_audit(uuid[])",
            "SELECT pg_advisory_xact_lock_shared(rapport_entries_lock());",
            "",
        );
        erase_beside_sequencer(&service).err()
    });
    eprintln!("erasure without its lock: {caught:?}");
    assert!(caught.is_some());
}
