//! The command line of the binary. Every option is also an environment variable; a wrong configuration stops the start,
//! with all errors at once.

mod api_key;
mod demo;
mod serve;
mod user;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::app::config::{Config, environment_faults, read_secret_files, unknown_variables, unset_empty};
use crate::app::{openapi, seed};
use crate::auth::Role;
use crate::base::error::BoxError;
use crate::db::DatabaseArgs;
use crate::db::database_target::DatabaseTarget;
use crate::db::embedded::Absent;
use crate::db::{migrate, pg_error};
use crate::integrations::import;

/// Rapport: a CRM back end
#[derive(Parser, Debug)]
#[command(version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serves the API; without DATABASE_URL on a private PostgreSQL with a demo business
    Serve(Box<Config>),
    /// Does what is done beside requests (events, webhooks, imports and other jobs), and answers probes and `/metrics` at
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
    Openapi,
    /// Loads companies or contacts from a CSV file through the validation of the API
    Import(import::cli::Arguments),
    /// Makes API keys
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Lets people in
    #[command(subcommand)]
    User(UserCommand),
    /// Exits 0 if the service at RAPPORT_BIND is ready; for container health checks
    Health {
        /// Address of the API
        #[arg(long, env = "RAPPORT_BIND", default_value = "127.0.0.1:8080")]
        bind: std::net::SocketAddr,
    },
}

#[derive(Subcommand, Debug)]
enum ApiKeyCommand {
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
enum UserCommand {
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

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let unread = read_secret_files();
    if !unread.is_empty() {
        return refuse(&unread);
    }
    let mut command = Cli::command();
    let asked = std::env::args().nth(1).unwrap_or_default();
    command.find_subcommand(&asked).into_iter().for_each(unset_empty);
    let environment = command.find_subcommand(&asked).map(environment_faults).unwrap_or_default();
    // Values that cannot be parsed are set aside, so that the rules between options are checked in the same run.
    for (option, _) in &environment {
        command = command.mut_subcommand(&asked, |command| command.mut_arg(option, |arg| arg.env(None::<&str>)));
    }
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    let mut faults: Vec<String> = environment.into_iter().map(|(_, fault)| fault).collect();
    // Neither reads the configuration that a misspelt name would be meant for.
    if !matches!(cli.command, Command::Openapi | Command::Health { .. }) {
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let environment = environment.map(|(name, value)| (name, value.to_string_lossy().into_owned()));
        faults.extend(unknown_variables(&Cli::command(), environment));
    }
    if let Command::Serve(config) | Command::Worker(config) = &cli.command {
        faults.extend(config.errors());
    }
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let done = match cli.command {
        Command::Serve(config) => serve::run(*config),
        Command::Worker(config) => serve::work(*config),
        Command::Migrate(database) => migrate(&database),
        Command::Seed { database, scale } => seed(&database, scale),
        Command::Openapi => {
            print!("{}", openapi::text());
            Ok(())
        }
        Command::Import(arguments) => import::cli::run(arguments),
        Command::ApiKey(ApiKeyCommand::Create { database, business, role, name, create_business }) => {
            api_key::create(&database, &business, role, &name, create_business)
        }
        Command::User(UserCommand::Create {
            database,
            business,
            email,
            name,
            role,
            password_stdin,
            create_business,
        }) => user::create(&database, &business, &user::Person { email, name, role }, password_stdin, create_business),
        Command::Health { bind } => health(bind),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rapport: {}", pg_error::explained(&*error));
            ExitCode::FAILURE
        }
    }
}

fn refuse(faults: &[String]) -> ExitCode {
    eprintln!("rapport: the configuration is wrong:");
    for fault in faults {
        eprintln!("  - {fault}");
    }
    ExitCode::from(2)
}

fn migrate(database: &DatabaseArgs) -> Result<(), BoxError> {
    let target = DatabaseTarget::open_beside(database, Absent::Create)?;
    println!("{}", migrate::run_telling(&target.url, &mut |sentence| eprintln!("{sentence}"))?);
    Ok(())
}

fn seed(database: &DatabaseArgs, scale: Option<f64>) -> Result<(), BoxError> {
    let target = DatabaseTarget::open_beside(database, Absent::Refuse)?;
    migrate::run(&target.url)?;
    let mut conn = target.connect()?;
    let made = match scale {
        Some(scale) if !(scale > 0.0 && scale <= 100.0) => {
            return Err("--scale is a number above 0, at most 100".into());
        }
        Some(scale) => seed::scale(&mut conn, scale, |step| println!("{step}"))?,
        None => seed::demo(&mut conn)?,
    };
    println!("{}", if made { "Done." } else { "The data is there already; nothing was changed." });
    Ok(())
}

/// Requests the readiness probe over plain TCP: the container image has no other HTTP client.
fn health(bind: std::net::SocketAddr) -> Result<(), BoxError> {
    use std::io::{Read, Write};
    let ip = if bind.ip().is_unspecified() { std::net::Ipv4Addr::LOCALHOST.into() } else { bind.ip() };
    let timeout = std::time::Duration::from_secs(2);
    let mut stream = std::net::TcpStream::connect_timeout(&(ip, bind.port()).into(), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"GET /health/readiness HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    if &answer == b"HTTP/1.1 200" { Ok(()) } else { Err("not ready".into()) }
}
