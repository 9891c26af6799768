//! The registry: every resource of the API, with the write operations, checks and HTTP operations of its own.

use crate::analytics;
use crate::channels::attachments::ATTACHMENTS;
use crate::channels::canned_responses::CANNED_RESPONSES;
use crate::channels::channels::CHANNELS;
use crate::channels::conversation_context;
use crate::channels::conversations::CONVERSATIONS;
use crate::channels::inbound;
use crate::channels::inbound_updates::INBOUND_UPDATES;
use crate::channels::inbox;
use crate::channels::labels::{CONVERSATION_LABELS, LABELS};
use crate::channels::lead_processing;
use crate::channels::media;
use crate::channels::message_rates::MESSAGE_RATES;
use crate::channels::message_reactions::MESSAGE_REACTIONS;
use crate::channels::messages::MESSAGES;
use crate::channels::read_positions::READ_POSITIONS;
use crate::channels::secrets;
use crate::channels::sending::attempts::MESSAGE_ATTEMPTS;
use crate::channels::sending::http as sending;
use crate::channels::templates::{self, TEMPLATES};
use crate::channels::worker_tasks::{self, WORKER_TASKS};
use crate::crm::campaigns::CAMPAIGNS;
use crate::crm::companies::COMPANIES;
use crate::crm::contact_identities::CONTACT_IDENTITIES;
use crate::crm::contacts::CONTACTS;
use crate::crm::decisions::DECISIONS;
use crate::crm::duplicate_proposals::DUPLICATE_PROPOSALS;
use crate::crm::leads::{self, LEADS};
use crate::crm::merges::{self, MERGES};
use crate::crm::notes::NOTES;
use crate::crm::tasks::TASKS;
use crate::crm::{duplicates, privacy};
use crate::identity::api_keys::{self, API_KEYS};
use crate::identity::businesses::BUSINESSES;
use crate::identity::invitations::{self, INVITATIONS};
use crate::identity::memberships::{self, MEMBERSHIPS};
use crate::identity::send_invitation;
use crate::identity::users::{self, USERS};
use crate::integrations::events;
use crate::integrations::external_users::EXTERNAL_USERS;
use crate::integrations::import::{self, IMPORTS};
use crate::integrations::jobs::{self, JOBS};
use crate::integrations::webhooks::{self, WEBHOOKS};
use crate::resource::audit_log::AUDIT_LOG;
use crate::resource::{self, Resource, ResourceModule, WriteOps};
use crate::scheduling::bookings::{self, BOOKINGS};
use crate::scheduling::schedules::{self, HOLIDAYS, SCHEDULE_OVERRIDES};
use crate::scheduling::services::SERVICES;
use crate::scheduling::staff::STAFF;
use crate::scheduling::staff_services::{self, STAFF_SERVICES};

/// Every resource with its behaviour, in the order of the OpenAPI document, which is also that of locks: a transaction
/// that locks rows of several resources takes them in this order.
pub static MODULES: &[ResourceModule] = &[
    ResourceModule {
        routes: &[lead_processing::http::routes, leads::http::routes],
        describe: &[lead_processing::http::describe, leads::http::describe],
        ..ResourceModule::new(&LEADS)
    },
    ResourceModule {
        duplicate_check: Some(duplicates::check::refuse),
        static_routes: &[duplicates::http::of_companies],
        routes: &[merges::http::of_companies],
        ..ResourceModule::new(&COMPANIES)
    },
    ResourceModule {
        duplicate_check: Some(duplicates::check::refuse),
        static_routes: &[duplicates::http::of_contacts],
        routes: &[privacy::http::routes, merges::http::of_contacts],
        describe: &[privacy::http::describe, duplicates::http::describe],
        ..ResourceModule::new(&CONTACTS)
    },
    ResourceModule {
        routes: &[secrets::http::routes, inbound::http::of_channels, templates::http::routes],
        describe: &[secrets::http::describe, inbound::http::describe, templates::http::describe],
        ..ResourceModule::new(&CHANNELS)
    },
    ResourceModule::new(&TEMPLATES),
    ResourceModule {
        static_routes: &[inbox::counts_http::routes],
        routes: &[
            inbox::http::routes,
            conversation_context::http::routes,
            inbox::labels_http::routes,
            inbox::reading_http::routes,
            events::typing::of_conversations,
            sending::of_conversations,
        ],
        describe: &[
            inbox::counts_http::describe,
            inbox::http::describe,
            conversation_context::http::describe,
            inbox::labels_http::describe,
            inbox::reading_http::describe,
            events::typing::describe,
            sending::describe,
        ],
        ..ResourceModule::new(&CONVERSATIONS)
    },
    ResourceModule::new(&LABELS),
    ResourceModule::new(&CONVERSATION_LABELS),
    ResourceModule::new(&READ_POSITIONS),
    ResourceModule::new(&CANNED_RESPONSES),
    ResourceModule { custom_create: Some(media::http::creation), ..ResourceModule::new(&ATTACHMENTS) },
    ResourceModule {
        routes: &[sending::of_messages, media::http::of_messages],
        describe: &[media::http::describe],
        ..ResourceModule::new(&MESSAGES)
    },
    ResourceModule::new(&MESSAGE_ATTEMPTS),
    ResourceModule::new(&MESSAGE_REACTIONS),
    ResourceModule::new(&MESSAGE_RATES),
    ResourceModule { routes: &[inbound::http::of_updates], ..ResourceModule::new(&INBOUND_UPDATES) },
    ResourceModule {
        routes: &[worker_tasks::http::routes],
        describe: &[worker_tasks::http::describe],
        ..ResourceModule::new(&WORKER_TASKS)
    },
    ResourceModule::new(&CONTACT_IDENTITIES),
    ResourceModule::new(&DUPLICATE_PROPOSALS),
    ResourceModule::new(&DECISIONS),
    ResourceModule {
        writes: WriteOps { restore: bookings::restore, ..WriteOps::PLAIN },
        routes: &[bookings::http::routes],
        describe: &[bookings::http::describe],
        ..ResourceModule::new(&BOOKINGS)
    },
    ResourceModule::new(&SERVICES),
    ResourceModule {
        routes: &[staff_services::http::routes, schedules::http::routes],
        describe: &[staff_services::http::describe, schedules::http::describe],
        ..ResourceModule::new(&STAFF)
    },
    ResourceModule::new(&STAFF_SERVICES),
    ResourceModule::new(&SCHEDULE_OVERRIDES),
    ResourceModule::new(&HOLIDAYS),
    ResourceModule { routes: &[analytics::of_campaigns], ..ResourceModule::new(&CAMPAIGNS) },
    ResourceModule::new(&TASKS),
    ResourceModule::new(&NOTES),
    ResourceModule {
        routes: &[merges::http::of_merges],
        describe: &[merges::http::describe],
        ..ResourceModule::new(&MERGES)
    },
    ResourceModule::new(&BUSINESSES),
    ResourceModule { writes: users::WRITES, ..ResourceModule::new(&USERS) },
    ResourceModule { writes: memberships::WRITES, ..ResourceModule::new(&MEMBERSHIPS) },
    ResourceModule {
        writes: invitations::WRITES,
        custom_create: Some(send_invitation::routes),
        ..ResourceModule::new(&INVITATIONS)
    },
    ResourceModule::new(&EXTERNAL_USERS),
    ResourceModule { writes: api_keys::WRITES, routes: &[api_keys::routes], ..ResourceModule::new(&API_KEYS) },
    ResourceModule {
        writes: webhooks::WRITES,
        routes: &[webhooks::http::routes],
        describe: &[webhooks::http::describe],
        ..ResourceModule::new(&WEBHOOKS)
    },
    ResourceModule::new(&AUDIT_LOG),
    ResourceModule {
        writes: import::WRITES,
        custom_create: Some(import::http::creation),
        routes: &[import::http::routes],
        describe: &[import::openapi::describe],
        ..ResourceModule::new(&IMPORTS)
    },
    ResourceModule { routes: &[jobs::routes], describe: &[jobs::describe], ..ResourceModule::new(&JOBS) },
];

/// Every resource, in the order of [`MODULES`].
pub static RESOURCES: [&Resource; MODULES.len()] = {
    let mut resources = [MODULES[0].resource; MODULES.len()];
    let mut place = 0;
    while place < MODULES.len() {
        resources[place] = MODULES[place].resource;
        place += 1;
    }
    resources
};

/// Installs the registry, through which definitions refer to each other. Must run before anything else uses resources.
pub fn install() {
    resource::registry::install(&RESOURCES);
}

#[cfg(test)]
mod tests {
    use super::RESOURCES;
    use crate::crm::privacy;
    use crate::resource::openapi::example;

    #[test]
    fn resource_definitions_are_consistent() {
        super::install();
        for resource in RESOURCES {
            let name = resource.plural;
            assert!(resource.fields.len() <= 64, "{name}: the shown fields are a mask of 64 bits");
            assert_eq!(resource.fields[0].name, "id", "{name}: rows are recognised by their first cell");
            for relation in resource.relations {
                assert!(resource.field(relation.name).is_none(), "{name}: {} is a field and a relation", relation.name);
                let target = RESOURCES.iter().any(|other| other.plural == relation.resource_plural);
                assert!(target, "{name}: {} leads to no resource", relation.name);
            }
            for filter in resource.filters {
                let name = filter.field.name;
                assert!(resource.field(name).is_none(), "{}: {name} is a field and another filter", resource.plural);
            }
            for link in resource.visibility.links() {
                let target = RESOURCES.iter().any(|other| other.plural == link.resource_plural);
                assert!(target, "{name}: the visibility by {} leads to no resource", link.column);
                assert!(resource.field(link.column).is_some(), "{name}: {} is not its field", link.column);
            }
            let filters = crate::resource::list_query::names(resource);
            assert!(!filters.iter().any(|filter| filter == "format"), "{name}: `format` is a parameter of its export");
            for field in resource.fields {
                assert!(!example(field.example).is_null(), "{name}: the example of {} is no JSON", field.name);
            }
            let default = resource.default_sort.trim_start_matches('-');
            assert!(resource.sorts.iter().any(|sort| sort.name == default), "{name}: no sort {default}");
        }
    }
    /// A row about a person that an export or an erasure does not reach is a breach of their rights.
    #[test]
    fn resources_about_a_contact_are_found_by_their_relations() {
        super::install();
        let names: Vec<&str> = privacy::resources().iter().map(|resource| resource.plural).collect();
        let expected = [
            "contacts",
            "leads",
            "conversations",
            "conversation-labels",
            "read-positions",
            "messages",
            "message-attempts",
            "message-reactions",
            "worker-tasks",
            "contact-identities",
            "duplicate-proposals",
            "decisions",
            "bookings",
            "tasks",
            "notes",
            "merges",
            "audit-log",
        ];
        assert_eq!(names, expected);
    }
}
