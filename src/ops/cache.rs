//! What operators see of the cache, and how they empty it.

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value as Json, json};

use crate::app::App;
use crate::auth::{Action, Area};
use crate::cache::Counts;
use crate::db::{Statement, Value};
use crate::error::{Error, Fault, Result};
use crate::http::caller::Caller;
use crate::nouns::NOUNS;

/// Counters per noun and in all, sizes, rounds, Redis.
pub async fn statistics(app: Data<App>, caller: Caller, _: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    caller.may(Area::Operations, Action::Read)?;
    let Some(cache) = &app.cache else {
        return Ok(HttpResponse::Ok().json(json!({ "enabled": false })));
    };
    let ttl = |plural: &str| {
        let noun = NOUNS.iter().find(|noun| noun.plural == plural);
        noun.map(|noun| noun.kept(&app.config.cache_ttl).as_secs())
    };
    let mut total = Counts::default();
    let mut nouns = serde_json::Map::new();
    for (noun, counts) in cache.counts() {
        total.add(&counts);
        let mut shown = shown(&counts);
        shown["ttl_seconds"] = json!(ttl(noun));
        nouns.insert(noun.to_owned(), shown);
    }
    let (entries, bytes) = cache.size();
    let redis = match cache.remote() {
        Some(remote) => json!(remote.state().await),
        None => json!({ "connected": false, "breaker": "off" }),
    };
    Ok(HttpResponse::Ok().json(json!({
        "enabled": true,
        "total": shown(&total),
        "nouns": nouns,
        "local": { "entries": entries, "bytes": bytes, "capacity_bytes": app.config.cache_bytes },
        "rounds": cache.round_counts(),
        "redis": redis,
    })))
}

fn shown(counts: &Counts) -> Json {
    let hits = counts.hits_local + counts.hits_redis;
    let asked = hits + counts.misses + counts.collapsed;
    let mut shown = json!(counts);
    shown["hit_rate"] = if asked == 0 { Json::Null } else { json!((hits as f64 / asked as f64 * 1e4).round() / 1e4) };
    shown
}

/// `{"noun":"leads"}`, or nothing for all: forgets the answers of the caller's business, on every replica at once, because
/// what moves is their versions.
pub async fn purge(app: Data<App>, caller: Caller, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.may(Area::Operations, Action::Write)?;
    let noun = asked_noun(&body)?;
    let tables: Vec<String> = match noun {
        Some(noun) => noun.reads().iter().map(|table| (*table).to_owned()).collect(),
        None => NOUNS.iter().flat_map(|noun| noun.reads()).map(|table| (*table).to_owned()).collect(),
    };
    let business = tenant.id();
    app.db
        .within(&tenant)
        .write("cache_purge", move |tx| {
            let mut sql = Statement::new("SELECT rapport_move_all(");
            sql.bind(Value::Uuid(Some(business)))
                .push(", t) FROM unnest(")
                .bind(Value::Texts(tables.clone()))
                .push(") t");
            Ok(sql.rows(tx)?.len())
        })
        .await?;
    let (local, redis) = match &app.cache {
        Some(cache) => cache.purge(Some(business), noun.map(|noun| noun.plural)).await,
        None => (0, Some(0)),
    };
    Ok(HttpResponse::Ok().json(json!({ "local": local, "redis": redis })))
}

fn asked_noun(body: &Bytes) -> Result<Option<&'static crate::noun::Noun>> {
    if body.is_empty() {
        return Ok(None);
    }
    let asked = crate::noun::body::json(body, 2)?;
    let Json::Object(members) = asked else {
        return Err(Error::malformed("not_an_object", "The body must be a JSON object."));
    };
    let mut faults = Vec::new();
    let mut found = None;
    for (name, value) in &members {
        match (name.as_str(), value) {
            ("noun", Json::String(plural)) => match NOUNS.iter().find(|noun| noun.plural == plural) {
                Some(noun) => found = Some(*noun),
                None => {
                    let hint = crate::noun::did_you_mean(plural, NOUNS.iter().map(|noun| noun.plural));
                    faults.push(Fault::new("/noun", "not_a_choice", format!("There is no noun `{plural}`.{hint}")));
                }
            },
            ("noun", _) => faults.push(Fault::new("/noun", "type", "`noun` must be a text.")),
            _ => faults.push(Fault::new(
                format!("/{name}"),
                "unknown_field",
                format!("There is no field `{name}`. Did you mean `noun`?"),
            )),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(Error::Invalid(faults)) }
}
