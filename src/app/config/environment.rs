//! Reads options from the environment: secrets from files, and all errors at once.

use std::path::PathBuf;

use clap::Command;

/// Options that are secrets. Container platforms may mount each as a file: `DATABASE_URL_FILE=/run/secrets/db`.
pub(super) const SECRETS: [&str; 9] = [
    "RAPPORT_WHATSAPP_APP_SECRET",
    "RAPPORT_WHATSAPP_VERIFY_TOKEN",
    "RAPPORT_SEALING_KEY",
    "RAPPORT_OIDC_CLIENT_SECRET",
    "DATABASE_URL",
    "REDIS_URL",
    "RAPPORT_TOKEN_SECRET",
    "RAPPORT_DEV_API_KEY",
    "RAPPORT_SMTP_URL",
];

/// Sets the variables of secrets from their files, without the trailing line break. Must be called before there are
/// threads. Returns the errors.
pub fn read_secret_files() -> Vec<String> {
    let mut faults = Vec::new();
    for name in SECRETS {
        let named = format!("{name}_FILE");
        let Some(path) = std::env::var_os(&named).map(PathBuf::from) else { continue };
        if std::env::var_os(name).is_some() {
            faults.push(format!("{named} and {name} are both set; set one of them"));
            continue;
        }
        match std::fs::read_to_string(&path) {
            // SAFETY: no other thread reads or writes the environment yet.
            Ok(text) => unsafe { std::env::set_var(name, text.trim_end_matches(['\r', '\n'])) },
            Err(error) => faults.push(format!("{named}: cannot read {}: {error}", path.display())),
        }
    }
    faults
}

/// Unsets the variables of `command` and its subcommands that are empty: deployments pass on what they do not have. Must
/// be called before there are threads.
pub fn unset_empty(command: &Command) {
    command.get_subcommands().for_each(unset_empty);
    for arg in command.get_arguments() {
        if let Some(name) = arg.get_env()
            && std::env::var_os(name).is_some_and(|value| value.is_empty())
        {
            // SAFETY: no other thread reads or writes the environment yet.
            unsafe { std::env::remove_var(name) };
        }
    }
}

/// Returns the variables whose value an option of `command` rejects: the option's id, and the error. Clap stops at the
/// first; an operator wants all.
pub fn environment_faults(command: &Command) -> Vec<(String, String)> {
    let set = |arg: &&clap::Arg| arg.get_env().is_some_and(|name| std::env::var_os(name).is_some());
    let mut faults = Vec::new();
    for arg in command.get_arguments().filter(set) {
        let name = arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let alone = Command::new("rapport").disable_help_flag(true).arg(arg.clone());
        if let Err(error) = alone.try_get_matches_from(["rapport"]) {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            faults.push((arg.get_id().to_string(), format!("{name}: {first}")));
        }
    }
    faults
}
