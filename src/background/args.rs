//! Command-line options of background tasks and jobs.

use clap::Args;

use crate::base::options::switch;

/// Options of background tasks and jobs.
#[derive(Args, Clone, Debug)]
pub struct BackgroundArgs {
    /// `off` leaves background work (events, webhooks, imports and other jobs) to other processes
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
}
