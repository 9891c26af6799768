//! How far each member has read.

use chrono::Utc;
use serde_json::{Value, json};

use super::{ids, member, message, thread};
use crate::support::{Client, Service};

/// Each member has a position of their own, and no answer of the cache is that of another.
#[test]
fn read_positions_are_each_members_own() {
    let service = Service::start();
    let api = &service.client;
    let (amina, her) = member(&service, "amina", "agent");
    let (bo, _) = member(&service, "bo", "viewer");
    let at = |minute: u32| (Utc::now() + chrono::Duration::minutes(i64::from(minute))).to_rfc3339();
    let id = thread(api, "+447700900001");
    let quiet = thread(api, "+447700900002");
    message(api, &quiet, "outbound", json!({}));
    let said = [1, 2, 3].map(|minute| message(api, &id, "inbound", json!({ "sent_at": at(minute) })));
    // Twice: the second answer is cached.
    let unread = |api: &Client| {
        let lists = [(); 2].map(|()| ids(api, "conversations?unread_by=me"));
        assert_eq!(lists[0], lists[1]);
        lists[0].clone()
    };
    assert_eq!((unread(&amina), unread(&bo)), (vec![id.clone()], vec![id.clone()]));
    assert_eq!(ids(api, &format!("conversations?unread_by={her}")), [id.as_str()]);
    let path = format!("conversations/{id}/read-position");
    let position = amina.put(&path, json!({ "message_id": said[1] })).expect(200).json;
    assert_eq!((&position["user_id"], &position["conversation_id"]), (&json!(her), &json!(id)));
    assert_eq!(unread(&amina), [id.as_str()], "the third message is later");
    amina.put(&path, json!({})).expect(200);
    assert_eq!((unread(&amina), unread(&bo)), (vec![], vec![id.clone()]));
    let later = amina.put(&path, json!({ "message_id": said[0] })).expect(200).json;
    assert_eq!(unread(&amina), Vec::<String>::new(), "never backwards");
    assert_ne!(later["read_until"], position["read_until"]);
    amina.put(&path, json!({ "message_id": said[0], "may_go_back": true })).expect(200);
    assert_eq!(unread(&amina), [id.as_str()]);
    // A viewer, too; the shared count is another thing.
    bo.put(&path, json!({})).expect(200);
    assert_eq!(unread(&bo), Vec::<String>::new());
    assert_eq!(api.get(&format!("conversations/{id}")).expect(200).json["unread_count"], 3);
    message(api, &id, "inbound", json!({ "sent_at": at(4) }));
    assert_eq!(unread(&bo), [id.as_str()]);
    bo.put(&path, json!({})).expect(200);
    bo.delete(&path).expect(204);
    assert_eq!(unread(&bo), [id.as_str()]);
    // For those who draw a list of all: how far members have read, in one query.
    let shown = api.get("conversations?include=read_positions&sort=created_at").expect(200);
    assert_eq!(shown.rows()[0]["read_positions"][0]["user_id"], json!(her));
    assert_eq!((shown.queries(), shown.rows()[1]["read_positions"].as_array().map(Vec::len)), (2, Some(0)));
    assert_eq!(amina.get("read-positions?user_id=me").expect(200).rows().len(), 1);
    assert_eq!(bo.get("read-positions?user_id=me").expect(200).rows().len(), 0);
    // Who joins later need not read what was written before.
    let (late, _) = member(&service, "late", "agent");
    service.database.run("UPDATE memberships SET created_at = now() + interval '1 day' WHERE user_id = (SELECT id FROM users WHERE email = 'late@example.com')");
    assert_eq!(unread(&late), Vec::<String>::new());

    let refused = |api: &Client, body: Value| api.put(&path, body).expect(422).faults().join(" ");
    assert_eq!(refused(&amina, json!({ "message_id": message(api, &quiet, "inbound", json!({})) })), "/message_id");
    assert_eq!(refused(&bo, json!({ "user_id": her })), "/user_id");
    assert_eq!(refused(api, json!({})), "/user_id");
    assert_eq!(refused(api, json!({ "user_id": uuid::Uuid::now_v7() })), "/user_id");
    api.put(&path, json!({ "user_id": her })).expect(200);
    assert_eq!(unread(&amina), [quiet.as_str()]);
    api.delete(&path).expect(403);
    let (_, neighbour) = service.neighbour();
    neighbour.put(&path, json!({ "user_id": her })).expect(404);
    // Nor what is not theirs to see.
    let business = format!("businesses/{}", service.business);
    api.patch(&business, json!({ "agent_visibility": "assigned" })).expect(200);
    amina.put(&path, json!({})).expect(404);
    assert_eq!((unread(&amina), amina.get("read-positions").expect(200).rows().len()), (vec![], 0));
}

/// Whatever the clocks of the channel say, what came in after a member looked is unread, and what came before is not.
#[test]
fn what_comes_after_a_look_is_unread() {
    let service = Service::start();
    let api = &service.client;
    let (amina, _) = member(&service, "amina", "agent");
    let (bo, _) = member(&service, "bo", "agent");
    let id = thread(api, "+447700900001");
    let path = format!("conversations/{id}/read-position");
    let is_unread = || !ids(&amina, "conversations?unread_by=me").is_empty();
    let look = |body: Value| amina.put(&path, body).expect(200).json;
    let at = |seconds: i64| json!({ "sent_at": (Utc::now() + chrono::Duration::seconds(seconds)).to_rfc3339() });
    look(json!({}));
    assert!(!is_unread());
    // A clock that is ten days ahead.
    message(api, &id, "inbound", at(10 * 24 * 3600));
    assert!(is_unread());
    look(json!({}));
    assert!(!is_unread());
    message(api, &id, "inbound", at(0));
    assert!(is_unread());
    look(json!({}));
    assert!(!is_unread());
    // A message that was sent before the last one that she saw, her own, and comes after.
    let own = message(api, &id, "outbound", json!({}));
    let late = message(api, &id, "inbound", at(-5));
    look(json!({ "message_id": own }));
    assert!(is_unread());
    let position = look(json!({ "message_id": late }));
    assert!(!is_unread());

    // A position that does not move is not written.
    assert_eq!(look(json!({})), position);
    assert_eq!(look(json!({ "message_id": late, "may_go_back": true })), position);
    // What one member reads outdates no numbers but their own.
    let unread = |api: &Client| {
        let counts = api.get("conversations/counts").expect(200);
        (counts.json["unread_by_me"].clone(), counts.queries())
    };
    assert_eq!((unread(&amina), unread(&bo)), ((json!(0), 1), (json!(1), 1)));
    bo.put(&path, json!({})).expect(200);
    assert_eq!((unread(&amina), unread(&bo)), ((json!(0), 0), (json!(0), 1)));
}
