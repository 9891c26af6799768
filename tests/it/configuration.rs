//! Tests that all invalid settings in the environment are reported at start, at once.

use crate::support::{Client, Database, Program};

#[test]
fn serve_misspelt_variables_refused_with_nearest_names() {
    for command in ["serve", "worker"] {
        let (well, said) = Program::run(
            &[command],
            &[
                ("DATABASE_URL", "postgres://localhost/rapport"),
                ("RAPPORT_CORS_ORIGIN", "https://app.example.com"),
                ("RAPPORT_RATELIMIT", "60"),
                ("RAPPORT_TOKEN_SECRET_FIEL", "/run/secrets/token"),
                ("RAPPORT_DB_QUEUE", "many"),
                ("RAPPORT_TZDIR", "/nonexistent"),
                ("RAPPORT_LOG", "inof,rapport=debg"),
            ],
        );
        assert!(!well, "{said}");
        for fault in [
            "RAPPORT_CORS_ORIGIN: there is no such option. Did you mean RAPPORT_CORS_ORIGINS?",
            "RAPPORT_RATELIMIT: there is no such option. Did you mean RAPPORT_RATE_LIMIT?",
            "RAPPORT_TOKEN_SECRET_FIEL: there is no such option. Did you mean RAPPORT_TOKEN_SECRET_FILE?",
            "RAPPORT_DB_QUEUE",
            "RAPPORT_TZDIR: /nonexistent: ",
            "`inof` is no level. Did you mean `info`?",
            "`debg` is no level. Did you mean `debug`?",
        ] {
            assert!(said.contains(fault), "no {fault} in\n{said}");
        }
    }
}

#[test]
fn serve_with_kubernetes_service_variables_starts() {
    let database = Database::create();
    // Variables that the kubelet sets for Services `rapport` and `rapport-redis`, and that scripts of this repository
    // export.
    let program = Program::serve(&[
        ("DATABASE_URL", &database.url),
        ("RAPPORT_SERVICE_HOST", "10.96.0.12"),
        ("RAPPORT_SERVICE_PORT", "80"),
        ("RAPPORT_SERVICE_PORT_HTTP", "80"),
        ("RAPPORT_PORT", "tcp://10.96.0.12:80"),
        ("RAPPORT_PORT_80_TCP", "tcp://10.96.0.12:80"),
        ("RAPPORT_PORT_80_TCP_PROTO", "tcp"),
        ("RAPPORT_PORT_80_TCP_PORT", "80"),
        ("RAPPORT_PORT_80_TCP_ADDR", "10.96.0.12"),
        ("RAPPORT_REDIS_SERVICE_HOST", "10.96.0.13"),
        ("RAPPORT_REDIS_PORT", "tcp://10.96.0.13:6379"),
        ("RAPPORT_WHATSAPP_APP_SECRET", "a secret of a channel"),
        ("RAPPORT_TEST_NODE", "/usr/bin/node"),
    ]);
    program.until_ready();
    Client::new(program.address, "").get("/health").expect(200);
}

#[test]
fn empty_variables_count_as_unset() {
    let database = Database::create();
    let program = Program::serve(&[
        ("DATABASE_URL", &database.url),
        ("RAPPORT_CACHE_BYTES", ""),
        ("RAPPORT_TOKEN_SECRET", ""),
        ("REDIS_URL", ""),
        ("RAPPORT_HTTP_WORKERS", ""),
    ]);
    program.until_ready();
    // Of the arguments of a nested command, too; this one needs a database that is not there.
    let state = tempfile::tempdir().expect("a folder");
    let state = state.path().to_str().expect("a path");
    let arguments = ["api-key", "create", "--business", "acme", "--role", "owner"];
    let (well, said) = Program::run(&arguments, &[("DATABASE_URL", ""), ("RAPPORT_STATE_DIR", state)]);
    assert!(!well && said.contains(state), "the private server's state folder is used: {said}");
}
