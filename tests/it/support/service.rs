//! A service per test, on a free port, with a business and an owner's API key.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

use clap::Parser;
use rapport::app::config::Config;
use rapport::app::server;
use rapport::app::state::AppState;
use rapport::auth::Tenant;
use rapport::background::Supervisor;
use rapport::db::{self, Db};
use rapport::{auth::Role, identity::api_keys};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Client, Database, whatsapp};

/// Options of the service, as on its command line: `&["--db-connections", "1"]`.
pub type Settings<'s> = &'s [&'s str];

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

pub struct Service {
    pub database: Database,
    pub address: SocketAddr,
    pub metrics: SocketAddr,
    /// A client with the owner's key of the first business.
    pub client: Client,
    pub business: Uuid,
    /// The service's own pool.
    pub db: Db,
    /// Runs its background tasks; a test may add one.
    pub supervisor: Supervisor,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(settings: Settings) -> Self {
        let database = Database::create();
        let business = make_business(&database, "acme");
        let key = make_key(&database, business, Role::Owner);
        Self::on(database, business, &key, settings)
    }

    /// A service on an existing database.
    pub fn on(database: Database, business: Uuid, key: &str, settings: Settings) -> Self {
        Self::changed(database, business, key, settings, |_| {})
    }

    /// The same, with `change` applied to it before it serves.
    pub fn changed(
        database: Database,
        business: Uuid,
        key: &str,
        settings: Settings,
        change: impl FnOnce(&mut AppState) + Send + 'static,
    ) -> Self {
        let config = configuration(settings);
        let (stop, stopped) = oneshot::channel();
        let (send, receive) = mpsc::channel();
        let url = database.url.clone();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let mut app = AppState::open(config, &url, rapport::app::openapi::shape()).expect("an application");
                change(&mut app);
                let running = server::start(app).expect("a server");
                let addresses = (running.address, running.metrics_address.expect("metrics"), running.app.db.clone());
                let (app, (handles, servers)) = (running.app.clone(), running.split());
                let serving = actix_web::rt::spawn(futures_util::future::join_all(servers));
                while !app.lifecycle.is_started() && !url.contains("/empty_") {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                send.send((addresses, app.supervisor.clone())).expect("the test waits");
                let _ = stopped.await;
                futures_util::future::join_all(handles.iter().map(|handle| handle.stop(false))).await;
                let _ = serving.await;
            });
        });
        let ((address, metrics, db), supervisor) = receive.recv().expect("the service starts");
        let client = Client::new(address, key);
        Self { database, address, metrics, client, business, db, supervisor, stop: Some(stop), thread: Some(thread) }
    }

    /// A client with a new key of `role` in the first business.
    pub fn client_as(&self, role: Role) -> Client {
        Client::new(self.address, &make_key(&self.database, self.business, role))
    }

    /// Another business, and a client with its owner's key.
    pub fn neighbour(&self) -> (Uuid, Client) {
        let business = make_business(&self.database, "neighbour");
        (business, Client::new(self.address, &make_key(&self.database, business, Role::Owner)))
    }

    /// A client without a key, at another address of this process.
    pub fn stranger_at(&self, address: SocketAddr) -> Client {
        Client::new(address, "")
    }

    /// A client without a key.
    pub fn stranger(&self) -> Client {
        Client::new(self.address, "")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The service's configuration in tests, changed by `settings`.
pub fn configuration(settings: Settings) -> Config {
    let base = [
        "rapport",
        "--bind",
        "127.0.0.1:0",
        "--metrics-bind",
        "127.0.0.1:0",
        "--http-workers",
        "1",
        "--db-connections",
        "2",
        // Tests of background tasks switch it on.
        "--background-tasks",
        "off",
        // Refreshed entries would turn a test's first read into a hit at random.
        "--cache-refresh-ms",
        "0",
        "--whatsapp-app-secret",
        whatsapp::APP_SECRET,
        "--whatsapp-verify-token",
        whatsapp::VERIFY_TOKEN,
    ];
    let options: Vec<&str> = settings.iter().step_by(2).copied().collect();
    let mut arguments = vec![base[0]];
    for pair in base[1..].chunks(2).filter(|pair| !options.contains(&pair[0])) {
        arguments.extend(pair);
    }
    arguments.extend(settings);
    Arguments::parse_from(arguments).config
}

/// A pool like the service's, for tests of the database layer itself.
pub fn open_db(database: &Database, settings: Settings) -> Db {
    Db::open(&configuration(settings).pool, &database.url, &Supervisor::default()).expect("a pool")
}

/// The state of a process, for tests of background tasks.
pub fn open_app(database: &Database, settings: Settings) -> AppState {
    AppState::open(configuration(settings), &database.url, rapport::app::openapi::shape()).expect("an application")
}

/// A business in Berlin with American phone numbers. It has a queued job of an unknown type, so that tests over all
/// resources find a job.
pub fn make_business(database: &Database, slug: &str) -> Uuid {
    let id = Uuid::now_v7();
    database.run(&format!(
        "INSERT INTO businesses (id, name, slug, time_zone, currency, country)
         VALUES ('{id}', '{slug}', '{slug}', 'Europe/Berlin', 'EUR', 'US')"
    ));
    let job = Uuid::now_v7();
    // Without an actor and an audit log entry.
    database.run(&format!(
        "SET session_replication_role = replica;
         INSERT INTO jobs (business_id, id, kind, actor_kind, actor_id) VALUES ('{id}', '{job}', 'sample', 'user', '{job}');
         INSERT INTO job_runs (business_id, id, kind, input, role, permissions) VALUES ('{id}', '{job}', 'sample', '{{}}', 'viewer', '{{}}');
         INSERT INTO import_row_results (business_id, id, resource, outcome) VALUES ('{id}', '{job}', 'contacts', 'unchanged')"
    ));
    id
}

pub fn make_key(database: &Database, business: Uuid, role: Role) -> String {
    let key = api_keys::generate().expect("a key");
    let tenant = Tenant::for_operator(business);
    let made = database.lend(|conn| {
        db::in_transaction(conn, |tx| api_keys::insert(tx, &tenant, "test", role, &key, Default::default()))
    });
    made.expect("a key");
    key
}
