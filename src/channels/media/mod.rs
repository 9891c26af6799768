//! Files of messages. `upload` takes those that members send, and `send_file` hands them to a channel; `fetches` knows which files of customers are to be fetched, `fetch_task`
//! fetches them (`fetch`: what a channel answers), and `store` keeps them. `download` gives them to front ends, `cleanup` deletes what nobody used. `kinds` has the limits of each kind.

pub mod cleanup;
mod download;
pub mod fetch;
pub mod fetch_task;
pub mod fetches;
pub mod http;
pub mod kinds;
pub mod send_file;
pub mod store;
mod upload;
