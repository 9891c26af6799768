//! The application: what the binary does, and where all rooms are put together.

mod app_data;
pub mod background_tasks;
pub mod cli;
pub mod config;
pub mod explorer;
pub mod openapi;
pub mod registry;
pub mod routes;
pub mod seed;
pub mod server;
pub mod state;
