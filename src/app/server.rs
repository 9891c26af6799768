//! The lifecycle of the service: start, serve, drain, stop.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::header;
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::{self, Data};
use actix_web::{HttpResponse, HttpServer};
use tokio::signal::unix::{SignalKind, signal};

use crate::analytics;
use crate::app::app_data::AppData;
use crate::app::background_tasks;
use crate::app::config::Metrics;
use crate::app::registry::RESOURCES;
use crate::app::routes;
use crate::app::state::AppState;
use crate::background::{Lifecycle, Outcome, Pulse, Task};
use crate::base::options::cores;
use crate::base::telemetry::metrics;
use crate::db::ClosedReason;
use crate::http::middleware::handle;
use crate::http::rate_limit::limiter::RateLimiter;
use crate::http::{connections, cors};
use crate::integrations::events::{EventReader, EventRegistry};
use crate::monitoring::catalogue_check::CatalogueCheck;
use crate::monitoring::heartbeat::Heartbeat;
use crate::monitoring::metrics_page;
use crate::monitoring::pooler_watch::PoolerWatch;
use crate::resource::{self, ReadService};

/// A server that accepts connections.
pub struct Running {
    pub address: SocketAddr,
    pub metrics_address: Option<SocketAddr>,
    pub app: Arc<AppState>,
    handles: Vec<ServerHandle>,
    servers: Vec<actix_web::dev::Server>,
}

/// Binds and starts serving. Readiness fails, and requests are refused, until the database is migrated and intact.
/// Errors: an address that cannot be bound, explained.
pub fn start(app: AppState) -> std::io::Result<Running> {
    let app = Arc::new(app);
    let listener = bind(app.config.server.bind, "RAPPORT_BIND")?;
    let address = listener.local_addr()?;
    let mut servers = vec![api(app.clone(), listener)?];
    let metrics_address = match app.config.server.metrics_bind {
        Metrics::Off => None,
        Metrics::On(address) => {
            let listener = bind(address, "RAPPORT_METRICS_BIND")?;
            let address = listener.local_addr()?;
            servers.push(metrics_page(app.clone(), listener)?);
            Some(address)
        }
    };
    let handles = servers.iter().map(actix_web::dev::Server::handle).collect();
    spawn_common_tasks(&app);
    if app.config.background.background_tasks {
        background_tasks::spawn_all(&app);
    }
    RateLimiter::keep_up(&app.rate_limiter, &app.supervisor);
    Ok(Running { address, metrics_address, app, handles, servers })
}

/// Binds only `/metrics` and the probes, and runs the background tasks. Errors: an address that cannot be bound,
/// explained; no address for the probes.
pub fn start_worker(app: AppState) -> std::io::Result<Running> {
    let app = Arc::new(app);
    let Metrics::On(address) = app.config.server.metrics_bind else {
        return Err(std::io::Error::other("a worker answers its probes at RAPPORT_METRICS_BIND, which is off"));
    };
    let listener = bind(address, "RAPPORT_METRICS_BIND")?;
    let address = listener.local_addr()?;
    let servers = vec![metrics_page(app.clone(), listener)?];
    let handles = servers.iter().map(actix_web::dev::Server::handle).collect();
    spawn_common_tasks(&app);
    background_tasks::spawn_all(&app);
    Ok(Running { address, metrics_address: Some(address), app, handles, servers })
}

/// Starts the tasks that every process has.
fn spawn_common_tasks(app: &Arc<AppState>) {
    app.db.guard().set(Some(ClosedReason::Starting));
    let checking = app.clone();
    app.supervisor.spawn(Task::named("catalogue check"), move |pulse| keep_checking(checking.clone(), pulse));
    let watch = pooler_watch(app);
    app.supervisor.spawn(Task::named("pooler watch"), move |pulse| watch.clone().run(pulse));
    app.supervisor.spawn(Task::named("metrics"), metrics::keep_up);
    let heartbeat = Heartbeat {
        db: app.db.clone(),
        cache: app.cache.clone(),
        lifecycle: app.lifecycle.clone(),
        readiness_after_seconds: app.config.monitoring.readiness_after_seconds,
        statement_timeout: Duration::from_millis(app.config.pool.statement_timeout_ms),
    };
    app.supervisor.spawn(Task::named("database heartbeat"), move |pulse| heartbeat.clone().run(pulse));
    analytics::delta_age_task(app.db.clone()).spawn(&app.supervisor, &app.lifecycle);
    if let Some(cache) = &app.cache {
        cache.keep_connected(&app.supervisor);
    }
}

impl Running {
    /// Serves until SIGTERM or SIGINT, then drains and stops: readiness fails first, serving continues for the drain,
    /// and requests in flight finish within the grace.
    pub async fn until_told_to_stop(self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (app, handles) = (self.app.clone(), self.handles.clone());
        let stopper = async move {
            let drain = tokio::select! {
                _ = terminate.recv() => app.config.server.shutdown_drain_seconds,
                // A stop from a terminal has no load balancer that must notice.
                _ = interrupt.recv() => 0,
            };
            app.lifecycle.set_draining();
            tracing::info!(drain_seconds = drain, "stopping");
            tokio::time::sleep(Duration::from_secs(drain)).await;
            futures_util::future::join_all(handles.iter().map(|handle| handle.stop(true))).await;
        };
        let serving = futures_util::future::try_join_all(self.servers);
        let (served, ()) = tokio::join!(serving, stopper);
        tracing::info!("stopped");
        served.map(|_| ())
    }

    /// Returns the servers themselves, for callers that do not wait for signals.
    pub fn split(self) -> (Vec<ServerHandle>, Vec<actix_web::dev::Server>) {
        (self.handles, self.servers)
    }
}

fn bind(address: SocketAddr, option: &str) -> std::io::Result<TcpListener> {
    let bound = TcpListener::bind(address);
    bound.map_err(|error| std::io::Error::new(error.kind(), format!("cannot listen on {address} ({option}): {error}")))
}

fn api(app: Arc<AppState>, listener: TcpListener) -> std::io::Result<actix_web::dev::Server> {
    let timeouts = connections::Timeouts {
        head: Duration::from_millis(app.config.http.header_timeout_ms),
        write: Duration::from_millis(app.config.http.write_timeout_ms),
        keep_alive: Duration::from_secs(app.config.http.keep_alive_seconds),
    };
    let workers = connections::Workers {
        threads: app.config.http.http_workers.unwrap_or_else(cores),
        shutdown_grace_seconds: app.config.http.shutdown_grace_seconds,
    };
    let data = AppData::open(&app)?;
    supervise_reads(&app, &data);
    let origins = app.config.http.cors_origins.clone();
    connections::serve(listener, timeouts, workers, move || {
        actix_web::App::new()
            .configure(|config| data.register(config))
            .wrap(Condition::new(!origins.is_empty(), cors::cors(&origins)))
            .wrap(from_fn(handle))
            .configure(routes::configure)
    })
}

/// Starts the tasks that support the reads of requests.
fn supervise_reads(app: &Arc<AppState>, data: &AppData) {
    let supervisor = &app.supervisor;
    if data.reads.refreshes {
        let (reads, period) = (data.reads.clone(), Duration::from_millis(app.config.reads.cache_refresh_ms));
        let refresh = move |pulse| resource::cache_refresh::refresh(reads.clone(), period, pulse);
        supervisor.spawn(Task::named("cache refresh"), refresh);
    }
    let (lifecycle, reads) = (app.lifecycle.clone(), data.reads.clone());
    let warm_up = move |_| warm_up_once_ready(lifecycle.clone(), reads.clone());
    supervisor.spawn(Task::named("cache warm-up"), warm_up);
    let single_reads = data.reads.clone();
    supervisor.spawn(Task::required("row loader"), move |pulse| {
        let reads = single_reads.clone();
        async move { reads.row_loader.reject_late(&pulse).await }
    });
    let reader = EventReader {
        broadcaster: data.broadcaster.clone(),
        registry: EventRegistry::from_resources(&RESOURCES),
        lifecycle: app.lifecycle.clone(),
        waker: app.event_waker.clone(),
    };
    supervisor.spawn(Task::named("event streams"), move |pulse| reader.clone().run(pulse));
    if app.cache.as_ref().is_some_and(|cache| cache.redis().is_some()) {
        let relay = data.signal_relay.clone();
        supervisor.spawn(Task::named("event signals"), move |pulse| relay.as_ref().clone().run(pulse));
    }
    let (lifecycle, waiters) = (app.lifecycle.clone(), data.claim_waiters.clone().into_inner());
    supervisor.spawn(Task::named("waiting claims"), move |pulse| waiters.clone().run(lifecycle.clone(), pulse));
}

async fn warm_up_once_ready(lifecycle: Arc<Lifecycle>, reads: Data<ReadService>) -> Outcome {
    while !lifecycle.is_started() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    resource::cache_refresh::warm_up(reads, &RESOURCES).await;
    Ok(())
}

fn metrics_page(app: Arc<AppState>, listener: TcpListener) -> std::io::Result<actix_web::dev::Server> {
    let lifecycle = Data::from(app.lifecycle.clone());
    let server = HttpServer::new(move || {
        let app = app.clone();
        let page = move || std::future::ready(render_metrics(&app));
        // The probes as well: a worker has no other page, and a scraper may use one address for both.
        let metrics = actix_web::App::new().app_data(lifecycle.clone()).route("/metrics", web::get().to(page));
        metrics.configure(routes::probes)
    });
    Ok(server.workers(1).shutdown_timeout(1).disable_signals().listen(listener)?.run())
}

fn render_metrics(app: &AppState) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(metrics_page::render(&app.db, app.cache.as_deref(), app.lifecycle.is_ready()))
}

/// Waits until the database is migrated and intact, and keeps checking that it is.
async fn keep_checking(app: Arc<AppState>, pulse: Pulse) -> Outcome {
    let check = CatalogueCheck {
        db: app.db.clone(),
        cache: app.cache.clone(),
        lifecycle: app.lifecycle.clone(),
        period: Duration::from_secs(app.config.monitoring.catalogue_check_seconds),
    };
    let fingerprint = check.until_intact().await;
    if !app.lifecycle.is_started() {
        pooler_watch(&app).check().await;
        app.lifecycle.set_ready();
        tracing::info!(ms = app.lifecycle.began.elapsed().as_millis() as u64, "ready");
    }
    check.watch(fingerprint, pulse).await
}

fn pooler_watch(app: &AppState) -> PoolerWatch {
    PoolerWatch { db: app.db.clone(), lifecycle: app.lifecycle.clone() }
}
