//! Rate limits: token buckets by credential and address, shared between processes through Redis.

pub mod args;
pub mod bucket;
pub mod bucket_map;
pub mod check;
pub mod limiter;
pub mod redis_sync;
