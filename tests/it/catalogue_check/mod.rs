//! The database's catalogue against what the binary needs: each kind of damage is named by `serve`, repaired or named with
//! the commands by `migrate`, and noticed while the service runs.

mod expected;
mod newer;
mod repair;
mod running;
mod server;
mod sessions;
mod waits;
