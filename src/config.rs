//! Configuration: every option is a flag and an environment variable, has a default, and is checked before anything
//! starts. `rapport serve --help` is the reference.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Command, ValueEnum};
use ipnet::IpNet;

use crate::db::RowSecurity;

/// A value that is never printed: not in logs, not in errors, not in `/health/detailed`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self(value.to_owned()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Where the data is. Shared by every command that touches the database.
#[derive(Args, Clone, Debug)]
pub struct DatabaseConfig {
    /// PostgreSQL (15 or newer); without it a private server is started under the state folder
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<Secret>,
    /// Folder of the private server and its files [default: /var/lib/rapport as root, else ~/.local/state/rapport]
    #[arg(long, env = "RAPPORT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Folder that holds PostgreSQL's `initdb` and `postgres`, for the private server
    #[arg(long, env = "RAPPORT_POSTGRES_BIN")]
    pub postgres_bin: Option<PathBuf>,
}

impl DatabaseConfig {
    /// The state folder, by configuration or by convention.
    pub fn state_dir(&self) -> PathBuf {
        if let Some(folder) = &self.state_dir {
            return folder.clone();
        }
        // SAFETY: geteuid has no preconditions.
        if unsafe { libc::geteuid() } == 0 {
            // Not under root's home: the server runs as another user and could not reach it.
            return PathBuf::from("/var/lib/rapport");
        }
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or(home);
        state.unwrap_or_else(|| PathBuf::from("/var/tmp")).join("rapport")
    }
}

#[derive(Args, Clone, Debug)]
pub struct Config {
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// Address of the API
    #[arg(long, env = "RAPPORT_BIND", default_value = "127.0.0.1:8080")]
    pub bind: SocketAddr,
    /// Address of Prometheus' `/metrics`, or `off`
    #[arg(long, env = "RAPPORT_METRICS_BIND", default_value = "127.0.0.1:9090", value_parser = parse_metrics_bind)]
    pub metrics_bind: Metrics,
    /// Redis (shared cache tier); the service works without it
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<Secret>,
    /// PEM file with the authorities that the certificate of a `rediss://` server is verified by, instead of the system's
    #[arg(long, env = "RAPPORT_REDIS_CA")]
    pub redis_ca: Option<PathBuf>,
    /// `off` answers everything from the database
    #[arg(long, env = "RAPPORT_CACHE", default_value = "on", value_parser = parse_switch, action = clap::ArgAction::Set)]
    pub cache: bool,
    /// Memory of the cache in this process, in bytes; 0 keeps answers in Redis only
    #[arg(long, env = "RAPPORT_CACHE_BYTES", default_value_t = 64 * 1024 * 1024)]
    pub cache_bytes: u64,
    /// Longest wait for a validation round, in milliseconds
    #[arg(long, env = "RAPPORT_CACHE_ROUND_MS", default_value_t = 2_000)]
    pub cache_round_ms: u64,
    /// Begins every key in Redis
    #[arg(long, env = "RAPPORT_CACHE_PREFIX", default_value = "rapport:")]
    pub cache_prefix: String,
    /// How long answers of a noun are kept at most, in seconds: `leads=600,messages=60` [default: 180 to 1800]
    #[arg(long, env = "RAPPORT_CACHE_TTL", value_delimiter = ',', value_parser = parse_ttl)]
    pub cache_ttl: Vec<(String, u64)>,
    /// One in so many hits is computed again and compared; 0 for none
    #[arg(long, env = "RAPPORT_CACHE_SAMPLE", default_value_t = 1_000)]
    pub cache_sample: u64,
    /// How often hot answers whose rows have changed are computed again ahead of readers, in milliseconds; 0 for never
    #[arg(long, env = "RAPPORT_CACHE_REFRESH_MS", default_value_t = 500)]
    pub cache_refresh_ms: u64,
    /// How many of the busiest questions of before are asked when a process starts; 0 for none
    #[arg(long, env = "RAPPORT_CACHE_WARM", default_value_t = 200)]
    pub cache_warm: usize,
    /// Longest wait for Redis, in milliseconds
    #[arg(long, env = "RAPPORT_REDIS_TIMEOUT_MS", default_value_t = 30)]
    pub redis_timeout_ms: u64,
    /// Fixes the API key of the demo business; honoured on the private server only
    #[arg(long, env = "RAPPORT_DEV_API_KEY", hide_env_values = true)]
    pub dev_api_key: Option<Secret>,
    /// Migrate before serving [default: only on the private server]
    #[arg(long, env = "RAPPORT_MIGRATE_ON_START")]
    pub migrate_on_start: Option<bool>,
    /// What is logged, as a tracing filter: `info`, `rapport=debug,warn`, …
    #[arg(long, env = "RAPPORT_LOG", default_value = "info")]
    pub log: String,
    /// `text` for people, `json` for collectors [default: text on a terminal, else json]
    #[arg(long, env = "RAPPORT_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Threads that serve HTTP [default: one per core]
    #[arg(long, env = "RAPPORT_WORKERS")]
    pub workers: Option<usize>,
    /// Database connections, each with a thread [default: twice the cores, 4 to 16]
    #[arg(long, env = "RAPPORT_DB_CONNECTIONS", default_value_t = default_connections())]
    pub db_connections: u32,
    /// Requests that may wait for a database connection before callers get 503
    #[arg(long, env = "RAPPORT_DB_QUEUE", default_value_t = 1024)]
    pub db_queue: usize,
    /// Part of the connections and of the queue that one business may have while another is asking, in percent
    #[arg(long, env = "RAPPORT_DB_SHARE", default_value_t = 50)]
    pub db_share: u8,
    /// Longest wait for a database connection, in milliseconds
    #[arg(long, env = "RAPPORT_DB_WAIT_MS", default_value_t = 2_000)]
    pub db_wait_ms: u64,
    /// Longest a single statement may run, in milliseconds
    #[arg(long, env = "RAPPORT_STATEMENT_TIMEOUT_MS", default_value_t = 5_000)]
    pub statement_timeout_ms: u64,
    /// Longest a request may take in all, in milliseconds
    #[arg(long, env = "RAPPORT_REQUEST_TIMEOUT_MS", default_value_t = 15_000)]
    pub request_timeout_ms: u64,
    /// Longest wait for the headers of a request, in milliseconds
    #[arg(long, env = "RAPPORT_HEADER_TIMEOUT_MS", default_value_t = 5_000)]
    pub header_timeout_ms: u64,
    /// Longest wait for the body of a request, in milliseconds
    #[arg(long, env = "RAPPORT_BODY_TIMEOUT_MS", default_value_t = 10_000)]
    pub body_timeout_ms: u64,
    /// Where row-level security holds as a second wall between businesses: `off`, `writes` or `all`
    #[arg(long, env = "RAPPORT_ROW_SECURITY", default_value = "writes")]
    pub row_security: RowSecurity,
    /// Largest body of a request, in bytes
    #[arg(long, env = "RAPPORT_BODY_LIMIT", default_value_t = 1024 * 1024)]
    pub body_limit: usize,
    /// Deepest nesting of a JSON body
    #[arg(long, env = "RAPPORT_BODY_DEPTH", default_value_t = 16)]
    pub body_depth: usize,
    /// How long a verified API key is trusted before it is looked up again, in milliseconds
    #[arg(long, env = "RAPPORT_KEY_TRUST_MS", default_value_t = 1_000)]
    pub key_trust_ms: u64,
    /// Signs access tokens, at least 32 characters [default: made once and kept in the database]
    #[arg(long, env = "RAPPORT_TOKEN_SECRET", hide_env_values = true)]
    pub token_secret: Option<Secret>,
    /// How long an access token counts, in seconds; the refresh token renews it
    #[arg(long, env = "RAPPORT_TOKEN_SECONDS", default_value_t = 600)]
    pub token_seconds: u64,
    /// How long a session lasts at most without being renewed, in days
    #[arg(long, env = "RAPPORT_SESSION_DAYS", default_value_t = 30)]
    pub session_days: u32,
    /// Passwords that are checked at once; each takes 19 MiB and keeps a core busy
    #[arg(long, env = "RAPPORT_PASSWORD_THREADS", default_value_t = 1)]
    pub password_threads: usize,
    /// Sign-ins that may wait for that; more are sent away with 503
    #[arg(long, env = "RAPPORT_PASSWORD_QUEUE", default_value_t = 32)]
    pub password_queue: usize,
    /// Wrong passwords in 15 minutes, of one account or one address, after which it must wait
    #[arg(long, env = "RAPPORT_SIGN_IN_ATTEMPTS", default_value_t = 10)]
    pub sign_in_attempts: u32,
    /// Rows that the export of all about one contact has at most
    #[arg(long, env = "RAPPORT_EXPORT_ROWS", default_value_t = 50_000)]
    pub export_rows: usize,
    /// Requests a minute of one API key or session; 0 for no limit
    #[arg(long, env = "RAPPORT_RATE_LIMIT", default_value_t = 0)]
    pub rate_limit: u32,
    /// Of these, how many may come at once [default: a tenth, at least 10]
    #[arg(long, env = "RAPPORT_RATE_BURST")]
    pub rate_burst: Option<u32>,
    /// Requests a minute without a good credential from one address; 0 for no limit
    #[arg(long, env = "RAPPORT_RATE_LIMIT_ADDRESS", default_value_t = 600)]
    pub rate_limit_address: u32,
    /// Proxies whose word on a client's address counts, comma-separated: `10.0.0.0/8,192.0.2.7`
    #[arg(long, env = "RAPPORT_TRUSTED_PROXIES", value_delimiter = ',', value_parser = parse_network)]
    pub trusted_proxies: Vec<IpNet>,
    /// SMTP server for mails to people: `smtps://user:password@host`, or `smtp://…?tls=required` for STARTTLS; without it the
    /// private server prints them to its log, and with DATABASE_URL what needs mail answers 503
    #[arg(long, env = "RAPPORT_SMTP_URL", hide_env_values = true)]
    pub smtp_url: Option<Secret>,
    /// Who mails are from: `Rapport <crm@example.com>`
    #[arg(long, env = "RAPPORT_MAIL_FROM", value_parser = parse_sender)]
    pub mail_from: Option<Sender>,
    /// Address of the front end, whose pages `passwords` and `invitations` get the token of a mail in the fragment of their
    /// address: `https://app.example.com/passwords#token=…` [default: http://localhost:3000, where mails are printed]
    #[arg(long, env = "RAPPORT_APP_URL")]
    pub app_url: Option<String>,
    /// Identity provider for signing in (OpenID Connect): its issuer, as it writes it
    #[arg(long, env = "RAPPORT_OIDC_ISSUER")]
    pub oidc_issuer: Option<String>,
    /// Id of this service as a client of the identity provider
    #[arg(long, env = "RAPPORT_OIDC_CLIENT_ID")]
    pub oidc_client_id: Option<String>,
    /// Secret of that client, if it has one
    #[arg(long, env = "RAPPORT_OIDC_CLIENT_SECRET", hide_env_values = true)]
    pub oidc_client_secret: Option<Secret>,
    /// Page of the front end that the identity provider sends browsers back to: `https://app.example.com/oidc`
    #[arg(long, env = "RAPPORT_OIDC_REDIRECT_URL")]
    pub oidc_redirect_url: Option<String>,
    /// How long a link to a new password counts, in minutes
    #[arg(long, env = "RAPPORT_PASSWORD_RESET_MINUTES", default_value_t = 60)]
    pub password_reset_minutes: u32,
    /// How long an invitation counts, in days
    #[arg(long, env = "RAPPORT_INVITATION_DAYS", default_value_t = 7)]
    pub invitation_days: u32,
    /// Origins that browsers may call from, comma-separated; `*` for any
    #[arg(long, env = "RAPPORT_CORS_ORIGINS", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
    /// After SIGTERM: how long readiness fails while requests are still served, in seconds
    #[arg(long, env = "RAPPORT_SHUTDOWN_DRAIN_SECONDS", default_value_t = 5)]
    pub shutdown_drain_seconds: u64,
    /// After the drain: how long requests in flight may take to finish, in seconds
    #[arg(long, env = "RAPPORT_SHUTDOWN_GRACE_SECONDS", default_value_t = 15)]
    pub shutdown_grace_seconds: u64,
}

/// Largest rate limit: one request in a microsecond, the unit in which replicas tell each other.
const MOST_A_MINUTE: u32 = 60_000_000;
const MOST_AT_ONCE: u32 = 1_000_000;

/// Where `/metrics` is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    Off,
    On(SocketAddr),
}

/// Who mails are from.
#[derive(Clone, Debug)]
pub struct Sender {
    pub address: lettre::Address,
    name: String,
}

/// As in a mail's header (RFC 5322, section 3.4).
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "<{}>", self.address),
            name => write!(f, "\"{name}\" <{}>", self.address),
        }
    }
}

fn parse_sender(text: &str) -> Result<Sender, String> {
    let (name, address) = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => (name.trim().trim_matches('"').to_owned(), address),
        None => (String::new(), text),
    };
    let plain = name.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    match address.parse() {
        Ok(address) if plain => Ok(Sender { address, name }),
        _ => Err("an address such as `Rapport <crm@example.com>`, its name in ASCII".to_owned()),
    }
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("`on` or `off`".to_owned()),
    }
}

fn parse_ttl(text: &str) -> Result<(String, u64), String> {
    let (noun, seconds) = text.split_once('=').ok_or("a noun and seconds, such as leads=600")?;
    match seconds.parse() {
        Ok(seconds @ 1..) => Ok((noun.trim().to_owned(), seconds)),
        _ => Err(format!("`{seconds}` is not a number of seconds from 1 on")),
    }
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let one = text.trim().parse().map(|address: std::net::IpAddr| IpNet::from(address));
    one.or_else(|_| text.trim().parse())
        .map_err(|_| "an address like 192.0.2.7, or a network like 10.0.0.0/8".to_owned())
}

fn parse_metrics_bind(text: &str) -> Result<Metrics, String> {
    match text {
        "off" => Ok(Metrics::Off),
        address => address.parse().map(Metrics::On).map_err(|_| "an address like 127.0.0.1:9090, or `off`".to_owned()),
    }
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn default_connections() -> u32 {
    (cores() as u32 * 2).clamp(4, 16)
}

impl Config {
    /// Faults between options, each with what to do.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |good: bool, text: &str| {
            if !good {
                faults.push(text.to_owned());
            }
        };
        check((1..=256).contains(&self.db_connections), "RAPPORT_DB_CONNECTIONS must be 1 to 256");
        check(self.db_queue >= 1, "RAPPORT_DB_QUEUE must be at least 1");
        check((1..=100).contains(&self.db_share), "RAPPORT_DB_SHARE must be 1 to 100");
        check(self.workers != Some(0), "RAPPORT_WORKERS must be at least 1");
        check(self.body_limit >= 1024, "RAPPORT_BODY_LIMIT must be at least 1024 bytes");
        check((2..=64).contains(&self.body_depth), "RAPPORT_BODY_DEPTH must be 2 to 64");
        check(
            self.statement_timeout_ms >= 1 && self.statement_timeout_ms <= self.request_timeout_ms,
            "RAPPORT_STATEMENT_TIMEOUT_MS must be at least 1 and not above RAPPORT_REQUEST_TIMEOUT_MS",
        );
        check(
            self.cache_bytes == 0 || self.cache_bytes >= 1024 * 1024,
            "RAPPORT_CACHE_BYTES must be 0 (Redis only) or at least 1048576",
        );
        check(
            self.cache_round_ms >= 1 && self.cache_round_ms <= self.request_timeout_ms,
            "RAPPORT_CACHE_ROUND_MS must be at least 1 and not above RAPPORT_REQUEST_TIMEOUT_MS",
        );
        check(
            self.cache_prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_-".contains(&byte)),
            "RAPPORT_CACHE_PREFIX may have letters, digits, `:`, `_` and `-`",
        );
        check(self.redis_timeout_ms >= 1, "RAPPORT_REDIS_TIMEOUT_MS must be at least 1");
        check(
            self.token_secret.as_ref().is_none_or(|secret| secret.expose().len() >= 32),
            "RAPPORT_TOKEN_SECRET must have at least 32 characters",
        );
        check((30..=86_400).contains(&self.token_seconds), "RAPPORT_TOKEN_SECONDS must be 30 to 86400");
        check((1..=3650).contains(&self.session_days), "RAPPORT_SESSION_DAYS must be 1 to 3650");
        check((1..=64).contains(&self.password_threads), "RAPPORT_PASSWORD_THREADS must be 1 to 64");
        check(self.password_queue >= 1, "RAPPORT_PASSWORD_QUEUE must be at least 1");
        check(self.sign_in_attempts >= 1, "RAPPORT_SIGN_IN_ATTEMPTS must be at least 1");
        check(
            self.rate_limit.max(self.rate_limit_address) <= MOST_A_MINUTE,
            "RAPPORT_RATE_LIMIT and RAPPORT_RATE_LIMIT_ADDRESS must be 0 to 60000000",
        );
        check(
            self.rate_burst.is_none_or(|burst| (1..=MOST_AT_ONCE).contains(&burst)),
            "RAPPORT_RATE_BURST must be 1 to 1000000",
        );
        check(
            self.oidc_issuer.is_none() == self.oidc_client_id.is_none()
                && self.oidc_issuer.is_none() == self.oidc_redirect_url.is_none(),
            "RAPPORT_OIDC_ISSUER, RAPPORT_OIDC_CLIENT_ID and RAPPORT_OIDC_REDIRECT_URL are set together",
        );
        for url in [&self.oidc_issuer, &self.oidc_redirect_url].into_iter().flatten() {
            check(
                is_base(url),
                "RAPPORT_OIDC_ISSUER and RAPPORT_OIDC_REDIRECT_URL must be addresses such as https://id.example.com",
            );
        }
        check(
            cfg!(feature = "tls") || self.oidc_issuer.as_ref().is_none_or(|url| !url.starts_with("https:")),
            "RAPPORT_OIDC_ISSUER asks for TLS, and this program was built without it",
        );
        check((5..=1440).contains(&self.password_reset_minutes), "RAPPORT_PASSWORD_RESET_MINUTES must be 5 to 1440");
        check((1..=90).contains(&self.invitation_days), "RAPPORT_INVITATION_DAYS must be 1 to 90");
        check(
            self.smtp_url.is_none() || (self.mail_from.is_some() && self.app_url.is_some()),
            "RAPPORT_SMTP_URL needs RAPPORT_MAIL_FROM and RAPPORT_APP_URL",
        );
        check(
            self.app_url.as_ref().is_none_or(|url| is_base(url)),
            "RAPPORT_APP_URL must be an address such as https://app.example.com, without `?` and `#`",
        );
        check(
            self.smtp_url.as_ref().is_none_or(|url| is_smtp(url.expose())),
            "RAPPORT_SMTP_URL must be smtps://host, smtp://host?tls=required, or smtp://host for a server that takes no TLS",
        );
        check(
            cfg!(feature = "tls") || self.smtp_url.as_ref().is_none_or(|url| !asks_for_tls(url.expose())),
            "RAPPORT_SMTP_URL asks for TLS, and this program was built without it",
        );
        check(self.db_wait_ms >= 1, "RAPPORT_DB_WAIT_MS must be at least 1");
        check(
            self.database.database_url.is_none() || self.dev_api_key.is_none(),
            "RAPPORT_DEV_API_KEY is for the private server only; with DATABASE_URL use `rapport api-key create`",
        );
        check(
            self.dev_api_key.as_ref().is_none_or(|key| key.expose().len() >= 16),
            "RAPPORT_DEV_API_KEY must have at least 16 characters",
        );
        check(
            Metrics::On(self.bind) != self.metrics_bind || self.bind.port() == 0,
            "RAPPORT_METRICS_BIND must differ from RAPPORT_BIND",
        );
        for origin in &self.cors_origins {
            let good = origin == "*" || url::Url::parse(origin).is_ok_and(|u| u.host().is_some() && u.path() == "/");
            if !good {
                faults.push(format!("RAPPORT_CORS_ORIGINS: `{origin}` is not an origin like https://app.example.com"));
            }
        }
        if let Some(url) = &self.database.database_url
            && !(url.expose().starts_with("postgres://") || url.expose().starts_with("postgresql://"))
        {
            faults.push("DATABASE_URL must start with postgres:// or postgresql://".to_owned());
        }
        if let Some(url) = &self.redis_url
            && !["redis://", "rediss://", "unix://"].iter().any(|scheme| url.expose().starts_with(scheme))
        {
            faults.push("REDIS_URL must start with redis://, rediss:// or unix://".to_owned());
        }
        if cfg!(not(feature = "tls")) && self.redis_url.as_ref().is_some_and(|url| url.expose().starts_with("rediss:"))
        {
            faults.push("REDIS_URL asks for TLS, and this program was built without it".to_owned());
        }
        if self.redis_url.as_ref().is_some_and(|url| url.expose().ends_with("#insecure")) {
            faults.push(
                "REDIS_URL ends in #insecure, which verifies nothing; name the authority with RAPPORT_REDIS_CA"
                    .to_owned(),
            );
        }
        let verified = self.redis_url.as_ref().is_some_and(|url| url.expose().starts_with("rediss:"));
        if self.redis_ca.is_some() && !verified {
            faults.push("RAPPORT_REDIS_CA is for a REDIS_URL that starts with rediss://".to_owned());
        }
        faults
    }
}

/// Whether pages can be found below it.
fn is_base(text: &str) -> bool {
    let url = url::Url::parse(text);
    url.is_ok_and(|url| {
        matches!(url.scheme(), "https" | "http") && url.host().is_some() && url.query().or(url.fragment()).is_none()
    })
}

fn is_smtp(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "smtps" | "smtp") && url.host().is_some())
}

fn asks_for_tls(smtp: &str) -> bool {
    smtp.starts_with("smtps:") || smtp.contains("tls=")
}

/// Options that are secrets. Each can also be a file, as container platforms mount them: `DATABASE_URL_FILE=/run/secrets/db`.
const SECRETS: [&str; 6] = [
    "RAPPORT_OIDC_CLIENT_SECRET",
    "DATABASE_URL",
    "REDIS_URL",
    "RAPPORT_TOKEN_SECRET",
    "RAPPORT_DEV_API_KEY",
    "RAPPORT_SMTP_URL",
];

/// Puts the contents of the secrets' files into the environment, where options are read from; without the line break at
/// their end. Must be called before there are threads. Returns what is wrong.
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
            // SAFETY: nobody else reads or writes the environment yet.
            Ok(text) => unsafe { std::env::set_var(name, text.trim_end_matches(['\r', '\n'])) },
            Err(error) => faults.push(format!("{named}: cannot read {}: {error}", path.display())),
        }
    }
    faults
}

/// Environment variables whose value an option of `command` refuses: the option's id, and what is wrong. Clap stops at
/// the first; an operator wants all.
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
