//! Tests of agents who see only rows assigned to them, and of API keys with fewer permissions than their role.

use rapport::auth::Role;
use serde_json::{Value, json};

use crate::sign_in::{admit, client, sign_in};
use crate::support::{Client, Service};

struct Office {
    service: Service,
    amina: Client,
    /// Amina's user id.
    her: String,
    bo: Client,
}

impl Office {
    /// Two agents of a business with `assigned` visibility.
    fn open() -> Self {
        let service = Service::start();
        let enter = |email: &str| {
            admit(&service, "acme", email, "agent");
            let session = sign_in(&service, email).expect(201).json;
            (client(&service, &session), session["user"]["id"].as_str().expect("an id").to_owned())
        };
        let ((amina, her), (bo, _)) = (enter("amina@example.com"), enter("bo@example.com"));
        let office = Self { service, amina, her, bo };
        office.see("assigned");
        office
    }

    fn see(&self, what: &str) {
        let business = format!("businesses/{}", self.service.business);
        self.service.client.patch(&business, json!({ "agent_visibility": what })).expect(200);
    }
}

fn ids(api: &Client, path: &str) -> Vec<String> {
    api.get(path).expect(200).rows().iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn agent_sees_only_assigned_rows_on_every_read_path() {
    let office = Office::open();
    let Office { service, amina, her, bo } = &office;
    let boss = &service.client;
    assert_eq!(
        (&amina.get("me").expect(200).json["sees"], &boss.get("me").expect(200).json["sees"]),
        (&json!("assigned"), &json!("all"))
    );
    let hers = boss.make("leads", json!({ "title": "Hers", "assignee_id": her }));
    let other = boss.make("leads", json!({ "title": "Nobody's" }));
    let talk = |lead: &str, address: &str, assignee: Value| {
        let body = json!({ "channel": "web", "address": address, "lead_id": lead, "assignee_id": assignee });
        let id = boss.make("conversations", body);
        let said = json!({ "conversation_id": id, "direction": "inbound", "body": format!("I am {address}") });
        (id, boss.make("messages", said))
    };
    let (her_talk, her_message) = talk(&hers, "one", json!(her));
    let (other_talk, other_message) = talk(&other, "two", Value::Null);
    // Files are those of visible messages, and a member's own uploads.
    for (message, status) in [(&her_message, 200), (&other_message, 404)] {
        let file = boss.upload("attachments", "image/png", vec![1, 2, 3]).expect(201).json;
        let file = file["id"].as_str().expect("an id");
        service.database.run(&format!(
            "UPDATE messages SET attachment_id = '{file}', media_state = 'stored' WHERE id = '{message}'"
        ));
        amina.get(&format!("messages/{message}/media")).expect(status);
        amina.get(&format!("attachments/{file}")).expect(404);
    }
    let own = amina.upload("attachments", "image/png", vec![1]).expect(201).json;
    assert_eq!(own["uploaded_by"], json!(her));
    assert_eq!(ids(amina, "attachments"), [own["id"].as_str().expect("an id")]);
    assert_eq!((ids(bo, "attachments").len(), ids(boss, "attachments").len()), (0, 3));
    let her_note = boss.make("notes", json!({ "body": "Likes tea", "lead_id": hers }));
    let other_note = boss.make("notes", json!({ "body": "Likes coffee", "lead_id": other }));
    let decision = |lead: &str| boss.make("decisions", json!({ "decision": "qualify", "lead_id": lead }));
    let (her_decision, other_decision) = (decision(&hers), decision(&other));
    let her_task = boss.make("tasks", json!({ "title": "Call", "lead_id": hers }));
    let other_task = boss.make("tasks", json!({ "title": "Write", "lead_id": other }));
    // A task assigned to her is visible, even about a hidden lead.
    let given = boss.make("tasks", json!({ "title": "Ring", "lead_id": other, "assignee_id": her }));
    let task = amina.get(&format!("tasks/{given}?include=lead")).expect(200).json;
    assert_eq!((&task["title"], &task["lead"]), (&json!("Ring"), &Value::Null));
    let free_task = boss.make("tasks", json!({ "title": "Water the plants" }));

    for (resource, seen, unseen) in [
        ("leads", &hers, &other),
        ("conversations", &her_talk, &other_talk),
        ("messages", &her_message, &other_message),
        ("notes", &her_note, &other_note),
        ("tasks", &her_task, &other_task),
        ("decisions", &her_decision, &other_decision),
    ] {
        // Twice: the second response comes from the cache.
        for _ in 0..2 {
            amina.get(&format!("{resource}/{seen}")).expect(200);
            amina.get(&format!("{resource}/{unseen}")).expect(404);
            boss.get(&format!("{resource}/{unseen}")).expect(200);
            let list = ids(amina, resource);
            assert!(list.contains(seen) && !list.contains(unseen), "{resource}: {list:?}");
            assert!(ids(boss, resource).contains(unseen));
            assert!(!ids(bo, resource).contains(seen), "{resource}");
        }
        let count = amina.get(&format!("{resource}?count=exact")).expect(200).json["page"]["total"].clone();
        assert_eq!(count, ids(amina, resource).len(), "{resource}");
        let batch = amina.post(&format!("{resource}/batch/read"), json!({ "ids": [seen, unseen] })).expect(200).json;
        assert_eq!((batch["data"][0]["id"].as_str(), &batch["missing"]), (Some(seen.as_str()), &json!([unseen])));
        amina.get(&format!("{resource}/{seen}/history")).expect(200);
        amina.get(&format!("{resource}/{unseen}/history")).expect(404);
        if resource != "decisions" {
            amina.patch(&format!("{resource}/{unseen}"), json!({ "metadata": {} })).expect(404);
        }
    }
    assert!(ids(amina, "tasks").contains(&free_task));
    amina.get("leads?q=Nobody").expect(200);
    assert_eq!(ids(amina, "leads?q=Nobody"), Vec::<String>::new());
    assert_eq!(ids(amina, "messages?q=two"), Vec::<String>::new());

    // Nor through the relations of visible rows, in both directions.
    boss.patch(&format!("conversations/{other_talk}"), json!({ "lead_id": hers })).expect(200);
    boss.patch(&format!("conversations/{her_talk}"), json!({ "lead_id": other })).expect(200);
    let lead = amina.get(&format!("leads/{hers}?include=conversations,tasks")).expect(200).json;
    assert_eq!((&lead["conversations"], lead["tasks"].as_array().map(Vec::len)), (&json!([]), Some(1)));
    let thread = amina.get(&format!("conversations/{her_talk}?include=lead,messages")).expect(200).json;
    assert_eq!((&thread["lead"], thread["messages"].as_array().map(Vec::len)), (&Value::Null, Some(1)));
    assert_eq!(amina.get("conversations?include=lead,last_message").expect(200).rows()[0]["lead"], Value::Null);
    // And no row can reference a hidden one.
    let refused =
        amina.post("messages", json!({ "conversation_id": other_talk, "direction": "outbound", "body": "Hi" }));
    assert_eq!(refused.expect(422).faults(), ["/conversation_id"]);
}

#[test]
fn reassigned_rows_visible_to_new_assignee_next_request() {
    let office = Office::open();
    let Office { service, amina, bo, her } = &office;
    // A row that she creates is assigned to her.
    let lead = amina.create("leads", json!({ "title": "Roof" }));
    assert_eq!(lead["assignee_id"].as_str(), Some(her.as_str()));
    let one = format!("leads/{}", lead["id"].as_str().expect("an id"));
    let thread = amina.make("conversations", json!({ "channel": "web", "address": "x" }));
    let said = amina.make("messages", json!({ "conversation_id": thread, "direction": "outbound", "body": "Hello" }));
    let his = bo.get("me").expect(200).json["principal"]["id"].clone();
    for api in [amina, bo] {
        for path in ["leads", &one, "messages", &format!("messages/{said}")] {
            api.get(path);
        }
    }
    bo.get(&format!("messages/{said}")).expect(404);
    amina.patch(&one, json!({ "assignee_id": his })).expect(200);
    amina.patch(&format!("conversations/{thread}"), json!({ "assignee_id": his })).expect(200);
    amina.get(&one).expect(404);
    amina.get(&format!("messages/{said}")).expect(404);
    assert_eq!((ids(amina, "leads").len(), ids(amina, "messages").len()), (0, 0));
    bo.get(&one).expect(200);
    bo.get(&format!("messages/{said}")).expect(200);
    assert_eq!((ids(bo, "leads").len(), ids(bo, "messages").len()), (1, 1));

    // The setting applies from the next request on, and so does a role.
    office.see("all");
    amina.get(&one).expect(200);
    office.see("assigned");
    amina.get(&one).expect(404);
    service.client.patch(&format!("users/{her}"), json!({ "role": "manager" })).expect(200);
    amina.get(&one).expect(200);
}

#[test]
fn api_key_limited_to_permissions_its_creator_holds() {
    let service = Service::start();
    let owner = &service.client;
    let made = owner.create("api-keys", json!({ "name": "Website", "permissions": ["crm:read", "keys:write"] }));
    assert_eq!((&made["role"], &made["permissions"]), (&json!("admin"), &json!(["crm:read", "keys:write"])));
    let site = Client::new(service.address, made["key"].as_str().expect("a key"));
    let me = site.get("me").expect(200).json;
    assert_eq!(me["permissions"], made["permissions"]);
    let lead = owner.make("leads", json!({ "title": "Roof" }));
    for _ in 0..2 {
        site.get(&format!("leads/{lead}")).expect(200);
        // The assignee is a user, which needs another permission.
        let refused = site.get(&format!("leads/{lead}?include=assignee")).expect(403);
        assert!(refused.text.contains("people:read"), "{}", refused.text);
        owner.get(&format!("leads/{lead}?include=assignee")).expect(200);
    }
    site.post("leads", json!({ "title": "No" })).expect(403);
    site.get("users").expect(403);
    site.get("businesses").expect(403);
    // Operations that return a row need the read permission.
    let blind = owner.create("api-keys", json!({ "name": "Blind", "permissions": ["crm:write", "crm:delete"] }));
    let blind = Client::new(service.address, blind["key"].as_str().expect("a key"));
    blind.create("leads", json!({ "title": "From the website" }));
    blind.patch(&format!("leads/{lead}"), json!({})).expect(403);
    blind.post(&format!("leads/{lead}/restoration"), json!({})).expect(403);
    // Nobody can grant permissions that they lack, whatever the role.
    for body in [
        json!({ "name": "More", "permissions": ["crm:write"] }),
        json!({ "name": "More", "role": "viewer" }),
        json!({ "name": "More", "role": "admin" }),
    ] {
        site.post("api-keys", body).expect(403);
    }
    site.create("api-keys", json!({ "name": "Same", "permissions": ["crm:read"] }));
    let mighty = owner.create("api-keys", json!({ "name": "Mighty", "role": "manager" }));
    let mighty = format!("api-keys/{}", mighty["id"].as_str().expect("an id"));
    site.patch(&mighty, json!({ "name": "Mine" })).expect(403);
    site.post(&format!("{mighty}/rotation"), json!({})).expect(403);

    for (body, pointer) in [
        (json!({ "name": "X" }), "/role"),
        (json!({ "name": "X", "permissions": [] }), "/permissions"),
        (json!({ "name": "X", "permissions": ["crm:reed"] }), "/permissions"),
        (json!({ "name": "X", "role": "agent", "permissions": ["keys:read"] }), "/permissions"),
    ] {
        assert_eq!(owner.post("api-keys", body.clone()).expect(422).faults(), [pointer], "{body}");
    }
    let unlimited = owner.create("api-keys", json!({ "name": "Agent", "role": "agent" }));
    assert_eq!(unlimited["permissions"], Value::Null);
    // An agent's API key is no user, so nothing can be assigned to it: it sees all rows of the business.
    owner.patch(&format!("businesses/{}", service.business), json!({ "agent_visibility": "assigned" })).expect(200);
    service.client_as(Role::Agent).get(&format!("leads/{lead}")).expect(200);
}
