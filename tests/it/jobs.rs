//! Tests of background jobs: shared by processes, executed exactly once, with the requester's permissions, recorded in
//! the audit log; and of reminders.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rapport::app::state::AppState;
use rapport::auth::{Role, Tenant};
use rapport::background::store::{self, JobLease, LeaseConfig};
use rapport::background::{self, Job, JobType, JobWaker, Step, Worker, purge_jobs};
use rapport::base::error::{Error, FieldError};
use rapport::db::{self, Actor, SqlValue, Statement, Tx};
use rapport::resource::Changeset;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::sign_in::{admit, sign_in};
use crate::support::{Client, Program, Service, kills, open_app, until};

/// Creates one contact per step, numbered, until the count in its input is reached.
static MAKER: JobType = JobType { name: "maker", step: make };
/// Fails in the way that its input names, after one successful step.
static FAILER: JobType = JobType { name: "failer", step: fail };
static KINDS: [&JobType; 2] = [&MAKER, &FAILER];

fn make(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    business: &rapport::auth::TenantSettings,
    job: &mut Job,
) -> rapport::base::error::Result<Step> {
    let all = job.input["rows"].as_i64().expect("a number");
    let number = job.cursor.as_i64().unwrap_or_default() + 1;
    let resource = &rapport::crm::contacts::CONTACTS;
    let body = json!({ "first_name": "Made", "external_id": format!("{}-{number}", job.id) });
    let change = Changeset::parse(resource, body, true, business)?;
    rapport::resource::crud::create(tx, tenant, resource, change)?;
    (job.cursor, job.total, job.done) = (json!(number), Some(all), number);
    std::thread::sleep(Duration::from_millis(job.input["pause_ms"].as_u64().unwrap_or_default()));
    Ok(if number < all { Step::More } else { Step::Done(json!({ "created": all })) })
}

fn fail(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    _: &rapport::auth::TenantSettings,
    job: &mut Job,
) -> rapport::base::error::Result<Step> {
    if job.cursor.is_null() {
        (job.cursor, job.done) = (json!("begun"), 1);
        return Ok(Step::More);
    }
    match job.input["how"].as_str() {
        Some("taken") => {
            for _ in 0..2 {
                let mut sql = Statement::new("INSERT INTO contacts (business_id, email) VALUES (");
                sql.bind(SqlValue::Uuid(Some(tenant.id()))).sql(", 'twice@example.com')").run(tx)?;
            }
            Ok(Step::More)
        }
        // Its connection is closed, each time.
        Some("cut") => {
            Statement::new("SELECT pg_sleep(4)").run(tx)?;
            Ok(Step::More)
        }
        Some("invalid") => Err(Error::Invalid(vec![FieldError::new("/rows", "too_many", "There are too many.")])),
        _ => Err(Error::Internal("SELECT secret FROM internals".into())),
    }
}

const TERMS: LeaseConfig = LeaseConfig { lease_seconds: 30, per_business: 1 };

/// Enqueues a job as `tenant`, in its own transaction.
fn enqueue(service: &Service, tenant: &Tenant, kind: &JobType, input: Json) -> Uuid {
    let mut conn = service.database.connect();
    db::in_transaction(&mut conn, |tx| background::enqueue(tx, tenant, kind, input.clone())).expect("a job")
}

/// Workers with the job types of this file, each like a process of its own; they stop on drop.
struct Workers {
    apps: Vec<Arc<AppState>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    fn start(service: &Service, count: usize) -> Self {
        let apps: Vec<Arc<AppState>> = (0..count).map(|_| Arc::new(open_app(&service.database, &[]))).collect();
        let work = |app: Arc<AppState>| {
            let worker = Worker {
                db: app.db.clone(),
                lifecycle: app.lifecycle.clone(),
                waker: JobWaker::default(),
                job_types: &KINDS,
                concurrency: app.config.background.job_concurrency as usize,
                lease: TERMS,
            };
            actix_web::rt::System::new().block_on(async move {
                while !app.lifecycle.is_draining() {
                    worker.work().await.expect("work");
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
        self.apps.iter().for_each(|app| app.lifecycle.set_draining());
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Waits for the job to end, and returns it.
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
fn workers_share_jobs_run_steps_once_fair_across_tenants() {
    let service = Service::start();
    let (other, neighbour) = service.neighbour();
    let mine = Tenant::for_operator(service.business);
    let long = enqueue(&service, &mine, &MAKER, json!({ "rows": 40, "pause_ms": 60 }));
    let next = enqueue(&service, &mine, &MAKER, json!({ "rows": 5 }));
    let theirs = enqueue(&service, &Tenant::for_operator(other), &MAKER, json!({ "rows": 5 }));
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
    // Progress is recorded from time to time, not with each step; and no run is left.
    let told = service.client.get(&format!("ops/jobs/{long}/history?limit=100")).expect(200);
    assert_eq!(told.rows().last().map(|entry| &entry["action"]), Some(&json!("created")));
    let updates = told.rows().iter().filter(|entry| entry["action"] == "updated").count();
    assert!((2..20).contains(&updates), "{updates} of 40 steps: {}", told.text);
    assert_eq!(service.database.ask("SELECT count(*)::text FROM job_runs WHERE kind <> 'sample'"), "0");
}

#[test]
fn job_runs_as_the_actor_that_enqueued_it() {
    let service = Service::start();
    let (user, _) = agent(&service, "amina@example.com");
    let permissions = Role::Agent.permissions();
    let tenant = Tenant::for_job(service.business, Role::Agent, permissions, None, Some(Actor::User(user)));
    let id = enqueue(&service, &tenant, &MAKER, json!({ "rows": 2 }));
    let _workers = Workers::start(&service, 1);
    let job = ended(&service.client, id);
    assert_eq!((&job["actor_kind"], &job["actor_id"]), (&json!("user"), &json!(user)));
    let told = service.client.get("audit-log?resource=contacts&action=created").expect(200);
    assert_eq!(told.rows().len(), 2);
    for entry in told.rows() {
        assert_eq!((&entry["actor_kind"], &entry["actor_id"]), (&json!("user"), &json!(user)));
        assert_eq!(entry["request_id"], json!(format!("job-{id}")));
    }
}

#[test]
fn worker_that_lost_its_lease_cannot_run_the_job() {
    let service = Service::start();
    let tenant = Tenant::for_operator(service.business);
    let id = enqueue(&service, &tenant, &MAKER, json!({ "rows": 9 }));
    let claim = |terms: LeaseConfig| -> Option<JobLease> {
        db::in_transaction(&mut service.database.connect(), |tx| store::claim(tx, &KINDS, terms)).expect("a look")
    };
    // The lease expires at once: another process may take the job.
    let first = claim(LeaseConfig { lease_seconds: 0, ..TERMS }).expect("a job");
    let second = claim(TERMS).expect("the same job");
    assert_eq!((first.id, second.id), (id, id));
    assert!(claim(TERMS).is_none(), "it has it for a while");
    let mut conn = service.database.connect();
    let mut step = |claim: &JobLease| {
        db::in_transaction(&mut conn, |tx| {
            let Some(mut locked) = store::lock(tx, claim)? else { return Ok(false) };
            make(tx, &claim.tenant, &locked.business, &mut locked.job)?;
            store::checkpoint(tx, claim, &locked, LeaseConfig { lease_seconds: 0, ..TERMS })?;
            Ok(true)
        })
        .expect("a step")
    };
    assert!(!step(&first), "the one that lost it does nothing");
    assert!(step(&second) && step(&second));
    assert_eq!(made(&service, id), "2 of 2");
    // The lease has expired; but while a step holds the job's lock, no other process can claim it.
    let mut other = service.database.connect();
    let (ids, third) = db::in_transaction(&mut other, |tx| {
        let locked = store::lock(tx, &second)?.expect("still its own");
        let meanwhile = claim(TERMS);
        store::checkpoint(tx, &second, &locked, LeaseConfig { lease_seconds: 0, ..TERMS })?;
        Ok((meanwhile.map(|claim| claim.id), ()))
    })
    .map(|(meanwhile, ())| (meanwhile, claim(TERMS)))
    .expect("a step");
    assert_eq!((ids, third.map(|claim| claim.id)), (None, Some(id)));
    assert!(!step(&second));
}

#[test]
fn job_permanent_error_fails_at_once_other_errors_retry() {
    let service = Service::start();
    let tenant = Tenant::for_operator(service.business);
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
fn job_of_actor_who_lost_permission_fails_forbidden() {
    let service = Service::start();
    let (user, _) = agent(&service, "amina@example.com");
    let key = service.client.create("api-keys", json!({ "name": "Form", "role": "agent" }))["id"].clone();
    let key = key.as_str().and_then(|id| uuid::Uuid::try_parse(id).ok()).expect("an id");
    let of = |actor| Tenant::for_job(service.business, Role::Agent, Role::Agent.permissions(), None, Some(actor));
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
fn cancel_job_between_steps_stops_it_requires_permission() {
    let service = Service::start();
    let (user, amina) = agent(&service, "amina@example.com");
    let (_, bo) = agent(&service, "bo@example.com");
    let (_, neighbour) = service.neighbour();
    let tenant =
        Tenant::for_job(service.business, Role::Agent, Role::Agent.permissions(), None, Some(Actor::User(user)));
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
    // Cancelling again has no effect; a job that has ended keeps its state. A job that has not started is cancelled
    // likewise.
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
fn list_jobs_by_restricted_agent_shows_only_own() {
    let service = Service::start();
    service
        .client
        .patch(&format!("businesses/{}", service.business), json!({ "agent_visibility": "assigned" }))
        .expect(200);
    let (user, amina) = agent(&service, "amina@example.com");
    let of = |user| {
        Tenant::for_job(service.business, Role::Agent, Role::Agent.permissions(), Some(user), Some(Actor::User(user)))
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
fn enqueue_over_job_limit_refused_and_old_jobs_purged() {
    let service = Service::start();
    let tenant = Tenant::for_operator(service.business);
    let id = enqueue(&service, &tenant, &MAKER, json!({ "rows": 1 }));
    service.client.post(&format!("ops/jobs/{id}/cancellation"), json!({})).expect(200);
    let tidy = || {
        let app = open_app(&service.database, &[]);
        let purge = purge_jobs::purge(app.db.clone(), app.config.background.jobs_retention_days, &KINDS);
        actix_web::rt::System::new().block_on(purge).expect("order");
    };
    tidy();
    service.client.get(&format!("ops/jobs/{id}")).expect(200);
    service.database.run(&format!("UPDATE jobs SET finished_at = now() - interval '31 days' WHERE id = '{id}'"));
    tidy();
    service.client.get(&format!("ops/jobs/{id}")).expect(404);
    let told = service.client.get(&format!("audit-log?row_id={id}&action=deleted")).expect(200);
    assert!(told.rows().is_empty(), "that it was cleared away is no news");

    // One less than the limit of waiting jobs, counting the job that each business has; without audit log entries.
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
    let refused = db::in_transaction(&mut conn, |tx| background::enqueue(tx, &tenant, &MAKER, json!({})));
    assert!(matches!(refused, Err(Error::TooMany { code: "too_many_jobs", .. })), "{refused:?}");
}

/// A user who signed in as an agent of the first business.
fn agent(service: &Service, email: &str) -> (Uuid, Client) {
    admit(service, "acme", email, "agent");
    let signed_in = sign_in(service, email).expect(201).json;
    let user = signed_in["user"]["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    (user, Client::new(service.address, signed_in["access_token"].as_str().expect("a token")))
}

#[test]
fn due_reminders_fire_once_with_workers_killed() {
    // Per business: three transactions.
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
        // Each pair is killed as soon as it has sent a reminder.
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
    let told = "SELECT resource || ' ' || count(*) || ' ' || count(DISTINCT row_id) FROM audit_entries
        WHERE action = 'updated' AND changes ? 'reminded_at' AND actor_kind = 'system' GROUP BY resource ORDER BY resource";
    let told: Vec<String> = service.database.rows::<1>(told).into_iter().map(|[line]| line).collect();
    let tasks = 2 * DUE;
    assert_eq!(told, ["bookings 4 4".to_owned(), format!("tasks {tasks} {tasks}")]);
    assert_eq!(
        service.database.ask("SELECT count(*)::text FROM tasks WHERE title <> 'Due' AND reminded_at IS NOT NULL"),
        "0"
    );

    // Postponed, the task is reminded of again.
    let id = service.database.ask(&format!(
        "SELECT id::text FROM tasks WHERE title = 'Due' AND business_id = '{}' LIMIT 1",
        service.business
    ));
    let changed =
        service.client.patch(&format!("tasks/{id}"), json!({ "due_at": "2099-01-01T00:00:00Z" })).expect(200).json;
    assert_eq!(changed["reminded_at"], Json::Null);
    service.client.patch(&format!("tasks/{id}"), json!({ "reminded_at": "2099-01-01T00:00:00Z" })).expect(422);
}

#[test]
fn job_constraint_error_fails_connection_loss_is_no_attempt() {
    let service = Service::start();
    let tenant = Tenant::for_operator(service.business);
    let taken = enqueue(&service, &tenant, &FAILER, json!({ "how": "taken" }));
    let workers = Workers::start(&service, 1);
    let job = ended(&service.client, taken);
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("already_exists")), "{job}");
    let cut = enqueue(&service, &tenant, &FAILER, json!({ "how": "cut" }));
    // As many attempts as a step has; the pause of a second between them is skipped here.
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
fn failing_reminders_of_one_tenant_do_not_block_others() {
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
