//! Every background task and every job type of a process, on one page.

use crate::analytics;
use crate::app::registry::RESOURCES;
use crate::app::state::AppState;
use crate::background::{BackgroundTask, JobType, LeaseConfig, Worker, analyze_tables, purge_jobs, trim_change_log};
use crate::channels::backlog;
use crate::channels::conversations;
use crate::channels::costs::late_rates::MESSAGE_COSTS;
use crate::channels::inbound;
use crate::channels::media;
use crate::channels::media::fetch_task::MediaFetcher;
use crate::channels::receipts::sender::ReceiptSender;
use crate::channels::sending::sender::{SendSettings, Sender};
use crate::channels::sending::settlement;
use crate::channels::templates::sync_task::TemplateReader;
use crate::channels::worker_tasks;
use crate::crm::reminders::{self, Reminder};
use crate::crm::tasks;
use crate::http::idempotency;
use crate::integrations::bulk::BULK;
use crate::integrations::events::{EventRegistry, purge_events, sequencer};
use crate::integrations::import::cleanup;
use crate::integrations::import::job::IMPORT;
use crate::integrations::import::revert::REVERT;
use crate::integrations::webhooks::{Dispatcher, DispatcherSettings, RetrySchedule, purge_deliveries};
use crate::scheduling::bookings;

/// All job types.
static JOB_TYPES: [&JobType; 4] = [&BULK, &IMPORT, &REVERT, &MESSAGE_COSTS];

/// All reminders.
static REMINDERS: [&Reminder; 2] = [&tasks::REMINDER, &bookings::REMINDER];

/// Spawns all background tasks on this thread.
pub fn spawn_all(app: &AppState) {
    tasks(app).into_iter().for_each(|task| task.spawn(&app.supervisor, &app.lifecycle));
}

fn tasks(app: &AppState) -> [BackgroundTask; 26] {
    let (config, db) = (&app.config, || app.db.clone());
    let event_registry = EventRegistry::from_resources(&RESOURCES);
    let new_events = vec![app.event_waker.clone(), app.delivery_waker.0.clone()];
    let worker = Worker {
        db: db(),
        lifecycle: app.lifecycle.clone(),
        waker: app.job_waker.clone(),
        job_types: &JOB_TYPES,
        concurrency: config.background.job_concurrency as usize,
        lease: LeaseConfig {
            lease_seconds: config.background.job_lease_seconds,
            per_business: config.background.job_concurrency_per_business,
        },
    };
    let deliveries = DispatcherSettings {
        timeout_seconds: config.webhooks.webhook_timeout_seconds,
        retry_schedule: RetrySchedule(config.webhooks.webhook_retry_schedule.clone()),
        concurrency: config.webhooks.webhook_concurrency,
        concurrency_per_webhook: config.webhooks.webhook_concurrency_each,
        disable_after_hours: config.webhooks.webhook_disable_after_hours,
    };
    let templates = TemplateReader::new(db(), app.channel_directory.clone(), app.graph.clone());
    let receipts = ReceiptSender::new(db(), app.channel_directory.clone(), app.adapters.clone());
    let dispatcher = Dispatcher::new(db(), app.egress.clone(), event_registry, app.delivery_waker.clone(), deliveries);
    [
        sequencer::task(db(), event_registry, new_events),
        purge_events::task(db(), config.events.events_retention_days),
        dispatcher.task(),
        purge_deliveries::task(db(), config.events.events_retention_days),
        idempotency::purge_task(db()),
        worker.task(),
        purge_jobs::task(db(), config.background.jobs_retention_days, &JOB_TYPES),
        cleanup::task(db(), config.imports.import_retention_days),
        analyze_tables::task(db()),
        trim_change_log::task(db()),
        reminders::task(db(), &REMINDERS),
        analytics::fold_task(db()),
        analytics::agent_snapshots_task(db()),
        bookings::booking_days_task(db()),
        app.inbound.clone().task(),
        sender(app).task(),
        settlement::task(db()),
        receipts.task(),
        conversations::window::task(db()),
        conversations::snooze::task(db()),
        worker_tasks::expiry::task(db()),
        inbound::purge::task(db(), config.channels.inbound_retention_days),
        templates.task(),
        MediaFetcher::new(db(), app.channel_directory.clone(), app.adapters.clone()).task(),
        media::cleanup::task(db()),
        backlog::task(db()),
    ]
}

/// What hands messages to channels.
fn sender(app: &AppState) -> Sender {
    let settings = SendSettings {
        concurrency: app.config.channels.send_concurrency,
        concurrency_per_channel: app.config.channels.send_concurrency_per_channel,
    };
    Sender::new(app.db.clone(), app.channel_directory.clone(), app.adapters.clone(), app.send_waker.clone(), settings)
}
