//! Runs a command. A wrong configuration stops the start, with all errors at once.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use super::args::{ApiKeyCommand, Cli, Command, StatisticsCommand, UserCommand};
use super::{api_key, health, migrate, seed, serve, statistics, user};
use crate::app::config::{environment_faults, read_secret_files, unknown_variables, unset_empty};
use crate::app::openapi;
use crate::app::registry;
use crate::base::zones;
use crate::db::pg_error;
use crate::integrations::import;

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    registry::install();
    let unread = read_secret_files();
    if !unread.is_empty() {
        return refuse(&unread);
    }
    // Clap reads a variable when the command is built.
    unset_empty(&Cli::command());
    let mut command = Cli::command();
    let name = std::env::args().nth(1).unwrap_or_default();
    let environment = command.find_subcommand(&name).map(environment_faults).unwrap_or_default();
    // Values that cannot be parsed are set aside, so that the rules between options are checked in the same run.
    for (option, _) in &environment {
        command = command.mut_subcommand(&name, |command| command.mut_arg(option, |arg| arg.env(None::<&str>)));
    }
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    let mut faults: Vec<String> = environment.into_iter().map(|(_, fault)| fault).collect();
    // Neither reads the configuration that a misspelt name would be meant for.
    if !matches!(cli.command, Command::Openapi { .. } | Command::Health { .. }) {
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let environment = environment.map(|(name, value)| (name, value.to_string_lossy().into_owned()));
        faults.extend(unknown_variables(&Cli::command(), environment));
    }
    if let Command::Serve(config) | Command::Worker(config) = &cli.command {
        faults.extend(config.errors());
        faults.extend(zones::install(config.server.tzdir.as_deref()).err());
    }
    if !faults.is_empty() {
        return refuse(&faults);
    }
    let done = match cli.command {
        Command::Serve(config) => serve::run(*config),
        Command::Worker(config) => serve::work(*config),
        Command::Migrate(database) => migrate::run(&database),
        Command::Seed { database, scale } => seed::run(&database, scale),
        Command::Openapi { version } => {
            // A reader that has enough closes the pipe.
            let _ = std::io::stdout().write_all(openapi::text(version).as_bytes());
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
        Command::Statistics(StatisticsCommand::Check { database, business, repair }) => {
            statistics::check(&database, business.as_deref(), repair)
        }
        Command::Health { bind } => health::check(bind),
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
