//! Tests of the embedded PostgreSQL: it restarts after a crash, reports how to fix what it refuses, and CLI commands
//! work beside it.

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use serde_json::json;

use crate::lifecycle::{Process, State, rapport, said};
use crate::support::until;

/// Debian's `nobody`.
const NOBODY: u32 = 65_534;

fn kill(process: i32) {
    // SAFETY: sends a signal to the server of the test's own service.
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
fn killed_postgres_restarts_with_its_data() {
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

/// The process id of the PostgreSQL backend that executes `query`.
fn backend_of(conn: &mut PgConnection, query: &str) -> Option<i32> {
    let sql = format!(
        "SELECT pid::bigint FROM pg_stat_activity WHERE query = '{}' AND state = 'active'",
        query.replace('\'', "''")
    );
    let row = crate::support::statement(sql).row(conn).expect("an answer")?;
    row.int(0).and_then(|process| process.try_into().ok())
}

/// A busy backend does not notice that its postmaster is gone, and keeps the shared memory that the next one needs.
#[test]
fn killed_postgres_with_a_busy_backend_restarts() {
    const BUSY: &str = "DO $$ BEGIN LOOP END LOOP; END $$";
    let state = State::new();
    let service = Process::start(&state.0);
    let api = service.client();
    let lead = api.make("leads", json!({ "title": "Written before" }));
    for is_stopped in [false, true] {
        let conn = PgConnection::establish(&state.url()).expect("a connection");
        let mut busy = PgConnection::establish(&state.url()).expect("a connection");
        let working = std::thread::spawn(move || busy.batch_execute(BUSY));
        let (conn, backend) = (RefCell::new(conn), Cell::new(None));
        until("the backend is busy", || {
            backend.set(backend_of(&mut conn.borrow_mut(), BUSY));
            backend.get().is_some()
        });
        let (backend, postgres) = (backend.get().expect("a backend"), state.postgres().expect("PostgreSQL runs"));
        if is_stopped {
            // A stopped process only reacts to SIGKILL.
            // SAFETY: sends a signal to a backend of the test's own service.
            unsafe { libc::kill(backend, libc::SIGSTOP) };
        }
        let killed = Instant::now();
        kill(postgres);
        until("readiness fails", || service.probe("/health/readiness") == 503);
        until("readiness comes back", || service.probe("/health/readiness") == 200);
        println!("stopped {is_stopped}: ready again after {:?}", killed.elapsed());
        assert_ne!(state.postgres(), Some(postgres), "another process");
        assert!(working.join().expect("a thread").is_err());
        until("reads come back", || api.get(&format!("leads/{lead}")).status == 200);
        until("writes come back", || api.post("leads", json!({ "title": "Written after" })).status == 201);
    }
}

/// Takes some seconds, the sum of the pauses between restarts.
#[test]
fn unrestartable_postgres_ends_service_with_the_reason() {
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
fn data_folder_of_other_user_refused_with_fix_command() {
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
    // The command in the message fixes it.
    let mended = std::process::Command::new("chown").args(["-R", "postgres"]).arg(&data).status().expect("chown");
    assert!(mended.success());
    let again = rapport(&["migrate"]).env("RAPPORT_STATE_DIR", &state.0).output().expect("the binary");
    assert!(again.status.success(), "{}", said(&again));
}

#[test]
fn state_folder_of_other_user_refused_with_fix_command() {
    if !is_root() {
        return;
    }
    let state = State::new();
    std::fs::create_dir_all(&state.0).expect("a folder");
    // In a folder where an unprivileged user may execute it.
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
fn state_folder_in_closed_parent_refused_with_fix_command() {
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
fn cli_commands_use_the_running_embedded_server() {
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
    assert!(beside(&["statistics", "check"]).contains("equal to the recount"));
    assert_eq!(state.postgres(), postgres, "the same server");
    assert_eq!(service.probe("/health/readiness"), 200);
    // Without a service they start the server themselves, for as long as they take.
    drop(service);
    assert!(beside(&["statistics", "check"]).contains("equal to the recount"));
}

/// PostgreSQL's data directory.
fn data_of(state: &State) -> PathBuf {
    let mut folders = std::fs::read_dir(&state.0).expect("the state").flatten().map(|entry| entry.path());
    folders.find(|path| path.join("PG_VERSION").exists()).expect("the data")
}

/// Runs the binary as the user `id`, who may execute the copy in `folder`.
fn run_as(id: u32, folder: &Path, arguments: &[&str], state: &Path) -> Output {
    let binary = folder.join("rapport");
    if !binary.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_rapport"), &binary).expect("a copy");
    }
    let mut command = std::process::Command::new(&binary);
    command.env_clear().env("RAPPORT_STATE_DIR", state).args(arguments);
    for name in ["PATH", "RAPPORT_POSTGRES_BIN"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.uid(id).gid(id).current_dir("/").output().expect("the binary")
}

const USER_CREATE: [&str; 10] =
    ["user", "create", "--business", "demo", "--email", "new@example.com", "--name", "New Person", "--role", "agent"];

#[test]
fn cli_command_of_other_user_refused_names_the_owner() {
    if !is_root() {
        return;
    }
    let (state, elsewhere) = (State::new(), State::new());
    std::fs::create_dir_all(&elsewhere.0).expect("a folder");
    let service = Process::start(&state.0);
    let owner = std::fs::metadata(data_of(&state)).expect("the data").uid();
    for arguments in [&USER_CREATE[..], &["api-key", "create", "--business", "demo", "--role", "agent"], &["migrate"]] {
        let output = run_as(NOBODY, &elsewhere.0, arguments, &state.0);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("is running on it") && text.contains("sudo -u root"), "{text}");
        assert!(!text.contains("chown"), "{text}");
    }
    // As root it uses the running server, and does not change the owner of its files.
    let output = rapport(&USER_CREATE).env("RAPPORT_STATE_DIR", &state.0).output().expect("the binary");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(std::fs::metadata(data_of(&state)).expect("the data").uid(), owner);
    assert_eq!(service.probe("/health/readiness"), 200);
}

#[test]
fn cli_command_by_root_keeps_state_folder_owner() {
    if !is_root() {
        return;
    }
    let (state, elsewhere) = (State::new(), State::new());
    for folder in [&state.0, &elsewhere.0] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    chown(&state.0, Some(NOBODY), Some(NOBODY)).expect("chown");
    let migrated = run_as(NOBODY, &elsewhere.0, &["migrate"], &state.0);
    assert!(migrated.status.success(), "{}", said(&migrated));
    // The lock that a service of that user would hold.
    let lock = std::fs::File::open(state.0.join("lock")).expect("the lock");
    lock.lock().expect("the lock");
    // It waits for a server that does not run here.
    let output = rapport(&USER_CREATE).env("RAPPORT_STATE_DIR", &state.0).output().expect("the binary");
    assert!(said(&output).contains("in use by another Rapport"), "{}", said(&output));
    assert!(!said(&output).contains("chown"), "{}", said(&output));
    assert_eq!(std::fs::metadata(&state.0).expect("the state").uid(), NOBODY);
}

#[test]
fn cli_command_without_database_refused_creates_no_folder() {
    let state = State::new();
    std::fs::create_dir_all(&state.0).expect("a folder");
    std::fs::write(state.0.join("people.csv"), "first_name,email\nAnna,anna@example.com\n").expect("a file");
    let file = state.0.join("people.csv");
    let wrong = state.0.join("wrong");
    for arguments in [
        &USER_CREATE[..],
        &["api-key", "create", "--business", "demo", "--role", "agent"],
        &["import", "contacts", file.to_str().expect("text")],
        &["seed"],
    ] {
        let output = rapport(arguments).env("RAPPORT_STATE_DIR", &wrong).output().expect("the binary");
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for word in [&format!("no database in {}", wrong.display()), "RAPPORT_STATE_DIR", "rapport serve"] {
            assert!(text.contains(word), "{arguments:?}: no {word} in {text}");
        }
        assert!(!wrong.exists(), "{arguments:?} made a folder");
    }
}

#[test]
fn serve_prints_database_folder_and_whether_it_is_new() {
    let state = State::new();
    for is_new in [true, false] {
        let service = Process::start(&state.0);
        let printed = service.printed();
        let line = printed.lines().find(|line| line.trim_start().starts_with("database")).expect("a line");
        assert!(line.contains(&data_of(&state).display().to_string()), "{line}");
        assert_eq!(line.contains("NEW") && line.contains("RAPPORT_STATE_DIR"), is_new, "{line}");
    }
}
