//! Tasks for workers: programs outside of the service, such as one that has a model answer customers (docs/AI.md). A worker claims
//! tasks for the time of a lease ([`claims`]) and renews, completes or fails each by the token of its claim ([`leases`]). Where
//! conversations are handled by `ai`, messages make tasks and people's answers cancel them ([`reply_tasks`]). [`waiters`] are claims
//! that wait for a task, [`expiry`] ends what no worker will, [`ai_runs`] keeps what models used.

mod ai_runs;
pub mod claims;
mod dto;
pub mod expiry;
pub mod http;
mod leases;
pub mod reply_tasks;
pub mod waiters;

use crate::auth::Area;
use crate::db::schema::worker_tasks;
use crate::resource::{
    Field, FieldType, Operations, Relation, Resource, RowVisibility, Search, Sort, VisibilityLink, row_type,
};

const STATUSES: &[&str] = &["open", "claimed", "completed", "failed", "cancelled"];
/// Longest name of a kind, in characters.
const MAX_KIND_LEN: usize = 60;
/// The last priority: enough to tell apart all that waits for the same workers.
const MAX_PRIORITY: i64 = 100;
/// Attempts that a task may ask for: more hide an error that no attempt will mend.
const MAX_ATTEMPTS: i64 = 100;
/// Longest text of an error, in characters: a message with the end of a stack.
const MAX_ERROR_LEN: usize = 2_000;

pub static WORKER_TASKS: Resource = Resource {
    name: "worker_task",
    plural: "worker-tasks",
    schema: "WorkerTask",
    description: "Tasks for workers, programs of your own: each is claimed by one of them at a time. Not to be confused with `tasks`, \
                  which people do.",
    table: "worker_tasks",
    area: Area::Workers,
    fields: &[
        Field::id(worker_tasks::id),
        Field::text(
            worker_tasks::kind,
            MAX_KIND_LEN,
            r#""reply""#,
            "What is to be done; workers claim tasks by it. `reply` is to answer the customer of a conversation that `ai` handles.",
        )
        .required()
        .once()
        .filter(),
        Field::choice(
            worker_tasks::status,
            STATUSES,
            r#""open""#,
            "`open` waits for a worker, `claimed` is with one until `lease_until`; the others have ended.",
        )
        .default(r#""open""#)
        .read_only(),
        Field::link(
            worker_tasks::conversation_id,
            "The conversation that it is about: a person's answer there cancels it.",
        )
        .once(),
        Field::new(
            worker_tasks::payload,
            FieldType::Object,
            r#"{"conversation_id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70","last_message_id":"01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72"}"#,
            "What the worker needs to know.",
        )
        .default("{}")
        .once(),
        Field::int(worker_tasks::priority, 0, MAX_PRIORITY, "50", "Tasks with a smaller number are claimed first.")
            .default("50")
            .once(),
        Field { default: Some(r#""2026-11-20T09:30:00Z""#), ..Field::time(worker_tasks::run_at, "Not claimed before; now when left out.") }
            .not_null()
            .once(),
        Field::text(
            worker_tasks::dedupe_key,
            200,
            r#""summary:01939d5e""#,
            "There is one open task of its kind with this key at most; another one is refused (409).",
        )
        .once()
        .filter(),
        Field::int(worker_tasks::attempts, 0, MAX_ATTEMPTS, "1", "How often it was claimed.").default("0").read_only(),
        Field::int(
            worker_tasks::max_attempts,
            1,
            MAX_ATTEMPTS,
            "5",
            "How often it is claimed at most, before it has failed.",
        )
        .default("5")
        .once(),
        Field::time(worker_tasks::lease_until, "Until when the worker has it that claimed it last.").read_only(),
        Field::new(worker_tasks::result, FieldType::Object, r#"{"sent":true}"#, "What the worker returned.").read_only(),
        Field::text(worker_tasks::error, MAX_ERROR_LEN, r#""The model timed out.""#, "Why the last attempt failed.").read_only(),
        Field::text(
            worker_tasks::cancel_reason,
            60,
            r#""person_answered""#,
            "Why it was cancelled: `requested`, `person_answered`, `handler_changed`, `conversation_merged`, or `superseded` by a newer task with its key.",
        )
        .read_only(),
        Field::time(worker_tasks::ended_at, "When it was completed, failed or cancelled. 30 days later it is deleted.").read_only(),
        Field::version(worker_tasks::version),
        Field::created_at(worker_tasks::created_at),
        Field::updated_at(worker_tasks::updated_at),
    ],
    relations: &[Relation::one(
        "conversation",
        "conversations",
        worker_tasks::conversation_id,
        "The conversation that it is about.",
    )],
    sorts: &[Sort::column(worker_tasks::created_at)],
    search: Search::None,
    operations: Operations { create: true, ..Operations::NONE },
    visibility: RowVisibility::linked(&[VisibilityLink::new(worker_tasks::conversation_id, "conversations")]),
    // It changes with each claim and renewal.
    audited: false,
    ..Resource::BASE
};

row_type!(WorkerTaskRow of WORKER_TASKS);
