//! Rejects environment variables that no option reads, with the nearest name of one that exists.

use std::collections::BTreeSet;

use clap::Command;

use super::environment::SECRETS;
use crate::base::suggest::nearest;

/// Prefix of every variable of the service; only variables with it are checked.
const PREFIX: &str = "RAPPORT_";

/// Variables of the same prefix that are not options of a command: those of the Makefile, scripts/, bench/, tests/ and
/// docker-compose.yml, which a shell may have exported.
const OTHERS: [&str; 23] = [
    "RAPPORT_API_KEY",
    "RAPPORT_BENCH_STATE",
    "RAPPORT_BINARY",
    "RAPPORT_CONTRACT_SECONDS",
    "RAPPORT_DB_PASSWORD",
    "RAPPORT_HISTORY_SECONDS",
    "RAPPORT_METRICS_PORT",
    "RAPPORT_MUTANT",
    "RAPPORT_PLANS",
    "RAPPORT_PLANS_RLS",
    "RAPPORT_PORT",
    "RAPPORT_POSTGRES_SKIP_DOWNLOAD",
    "RAPPORT_POSTGRES_SKIP_SYSTEM",
    "RAPPORT_REDIS_SKIP_SYSTEM",
    "RAPPORT_TEST_KILLS",
    "RAPPORT_TEST_NODE",
    "RAPPORT_TEST_POSTGRES_BIN",
    "RAPPORT_TEST_REDIS_SERVER",
    "RAPPORT_URL",
    "RAPPORT_VERSION",
    "RAPPORT_WRITE_SCHEMA",
    // Named by scripts before the channel that reads them exists.
    "RAPPORT_WHATSAPP_APP_SECRET",
    "RAPPORT_WHATSAPP_VERIFY_TOKEN",
];

/// All variables with this prefix belong to the tests.
const TESTS: &str = "RAPPORT_TEST_";

/// Returns an error for each variable of `environment` that has the prefix and that nothing reads.
pub fn unknown_variables(root: &Command, environment: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let known = known(root);
    // All names share the prefix, which would make them similar.
    let names: Vec<&str> = known.iter().filter_map(|name| name.strip_prefix(PREFIX)).collect();
    let unread = environment.into_iter().filter(|(name, value)| {
        name.starts_with(PREFIX)
            && !known.contains(name)
            && !name.starts_with(TESTS)
            && !is_of_a_kubernetes_service(name, value)
    });
    let mut faults: Vec<String> = unread
        .map(|(name, _)| match nearest(name.trim_start_matches(PREFIX), &names) {
            Some(near) => format!("{name}: there is no such option. Did you mean {PREFIX}{near}?"),
            None => format!("{name}: there is no such option; `rapport serve --help` lists them"),
        })
        .collect();
    faults.sort_unstable();
    faults
}

/// Returns the variables of every command's options, of secrets in files, and others with the prefix.
fn known(root: &Command) -> BTreeSet<String> {
    fn collect(command: &Command, names: &mut BTreeSet<String>) {
        names.extend(
            command.get_arguments().filter_map(clap::Arg::get_env).filter_map(|n| n.to_str()).map(str::to_owned),
        );
        command.get_subcommands().for_each(|command| collect(command, names));
    }
    let mut names = BTreeSet::new();
    collect(root, &mut names);
    names.extend(SECRETS.iter().map(|name| format!("{name}_FILE")));
    names.extend(OTHERS.iter().map(|name| (*name).to_owned()));
    names
}

/// Whether Kubernetes sets it in every container beside a Service `rapport` or `rapport-…`: `<NAME>_SERVICE_HOST`,
/// `<NAME>_SERVICE_PORT[_<PORT>]`, and Docker's `<NAME>_PORT=tcp://…` and `<NAME>_PORT_8080_TCP[_ADDR]`.
fn is_of_a_kubernetes_service(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") && value.contains("://") {
        return true;
    }
    let Some((_, link)) = name.rsplit_once("_PORT_") else { return false };
    let mut parts = link.split('_');
    let number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
    let protocol = parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"));
    number && protocol && matches!((parts.next(), parts.next()), (None | Some("PROTO" | "PORT" | "ADDR"), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(environment: &[(&str, &str)]) -> Vec<String> {
        let bind = clap::Arg::new("bind").env("RAPPORT_BIND");
        let rate = clap::Arg::new("rate").env("RAPPORT_RATE_LIMIT");
        let root = Command::new("rapport").subcommand(Command::new("serve").args([bind, rate]));
        unknown_variables(&root, environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn unknown_variables_misspelt_names_the_nearest() {
        let said = faults(&[("RAPPORT_RATELIMIT", "60"), ("RAPPORT_BND", "x"), ("RAPPORT_BIND", "x"), ("PATH", "/")]);
        assert_eq!(
            said,
            [
                "RAPPORT_BND: there is no such option. Did you mean RAPPORT_BIND?",
                "RAPPORT_RATELIMIT: there is no such option. Did you mean RAPPORT_RATE_LIMIT?"
            ]
        );
        assert!(faults(&[("RAPPORT_ZZZZZ", "")])[0].contains("--help"), "nothing is near");
    }

    #[test]
    fn unknown_variables_of_secrets_tests_and_scripts_none() {
        let known =
            ["RAPPORT_TOKEN_SECRET_FILE", "RAPPORT_TEST_ANYTHING", "RAPPORT_WHATSAPP_APP_SECRET", "RAPPORT_PORT"];
        for name in known {
            assert!(faults(&[(name, "8080")]).is_empty(), "{name}");
        }
    }

    #[test]
    fn unknown_variables_of_kubernetes_services_none() {
        for (name, value) in [
            ("RAPPORT_SERVICE_HOST", "10.96.0.12"),
            ("RAPPORT_SERVICE_PORT", "8080"),
            ("RAPPORT_SERVICE_PORT_HTTP", "8080"),
            ("RAPPORT_PORT", "tcp://10.96.0.12:8080"),
            ("RAPPORT_PORT_8080_TCP", "tcp://10.96.0.12:8080"),
            ("RAPPORT_PORT_8080_TCP_PROTO", "tcp"),
            ("RAPPORT_PORT_8080_TCP_PORT", "8080"),
            ("RAPPORT_PORT_8080_TCP_ADDR", "10.96.0.12"),
            ("RAPPORT_API_PORT", "tcp://10.96.0.12:80"),
            ("RAPPORT_API_PORT_53_UDP_ADDR", "10.96.0.12"),
            ("RAPPORT_REDIS_SERVICE_PORT_REDIS", "6379"),
        ] {
            assert!(faults(&[(name, value)]).is_empty(), "{name}={value}");
        }
        // An operator's own variables that look similar.
        for (name, value) in [("RAPPORT_BIND_PORT", "8080"), ("RAPPORT_PORT_8080", "x"), ("RAPPORT_PORT_X_TCP", "x")] {
            assert_eq!(faults(&[(name, value)]).len(), 1, "{name}={value}");
        }
    }
}
