//! The cache over several database nodes, each of which logs the changes of its own rows. Two databases stand for two nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rapport::background::Supervisor;
use rapport::base::error::Result;
use rapport::cache::{Cache, CacheQuery, CacheTag, ComputedResponse, Key, Source};
use uuid::Uuid;

use crate::support::{Database, configuration, open_db, redis};

/// A cache, as one process has it.
fn open(nodes: &[&Database], redis: Option<&str>) -> Arc<Cache> {
    let given = redis.map(|url| ["--redis-url", url]);
    let config = configuration(given.as_ref().map_or(&[], |given| given));
    let urls: Vec<String> = nodes.iter().map(|node| node.url.clone()).collect();
    let guard = open_db(nodes[0], &[]).guard().clone();
    let cache = Cache::open(&config.cache, &config.redis, &urls, 7, &Supervisor::default(), guard).expect("a cache");
    let cache = Arc::new(cache);
    cache.keep_connected(&Supervisor::default());
    cache
}

/// Reads a row of leads, which has this `value` in the database. Returns what is shown, and where it comes from.
async fn read(cache: &Arc<Cache>, business: Uuid, value: u32) -> Result<(u32, &'static str)> {
    let id = Uuid::from_u128(1);
    let key =
        Key { business, role: "owner", restricted_to: None, resource: "leads", query: format!("one {id}").into() };
    let tags = CacheTag::rows(business, "leads", [id]);
    let query = CacheQuery { key: &key, tags: &tags, ttl: Duration::from_secs(60) };
    let round = cache.round().await?;
    let compute = || async move {
        Ok(ComputedResponse { body: value.to_string().into_bytes(), etag: "\"1\"".into(), tags: Vec::new() })
    };
    let (entry, source) = cache.get_or_compute(query, round, None, compute).await?;
    let source = match source {
        Source::Local => "local",
        Source::Redis => "redis",
        _ => "computed",
    };
    Ok((std::str::from_utf8(&entry.body).expect("a text").parse().expect("a number"), source))
}

async fn outdates_entries_of_both_tiers() {
    let (one, other) = (Database::create(), Database::create());
    let (redis, business) = (redis(), Uuid::now_v7());
    let process = async || {
        let cache = open(&[&one, &other], redis.as_deref());
        let began = Instant::now();
        while cache.redis().is_some_and(|redis| !redis.is_connected()) {
            assert!(began.elapsed() < Duration::from_secs(20), "Redis is not connected");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cache
    };
    let read = async |cache: &Arc<Cache>, value| read(cache, business, value).await;
    let cache = process().await;
    assert_eq!(read(&cache, 1).await.expect("a response"), (1, "computed"));
    for (value, changed) in (1..).zip([&one, &other, &one, &other]) {
        assert_eq!(read(&cache, value).await.expect("a response"), (value, "local"));
        let began = Instant::now();
        // Entries are stored in Redis in the background.
        while redis.is_some() && read(&process().await, value).await.expect("a response") != (value, "redis") {
            assert!(began.elapsed() < Duration::from_secs(20), "no entry of Redis is used");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        changed.run(&format!("SELECT rapport_log_all('{business}', 'leads')"));
        assert_eq!(read(&process().await, value + 1).await.expect("a response"), (value + 1, "computed"));
        assert_eq!(read(&cache, value + 1).await.expect("a response").0, value + 1);
    }
    // Nothing is known of a node that does not answer.
    let allow = |does: bool| one.run(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS {does}", other.name()));
    allow(false);
    one.run(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", other.name()));
    assert!(read(&cache, 5).await.is_err());
    allow(true);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(read(&cache, 5).await.expect("a response").0, 5);
}

#[test]
fn change_on_any_node_outdates_entries_of_both_tiers() {
    actix_web::rt::System::new().block_on(outdates_entries_of_both_tiers());
}
