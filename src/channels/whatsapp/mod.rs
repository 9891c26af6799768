//! WhatsApp's Cloud API. `cloud_api` hands messages to it through the HTTP client `graph`; `media` uploads and fetches files; what belongs to a number is posted at its `phone_endpoint`. `error_codes` says what its errors mean. `webhook` receives what it delivers, signed as `signature` verifies. `webhook_body` takes a body apart, and
//! `webhook_item` reads each item (its `content`, the `webhook_peer`, what a `webhook_template` and a `webhook_preference` tell, JSON members by `webhook_members`) into what any channel reports.
//! `lenient_json` parses what PostgreSQL could not store, `safe_file_name` makes names of files harmless.

pub mod cloud_api;
pub mod content;
pub mod error_codes;
pub mod graph;
pub mod lenient_json;
mod media;
mod phone_endpoint;
pub mod safe_file_name;
pub mod signature;
pub mod webhook;
pub mod webhook_body;
mod webhook_call;
pub mod webhook_item;
mod webhook_members;
pub mod webhook_peer;
mod webhook_preference;
mod webhook_status;
mod webhook_template;
