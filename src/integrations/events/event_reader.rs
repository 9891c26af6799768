//! Reads new events for all streams of this process, and gives them to the broadcaster.

use std::collections::HashSet;
use std::sync::Arc;

use actix_web::web::Data;
use diesel::QueryableByName;
use uuid::Uuid;

use super::batch::Batch;
use super::broadcaster::Broadcaster;
use super::event_types::EventRegistry;
use super::stored_event::{COLUMNS, Event, StoredEvent};
use crate::background::{Lifecycle, LogLimiter, Outcome, Pulse, Waker};
use crate::base::error::Result;
use crate::db::Statement;
use crate::db::schema::events;

/// Events of one business per read.
const MAX_BATCH: u32 = 500;
/// Businesses per query. When more have subscribers, those without new events are left out first.
const MAX_CONCURRENT_READS: usize = 16;

/// A new event and its business.
#[derive(QueryableByName)]
#[diesel(table_name = events)]
struct NewEvent {
    business_id: Uuid,
    #[diesel(embed)]
    event: StoredEvent,
}

#[derive(Clone)]
pub struct EventReader {
    pub broadcaster: Data<Broadcaster>,
    pub registry: EventRegistry,
    pub lifecycle: Arc<Lifecycle>,
    /// Ends a pause early: this process has sequenced events.
    pub waker: Waker,
}

impl EventReader {
    /// Reads until the process drains, then ends all streams.
    pub async fn run(self, pulse: Pulse) -> Outcome {
        let pause = self.broadcaster.settings.poll_period;
        let failures = LogLimiter::new();
        while !self.lifecycle.is_draining() {
            match self.read().await {
                Ok(more) => {
                    pulse.succeeded();
                    failures.recovered();
                    if more {
                        continue;
                    }
                }
                Err(error) => {
                    pulse.failed(error.to_string());
                    if let Some(suppressed) = failures.failed_with(&error) {
                        tracing::warn!(%error, suppressed, "events could not be read");
                    }
                }
            }
            let _ = tokio::time::timeout(pause, self.waker.woken()).await;
        }
        self.broadcaster.close();
        Ok(())
    }

    /// Reads and publishes new events. Queries: one for each [`MAX_CONCURRENT_READS`] businesses and at most one more,
    /// however many streams there are. Returns whether there may be more.
    async fn read(&self) -> Result<bool> {
        let mut subscribed = self.broadcaster.subscribed();
        if subscribed.len() > MAX_CONCURRENT_READS {
            subscribed = self.with_new_events(subscribed).await?;
        }
        let mut more = false;
        for some in subscribed.chunks(MAX_CONCURRENT_READS) {
            let mut sql = Statement::new("SELECT k.id AS business_id, ");
            sql.sql(COLUMNS).sql(" FROM unnest(");
            sql.bind(some.iter().map(|(business, _)| *business).collect::<Vec<_>>()).sql(", ");
            sql.bind(some.iter().map(|(_, reached)| *reached).collect::<Vec<_>>()).sql(
                ") AS k (id, after) CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.business_id = k.id \
                 AND e.sequence > k.after ORDER BY e.sequence LIMIT ",
            );
            sql.number(MAX_BATCH).sql(
                ") e LEFT JOIN audit_log a ON a.business_id = e.business_id AND a.id = e.id ORDER BY k.id, e.sequence",
            );
            let db = self.broadcaster.db.unscoped();
            let rows = db.read("events_read", move |conn| Ok(sql.load::<NewEvent>(conn)?)).await?;
            for rows in rows.chunk_by(|a, b| a.business_id == b.business_id) {
                let ([NewEvent { business_id: business, .. }, ..], [.., newest]) = (rows, rows) else { continue };
                let Some((_, after)) = some.iter().find(|(known, _)| known == business) else { continue };
                let events = rows.iter().filter_map(|row| row.event.event(self.registry).transpose());
                let events = events.collect::<Result<Vec<Event>>>()?;
                more |= rows.len() == MAX_BATCH as usize;
                let batch = Batch::of(self.registry, *after, newest.event.sequence, events);
                self.broadcaster.publish(*business, batch);
            }
        }
        Ok(more)
    }

    /// Returns those of `subscribed` that have new events.
    async fn with_new_events(&self, subscribed: Vec<(Uuid, i64)>) -> Result<Vec<(Uuid, i64)>> {
        let mut sql = Statement::new("SELECT k.id FROM unnest(");
        sql.bind(subscribed.iter().map(|(business, _)| *business).collect::<Vec<_>>()).sql(", ");
        sql.bind(subscribed.iter().map(|(_, reached)| *reached).collect::<Vec<_>>());
        sql.sql(") AS k (id, after) WHERE (SELECT max(e.sequence) FROM events e WHERE e.business_id = k.id) > k.after");
        let db = self.broadcaster.db.unscoped();
        let moved = db.read("events_heads", move |conn| Ok(sql.scalars::<Uuid>(conn)?)).await?;
        let moved: HashSet<Uuid> = moved.into_iter().collect();
        Ok(subscribed.into_iter().filter(|(business, _)| moved.contains(business)).collect())
    }
}
