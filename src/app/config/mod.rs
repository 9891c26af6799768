//! The configuration: every option is a flag and an environment variable, has a default, and is validated before
//! anything starts. `rapport serve --help` is the reference. `config` joins the options of all components, `server_args`
//! has those of the process itself, `environment` reads variables and secret files, `variables` rejects unknown names.

mod config;
mod environment;
mod server_args;
mod variables;

pub use self::config::Config;
pub use self::environment::{environment_faults, read_secret_files, unset_empty};
pub use self::server_args::{Metrics, ServerArgs};
pub use self::variables::unknown_variables;
