-- Rows for the query plans, a block per table. `i` is the row's number: its business follows from i % 20, so that rows
-- of one business reference each other, and the businesses' rows are interleaved on disk as in production.

-- table: businesses
INSERT INTO businesses (id, name, slug) SELECT pg_temp.business_id(i), 'Busy ' || i, 'busy-' || i FROM unnest(ARRAY[0, 12, 16, 18, 19]) AS i;
INSERT INTO businesses (id, name, slug) SELECT pg_temp.row_id(15, i), 'Idle ' || i, 'idle-' || i FROM generate_series(0, 1999) AS i

-- table: users
INSERT INTO users (id, email, name) SELECT pg_temp.row_id(1, i), 'person' || i || '@example.com', 'Person ' || i FROM generate_series(0, 10999) AS i

-- table: memberships
-- a thousand users in the busy businesses, and five in each of the others
INSERT INTO memberships (business_id, id, user_id, role, created_at)
SELECT CASE WHEN i < 1000 THEN pg_temp.business_id(i) ELSE pg_temp.row_id(15, (i - 1000) / 5) END, pg_temp.row_id(2, i), pg_temp.row_id(1, i),
    (ARRAY['owner', 'admin', 'manager', 'agent', 'viewer'])[1 + i / 20 % 5], pg_temp.born(i, 11000)
FROM generate_series(0, 10999) AS i

-- table: api_keys
INSERT INTO api_keys (business_id, id, name, role, prefix, hash, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(3, i), 'Key ' || i, (ARRAY['owner', 'admin', 'manager', 'agent', 'viewer'])[1 + i / 20 % 5], 'rk_' || i, sha256(i::text::bytea), pg_temp.born(i, 10000)
FROM generate_series(0, 9999) AS i

-- table: invitations
INSERT INTO invitations (business_id, id, email, name, role, hash, expires_at, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(20, i), 'guest' || i || '@example.com', 'Guest ' || i, (ARRAY['owner', 'admin', 'manager', 'agent', 'viewer'])[1 + i / 20 % 5], sha256(i::text::bytea), now(), pg_temp.born(i, 10000)
FROM generate_series(0, 9999) AS i

-- table: companies
INSERT INTO companies (business_id, id, name, domain, industry, size, phone, owner_id, external_id, tags, metadata, created_at, updated_at, deleted_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(4, i), pg_temp.word(i) || ' ' || pg_temp.word(i / 20) || ' ' || i, 'company' || i || '.example', pg_temp.word(i / 7),
    (ARRAY['1-10', '11-50', '51-200', '201-1000', '1001+'])[1 + i / 20 % 5], '+1416' || lpad((i / 2)::text, 7, '0'), pg_temp.other(1, i, 50), CASE WHEN i % 3 = 0 THEN 'ext-' || i END,
    pg_temp.tags(i), pg_temp.metadata(i), pg_temp.born(i, 20000), pg_temp.born(i, 20000) + i % 100 * interval '1 day', pg_temp.gone(i)
FROM generate_series(0, 19999) AS i

-- table: contacts
INSERT INTO contacts (business_id, id, company_id, first_name, last_name, email, phone, owner_id, external_id, tags, metadata, created_at, updated_at, deleted_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(5, i), pg_temp.other(4, i, 1000), initcap(pg_temp.word(i / 3)), initcap(pg_temp.word(i / 5)) || i % 1000, 'contact' || i || '@example.com',
    '+1415' || lpad((i / 2)::text, 7, '0'), pg_temp.other(1, i, 50), CASE WHEN i % 3 = 0 THEN 'ext-' || i END, pg_temp.tags(i), pg_temp.metadata(i),
    pg_temp.born(i, 60000), pg_temp.born(i, 60000) + i % 100 * interval '1 day', pg_temp.gone(i)
FROM generate_series(0, 59999) AS i

-- table: leads
INSERT INTO leads (business_id, id, company_id, contact_id, campaign_id, assignee_id, title, status, score, source, value_minor, currency, tags, entered_at, first_touch_at,
    closed_at, external_id, metadata, created_at, updated_at, deleted_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(7, i), pg_temp.other(4, i, 1000), pg_temp.other(5, i, 3000), CASE WHEN i % 3 = 0 THEN pg_temp.other(6, i, 500) END,
    CASE WHEN i % 4 > 0 THEN pg_temp.other(1, i, 50) END, pg_temp.word(i / 3) || ' ' || pg_temp.word(i / 11) || ' ' || i,
    (ARRAY['new', 'contacted', 'qualified', 'proposal', 'won', 'lost'])[1 + i / 20 % 6], i / 20 * 37 % 101, pg_temp.word(i / 20 * 3), CASE WHEN i % 7 > 0 THEN i / 20 * 7919 % 100000 END,
    (ARRAY['EUR', 'USD', 'GBP'])[1 + i / 20 % 3], pg_temp.tags(i), pg_temp.born(i, 100000), CASE WHEN i % 3 > 0 THEN pg_temp.born(i, 100000) + interval '1 hour' END,
    CASE WHEN i / 20 % 6 > 3 THEN pg_temp.born(i, 100000) + i % 50 * interval '1 day' END, CASE WHEN i % 3 = 0 THEN 'ext-' || i END, pg_temp.metadata(i),
    pg_temp.born(i, 100000), pg_temp.born(i, 100000) + i % 100 * interval '1 day', pg_temp.gone(i)
FROM generate_series(0, 99999) AS i

-- table: channels
INSERT INTO channels (business_id, id, kind, name, phone_number_id, account_id, metadata, created_at, deleted_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(20, i), 'whatsapp', pg_temp.word(i) || ' ' || i, (300000000 + i)::text, (400000000 + i)::text, pg_temp.metadata(i),
    pg_temp.born(i, 10000), pg_temp.gone(i)
FROM generate_series(0, 9999) AS i

-- table: templates
INSERT INTO templates (business_id, id, channel_id, external_id, name, language, category, status, quality, components, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(44, i), pg_temp.other(20, i, 500), (500000000 + i)::text, pg_temp.word(i / 3) || ' ' || pg_temp.word(i / 11) || ' ' || i,
    (ARRAY['en_US', 'de'])[1 + i / 20 % 2], (ARRAY['utility', 'marketing'])[1 + i / 40 % 2], (ARRAY['approved', 'approved', 'pending', 'rejected'])[1 + i / 20 % 4],
    'unknown', '{}', pg_temp.born(i, 10000)
FROM generate_series(0, 9999) AS i

-- table: contact_identities
INSERT INTO contact_identities (business_id, id, contact_id, peer_id, kind, value, match_key, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(21, i), pg_temp.other(5, i, 1000), pg_temp.row_id(22, i), 'wa_id', (491500000000 + i)::text, (491500000000 + i)::text,
    pg_temp.born(i, 10000)
FROM generate_series(0, 9999) AS i

-- table: duplicate_proposals
INSERT INTO duplicate_proposals (business_id, id, contact_id, other_id, reason, status, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(23, i), pg_temp.other(5, i, 1000), pg_temp.other(5, i + 20, 1000), 'x', (ARRAY['open', 'dismissed', 'merged'])[1 + i / 20 % 3],
    pg_temp.born(i, 10000)
FROM generate_series(0, 9999) AS i

-- table: inbound_updates
INSERT INTO inbound_updates (business_id, id, channel_id, kind, state, waits_for, digest, received_at, payload, expires_at, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(24, i), pg_temp.other(20, i, 500), 'status', CASE WHEN i / 20 % 2 = 0 THEN 'waiting' ELSE 'failed' END,
    CASE WHEN i / 20 % 2 = 0 THEN 'wamid.' || i END, sha256(i::text::bytea), pg_temp.born(i, 10000), '{}', pg_temp.born(i, 10000), pg_temp.born(i, 10000)
FROM generate_series(0, 9999) AS i

-- table: message_reactions
INSERT INTO message_reactions (business_id, id, message_id, reactor, contact_id, emoji, external_id, reacted_at, created_at, deleted_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(25, i), pg_temp.other(14, i, 5000), 'x' || i, pg_temp.other(5, i, 1000), '👍', 'wamid.r' || i, pg_temp.born(i, 10000),
    pg_temp.born(i, 10000), pg_temp.gone(i)
FROM generate_series(0, 9999) AS i

-- table: worker_tasks
INSERT INTO worker_tasks (business_id, id, kind, status, conversation_id, payload, priority, run_at, dedupe_key, attempts, token, lease_until, ended_at, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(41, i), (ARRAY['reply', 'summary', 'label'])[1 + i / 20 % 3], status, CASE WHEN i % 2 = 0 THEN pg_temp.other(8, i, 1000) END, '{}',
    i / 20 % 101, pg_temp.born(i, 20000), CASE WHEN i % 3 = 0 THEN 'key-' || i END, 1, pg_temp.row_id(42, i), CASE WHEN status = 'claimed' THEN pg_temp.born(i, 20000) END,
    CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN pg_temp.born(i, 20000) END, pg_temp.born(i, 20000)
FROM generate_series(0, 19999) AS i, LATERAL (SELECT (ARRAY['completed', 'completed', 'failed', 'cancelled', 'open', 'claimed'])[1 + i / 60 % 6] AS status) AS state

-- table: ai_runs
INSERT INTO ai_runs (business_id, id, run_id, kind, model, outcome, input_tokens, cost, latency_ms, ended_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(43, i), 'run-' || i, 'reply', 'gpt-5-mini', (ARRAY['sent', 'draft', 'discarded', 'failed'])[1 + i / 20 % 4], 800, 0.0003, 1800,
    pg_temp.born(i, 20000)
FROM generate_series(0, 19999) AS i

-- table: conversations
INSERT INTO conversations (business_id, id, contact_id, lead_id, channel_id, channel, address, status, assignee_id, subject, started_at, last_message_at, last_inbound_at, snoozed_until, unread_count, external_id, metadata, created_at, updated_at, deleted_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(8, i), pg_temp.other(5, i, 3000), pg_temp.other(7, i, 5000), pg_temp.other(20, i, 500), (ARRAY['whatsapp', 'sms', 'email', 'web'])[1 + i / 20 % 4], 'address-' || i,
    (ARRAY['active', 'pending', 'closed', 'closed'])[1 + i / 80 % 4], pg_temp.other(1, i, 50), pg_temp.word(i / 3), pg_temp.born(i, 20000),
    pg_temp.born(i, 20000) + i % 90 * interval '1 day', pg_temp.born(i, 20000) + i % 90 * interval '1 day', CASE WHEN i / 80 % 4 < 2 AND i / 320 % 10 < 4 THEN pg_temp.born(i, 20000) + interval '9 years' END,
    CASE WHEN i / 100 % 5 = 0 THEN i / 20 % 5 ELSE 0 END, CASE WHEN i % 3 = 0 THEN 'ext-' || i END, pg_temp.metadata(i), pg_temp.born(i, 20000), pg_temp.born(i, 20000), pg_temp.gone(i)
FROM generate_series(0, 19999) AS i

-- table: labels
INSERT INTO labels (business_id, id, name, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(26, i), pg_temp.word(i) || ' ' || i, pg_temp.born(i, 10000) FROM generate_series(0, 9999) AS i

-- table: conversation_labels
INSERT INTO conversation_labels (business_id, id, conversation_id, label_id, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(27, i), pg_temp.row_id(8, i), pg_temp.other(26, i, 500), pg_temp.born(i, 10000) FROM generate_series(0, 9999) AS i

-- table: read_positions
INSERT INTO read_positions (business_id, id, conversation_id, user_id, read_until, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(28, i), pg_temp.row_id(8, i), pg_temp.other(1, i, 50), pg_temp.born(i, 10000), pg_temp.born(i, 10000) FROM generate_series(0, 9999) AS i

-- table: canned_responses
INSERT INTO canned_responses (business_id, id, shortcut, body, created_at, deleted_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(29, i), pg_temp.word(i) || i, 'We like ' || pg_temp.word(i / 3), pg_temp.born(i, 10000), pg_temp.gone(i) FROM generate_series(0, 9999) AS i

-- table: staff
INSERT INTO staff (business_id, id, user_id, name, active, external_id, metadata, created_at, deleted_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(10, i), CASE WHEN i % 2 = 0 THEN pg_temp.other(1, i, 50) END, pg_temp.word(i / 3) || ' ' || i, i % 10 > 0, CASE WHEN i % 3 = 0 THEN 'ext-' || i END, pg_temp.metadata(i), pg_temp.born(i, 10000), pg_temp.gone(i)
FROM generate_series(0, 9999) AS i

-- table: staff_services
INSERT INTO staff_services (business_id, id, staff_id, service_id, duration_minutes, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(46, i), pg_temp.row_id(10, i), pg_temp.other(9, i, 500), 15 + i % 60, pg_temp.born(i, 10000) FROM generate_series(0, 9999) AS i

-- table: schedule_overrides
INSERT INTO schedule_overrides (business_id, id, staff_id, day, hours, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(47, i), pg_temp.row_id(10, i), date '2026-11-01' - i / 20, '[]', pg_temp.born(i, 10000) FROM generate_series(0, 9999) AS i

-- table: holidays
INSERT INTO holidays (business_id, id, day, name, staff_id, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(48, i), date '2026-11-01' - i / 20, pg_temp.word(i), pg_temp.row_id(10, i), pg_temp.born(i, 10000) FROM generate_series(0, 9999) AS i

-- table: bookings
INSERT INTO bookings (business_id, id, code, service_id, staff_id, contact_id, lead_id, customer_name, customer_phone, starts_at, ends_at, time_zone, day, status, external_id, metadata, created_at, updated_at, deleted_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(11, i), lpad(to_hex(i), 8, '0'), pg_temp.other(9, i, 500), pg_temp.row_id(10, i % 10000), pg_temp.other(5, i, 3000),
    CASE WHEN i % 4 = 0 THEN pg_temp.other(7, i, 5000) END, initcap(pg_temp.word(i / 3)), '+1415' || lpad((i / 2)::text, 7, '0'), starts, starts + interval '30 minutes', 'UTC', starts::date,
    (ARRAY['completed', 'completed', 'completed', 'cancelled', 'no_show', 'confirmed', 'pending', 'held'])[1 + i / 20 % 8], CASE WHEN i % 3 = 0 THEN 'ext-' || i END, pg_temp.metadata(i), starts - interval '3 days', starts, pg_temp.gone(i)
FROM generate_series(0, 99999) AS i, LATERAL (SELECT pg_temp.born(i, 100000) + interval '60 days' AS starts) AS time

-- table: tasks
INSERT INTO tasks (business_id, id, title, status, priority, due_at, assignee_id, lead_id, contact_id, company_id, external_id, metadata, created_at, deleted_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(12, i), pg_temp.word(i / 3) || ' ' || i, (ARRAY['open', 'done', 'done', 'cancelled'])[1 + i / 20 % 4], (ARRAY['low', 'normal', 'high', 'urgent'])[1 + i / 80 % 4],
    CASE WHEN i % 3 > 0 THEN pg_temp.born(i, 50000) + interval '9 days' END, pg_temp.other(1, i, 50), pg_temp.other(7, i, 5000), pg_temp.other(5, i, 3000), pg_temp.other(4, i, 1000),
    CASE WHEN i % 3 = 0 THEN 'ext-' || i END, pg_temp.metadata(i), pg_temp.born(i, 50000), pg_temp.gone(i)
FROM generate_series(0, 49999) AS i

-- table: decisions
INSERT INTO decisions (business_id, id, lead_id, conversation_id, author, author_id, decision, reason, score, model, confidence, payload, created_at, updated_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(16, i), pg_temp.other(7, i, 5000), CASE WHEN i % 2 = 0 THEN pg_temp.other(8, i, 1000) END, (ARRAY['user', 'ai', 'system'])[1 + i / 20 % 3],
    CASE WHEN i / 20 % 3 = 0 THEN pg_temp.other(1, i, 50) END, (ARRAY['qualify', 'drop', 'wait', 'follow_up'])[1 + i / 60 % 4] || CASE WHEN i % 200 = 0 THEN i::text ELSE '' END,
    'Likes ' || pg_temp.word(i / 3), CASE WHEN i % 4 > 0 THEN i / 20 * 37 % 101 END, CASE WHEN i / 20 % 3 = 1 THEN 'gpt-5-mini' END, i % 100 / 100.0, pg_temp.metadata(i),
    pg_temp.born(i, 50000), pg_temp.born(i, 50000)
FROM generate_series(0, 49999) AS i

-- table: merges
INSERT INTO merges (business_id, id, resource, survivor_id, from_ids, moved, changes, reversible_until, created_at, updated_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(17, i), (ARRAY['contacts', 'companies'])[1 + i / 20 % 2], pg_temp.other(5, i, 3000),
    ARRAY[pg_temp.other(5, i / 3, 3000)::text, pg_temp.other(5, i / 7, 3000)::text], '{"leads": 2}', '{"title": {"old": null, "new": "Head"}}',
    pg_temp.born(i, 10000) + interval '30 days', pg_temp.born(i, 10000), pg_temp.born(i, 10000)
FROM generate_series(0, 9999) AS i

-- table: audit_log
INSERT INTO audit_log (business_id, id, created_at, resource, row_id, action, actor_kind, actor_id, changes)
SELECT pg_temp.business_id(i), pg_temp.row_id(15, i), pg_temp.born(i, 200000), 'leads', pg_temp.other(7, i, 5000), 'updated',
    CASE WHEN i / 20 % 3 = 0 THEN 'api_key' ELSE 'user' END, pg_temp.other(1, i, 50), '{"score": {"old": 1, "new": 2}}'
FROM generate_series(0, 199999) AS i

-- table: jobs
INSERT INTO jobs (business_id, id, kind, state, total, done, actor_kind, actor_id, started_at, finished_at, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(21, i), 'kind' || i / 20 % 3, (ARRAY['queued', 'running', 'succeeded', 'failed', 'cancelled'])[1 + i / 20 % 5], 1000, 500,
    'user', pg_temp.other(1, i, 50), pg_temp.born(i, 10000), CASE WHEN i / 20 % 5 > 1 THEN pg_temp.born(i, 10000) END, pg_temp.born(i, 10000)
FROM generate_series(0, 9999) AS i

-- table: imports
INSERT INTO imports (business_id, id, resource, format, file_name, bytes, lines, layout, match_by, state, actor_kind, actor_id, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(22, i), (ARRAY['contacts', 'companies', 'leads', 'tasks'])[1 + i / 20 % 4], 'csv', 'file' || i, 1000, 10, '{}', '{external_id}',
    (ARRAY['ready', 'tried', 'imported', 'reverted'])[1 + i / 20 % 4], 'user', pg_temp.other(1, i, 50), pg_temp.born(i, 10000)
FROM generate_series(0, 9999) AS i

-- table: attachments
INSERT INTO attachments (business_id, id, file_name, mime_type, bytes, sha256, uploaded_by, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(45, i), 'file' || i, 'image/jpeg', 1000, repeat('0', 64), pg_temp.other(1, i, 50), pg_temp.born(i, 10000)
FROM generate_series(0, 9999) AS i

-- table: messages
INSERT INTO messages (business_id, id, conversation_id, direction, author, author_id, kind, body, external_id, status, sent_at, created_at, updated_at, deleted_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(14, i), pg_temp.other(8, i, 1000), CASE WHEN i / 20 % 2 = 0 THEN 'inbound' ELSE 'outbound' END, (ARRAY['contact', 'user', 'contact', 'ai'])[1 + i / 20 % 4],
    CASE WHEN i / 20 % 4 = 1 THEN pg_temp.other(1, i, 50) END, CASE WHEN i % 10 = 0 THEN 'image' ELSE 'text' END, 'Please bring ' || pg_temp.word(i / 3) || ' and ' || pg_temp.word(i / 60),
    CASE WHEN i % 2 = 0 THEN 'wamid.' || i END, (ARRAY['received', 'read', 'received', 'delivered'])[1 + i / 20 % 4], pg_temp.born(i, 1000000), pg_temp.born(i, 1000000), pg_temp.born(i, 1000000), pg_temp.gone(i)
FROM generate_series(0, 999999) AS i

-- table: message_attempts
INSERT INTO message_attempts (business_id, id, message_id, conversation_id, channel_id, number, state, external_id, created_at)
SELECT pg_temp.business_id(i), pg_temp.row_id(40, i), pg_temp.other(14, i, 5000), pg_temp.other(8, i, 1000), pg_temp.other(20, i, 500), 1 + i / 100000,
    CASE WHEN i % 50 = 0 THEN 'queued' ELSE 'accepted' END, CASE WHEN i % 50 > 0 THEN 'wamid.a' || i END, pg_temp.born(i, 10000)
FROM generate_series(0, 9999) AS i ON CONFLICT DO NOTHING
