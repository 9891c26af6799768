//! The configuration: every option is a flag and an environment variable, has a default, and is validated before
//! anything starts. `rapport serve --help` is the reference.

mod environment;
mod log_filter;
mod validate;
mod values;
mod variables;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

pub use self::environment::{environment_faults, read_secret_files, unset_empty};
pub use self::values::{Metrics, Secret, Sender};
use self::values::{canonical_origin, metrics_bind, network, sender, switch, ttl};
pub use self::variables::unknown_variables;

use crate::db::{Isolation, RowSecurity, isolation_overrides, prepared};

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
    /// Returns the state folder, by configuration or by convention.
    pub fn state_dir(&self) -> PathBuf {
        if let Some(folder) = &self.state_dir {
            return folder.clone();
        }
        // SAFETY: geteuid has no preconditions.
        if unsafe { libc::geteuid() } == 0 {
            // Not under root's home, which the server, running as another user, could not reach.
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
    #[arg(long, env = "RAPPORT_METRICS_BIND", default_value = "127.0.0.1:9090", value_parser = metrics_bind)]
    pub metrics_bind: Metrics,
    /// Redis (shared cache tier); the service works without it
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<Secret>,
    /// PEM file with the authorities that the certificate of a `rediss://` server is verified by, instead of the system's
    #[arg(long, env = "RAPPORT_REDIS_CA")]
    pub redis_ca: Option<PathBuf>,
    /// `off` answers everything from the database
    #[arg(long, env = "RAPPORT_CACHE", default_value = "on", value_parser = switch, action = clap::ArgAction::Set)]
    pub cache: bool,
    /// Memory of the cache in this process, in bytes; 0 keeps answers in Redis only
    #[arg(long, env = "RAPPORT_CACHE_BYTES", default_value_t = 64 * 1024 * 1024)]
    pub cache_bytes: u64,
    /// Longest wait for a validation round, in milliseconds
    #[arg(long, env = "RAPPORT_CACHE_VALIDATION_TIMEOUT_MS", default_value_t = 2_000)]
    pub cache_validation_timeout_ms: u64,
    /// Begins every key in Redis
    #[arg(long, env = "RAPPORT_CACHE_PREFIX", default_value = "rapport:")]
    pub cache_prefix: String,
    /// How long responses of a resource are cached at most, in seconds: `leads=600,messages=60` [default: 180 to 1800]
    #[arg(long, env = "RAPPORT_CACHE_TTL", value_delimiter = ',', value_parser = ttl)]
    pub cache_ttl: Vec<(String, u64)>,
    /// One in so many hits is computed again and compared; 0 for none
    #[arg(long, env = "RAPPORT_CACHE_SAMPLE", default_value_t = 1_000)]
    pub cache_sample: u64,
    /// How often hot answers whose rows have changed are computed again ahead of readers, in milliseconds; 0 for never
    #[arg(long, env = "RAPPORT_CACHE_REFRESH_MS", default_value_t = 500)]
    pub cache_refresh_ms: u64,
    /// How many of the busiest queries of earlier processes are run when a process starts; 0 for none
    #[arg(long, env = "RAPPORT_CACHE_WARMUP_QUERIES", default_value_t = 200)]
    pub cache_warmup_queries: usize,
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
    #[arg(long, env = "RAPPORT_HTTP_WORKERS")]
    pub http_workers: Option<usize>,
    /// Database connections, each with a thread [default: twice the cores, 4 to 16]
    #[arg(long, env = "RAPPORT_DB_CONNECTIONS", default_value_t = default_connections())]
    pub db_connections: u32,
    /// Requests that may wait for a database connection before callers get 503
    #[arg(long, env = "RAPPORT_DB_QUEUE", default_value_t = 1024)]
    pub db_queue: usize,
    /// Part of the connections and of the queue that one business may have while another is asking, in percent
    #[arg(long, env = "RAPPORT_DB_TENANT_SHARE_PERCENT", default_value_t = 50)]
    pub db_tenant_share_percent: u8,
    /// Statements that each database connection keeps prepared; 0 for none
    #[arg(long, env = "RAPPORT_DB_PREPARED", default_value_t = prepared::DEFAULT_LIMIT)]
    pub db_prepared: usize,
    /// Longest wait for a database connection, in milliseconds
    #[arg(long, env = "RAPPORT_DB_WAIT_MS", default_value_t = 2_000)]
    pub db_wait_ms: u64,
    /// Longest a single statement may run, in milliseconds
    #[arg(long, env = "RAPPORT_STATEMENT_TIMEOUT_MS", default_value_t = 5_000)]
    pub statement_timeout_ms: u64,
    /// Longest wait for a row or table that another transaction holds, in milliseconds, before callers get 503 `locked`; 0
    /// waits on its connection for as long as a statement may run
    #[arg(long, env = "RAPPORT_LOCK_WAIT_MS", default_value_t = 2_000)]
    pub lock_wait_ms: u64,
    /// How long the database may not answer until readiness fails, in seconds
    #[arg(long, env = "RAPPORT_READINESS_AFTER_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub readiness_after_seconds: u64,
    /// How often the database's catalogue is checked while the service runs (triggers, policies, grants, functions), in seconds
    #[arg(long, env = "RAPPORT_CATALOGUE_CHECK_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub catalogue_check_seconds: u64,
    /// Longest a request may take in all, in milliseconds
    #[arg(long, env = "RAPPORT_REQUEST_TIMEOUT_MS", default_value_t = 15_000)]
    pub request_timeout_ms: u64,
    /// Longest wait for the headers of a request, from its first byte or, for the first, from the connection on, in milliseconds
    #[arg(long, env = "RAPPORT_HEADER_TIMEOUT_MS", default_value_t = 5_000)]
    pub header_timeout_ms: u64,
    /// Longest a client may leave its answer unread, in milliseconds; then the connection is ended
    #[arg(long, env = "RAPPORT_WRITE_TIMEOUT_MS", default_value_t = 30_000)]
    pub write_timeout_ms: u64,
    /// How long a connection is kept open between two requests, in seconds; longer than the load balancer's own limit
    #[arg(long, env = "RAPPORT_KEEP_ALIVE_SECONDS", default_value_t = 75)]
    pub keep_alive_seconds: u64,
    /// Longest wait for the body of a request, in milliseconds
    #[arg(long, env = "RAPPORT_BODY_TIMEOUT_MS", default_value_t = 10_000)]
    pub body_timeout_ms: u64,
    /// Where row-level security is a second barrier between businesses: `off`, `writes` or `all`
    #[arg(long, env = "RAPPORT_ROW_SECURITY", default_value = "writes")]
    pub row_security: RowSecurity,
    /// Isolation level of transactions by their name: `processing=serializable,conversion=repeatable-read`. Names: create,
    /// update, delete, restore, batch_create, batch_update, batch_upsert, batch_delete, processing, conversion, merge, reversion.
    /// Levels: read-committed, repeatable-read, serializable. Above read-committed, writers of the same rows make each other try again [default: read-committed]
    #[arg(long, env = "RAPPORT_ISOLATION", value_delimiter = ',', value_parser = isolation_overrides::parse)]
    pub isolation: Vec<(&'static str, Isolation)>,
    /// Largest body of a request, in bytes
    #[arg(long, env = "RAPPORT_BODY_LIMIT", default_value_t = 1024 * 1024)]
    pub body_limit: usize,
    /// Largest body of a batch of writes, in bytes: 1,000 rows of 4 KiB; never below RAPPORT_BODY_LIMIT
    #[arg(long, env = "RAPPORT_BATCH_BODY_LIMIT", default_value_t = 4 * 1024 * 1024)]
    pub batch_body_limit: usize,
    /// Deepest nesting of a JSON body
    #[arg(long, env = "RAPPORT_BODY_DEPTH", default_value_t = 16)]
    pub body_depth: usize,
    /// How long a verified API key is trusted before it is looked up again, in milliseconds
    #[arg(long, env = "RAPPORT_CREDENTIAL_CACHE_MS", default_value_t = 1_000)]
    pub credential_cache_ms: u64,
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
    #[arg(long, env = "RAPPORT_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// SMTP server for mails to people: `smtps://user:password@host`, or `smtp://…?tls=required` for STARTTLS; without it the
    /// private server prints them to its log, and with DATABASE_URL what needs mail answers 503
    #[arg(long, env = "RAPPORT_SMTP_URL", hide_env_values = true)]
    pub smtp_url: Option<Secret>,
    /// Who mails are from: `Rapport <crm@example.com>`
    #[arg(long, env = "RAPPORT_MAIL_FROM", value_parser = sender)]
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
    /// `off` leaves what is done beside requests (events, webhooks, imports and other jobs) to other processes
    #[arg(long, env = "RAPPORT_BACKGROUND_TASKS", default_value = "on", value_parser = switch, action = clap::ArgAction::Set)]
    pub background_tasks: bool,
    /// Jobs that this process works on at once, each on one database connection at a time
    #[arg(long, env = "RAPPORT_JOB_CONCURRENCY", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub job_concurrency: u32,
    /// Jobs of one business that are worked on at once, by all processes together
    #[arg(long, env = "RAPPORT_JOB_CONCURRENCY_PER_BUSINESS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub job_concurrency_per_business: u32,
    /// How long a process that is not heard of keeps a job, in seconds
    #[arg(long, env = "RAPPORT_JOB_LEASE_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub job_lease_seconds: u32,
    /// How long a job that has ended can be looked at, in days
    #[arg(long, env = "RAPPORT_JOBS_RETENTION_DAYS", default_value_t = 30)]
    pub jobs_retention_days: u32,
    /// How long events are kept, in days
    #[arg(long, env = "RAPPORT_EVENTS_RETENTION_DAYS", default_value_t = 30)]
    pub events_retention_days: u32,
    /// Streams of events that this process keeps at most
    #[arg(long, env = "RAPPORT_MAX_EVENT_STREAMS", default_value_t = 4_000)]
    pub max_event_streams: usize,
    /// Of these, those of one business
    #[arg(long, env = "RAPPORT_MAX_EVENT_STREAMS_PER_BUSINESS", default_value_t = 500)]
    pub max_event_streams_per_business: usize,
    /// Events that a stream may be behind before it is ended; who followed it goes on from where they were
    #[arg(long, env = "RAPPORT_STREAM_BUFFER", default_value_t = 1_000)]
    pub stream_buffer: usize,
    /// How often a stream says that it is alive, and its credential is looked at again, in seconds
    #[arg(long, env = "RAPPORT_STREAM_HEARTBEAT_SECONDS", default_value_t = 15)]
    pub stream_heartbeat_seconds: u64,
    /// How long a stream lasts at most, in minutes
    #[arg(long, env = "RAPPORT_STREAM_MINUTES", default_value_t = 60)]
    pub stream_minutes: u64,
    /// How often streams look for events that other processes have ordered, in milliseconds
    #[arg(long, env = "RAPPORT_STREAM_POLL_MS", default_value_t = 200)]
    pub stream_poll_ms: u64,
    /// Networks that webhooks may lead to although they are not public, comma-separated: `127.0.0.0/8,10.1.0.0/16`
    #[arg(long, env = "RAPPORT_WEBHOOK_ALLOWED_NETWORKS", value_delimiter = ',', value_parser = network)]
    pub webhook_allowed_networks: Vec<IpNet>,
    /// Longest wait for a webhook's answer, in seconds
    #[arg(long, env = "RAPPORT_WEBHOOK_TIMEOUT_SECONDS", default_value_t = 30)]
    pub webhook_timeout_seconds: u64,
    /// Pauses before a delivery is tried again, in seconds, comma-separated; after the last it is dead
    #[arg(
        long,
        env = "RAPPORT_WEBHOOK_RETRY_SCHEDULE",
        value_delimiter = ',',
        default_value = "5,300,1800,7200,18000,36000,50400,72000,86400"
    )]
    pub webhook_retry_schedule: Vec<u64>,
    /// Deliveries that are under way at once in this process
    #[arg(long, env = "RAPPORT_WEBHOOK_CONCURRENCY", default_value_t = 64)]
    pub webhook_concurrency: usize,
    /// Of these, those of one webhook
    #[arg(long, env = "RAPPORT_WEBHOOK_CONCURRENCY_EACH", default_value_t = 8)]
    pub webhook_concurrency_each: usize,
    /// After so many hours in which no delivery has arrived a webhook is paused
    #[arg(long, env = "RAPPORT_WEBHOOK_DISABLE_AFTER_HOURS", default_value_t = 120)]
    pub webhook_disable_after_hours: u32,
    /// Largest file that is uploaded to be imported, in bytes
    #[arg(long, env = "RAPPORT_IMPORT_BYTES", default_value_t = 1024 * 1024 * 1024)]
    pub import_bytes: u64,
    /// How long an imported file is kept, and can be taken back, in days
    #[arg(long, env = "RAPPORT_IMPORT_RETENTION_DAYS", default_value_t = 30)]
    pub import_retention_days: u32,
    /// Origins that browsers may call from, comma-separated; `*` for any
    #[arg(long, env = "RAPPORT_CORS_ORIGINS", value_delimiter = ',', value_parser = canonical_origin)]
    pub cors_origins: Vec<String>,
    /// After SIGTERM: how long readiness fails while requests are still served, in seconds
    #[arg(long, env = "RAPPORT_SHUTDOWN_DRAIN_SECONDS", default_value_t = 5)]
    pub shutdown_drain_seconds: u64,
    /// After the drain: how long requests in flight may take to finish, in seconds
    #[arg(long, env = "RAPPORT_SHUTDOWN_GRACE_SECONDS", default_value_t = 15)]
    pub shutdown_grace_seconds: u64,
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn default_connections() -> u32 {
    (cores() as u32 * 2).clamp(4, 16)
}
