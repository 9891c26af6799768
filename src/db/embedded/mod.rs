//! A private PostgreSQL server for installations without `DATABASE_URL`: found on the machine (`binaries`), initialised once
//! under the state folder, reachable through a Unix socket only, and stopped with the service (`server`). `postmaster` runs
//! its process, as the user that `os_user` chooses; `orphans` ends one that a killed service has left.

mod binaries;
mod error;
mod orphans;
mod os_user;
mod postmaster;
mod secret_file;
mod server;
mod state_lock;

pub use self::binaries::Binaries;
pub use self::error::Error;
pub use self::postmaster::Durability;
pub use self::secret_file::write_secret;
pub use self::server::{Absent, Embedded};
