//! Tests of the metrics page with Prometheus' own linter.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use rapport::auth::{Role, Tenant};
use rapport::{db, identity::api_keys};
use serde_json::json;

use crate::support::{Client, Database, Program, make_business, redis, until};

/// Units that a name must not have, before `_total`: Prometheus wants seconds, bytes, and ratios.
const NO_BASE_UNITS: [&str; 14] = [
    "ms",
    "millis",
    "milliseconds",
    "us",
    "micros",
    "microseconds",
    "ns",
    "minutes",
    "hours",
    "days",
    "kb",
    "mb",
    "kilobytes",
    "percent",
];

#[test]
fn metrics_page_passes_prometheus_lint() {
    let database = Database::create();
    let business = make_business(&database, "acme");
    let key = api_keys::generate().expect("a key");
    let tenant = Tenant::for_operator(business);
    db::in_transaction(&mut database.connect(), |tx| {
        api_keys::insert(tx, &tenant, "test", Role::Owner, &key, Default::default())
    })
    .expect("a key");
    let redis = redis();
    let mut settings = vec![("DATABASE_URL", database.url.as_str()), ("RAPPORT_RATE_LIMIT_ADDRESS", "1")];
    settings.extend(redis.as_deref().map(|url| ("REDIS_URL", url)));
    let program = Program::serve(&settings);
    program.until_ready();
    let api = program.client(&key);
    // Produces metrics of each kind: writes, hits, errors, jobs, an email that cannot be sent, a client that speaks no
    // HTTP.
    api.make("leads", json!({ "title": "One" }));
    (0..3).for_each(|_| drop(api.get("leads").expect(200)));
    api.get("leads?nonsense=1").expect(400);
    (0..20).for_each(|_| drop(program.client("").get("leads")));
    api.post("leads/bulk-operations", json!({ "action": "delete", "filter": {} }));
    let mut stranger = std::net::TcpStream::connect(program.address).expect("a connection");
    stranger.write_all(b"\x16\x03\x01\x02").expect("room");
    // A message that a loopback takes, and what is due in the queues of channels.
    let channel = api.make("channels", json!({ "kind": "loopback", "name": "Trial" }));
    let talk = json!({ "channel": "whatsapp", "channel_id": channel, "address": "+4915112345678" });
    let thread = api.make("conversations", talk);
    api.create(&format!("conversations/{thread}/messages"), json!({ "body": "/photo" }));
    let page = || Client::new(program.metrics, "").get("/metrics").expect(200).text;
    for line in [
        "rapport_messages_handed_over_total{outcome=\"accepted\"} 1",
        "rapport_media_fetches_total{outcome=\"stored\"} 1",
        "rapport_channel_backlog{queue=\"inbound\"}",
        "rapport_channel_backlog_age_seconds{queue=\"media\"}",
    ] {
        until(line, || page().contains(line));
    }
    until("the connection has ended", || page().contains("rapport_http_connections_ended_total"));
    let page = page();

    let (mut help, mut kind) = (BTreeMap::new(), BTreeMap::new());
    let mut samples = Vec::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["#", "HELP", name, text @ ..] => drop(help.insert((*name).to_owned(), text.join(" "))),
            ["#", "TYPE", name, of] => drop(kind.insert((*name).to_owned(), (*of).to_owned())),
            _ => samples.push(line.split(['{', ' ']).next().unwrap_or_default().to_owned()),
        }
    }
    let mut faults = Vec::new();
    for (name, of) in &kind {
        let mut check = |good: bool, fault: &str| {
            if !good {
                faults.push(format!("{name} ({of}): {fault}"));
            }
        };
        check(name.starts_with("rapport_"), "does not begin with the service's name");
        check(help.get(name).is_some_and(|text| !text.is_empty()), "has no HELP");
        check((of == "counter") == name.ends_with("_total"), "counters, and they alone, end in _total");
        check(matches!(of.as_str(), "counter" | "gauge" | "histogram"), "a summary cannot be aggregated over replicas");
        let base = name.trim_end_matches("_total");
        check(NO_BASE_UNITS.iter().all(|unit| !base.ends_with(&format!("_{unit}"))), "is in no base unit");
        check(
            ["_count", "_sum", "_bucket", "_info"].iter().all(|end| !name.ends_with(end)),
            "ends in what histograms end in",
        );
    }
    for sample in &samples {
        let known = |end: &str| sample.strip_suffix(end).is_some_and(|base| kind.contains_key(base));
        if !["", "_bucket", "_sum", "_count"].iter().any(|end| known(end)) {
            faults.push(format!("{sample}: has no TYPE"));
        }
    }
    assert!(kind.len() > 25, "{} metrics: the service did little", kind.len());
    assert!(faults.is_empty(), "{}\n{page}", faults.join("\n"));
    for name in
        ["rapport_cache_inconsistent_total", "rapport_cache_validation_seconds", "rapport_http_connections_ended_total"]
    {
        assert!(kind.contains_key(name), "no {name} in\n{page}");
    }

    // The linter itself, if Prometheus is installed (Debian: prometheus).
    let Ok(mut linter) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        println!("skipped: there is no promtool on this machine");
        return;
    };
    linter.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("room");
    let output = linter.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
