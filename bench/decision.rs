//! Measures one rate limit decision and its response headers: nanoseconds and allocations.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_web::http::header::HeaderMap;
use clap::Parser;
use rapport::app::config::Config;
use rapport::base::request_context::{CONTEXT, RateLimitKind, RequestContext};
use rapport::http::rate_limit::check as rate_limit_check;
use rapport::http::rate_limit::limiter::RateLimiter;
use uuid::Uuid;

/// The service's allocator, with a count of allocations.
struct Counting(mimalloc::MiMalloc);

static PIECES: AtomicU64 = AtomicU64::new(0);

// SAFETY: forwards to mimalloc; only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PIECES.fetch_add(1, Ordering::Relaxed);
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { self.0.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(mimalloc::MiMalloc);

/// Iterations per measurement; below the bucket's capacity, because a refusal costs more than an admission.
const TIMES: u64 = 900_000;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// Runs `work` `TIMES` times and prints nanoseconds and allocations per run.
fn measure(name: &str, mut work: impl FnMut(u64)) {
    (0..1_000).for_each(&mut work);
    let (pieces, began) = (PIECES.load(Ordering::Relaxed), Instant::now());
    (0..TIMES).for_each(work);
    let each = began.elapsed().as_nanos() as f64 / TIMES as f64;
    let pieces = (PIECES.load(Ordering::Relaxed) - pieces) as f64 / TIMES as f64;
    println!("{name:44} {each:6.0} ns {pieces:8.4} allocations");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { mut config } = Arguments::parse();
    (config.rate_limit.rate_limit, config.rate_limit.rate_burst) = (60_000_000, Some(1_000_000));
    let limits = RateLimiter::open(&config.rate_limit, &config.redis)?;
    let ids: Vec<Uuid> = (0..10_000).map(|_| Uuid::now_v7()).collect();
    ids.iter().for_each(|id| drop(limits.credential(RateLimitKind::Key, *id)));
    CONTEXT.sync_scope(RequestContext::new("-".into()), || {
        measure("one credential", |_| drop(black_box(limits.credential(RateLimitKind::Key, ids[0]))));
        measure("10,000 credentials", |number| {
            drop(black_box(limits.credential(RateLimitKind::Key, ids[number as usize % ids.len()])));
        });
        measure("one credential, with the two headers", |_| {
            drop(black_box(limits.credential(RateLimitKind::Key, ids[1])));
            let mut headers = HeaderMap::with_capacity(4);
            if let Some(quota) = CONTEXT.with(|context| context.quota.get()) {
                rate_limit_check::add_headers(&mut headers, &limits, quota);
            }
            black_box(&headers);
        });
        measure("(of that, a map of headers)", |_| {
            black_box(HeaderMap::with_capacity(4));
        });
    });
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (limits, id) = (&limits, ids[2]);
            scope.spawn(move || {
                let began = Instant::now();
                (0..TIMES / 2).for_each(|_| drop(black_box(limits.credential(RateLimitKind::Key, id))));
                println!(
                    "thread {thread} of 2 with the same credential {:9.0} ns",
                    began.elapsed().as_nanos() as f64 / (TIMES / 2) as f64
                );
            });
        }
    });
    Ok(())
}
