//! Test support: servers that the harness starts, a service per test, an HTTP client, fakes of external services.

mod cases;
mod client;
pub mod graph;
pub mod post;
mod program;
pub mod provider;
pub mod proxy;
pub mod receiver;
mod samples;
mod servers;
mod service;
pub mod small_buffers;
pub mod whatsapp;

pub use cases::for_cases;
pub use client::{Answer, Client};
pub use post::Post;
pub use program::Program;
pub use samples::{Samples, link_target, module_of};
pub use servers::{Database, OwnServer, folder, give_to_server, postgres_program, redis, scratch};
pub use service::{Service, configuration, make_business, make_key, open_app, open_db};

/// Waits until `holds` is true, for a minute at most.
#[track_caller]
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// A statement whose text a test puts together: it stays in memory until the tests end, because statements take static
/// text only.
pub fn statement(text: impl Into<String>) -> rapport::db::Statement {
    rapport::db::Statement::new(Box::leak(text.into().into_boxed_str()))
}

/// How often tests kill a process: more often with `RAPPORT_TEST_KILLS` (`make prove-operations`).
pub fn kills() -> usize {
    std::env::var("RAPPORT_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(2)
}
