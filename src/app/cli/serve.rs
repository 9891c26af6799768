//! `rapport serve` and `rapport worker`: start the service, or only its background tasks.

use tokio::sync::oneshot;

use super::demo::{self, Demo};
use crate::app::config::Config;
use crate::app::registry::RESOURCES;
use crate::app::state::AppState;
use crate::app::{openapi, server};
use crate::base::error::BoxError;
use crate::base::telemetry::logging::{self, LogArgs, Logs};
use crate::channels::secrets::key_of_state_folder;
use crate::db::database_target::DatabaseTarget;
use crate::db::embedded::Absent;
use crate::db::migrate::Migrated;
use crate::db::{catalogue, connection_options, migrate, pooler};
use crate::http::access_log;
use crate::resource::did_you_mean;

pub fn run(mut config: Config) -> Result<(), BoxError> {
    if let Some((resource, _)) =
        config.reads.cache_ttl.iter().find(|(resource, _)| RESOURCES.iter().all(|known| known.plural != resource))
    {
        let hint = did_you_mean(resource, RESOURCES.iter().map(|known| known.plural));
        return Err(format!("RAPPORT_CACHE_TTL: there is no resource `{resource}`.{hint}").into());
    }
    let _logs = start_logs(&config.log)?;
    let target = DatabaseTarget::open(&config.database, Absent::Create)?;
    let on_embedded = target.embedded.is_some();
    if let Some(server) = target.embedded.as_ref().filter(|server| server.is_new) {
        tracing::info!(folder = %server.data.display(), "made a new database");
    }
    if config.server.migrate_on_start.unwrap_or(on_embedded) {
        tell(&migrate::run(&target.url)?);
    } else {
        refuse_damaged(&target.url)?;
    }
    let demo = if on_embedded { Some(demo::open(&target, config.server.dev_api_key.as_ref())?) } else { None };
    if on_embedded && config.channels.sealing_key.is_none() {
        let key = key_of_state_folder(&target.state);
        config.channels.sealing_key = Some(
            key.map_err(|error| format!("the key that seals secrets of channels cannot be read or made: {error}"))?,
        );
    }
    let app = AppState::open(config, &target.url, openapi::shape())?;
    let given_up = target.embedded.as_ref().map(|server| server.serve(app.lifecycle.clone()));
    actix_web::rt::System::new().block_on(async move {
        let running = server::start(app)?;
        let address = running.address;
        println!("Rapport is listening on http://{address}");
        if let Some(server) = &target.embedded {
            let new = if server.is_new { "  a NEW one, made by this start; RAPPORT_STATE_DIR names another folder" } else { "" };
            println!("  database  {}{new}", server.data.display());
        }
        println!("  explore   http://{address}/docs/");
        if let Some(metrics) = running.metrics_address {
            println!("  metrics   http://{metrics}/metrics");
        }
        if let Some(Demo { key, password, people }) = demo {
            let people: Vec<String> = people.iter().map(|(email, role)| format!("{email} ({role})")).collect();
            println!("  sign in   password {password}, as {}", people.join(", "));
            println!("  API key   {key}");
            println!("  try       curl -H 'Authorization: Bearer {key}' 'http://{address}/api/v1/leads?include=company&limit=3'");
        }
        let stopped = tokio::select! {
            stopped = running.until_told_to_stop() => stopped.map_err(BoxError::from),
            reason = embedded_is_lost(given_up) => Err(reason.into()),
        };
        // Dropped last: requests in flight needed the embedded server.
        drop(target);
        stopped
    })
}

fn start_logs(args: &LogArgs) -> Result<Logs, String> {
    let logs = logging::start(args)?;
    if let Some(writer) = &logs.json {
        access_log::write_json_to(writer.clone());
    }
    Ok(logs)
}

/// Completes with the reason when the embedded server cannot be restarted; never without one.
async fn embedded_is_lost(given_up: Option<oneshot::Receiver<String>>) -> String {
    match given_up {
        Some(told) => match told.await {
            Ok(reason) => format!("the embedded PostgreSQL cannot be restarted: {reason}"),
            // The watch has ended with the server: the process is stopping.
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Refuses to start on a database that lacks what this release needs. For one that is unreachable, not migrated or
/// locked, the service itself waits, and responds meanwhile. Errors: what is missing, and what to do.
fn refuse_damaged(url: &str) -> Result<(), BoxError> {
    match catalogue::inspect_at(&connection_options::with_timeouts(url)) {
        Ok(report) if !report.faults.is_empty() => Err(report.sentences().into()),
        _ => Ok(()),
    }
}

/// Logs what a migration at start has done.
fn tell(migrated: &Migrated) {
    if !migrated.ran.is_empty() || !migrated.repaired.is_empty() {
        tracing::info!("{migrated}");
    }
}

/// Runs `rapport worker`.
pub fn work(config: Config) -> Result<(), BoxError> {
    let Some(url) = config.database.database_url.clone() else {
        return Err("a worker shares its database with the service: set DATABASE_URL. (On its private server, the \
                    service does this work itself.)"
            .into());
    };
    let _logs = start_logs(&config.log)?;
    pooler::check(url.expose())?;
    refuse_damaged(url.expose())?;
    let app = AppState::open(config, url.expose(), openapi::shape())?;
    actix_web::rt::System::new().block_on(async move {
        let running = server::start_worker(app)?;
        println!("Rapport is working; its probes and metrics are at http://{}", running.address);
        Ok(running.until_told_to_stop().await?)
    })
}
