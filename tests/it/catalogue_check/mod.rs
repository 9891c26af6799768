//! Tests of the catalogue check: `serve` names each kind of damage to the database's schema, `migrate` repairs it or
//! prints the commands, and a running service detects it.

mod expected;
mod newer;
mod repair;
mod running;
mod server;
mod sessions;
mod waits;
