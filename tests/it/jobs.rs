//! Jobs: shared by processes, done exactly once, as whoever asked for them, and told of; and reminders.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::web::Data;
use rapport::app::App;
use rapport::auth::{Role, Tenant};
use rapport::db::{self, Actor, Statement, Tx, Value};
use rapport::error::{Error, Fault};
use rapport::jobs::store::{self, Claim, Terms};
use rapport::jobs::{self, Job, Kind, Step};
use rapport::noun::Change;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::sign_in::{admit, sign_in};
use crate::support::{Client, Program, Service, kills, open_app, until};

/// Makes one contact with each step, by its number, until there are as many as its input says.
static MAKER: Kind = Kind { name: "maker", step: make };
/// Fails as its input says, after one good step.
static FAILER: Kind = Kind { name: "failer", step: fail };
static KINDS: [&Kind; 2] = [&MAKER, &FAILER];

fn make(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    business: &rapport::auth::Business,
    job: &mut Job,
) -> rapport::error::Result<Step> {
    let all = job.input["rows"].as_i64().expect("a number");
    let number = job.cursor.as_i64().unwrap_or_default() + 1;
    let noun = &rapport::crm::contacts::CONTACTS;
    let body = json!({ "first_name": "Made", "external_id": format!("{}-{number}", job.id) });
    let change = Change::parse(noun, body, true, business)?;
    (noun.writes.create)(tx, tenant, change)?;
    (job.cursor, job.total, job.done) = (json!(number), Some(all), number);
    std::thread::sleep(Duration::from_millis(job.input["pause_ms"].as_u64().unwrap_or_default()));
    Ok(if number < all { Step::More } else { Step::Done(json!({ "created": all })) })
}

fn fail(tx: &mut Tx<'_>, tenant: &Tenant, _: &rapport::auth::Business, job: &mut Job) -> rapport::error::Result<Step> {
    if job.cursor.is_null() {
        (job.cursor, job.done) = (json!("begun"), 1);
        return Ok(Step::More);
    }
    match job.input["how"].as_str() {
        Some("taken") => {
            for _ in 0..2 {
                let mut sql = Statement::new("INSERT INTO contacts (business_id, email) VALUES (");
                sql.bind(Value::Uuid(Some(tenant.id()))).push(", 'twice@example.com')").run(tx)?;
            }
            Ok(Step::More)
        }
        // Its connection goes away, each time.
        Some("cut") => {
            Statement::new("SELECT pg_sleep(4)").run(tx)?;
            Ok(Step::More)
        }
        Some("invalid") => Err(Error::Invalid(vec![Fault::new("/rows", "too_many", "There are too many.")])),
        _ => Err(Error::Internal("SELECT secret FROM internals".into())),
    }
}

const TERMS: Terms = Terms { lease_seconds: 30, per_business: 1 };

/// Makes a job as `tenant`, in a transaction of its own.
fn enqueue(service: &Service, tenant: &Tenant, kind: &Kind, input: Json) -> Uuid {
    let mut conn = service.database.connect();
    db::in_transaction(&mut conn, |tx| jobs::enqueue(tx, tenant, kind, input.clone())).expect("a job")
}

/// Workers that know the kinds of this file, each as a process would be; they stop when this is dropped.
struct Workers {
    apps: Vec<Arc<App>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    fn start(service: &Service, count: usize) -> Self {
        let apps: Vec<Arc<App>> = (0..count).map(|_| Arc::new(open_app(&service.database, &[]))).collect();
        let work = |app: Arc<App>| {
            actix_web::rt::System::new().block_on(async move {
                while !app.life.is_draining() {
                    jobs::work(Data::from(app.clone()), &KINDS).await.expect("work");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        };
        let threads = apps.iter().cloned().map(|app| std::thread::spawn(move || work(app))).collect();
        Self { apps, threads }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.apps.iter().for_each(|app| app.life.set_draining());
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// The job when it has ended.
fn ended(api: &Client, id: Uuid) -> Json {
    let began = Instant::now();
    loop {
        let job = api.get(&format!("ops/jobs/{id}")).expect(200).json;
        if !matches!(job["state"].as_str(), Some("queued" | "running")) {
            return job;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{job}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn made(service: &Service, id: Uuid) -> String {
    service.database.ask(&format!(
        "SELECT count(*) || ' of ' || count(DISTINCT external_id) FROM contacts WHERE external_id LIKE '{id}-%'"
    ))
}

#[test]
fn processes_share_jobs_and_do_each_step_once_and_no_business_waits_for_anothers_end() {
    let service = Service::start();
    let (other, neighbour) = service.neighbour();
    let mine = Tenant::of_operator(service.business);
    let long = enqueue(&service, &mine, &MAKER, json!({ "rows": 40, "pause_ms": 60 }));
    let next = enqueue(&service, &mine, &MAKER, json!({ "rows": 5 }));
    let theirs = enqueue(&service, &Tenant::of_operator(other), &MAKER, json!({ "rows": 5 }));
    let _workers = Workers::start(&service, 3);
    let (done, then) = (ended(&service.client, long), ended(&service.client, next));
    let beside = ended(&neighbour, theirs);
    let time = |job: &Json, name: &str| job[name].as_str().expect("a time").to_owned();
    assert!(time(&beside, "finished_at") < time(&done, "finished_at"), "a neighbour did not wait for its end");
    assert!(time(&then, "started_at") > time(&done, "finished_at"), "one job of a business at a time");
    assert!(time(&done, "started_at") < time(&done, "finished_at"));
    let figures = ["total", "done", "failed"].map(|name| done[name].as_i64().expect("a number"));
    assert_eq!((&done["state"], figures), (&json!("succeeded"), [40, 40, 0]));
    assert_eq!(done["result"], json!({ "created": 40 }));
    assert_eq!((&then["state"], &beside["state"]), (&json!("succeeded"), &json!("succeeded")));
    for (id, rows) in [(long, 40), (next, 5), (theirs, 5)] {
        assert_eq!(made(&service, id), format!("{rows} of {rows}"));
    }
    // How far it was, was told now and then, not with each step; and nothing is left to be done.
    let told = service.client.get(&format!("ops/jobs/{long}/history?limit=100")).expect(200);
    assert_eq!(told.rows().last().map(|entry| &entry["action"]), Some(&json!("created")));
    let updates = told.rows().iter().filter(|entry| entry["action"] == "updated").count();
    assert!((2..20).contains(&updates), "{updates} of 40 steps: {}", told.text);
    assert_eq!(service.database.ask("SELECT count(*)::text FROM job_runs WHERE kind <> 'sample'"), "0");
}

#[test]
fn a_job_is_done_as_whoever_asked_for_it() {
    let service = Service::start();
    let (user, _) = agent(&service, "amina@example.com");
    let permissions = Role::Agent.permissions();
    let tenant = Tenant::of_job(service.business, Role::Agent, permissions, None, Some(Actor::User(user)));
    let id = enqueue(&service, &tenant, &MAKER, json!({ "rows": 2 }));
    let _workers = Workers::start(&service, 1);
    let job = ended(&service.client, id);
    assert_eq!((&job["actor_kind"], &job["actor_id"]), (&json!("user"), &json!(user)));
    let told = service.client.get("audit-log?noun=contacts&action=created").expect(200);
    assert_eq!(told.rows().len(), 2);
    for entry in told.rows() {
        assert_eq!((&entry["actor_kind"], &entry["actor_id"]), (&json!("user"), &json!(user)));
        assert_eq!(entry["request_id"], json!(format!("job-{id}")));
    }
}

#[test]
fn who_lost_a_job_can_do_nothing_with_it_any_more() {
    let service = Service::start();
    let tenant = Tenant::of_operator(service.business);
    let id = enqueue(&service, &tenant, &MAKER, json!({ "rows": 9 }));
    let claim = |terms: Terms| -> Option<Claim> {
        db::in_transaction(&mut service.database.connect(), |tx| store::claim(tx, &KINDS, terms)).expect("a look")
    };
    // A lease that is over at once: another process may take it.
    let first = claim(Terms { lease_seconds: 0, ..TERMS }).expect("a job");
    let second = claim(TERMS).expect("the same job");
    assert_eq!((first.id, second.id), (id, id));
    assert!(claim(TERMS).is_none(), "it has it for a while");
    let mut conn = service.database.connect();
    let mut step = |claim: &Claim| {
        db::in_transaction(&mut conn, |tx| {
            let Some(mut locked) = store::lock(tx, claim)? else { return Ok(false) };
            make(tx, &claim.tenant, &locked.business, &mut locked.job)?;
            store::proceed(tx, claim, &locked, Terms { lease_seconds: 0, ..TERMS })?;
            Ok(true)
        })
        .expect("a step")
    };
    assert!(!step(&first), "the one that lost it does nothing");
    assert!(step(&second) && step(&second));
    assert_eq!(made(&service, id), "2 of 2");
    // The lease is over; but as long as a step is being done, the job is nobody else's.
    let mut other = service.database.connect();
    let (ids, third) = db::in_transaction(&mut other, |tx| {
        let locked = store::lock(tx, &second)?.expect("still its own");
        let meanwhile = claim(TERMS);
        store::proceed(tx, &second, &locked, Terms { lease_seconds: 0, ..TERMS })?;
        Ok((meanwhile.map(|claim| claim.id), ()))
    })
    .map(|(meanwhile, ())| (meanwhile, claim(TERMS)))
    .expect("a step");
    assert_eq!((ids, third.map(|claim| claim.id)), (None, Some(id)));
    assert!(!step(&second));
}

#[test]
fn a_job_fails_at_once_where_trying_again_is_no_use_and_else_after_some_attempts() {
    let service = Service::start();
    let tenant = Tenant::of_operator(service.business);
    let hopeless = enqueue(&service, &tenant, &FAILER, json!({ "how": "invalid" }));
    let _workers = Workers::start(&service, 1);
    let job = ended(&service.client, hopeless);
    assert_eq!((&job["state"], &job["done"], &job["error"]["code"]), (&json!("failed"), &json!(1), &json!("invalid")));
    assert_eq!(job["error"]["errors"][0]["pointer"], "/rows");
    let unlucky = enqueue(&service, &tenant, &FAILER, json!({ "how": "internal" }));
    let attempts = || {
        service.database.ask(&format!("SELECT coalesce(max(attempts), -1)::text FROM job_runs WHERE id = '{unlucky}'"))
    };
    for attempt in 1..5 {
        let began = Instant::now();
        let resting = format!(
            "SELECT count(*)::text FROM job_runs WHERE id = '{unlucky}' AND leased_until IS NULL AND run_at > now()"
        );
        while service.database.ask(&resting) != "1" {
            assert!(began.elapsed() < Duration::from_secs(20), "attempt {attempt}");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(attempts(), attempt.to_string());
        service.database.run(&format!("UPDATE job_runs SET run_at = now() WHERE id = '{unlucky}'"));
    }
    let job = ended(&service.client, unlucky);
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("internal")));
    assert!(!job.to_string().contains("SELECT"), "{job}");
}

#[test]
fn whoever_may_do_less_by_now_has_their_jobs_done_no_more() {
    let service = Service::start();
    let (user, _) = agent(&service, "amina@example.com");
    let key = service.client.create("api-keys", json!({ "name": "Form", "role": "agent" }))["id"].clone();
    let key = key.as_str().and_then(|id| uuid::Uuid::try_parse(id).ok()).expect("an id");
    let of = |actor| Tenant::of_job(service.business, Role::Agent, Role::Agent.permissions(), None, Some(actor));
    let jobs =
        [Actor::User(user), Actor::Key(key)].map(|actor| enqueue(&service, &of(actor), &MAKER, json!({ "rows": 3 })));
    service.database.run(&format!(
        "UPDATE memberships SET role = 'viewer' WHERE user_id = '{user}'; DELETE FROM api_keys WHERE id = '{key}'"
    ));
    let _workers = Workers::start(&service, 1);
    for id in jobs {
        let job = ended(&service.client, id);
        assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("forbidden")));
    }
    assert_eq!(service.database.cell("SELECT count(*)::text FROM contacts"), "0");
}

#[test]
fn a_job_is_cancelled_between_two_steps_by_whoever_may() {
    let service = Service::start();
    let (user, amina) = agent(&service, "amina@example.com");
    let (_, bo) = agent(&service, "bo@example.com");
    let (_, neighbour) = service.neighbour();
    let tenant =
        Tenant::of_job(service.business, Role::Agent, Role::Agent.permissions(), None, Some(Actor::User(user)));
    let id = enqueue(&service, &tenant, &MAKER, json!({ "rows": 100_000, "pause_ms": 5 }));
    let path = format!("ops/jobs/{id}/cancellation");
    let workers = Workers::start(&service, 2);
    let began = Instant::now();
    while amina.get(&format!("ops/jobs/{id}")).expect(200).json["state"] != "running" {
        assert!(began.elapsed() < Duration::from_secs(20), "it never begins");
    }
    neighbour.post(&path, json!({})).expect(404);
    assert!(bo.post(&path, json!({})).expect(403).text.contains("operations:write"));
    amina.post(&path, json!({ "now": true })).expect(422);
    let cancelled = amina.post(&path, json!({})).expect(200).json;
    let there = made(&service, id);
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(there, format!("{0} of {0}", cancelled["done"]), "how far it was, to the row");
    assert!(cancelled["finished_at"].is_string());
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(made(&service, id), there, "nothing is done after the answer");
    // Once more is no harm; what has ended otherwise stays so. One that nobody has begun yet is cancelled likewise.
    amina.post(&path, json!({})).expect(200);
    let done = enqueue(&service, &tenant, &MAKER, json!({ "rows": 1 }));
    ended(&amina, done);
    assert_eq!(
        service.client.post(&format!("ops/jobs/{done}/cancellation"), json!({})).expect(409).code(),
        "job_ended"
    );
    drop(workers);
    let waiting = enqueue(&service, &tenant, &MAKER, json!({ "rows": 1 }));
    let answer =
        service.client_as(Role::Admin).post(&format!("ops/jobs/{waiting}/cancellation"), json!({})).expect(200);
    assert_eq!((&answer.json["state"], &answer.json["started_at"]), (&json!("cancelled"), &Json::Null));
}

#[test]
fn who_sees_only_their_own_sees_only_their_own_jobs() {
    let service = Service::start();
    service.client.patch(&format!("businesses/{}", service.business), json!({ "agents_see": "assigned" })).expect(200);
    let (user, amina) = agent(&service, "amina@example.com");
    let of = |user| {
        Tenant::of_job(service.business, Role::Agent, Role::Agent.permissions(), Some(user), Some(Actor::User(user)))
    };
    let own = enqueue(&service, &of(user), &MAKER, json!({ "rows": 1 }));
    let foreign = enqueue(&service, &of(Uuid::now_v7()), &MAKER, json!({ "rows": 1 }));
    let seen: Vec<Json> = amina.all("ops/jobs").iter().map(|job| job["id"].clone()).collect();
    assert_eq!(seen, [json!(own)]);
    amina.get(&format!("ops/jobs/{foreign}")).expect(404);
    amina.post(&format!("ops/jobs/{foreign}/cancellation"), json!({})).expect(404);
    assert!(service.client_as(Role::Viewer).all("ops/jobs").len() >= 3);
}

#[test]
fn too_many_jobs_are_refused_and_old_ones_are_cleared_away() {
    let service = Service::start();
    let tenant = Tenant::of_operator(service.business);
    let id = enqueue(&service, &tenant, &MAKER, json!({ "rows": 1 }));
    service.client.post(&format!("ops/jobs/{id}/cancellation"), json!({})).expect(200);
    let tidy = || {
        let app: Data<App> = Data::from(Arc::new(open_app(&service.database, &[])));
        actix_web::rt::System::new().block_on(jobs::tidy(app, &KINDS)).expect("order");
    };
    tidy();
    service.client.get(&format!("ops/jobs/{id}")).expect(200);
    service.database.run(&format!("UPDATE jobs SET finished_at = now() - interval '31 days' WHERE id = '{id}'"));
    tidy();
    service.client.get(&format!("ops/jobs/{id}")).expect(404);
    let told = service.client.get(&format!("audit-log?row_id={id}&action=deleted")).expect(200);
    assert!(told.rows().is_empty(), "that it was cleared away is no news");

    // One less than may wait, with the one that each business has; without entries of the audit log.
    service.database.run(&format!(
        "SET session_replication_role = replica;
         WITH made AS (INSERT INTO jobs (business_id, id, kind, actor_kind)
             SELECT '{}', rapport_uuid_v7(), 'maker', 'system' FROM generate_series(1, 998) RETURNING business_id, id)
         INSERT INTO job_runs (business_id, id, kind, input, role, permissions)
         SELECT business_id, id, 'maker', '{{}}', 'owner', '{{}}' FROM made",
        service.business
    ));
    enqueue(&service, &tenant, &MAKER, json!({ "rows": 1 }));
    let mut conn = service.database.connect();
    let refused = db::in_transaction(&mut conn, |tx| jobs::enqueue(tx, &tenant, &MAKER, json!({})));
    assert!(matches!(refused, Err(Error::TooMany { code: "too_many_jobs", .. })), "{refused:?}");
}

/// A person who signed in as an agent of the first business.
fn agent(service: &Service, email: &str) -> (Uuid, Client) {
    admit(service, "acme", email, "agent");
    let signed_in = sign_in(service, email).expect(201).json;
    let user = signed_in["user"]["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    (user, Client::new(service.address, signed_in["access_token"].as_str().expect("a token")))
}

#[test]
fn what_is_due_is_told_of_once_by_however_many_processes_whatever_becomes_of_them() {
    // Of each business: three transactions.
    const DUE: usize = 1_100;
    let service = Service::start();
    let (other, _) = service.neighbour();
    for business in [service.business, other] {
        service.database.run(&format!(
            "INSERT INTO tasks (business_id, title, due_at) SELECT '{business}', 'Due', now() - interval '1 hour' FROM generate_series(1, {DUE});
             INSERT INTO tasks (business_id, title, due_at, status) VALUES ('{business}', 'Done', now() - interval '1 hour', 'done');
             INSERT INTO tasks (business_id, title, due_at) VALUES ('{business}', 'Later', now() + interval '1 hour'),
                 ('{business}', 'Long ago', now() - interval '8 days'), ('{business}', 'Never', NULL);
             INSERT INTO bookings (business_id, code, customer_name, starts_at, ends_at, time_zone, day)
             SELECT '{business}', 'code' || n, 'Anna', now() + n * interval '10 hours', now() + n * interval '10 hours' + interval '1 hour', 'UTC', now()
             FROM unnest(ARRAY[-1, 1, 2, 3]) n"
        ));
    }
    let settings = [("DATABASE_URL", service.database.url.as_str()), ("RAPPORT_DB_CONNECTIONS", "2")];
    let waiting = "SELECT count(*)::text FROM tasks WHERE title = 'Due' AND reminded_at IS NULL";
    for _ in 0..kills() {
        // Each pair is killed as soon as it has done something.
        let (before, workers) = (service.database.ask(waiting), [(); 2].map(|()| Program::work(&settings)));
        until("a reminder is given", || before == "0" || service.database.ask(waiting) != before);
        drop(workers);
    }
    let _worker = Program::work(&settings);
    let unbooked = "SELECT count(*)::text FROM bookings WHERE code IN ('code1', 'code2') AND reminded_at IS NULL";
    let began = Instant::now();
    while service.database.ask(waiting) != "0" || service.database.ask(unbooked) != "0" {
        assert!(began.elapsed() < Duration::from_secs(60), "they are never told of");
        std::thread::sleep(Duration::from_millis(50));
    }
    let told = "SELECT noun || ' ' || count(*) || ' ' || count(DISTINCT row_id) FROM audit_log
        WHERE action = 'updated' AND changes ? 'reminded_at' AND actor_kind = 'system' GROUP BY noun ORDER BY noun";
    let told: Vec<String> = service.database.rows::<1>(told).into_iter().map(|[line]| line).collect();
    let tasks = 2 * DUE;
    assert_eq!(told, ["bookings 4 4".to_owned(), format!("tasks {tasks} {tasks}")]);
    assert_eq!(
        service.database.ask("SELECT count(*)::text FROM tasks WHERE title <> 'Due' AND reminded_at IS NOT NULL"),
        "0"
    );

    // Put off, it is told of anew.
    let id = service.database.ask(&format!(
        "SELECT id::text FROM tasks WHERE title = 'Due' AND business_id = '{}' LIMIT 1",
        service.business
    ));
    let changed =
        service.client.patch(&format!("tasks/{id}"), json!({ "due_at": "2099-01-01T00:00:00Z" })).expect(200).json;
    assert_eq!(changed["reminded_at"], Json::Null);
    service.client.patch(&format!("tasks/{id}"), json!({ "reminded_at": null })).expect(422);
}

#[test]
fn what_a_constraint_refuses_fails_at_once_and_a_lost_connection_is_no_attempt() {
    let service = Service::start();
    let tenant = Tenant::of_operator(service.business);
    let taken = enqueue(&service, &tenant, &FAILER, json!({ "how": "taken" }));
    let workers = Workers::start(&service, 1);
    let job = ended(&service.client, taken);
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("already_exists")), "{job}");
    let cut = enqueue(&service, &tenant, &FAILER, json!({ "how": "cut" }));
    // As often as a step is tried; each time after a second, which nobody waits for here.
    let began = Instant::now();
    let rests = format!("UPDATE job_runs SET run_at = now() WHERE id = '{cut}' AND leased_until IS NULL");
    let cuts = || service.database.ask(&format!("SELECT token::text FROM job_runs WHERE id = '{cut}'"));
    let cut_off = "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity
        WHERE query LIKE 'SELECT pg_sleep(4)%' AND datname = current_database()";
    while cuts().parse::<u32>().expect("a number") < 4 {
        service.database.ask(cut_off);
        service.database.run(&rests);
        assert!(began.elapsed() < Duration::from_secs(60), "it is not tried again");
        std::thread::sleep(Duration::from_millis(50));
    }
    let attempts = format!("SELECT (attempts <= 1)::text FROM job_runs WHERE id = '{cut}'");
    assert_eq!(service.database.ask(&attempts), "true");
    drop(workers);
}

#[test]
fn a_business_whose_reminders_fail_keeps_nobody_from_theirs() {
    let service = Service::start();
    let (other, _) = service.neighbour();
    for (business, count, ago) in [(service.business, 700, "2 hours"), (other, 10, "1 hour")] {
        service.database.run(&format!(
            "INSERT INTO tasks (business_id, title, due_at) SELECT '{business}', 'Due', now() - interval '{ago}' FROM generate_series(1, {count})"
        ));
    }
    service.database.run(&format!(
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
         CREATE TRIGGER broken AFTER UPDATE ON tasks FOR EACH ROW WHEN (NEW.business_id = '{}') EXECUTE FUNCTION broken()",
        service.business
    ));
    let _worker = Program::work(&[("DATABASE_URL", service.database.url.as_str())]);
    let waiting = format!(
        "SELECT count(*)::text FROM tasks WHERE business_id = '{other}' AND title = 'Due' AND reminded_at IS NULL"
    );
    let began = Instant::now();
    while service.database.ask(&waiting) != "0" {
        assert!(began.elapsed() < Duration::from_secs(60), "they are never told of");
        std::thread::sleep(Duration::from_millis(50));
    }
}
