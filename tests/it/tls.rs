//! Tests of TLS to PostgreSQL and Redis: encryption and certificate verification, with certificates of a test
//! authority.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::{Connection, PgConnection};
use rapport::auth::Role;
use rapport::db::Statement;
use rapport::db::embedded::{Absent, Binaries, Durability, Embedded};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;

use crate::support::{Client, Database, Program, make_business, make_key, until};

/// The only name in the servers' certificates.
const NAME: &str = "localhost";

/// A folder of one test, removed by a later run of the harness if this one is killed.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = crate::support::folder().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certificate authority, and a server certificate signed by it, as PEM files.
struct Authority {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(folder: &Folder, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![NAME.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        Self {
            ca: folder.file(&format!("{name}-ca.pem"), &issuer.pem()),
            certificate: folder.file(&format!("{name}.pem"), &certificate.pem()),
            key: folder.file(&format!("{name}.key"), &key.serialize_pem()),
        }
    }
}

/// A server, killed on drop, or when the thread that runs it ends.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(command: &mut Command, port: u16) -> Self {
        // SAFETY: prctl is async-signal-safe.
        #[cfg(target_os = "linux")]
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT);
                Ok(())
            });
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a server");
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = child.try_wait().expect("a status");
            assert!(ended.is_none() && began.elapsed() < Duration::from_secs(20), "{command:?} ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: sends a signal to a child that has not been waited for. PostgreSQL stops at once, with its processes.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGQUIT) };
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// A PostgreSQL that rejects TCP connections without TLS, and accepts all through its socket.
fn postgres(folder: &Folder, authority: &Authority) -> (Server, String) {
    let bin =
        ["RAPPORT_TEST_POSTGRES_BIN", "RAPPORT_POSTGRES_BIN"].iter().find_map(std::env::var_os).map(PathBuf::from);
    let state = folder.0.join("postgres");
    let embedded = Embedded::start(&state, bin.as_deref(), Durability::None, Absent::Create)
        .unwrap_or_else(|error| panic!("{error}"));
    embedded.ensure_database("rapport").expect("a database");
    drop(embedded);
    let binaries = Binaries::find(bin.as_deref()).expect("PostgreSQL");
    let data = state.join(format!("postgres-{}", binaries.major));
    let owner = std::fs::metadata(&data).expect("its data");
    let rules = "local all all trust\nhostssl all all 127.0.0.1/32 trust\nhostnossl all all all reject\n";
    std::fs::write(data.join("pg_hba.conf"), rules).expect("its rules");
    for (from, to) in [(&authority.certificate, "server.crt"), (&authority.key, "server.key")] {
        let to = data.join(to);
        std::fs::copy(from, &to).expect("a copy");
        std::fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its owner's only");
        chown(&to, Some(owner.uid()), Some(owner.gid())).expect("its owner's");
    }
    let port = free_port();
    let socket = state.join("run");
    let mut command = Command::new(binaries.folder.join("postgres"));
    command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "ssl=on", "-c", "fsync=off"]);
    command.args(["-c", "listen_addresses=127.0.0.1", "-c", "lc_messages=C", "-c"]);
    command.arg(format!("unix_socket_directories={}", socket.display())).stderr(Stdio::null()).current_dir(&data);
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let host: String = url::form_urlencoded::byte_serialize(socket.as_os_str().as_encoded_bytes()).collect();
    (Server::start(&mut command, port), format!("postgres://rapport@{host}:{port}/rapport"))
}

fn path(path: &Path) -> String {
    url::form_urlencoded::byte_serialize(path.as_os_str().as_encoded_bytes()).collect()
}

#[test]
fn postgres_verify_full_enforced_on_every_connection() {
    let folder = Folder::new("tls-postgres");
    let (ours, theirs) = (Authority::new(&folder, "ours"), Authority::new(&folder, "theirs"));
    let (server, within) = postgres(&folder, &ours);
    let url = |host: &str, options: &str| {
        format!("postgres://rapport@{host}:{}/rapport?hostaddr=127.0.0.1&connect_timeout=5{options}", server.port)
    };
    let verified = |host: &str, ca: &Path| url(host, &format!("&sslmode=verify-full&sslrootcert={}", path(ca)));
    let migrate = |url: &str| Program::run(&["migrate"], &[("DATABASE_URL", url)]);

    let refused = [
        (verified(NAME, &theirs.ca), "certificate verify failed"),
        (verified("db.example", &ours.ca), "does not match host name"),
        (verified(NAME, &folder.0.join("none.pem")), "does not exist"),
        // The system's certificate authorities do not include ours.
        (url(NAME, "&sslmode=verify-full&sslrootcert=system"), "certificate verify failed"),
        (url(NAME, "&sslmode=disable"), "no encryption"),
    ];
    for (url, reason) in &refused {
        let (good, said) = migrate(url);
        assert!(!good && said.contains(reason), "{url}: {said}");
    }
    let (good, said) = migrate(&verified(NAME, &ours.ca));
    assert!(good, "{said}");

    // A service: its pool, the connection of its validation rounds, and all others.
    let database = Database::at(within);
    let key = make_key(&database, make_business(&database, "acme"), Role::Owner);
    let service = Program::serve(&[("DATABASE_URL", &verified(NAME, &ours.ca)), ("RAPPORT_DB_CONNECTIONS", "3")]);
    service.until_ready();
    let api = service.client(&key);
    api.make("leads", json!({ "title": "Roof" }));
    (0..2).for_each(|_| drop(api.get("leads").expect(200)));
    let connections = database.rows::<3>(
        "SELECT coalesce(application_name, ''), s.ssl::text, coalesce(s.version, '') FROM pg_stat_ssl s
         JOIN pg_stat_activity a USING (pid) WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()",
    );
    assert!(connections.len() >= 4, "the pool and the rounds: {connections:?}");
    assert!(
        connections.iter().all(|[_, ssl, version]| ssl == "true" && version.starts_with("TLSv1.")),
        "{connections:?}"
    );
    drop(service);

    // A service that cannot verify its database is not ready, gives the reason, and sends it nothing.
    for (url, reason) in &refused[..2] {
        let service = Program::serve(&[("DATABASE_URL", url), ("RAPPORT_LOG", "warn")]);
        service.until_said(reason);
        service.client("").get("/health/readiness").expect(503);
        service.client(&key).get("leads").expect(503);
    }
    let clients =
        "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    assert_eq!(database.ask(clients), "0");

    // libpq's default: encrypted if the server supports it, and not verified (docs/SECURITY.md).
    let mut unverified = PgConnection::establish(&url("db.example", "")).expect("a connection");
    let encrypted =
        Statement::new("SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()").row(&mut unverified);
    assert_eq!(encrypted.expect("a row").and_then(|row| row.text(0).map(str::to_owned)).as_deref(), Some("true"));
}

fn redis_server(authority: &Authority) -> Server {
    let port = free_port();
    let program = std::env::var("RAPPORT_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
    let mut command = Command::new(program);
    command.args(["--port", "0", "--bind", "127.0.0.1", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
    command.args(["--save", "", "--appendonly", "no", "--tls-cert-file"]).arg(&authority.certificate);
    command.arg("--tls-key-file").arg(&authority.key).arg("--tls-ca-cert-file").arg(&authority.ca);
    Server::start(&mut command, port)
}

#[test]
fn redis_tls_bad_certificate_disables_only_redis_tier() {
    let folder = Folder::new("tls-redis");
    let (ours, theirs) = (Authority::new(&folder, "ours"), Authority::new(&folder, "theirs"));
    let server = redis_server(&ours);
    let database = Database::create();
    let key = make_key(&database, make_business(&database, "acme"), Role::Owner);
    let state = |api: &Client| api.get("/health/detailed").expect(200).json["redis"].clone();
    let start = |host: &str, ca: Option<&Path>| {
        let redis = format!("rediss://{host}:{}", server.port);
        let ca = ca.map(|ca| ca.to_str().expect("text").to_owned());
        let mut settings =
            vec![("DATABASE_URL", database.url.as_str()), ("REDIS_URL", &redis), ("RAPPORT_CACHE_BYTES", "0")];
        // Long enough that a busy machine does not look like a wrong certificate.
        settings.extend([("RAPPORT_REDIS_TIMEOUT_MS", "2000"), ("RAPPORT_DB_CONNECTIONS", "2")]);
        settings.extend(ca.as_deref().map(|ca| ("RAPPORT_REDIS_CA", ca)));
        let program = Program::serve(&settings);
        program.until_ready();
        program
    };

    let good = start(NAME, Some(&ours.ca));
    good.until_said("Redis is connected");
    let api = good.client(&key);
    assert_eq!(state(&api)["status"], "up");
    let began = Instant::now();
    // Stored asynchronously.
    while api.get("leads").expect(200).header("cache-status") != "rapport; hit; detail=redis" {
        assert!(began.elapsed() < Duration::from_secs(10), "nothing comes back from Redis");
    }

    let reasons = [
        (NAME, Some(&theirs.ca), "certificate verify failed"),
        // The system's certificate authorities do not include ours.
        (NAME, None, "certificate verify failed"),
        ("127.0.0.1", Some(&ours.ca), "IP address mismatch"),
    ];
    for (host, ca, reason) in reasons {
        let wrong = start(host, ca.map(PathBuf::as_path));
        wrong.until_said("Redis cannot be reached");
        let api = wrong.client(&key);
        // On a busy machine the first attempts may time out instead.
        until(reason, || state(&api)["reason"].as_str().is_some_and(|text| text.contains(reason)));
        assert_eq!(state(&api)["status"], "down", "{host} {ca:?}");
        (0..3).for_each(|_| assert_eq!(api.get("leads").expect(200).header("cache-status"), "rapport; fwd=miss"));
        let said = wrong.stop();
        let reasons =
            said.lines().filter(|line| line.contains("Redis cannot be reached; the cache") && line.contains(reason));
        assert_eq!(reasons.count(), 1, "said once: {said}");
    }

    // Settings that would verify nothing, or something else than intended, are rejected at start.
    let redis = format!("rediss://{NAME}:{}", server.port);
    let (insecure, plain) = (format!("{redis}#insecure"), format!("redis://{NAME}:{}", server.port));
    let (ca, empty) = (ours.ca.to_str().expect("text"), folder.file("empty.pem", "\n"));
    let empty = empty.to_str().expect("text");
    for (url, ca) in [
        (&insecure, None),
        (&insecure, Some(ca)),
        (&plain, Some(ca)),
        (&redis, Some(empty)),
        (&redis, Some("/none.pem")),
    ] {
        let mut settings = vec![("DATABASE_URL", database.url.as_str()), ("REDIS_URL", url.as_str())];
        settings.extend(ca.map(|ca| ("RAPPORT_REDIS_CA", ca)));
        let (good, said) = Program::run(&["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "off"], &settings);
        assert!(!good && said.contains("RAPPORT_REDIS_CA"), "{url} {ca:?}: {said}");
    }
}
