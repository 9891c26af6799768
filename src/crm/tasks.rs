//! Tasks: what a member still has to do.

use chrono::{DateTime, Utc};

use super::reminders::{self, Reminder};
use crate::auth::TenantSettings;
use crate::db::schema::tasks;
use crate::resource::{
    Changeset, Field, Hooks, Relation, Resource, RowVisibility, Sort, ValidationErrors, VisibilityLink,
};

const STATUSES: &[&str] = &["open", "done", "cancelled"];
const PRIORITIES: &[&str] = &["low", "normal", "high", "urgent"];

pub static TASKS: Resource = Resource {
    name: "task",
    plural: "tasks",
    schema: "Task",
    description: "What someone still has to do.",
    table: "tasks",
    fields: &[
        Field::id(tasks::id),
        Field::text(tasks::title, 200, r#""Call back about the offer""#, "What is to be done.").required(),
        Field::text(tasks::description, 10_000, r#""Ask for the floor plan.""#, "More about it."),
        Field::choice(tasks::status, STATUSES, r#""open""#, "Whether it is done.").default(r#""open""#),
        Field::choice(tasks::priority, PRIORITIES, r#""high""#, "How urgent it is.").default(r#""normal""#),
        Field::time(tasks::due_at, "Until when.").filter(),
        Field::time(tasks::completed_at, "When it was done; set with the status.").read_only(),
        Field::time(tasks::reminded_at, "When the reminder was given; a new `due_at` gets another.").read_only(),
        Field::link(tasks::assignee_id, "The member who is to do it."),
        Field::link(tasks::lead_id, "The lead it is about."),
        Field::link(tasks::contact_id, "The person it is about."),
        Field::link(tasks::company_id, "The company it is about."),
        Field::external_id(tasks::external_id),
        Field::metadata(tasks::metadata),
        Field::version(tasks::version),
        Field::created_at(tasks::created_at),
        Field::updated_at(tasks::updated_at),
    ],
    relations: &[
        Relation::one("assignee", "users", tasks::assignee_id, "The member who is to do it."),
        Relation::one("lead", "leads", tasks::lead_id, "The lead it is about."),
        Relation::one("contact", "contacts", tasks::contact_id, "The person it is about."),
        Relation::one("company", "companies", tasks::company_id, "The company it is about."),
    ],
    sorts: &[
        Sort::column(tasks::created_at),
        // Tasks without a due date come last.
        Sort::time("due_at", "coalesce(t.due_at, '9999-12-31 23:59:59+00'::timestamptz)"),
    ],
    visibility: RowVisibility::assigned_or_linked(tasks::assignee_id, &[VisibilityLink::new(tasks::lead_id, "leads")]),
    hooks: Hooks { prepare, ..Hooks::NONE },
    ..Resource::BASE
};

/// Reminds of open tasks. One that has been due for more than a week gets no reminder: it was due before there were
/// reminders, or while no process gave them.
pub static REMINDER: Reminder = Reminder {
    resource: &TASKS,
    time: "t.due_at",
    due: "t.reminded_at IS NULL AND t.status = 'open' AND t.deleted_at IS NULL \
          AND t.due_at <= now() AND t.due_at > now() - interval '7 days'",
};

fn prepare(change: &mut Changeset, _: &TenantSettings, _: &mut ValidationErrors) {
    reminders::forget(change, tasks::due_at, tasks::reminded_at);
    match change.text(tasks::status) {
        Some("done") => change.set_if_changed(tasks::status, tasks::completed_at, Utc::now()),
        Some(_) => change.set(tasks::completed_at, None::<DateTime<Utc>>),
        None => {}
    }
}
