//! Hands what is no event of the log to the event streams of all processes: to those of this process at once, to the others through Redis, which
//! each reads while it has streams. Without Redis it reaches the streams of this process only.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use deadpool_redis::redis::cmd;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::batch::Batch;
use super::broadcaster::Broadcaster;
use super::event_types::{About, EventRegistry};
use crate::background::{Outcome, Pulse, detach};
use crate::base::error::{Error, Result};
use crate::cache::RedisTier;

/// How often signals of other processes are looked for: who is shown as typing is shown for seconds.
const PERIOD: Duration = Duration::from_millis(300);
/// Limit of an answer of Redis. What it does not take in time is lost, as signals may be.
const TIMEOUT: Duration = Duration::from_millis(200);
/// Signals that Redis keeps: far more than come within [`PERIOD`].
const MAX_KEPT: usize = 1_000;
/// How long Redis keeps them when no more come, in seconds.
const RETENTION_SECONDS: usize = 60;

/// A signal on its way to other processes.
#[derive(Serialize, Deserialize)]
struct Relayed {
    /// The process that has sent it, to its own streams too.
    process: Uuid,
    business: Uuid,
    /// Plural of the resource of the row that it is about.
    resource: String,
    row: Uuid,
    name: String,
    json: String,
}

/// One entry of a stream of Redis: its id, and its only field with its value.
type Entry = (String, (String, String));

#[derive(Clone)]
pub struct SignalRelay {
    broadcaster: Data<Broadcaster>,
    registry: EventRegistry,
    redis: Option<Arc<RedisTier>>,
    /// Name of the stream in Redis.
    key: String,
    process: Uuid,
}

impl SignalRelay {
    /// `prefix` begins the names of all that the installation has in Redis.
    pub fn new(
        broadcaster: Data<Broadcaster>,
        registry: EventRegistry,
        redis: Option<Arc<RedisTier>>,
        prefix: &str,
    ) -> Self {
        Self { broadcaster, registry, redis, key: format!("{prefix}signals"), process: Uuid::now_v7() }
    }

    /// Sends `json` as an event `name` to those who would be sent a change of the row `row`. Errors: 500.
    pub fn send(
        &self,
        business: Uuid,
        (resource, row): (&'static str, Uuid),
        name: &'static str,
        json: String,
    ) -> Result<()> {
        let resource = resource.to_owned();
        let relayed = Relayed { process: self.process, business, resource, row, name: name.to_owned(), json };
        self.signal(&relayed);
        let Some(redis) = self.redis.clone() else { return Ok(()) };
        let text = serde_json::to_string(&relayed).map_err(|error| Error::Internal(error.to_string()))?;
        let key = self.key.clone();
        detach("signal to other processes", async move {
            let mut add = cmd("XADD");
            add.arg(&key).arg("MAXLEN").arg("~").arg(MAX_KEPT).arg("*").arg("signal").arg(text);
            if redis.ask::<String>(&add, TIMEOUT).await.is_some() {
                redis.ask::<i64>(cmd("EXPIRE").arg(&key).arg(RETENTION_SECONDS), TIMEOUT).await;
            }
        });
        Ok(())
    }

    /// Gives a signal to the streams of this process.
    fn signal(&self, relayed: &Relayed) {
        let Some(event_type) = self.registry.stored(&relayed.resource, "updated") else { return };
        let about = About { event_type, row: relayed.row };
        let batch = Batch::signal(self.registry, about, &relayed.name, relayed.json.as_bytes());
        self.broadcaster.signal(relayed.business, batch);
    }

    /// Reads the signals of other processes, as long as this one lives.
    pub async fn run(self, pulse: Pulse) -> Outcome {
        let Some(redis) = self.redis.clone() else { return Ok(()) };
        // The id of the last one that was seen; `None` while nobody listens.
        let mut last: Option<String> = None;
        loop {
            tokio::time::sleep(PERIOD).await;
            pulse.succeeded();
            last = match last {
                _ if self.broadcaster.streams() == 0 => None,
                None => self.newest(&redis).await,
                Some(last) => Some(self.read(&redis, last).await),
            };
        }
    }

    /// Returns the id of the newest signal; `None` when Redis does not answer.
    async fn newest(&self, redis: &RedisTier) -> Option<String> {
        let mut range = cmd("XREVRANGE");
        range.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1);
        let newest = redis.ask::<Vec<Entry>>(&range, TIMEOUT).await?;
        Some(newest.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id))
    }

    /// Gives the signals after `last` to the streams of this process. Returns the id of the last one.
    async fn read(&self, redis: &RedisTier, last: String) -> String {
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(MAX_KEPT).arg("STREAMS").arg(&self.key).arg(&last);
        let streams = redis.ask::<Option<Vec<(String, Vec<Entry>)>>>(&read, TIMEOUT).await.flatten();
        let mut reached = last;
        for (id, (_, text)) in streams.into_iter().flatten().flat_map(|(_, entries)| entries) {
            reached = id;
            // (One that cannot be read is of another release.)
            if let Ok(relayed) = serde_json::from_str::<Relayed>(&text)
                && relayed.process != self.process
            {
                self.signal(&relayed);
            }
        }
        reached
    }
}
