//! Who performs which services: members of staff without any perform all.
//!
//! `resource` defines the rows, `assignment` adds and removes them below `/staff/{id}/services`, `http` and `dto` are the operations.

mod assignment;
mod dto;
pub mod http;
mod resource;

pub use self::resource::STAFF_SERVICES;
