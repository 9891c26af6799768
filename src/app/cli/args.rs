//! The commands and their options. Every option is also an environment variable.

use clap::{Parser, Subcommand};

use crate::app::config::Config;
use crate::app::openapi::SpecVersion;
use crate::auth::Role;
use crate::db::DatabaseArgs;
use crate::integrations::import;

/// Rapport: a CRM back end
#[derive(Parser, Debug)]
#[command(version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serves the API; without DATABASE_URL on a private PostgreSQL with a demo business
    Serve(Box<Config>),
    /// Runs background tasks (events, webhooks, imports and other jobs), and answers probes and `/metrics` at
    /// RAPPORT_METRICS_BIND; any number of these may run
    Worker(Box<Config>),
    /// Brings the database to this binary's schema, and repairs what its catalogue lacks (triggers, policies, grants, …)
    Migrate(DatabaseArgs),
    /// Fills the database with a demo business, or with the dataset of the benchmarks
    Seed {
        #[command(flatten)]
        database: DatabaseArgs,
        /// Size of the benchmarks' dataset: 1 is 50 businesses, 100,000 leads and a million messages
        #[arg(long, env = "RAPPORT_SEED_SCALE")]
        scale: Option<f64>,
    },
    /// Prints the OpenAPI document
    Openapi {
        /// Version of the OpenAPI specification
        #[arg(long, value_enum, default_value_t)]
        version: SpecVersion,
    },
    /// Loads companies or contacts from a CSV file through the validation of the API
    Import(import::cli::Arguments),
    /// Makes API keys
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Manages users
    #[command(subcommand)]
    User(UserCommand),
    /// Looks after the statistics
    #[command(subcommand)]
    Statistics(StatisticsCommand),
    /// Exits 0 if the service at RAPPORT_BIND is ready; for container health checks
    Health {
        /// Address of the API
        #[arg(long, env = "RAPPORT_BIND", default_value = "127.0.0.1:8080")]
        bind: std::net::SocketAddr,
    },
}

#[derive(Subcommand, Debug)]
pub enum ApiKeyCommand {
    /// Makes a key and prints it as the last word
    Create {
        #[command(flatten)]
        database: DatabaseArgs,
        /// Slug of the business
        #[arg(long)]
        business: String,
        /// What the key may do
        #[arg(long)]
        role: Role,
        /// What the key is for
        #[arg(long, default_value = "command line")]
        name: String,
        /// Makes the business if there is none of that slug
        #[arg(long)]
        create_business: bool,
    },
}

#[derive(Subcommand, Debug)]
pub enum UserCommand {
    /// Makes a person a member of a business; prints a first password as the last word, unless one is given
    Create {
        #[command(flatten)]
        database: DatabaseArgs,
        /// Slug of the business
        #[arg(long)]
        business: String,
        /// What they sign in with
        #[arg(long)]
        email: String,
        /// As others see them
        #[arg(long)]
        name: String,
        /// What they may do
        #[arg(long)]
        role: Role,
        /// Reads the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
        /// Makes the business if there is none of that slug
        #[arg(long)]
        create_business: bool,
    },
}

#[derive(Subcommand, Debug)]
pub enum StatisticsCommand {
    /// Compares every sum with a recount of the rows, in one snapshot; exits 1 if any differs. The service may run meanwhile
    Check {
        #[command(flatten)]
        database: DatabaseArgs,
        /// Slug of the business; all, when left out
        #[arg(long)]
        business: Option<String>,
        /// Corrects the sums that differ
        #[arg(long)]
        repair: bool,
    },
}
