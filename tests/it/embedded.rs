//! The embedded PostgreSQL: it dies and comes back, it is refused with what mends it, and commands work beside it.

use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::life::{Process, State, rapport, said};
use crate::support::until;

/// Debian's `nobody`.
const NOBODY: u32 = 65_534;

fn kill(process: i32) {
    // SAFETY: a signal to the server of a test's own service.
    unsafe { libc::kill(process, libc::SIGKILL) };
}

fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        println!("skipped: only root can give folders to others");
    }
    root
}

fn refused(state: &Path) -> String {
    let output = rapport(&["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "off"])
        .env("RAPPORT_STATE_DIR", state)
        .output()
        .expect("the binary");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    said(&output)
}

#[test]
fn killed_postgres_of_a_running_service_comes_back_with_its_data() {
    let state = State::new();
    let service = Process::start(&state.0);
    let api = service.client();
    let lead = api.make("leads", json!({ "title": "Written before" }));
    for round in 0..2 {
        let postgres = state.postgres().expect("PostgreSQL runs");
        let killed = Instant::now();
        kill(postgres);
        until("readiness fails", || service.probe("/health/readiness") == 503);
        assert_eq!(service.probe("/health/liveness"), 200);
        until("readiness comes back", || service.probe("/health/readiness") == 200);
        println!("round {round}: ready again after {:?}", killed.elapsed());
        assert_ne!(state.postgres(), Some(postgres), "another process");
        until("reads come back", || api.get(&format!("leads/{lead}")).status == 200);
        assert_eq!(api.get(&format!("leads/{lead}")).expect(200).json["title"], "Written before");
        until("writes come back", || api.post("leads", json!({ "title": "Written after" })).status == 201);
    }
}

/// Takes some seconds: that is what the pauses between the restarts come to.
#[test]
fn postgres_that_cannot_be_restarted_ends_the_service_with_the_reason() {
    let state = State::new();
    let mut service = Process::start(&state.0);
    let data = std::fs::read_dir(&state.0).expect("the state").flatten().map(|entry| entry.path());
    let data = data.into_iter().find(|path| path.join("PG_VERSION").exists()).expect("the data");
    std::fs::remove_file(data.join("global/pg_control")).expect("a file that every start needs");
    kill(state.postgres().expect("PostgreSQL runs"));
    until("readiness fails", || service.probe("/health/readiness") == 503);
    let ended = service.wait(Duration::from_secs(40));
    assert_eq!(ended.code(), Some(1));
    let mut errors = String::new();
    service.child.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
    assert!(errors.contains("cannot be restarted") && errors.contains("pg_control"), "{errors}");
}

#[test]
fn state_folder_with_a_space_a_comma_and_quotes_serves() {
    for name in ["a space", "a, comma", "a \"quote\" and 'another'"] {
        let state = State::new();
        let folder = state.0.join(name);
        let service = Process::start(&folder);
        service.client().get("leads?limit=1").expect(200);
    }
}

#[test]
fn data_of_another_user_is_refused_with_the_command_that_mends_it() {
    if !is_root() {
        return;
    }
    let state = State::new();
    let migrated = rapport(&["migrate"]).env("RAPPORT_STATE_DIR", &state.0).output().expect("the binary");
    assert!(migrated.status.success(), "{}", said(&migrated));
    let mut folders = std::fs::read_dir(&state.0).expect("the state").flatten().map(|entry| entry.path());
    let data = folders.find(|path| path.join("PG_VERSION").exists()).expect("the data");
    chown(&data, Some(NOBODY), None).expect("chown");
    let text = refused(&state.0);
    let words = [
        data.display().to_string(),
        "belongs to nobody".into(),
        "must belong to postgres".into(),
        format!("sudo chown -R postgres {}", data.display()),
    ];
    for word in words {
        assert!(text.contains(&word), "no {word} in {text}");
    }
    // What it says mends it.
    let mended = std::process::Command::new("chown").args(["-R", "postgres"]).arg(&data).status().expect("chown");
    assert!(mended.success());
    let again = rapport(&["migrate"]).env("RAPPORT_STATE_DIR", &state.0).output().expect("the binary");
    assert!(again.status.success(), "{}", said(&again));
}

#[test]
fn state_folder_of_another_user_is_refused_with_the_command_that_mends_it() {
    if !is_root() {
        return;
    }
    let state = State::new();
    std::fs::create_dir_all(&state.0).expect("a folder");
    // Where an unprivileged user may execute it.
    let binary = state.0.join("rapport");
    std::fs::copy(env!("CARGO_BIN_EXE_rapport"), &binary).expect("a copy");
    let as_nobody = |folder: &Path| -> Output {
        let mut command = std::process::Command::new(&binary);
        command.env_clear().env("RAPPORT_STATE_DIR", folder).arg("migrate");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        if let Some(bin) = std::env::var_os("RAPPORT_POSTGRES_BIN") {
            command.env("RAPPORT_POSTGRES_BIN", bin);
        }
        command.uid(NOBODY).gid(NOBODY).current_dir("/").output().expect("the binary")
    };
    let own = state.0.join("own");
    std::fs::create_dir(&own).expect("a folder");
    for (folder, command) in [
        (own.clone(), format!("sudo chown -R nobody {}", own.display())),
        (state.0.join("new"), format!("sudo install -d -o nobody {}/new", state.0.display())),
    ] {
        let output = as_nobody(&folder);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for word in ["belongs to root", "must belong to nobody", &command] {
            assert!(text.contains(word), "no {word} in {text}");
        }
    }
}

#[test]
fn state_folder_below_a_closed_one_is_refused_with_the_command_that_opens_it() {
    if !is_root() {
        return;
    }
    let state = State::new();
    let closed = state.0.join("closed");
    std::fs::create_dir_all(&closed).expect("a folder");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let text = refused(&closed.join("state"));
    let command = format!("sudo chmod o+x {}", closed.display());
    for word in ["postgres may not enter", "belongs to root", &command] {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

#[test]
fn commands_work_beside_the_running_service_and_leave_its_server_alone() {
    let state = State::new();
    let service = Process::start(&state.0);
    let postgres = state.postgres();
    let beside = |arguments: &[&str]| {
        let output = rapport(arguments).env("RAPPORT_STATE_DIR", &state.0).output().expect("the binary");
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        said(&output)
    };
    let who = ["--business", "demo", "--email", "new@example.com", "--name", "New Person", "--role", "agent"];
    let made = beside(&[["user", "create"].as_slice(), &who].concat());
    let password = made.split_whitespace().last().expect("a last word");
    let session = json!({ "email": "new@example.com", "password": password });
    service.client().post("auth/sessions", session).expect(201);

    let made = beside(&["api-key", "create", "--business", "demo", "--role", "agent"]);
    let key = made.split_whitespace().last().expect("a last word");
    crate::support::Client::new(service.address, key).get("leads?limit=1").expect(200);

    let file = state.0.join("people.csv");
    std::fs::write(&file, "first_name,last_name,email\nBeside,Service,beside@example.com\n").expect("a file");
    beside(&["import", "contacts", file.to_str().expect("text")]);
    let found = service.client().get("contacts?email=beside@example.com").expect(200);
    assert_eq!(found.rows().len(), 1, "{}", found.text);

    assert!(beside(&["migrate"]).contains("up to date"));
    assert_eq!(state.postgres(), postgres, "the same server");
    assert_eq!(service.probe("/health/readiness"), 200);
}
