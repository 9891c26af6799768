//! Tests of users, their roles, and API keys.

use rapport::auth::Role;
use serde_json::json;

use crate::support::Service;

#[test]
fn update_user_role_membership_follows_last_owner_409() {
    let service = Service::start();
    let api = &service.client;
    let olga = api.create("users", json!({ "email": "olga@example.com", "name": "Olga", "role": "owner" }));
    let agent = api.create("users", json!({ "email": "abe@example.com", "name": "Abe", "role": "agent" }));
    let (agent_id, membership) = (agent["id"].as_str().unwrap(), agent["membership_id"].as_str().unwrap());

    let again = json!({ "email": "ABE@example.com", "name": "Abraham", "role": "viewer" });
    assert_eq!(api.post("users", again).expect(409).code(), "already_exists");
    let shown = api.get(&format!("memberships/{membership}?include=user")).expect(200).json;
    assert_eq!((&shown["role"], &shown["user"]), (&json!("agent"), &agent));

    // A role can be changed through the user or the membership; both show it.
    api.patch(&format!("memberships/{membership}"), json!({ "role": "manager" })).expect(200);
    let user = api.get(&format!("users/{agent_id}")).expect(200);
    assert_eq!(user.json["role"], "manager");
    assert_ne!(user.json["version"], agent["version"], "so the person's ETag is another");
    api.patch(&format!("users/{agent_id}"), json!({ "role": "agent", "name": "Abraham" })).expect(200);
    assert_eq!(api.get(&format!("memberships/{membership}")).expect(200).json["role"], "agent");
    let found = api.get("users?role=agent&q=abraham").expect(200);
    assert_eq!(found.rows().len(), 1);

    // A removed user is unassigned.
    let lead = api.make("leads", json!({ "title": "Roof", "assignee_id": agent_id }));
    api.delete(&format!("users/{agent_id}")).expect(204);
    api.get(&format!("memberships/{membership}")).expect(404);
    assert!(api.get(&format!("leads/{lead}")).expect(200).json["assignee_id"].is_null());
    let refused = api.patch(&format!("leads/{lead}"), json!({ "assignee_id": agent_id })).expect(422);
    assert_eq!(refused.faults(), ["/assignee_id"]);

    // The last owner cannot be removed or demoted, by any request.
    let id = olga["id"].as_str().unwrap();
    api.create("users", json!({ "email": "bo@example.com", "name": "Bo", "role": "admin" }));
    let membership = olga["membership_id"].as_str().unwrap();
    for path in [format!("users/{id}"), format!("memberships/{membership}")] {
        assert_eq!(api.patch(&path, json!({ "role": "admin" })).expect(409).code(), "last_owner");
        assert_eq!(api.delete(&path).expect(409).code(), "last_owner");
        api.patch(&path, json!({ "role": "owner" })).expect(200);
    }
    api.create("users", json!({ "email": "cy@example.com", "name": "Cy", "role": "owner" }));
    api.delete(&format!("users/{id}")).expect(204);
}

#[test]
fn concurrent_removal_of_both_owners_one_409() {
    let service = Service::with(&["--db-connections", "4"]);
    let api = &service.client;
    let owner = |name: &str| {
        api.make("users", json!({ "email": format!("{name}@example.com"), "name": name, "role": "owner" }))
    };
    api.create("users", json!({ "email": "abe@example.com", "name": "Abe", "role": "agent" }));
    for round in 0..5 {
        let pair = [owner(&format!("a{round}")), owner(&format!("b{round}"))];
        let mut statuses: Vec<u16> = std::thread::scope(|scope| {
            let leaving: Vec<_> =
                pair.iter().map(|id| scope.spawn(move || api.delete(&format!("users/{id}")).status)).collect();
            leaving.into_iter().map(|left| left.join().unwrap()).collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 409]);
        // The remaining owner hands over, so that the next two are the only ones again.
        let stayed = api.get("users?role=owner").expect(200).rows()[0]["id"].as_str().unwrap().to_owned();
        service.database.run(&format!("UPDATE memberships SET role = 'agent' WHERE user_id = '{stayed}'"));
    }
}

#[test]
fn update_and_delete_users_without_any_owner_allowed() {
    // A business made on the command line has keys and no users.
    let service = Service::start();
    let api = &service.client;
    let person = |name: &str| {
        api.make("users", json!({ "email": format!("{name}@example.com"), "name": name, "role": "agent" }))
    };
    let (first, second) = (person("abe"), person("bo"));
    api.patch(&format!("users/{first}"), json!({ "role": "manager" })).expect(200);
    api.delete(&format!("users/{second}")).expect(204);
}

#[test]
fn create_user_email_of_other_tenant_409_undisclosed() {
    let service = Service::start();
    let (_, neighbour) = service.neighbour();
    let body = |name: &str| json!({ "email": "anna@example.com", "name": name, "role": "agent" });
    let here = service.client.create("users", body("Anna"));
    let path = format!("users/{}", here["id"].as_str().unwrap());
    for api in [&neighbour, &service.client] {
        let refused = api.post("users", body("Mallory")).expect(409);
        assert_eq!((refused.code(), refused.faults()), ("already_exists", vec!["/email"]));
        assert!(!refused.text.contains("Anna"));
    }
    neighbour.get(&path).expect(404);
    assert!(neighbour.get("users").expect(200).rows().is_empty());
    assert_eq!(service.client.patch(&path, json!({ "name": "Ann" })).expect(200).json["name"], "Ann");
}

#[test]
fn rename_user_of_two_tenants_409_shared_person() {
    let service = Service::start();
    let (other, neighbour) = service.neighbour();
    let here = service.client.create("users", json!({ "email": "anna@example.com", "name": "Anna", "role": "agent" }));
    let id = here["id"].as_str().unwrap();
    let path = format!("users/{id}");
    service
        .database
        .run(&format!("INSERT INTO memberships (business_id, user_id, role) VALUES ('{other}', '{id}', 'viewer')"));
    assert_eq!(neighbour.get(&path).expect(200).json["role"], "viewer", "a role of its own in each business");
    for api in [&neighbour, &service.client] {
        assert_eq!(api.patch(&path, json!({ "name": "Mallory" })).expect(409).code(), "shared_person");
    }
    service.client.delete(&path).expect(204);
    assert_eq!(neighbour.get(&path).expect(200).json["name"], "Anna");
    neighbour.patch(&path, json!({ "name": "Ann" })).expect(200);
}

#[test]
fn api_key_shown_once_and_role_at_most_its_creators() {
    let service = Service::with(&["--credential-cache-ms", "1"]);
    let api = &service.client;
    let made = api.post("api-keys", json!({ "name": "Form", "role": "agent" })).expect(201);
    assert_eq!(made.header("cache-control"), "no-store");
    let made = made.json;
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with(made["prefix"].as_str().unwrap()));
    let id = made["id"].as_str().unwrap();
    // Without permissions of its own, it can be sent back as it is.
    let read = api.get(&format!("api-keys/{id}")).expect(200).json;
    assert_eq!(read["permissions"], json!(null));
    assert_eq!(api.patch(&format!("api-keys/{id}"), read.clone()).expect(200).json, read);
    let limited = api.patch(&format!("api-keys/{id}"), json!({ "permissions": ["crm:read"] })).expect(422);
    assert!(limited.faults().contains(&"/permissions"), "{}", limited.text);
    for read in [format!("api-keys/{id}"), "api-keys".to_owned()] {
        let read = api.get(&read).expect(200);
        assert!(!read.text.contains(key) && !read.text.contains("hash"));
    }
    let stored = service.database.ask("SELECT string_agg(to_jsonb(k)::text, ' ') FROM api_keys k");
    assert!(!stored.contains(key));

    let program = crate::support::Client::new(service.address, key);
    program.get("leads").expect(200);
    program.delete("leads/01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71").expect(403);
    api.delete(&format!("api-keys/{id}")).expect(204);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(program.get("leads").expect(401).header("www-authenticate"), "Bearer");

    let admin = service.client_as(Role::Admin);
    admin.create("api-keys", json!({ "name": "Mine", "role": "admin" }));
    assert_eq!(admin.post("api-keys", json!({ "name": "More", "role": "owner" })).expect(403).code(), "forbidden");
    // A key's role is set once: a key cannot gain permissions.
    let own = admin.get("api-keys").expect(200).rows()[0]["id"].as_str().unwrap().to_owned();
    admin.patch(&format!("api-keys/{own}"), json!({ "role": "owner" })).expect(422);
}
