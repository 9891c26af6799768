-- The data of bench/inbox: five businesses, each with :messages messages in :conversations conversations, as they would be after two years.
-- Some conversations are much longer than others, some words much more frequent. Rows are inserted in the order of time, all businesses
-- mixed, so that the messages of a conversation are as far apart as in a business that has grown.

\set ON_ERROR_STOP on
SET jit = off;
SET synchronous_commit = off;
SET work_mem = '256MB';
SET maintenance_work_mem = '1GB';
SELECT setseed(0.16);
BEGIN;

-- An id of a row that was made at `born`, in the order of time as those of the service.
CREATE FUNCTION pg_temp.made_id(born timestamptz) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM born) * 1000)::bigint), 12, '0') || '7' || substr(h, 1, 3) || 'a' || substr(h, 4, 15))::uuid
    FROM (SELECT replace(gen_random_uuid()::text, '-', '') AS h) r
$$;

-- Words follow Zipf's law: the most frequent one is in three of five messages, most are in very few.
CREATE TEMP TABLE word AS
SELECT n, s[1 + n * 7919 % 20] || s[1 + n * 7919 / 20 % 20] || s[1 + n * 7919 / 400 % 20] AS word
FROM generate_series(1, 4000) n, (SELECT ARRAY['ba', 'ko', 'li', 'mer', 'to', 'sa', 'ner', 'pi', 'du', 'ven', 'ra', 'gos', 'fe', 'hin', 'ja', 'wol', 'ze', 'cam', 'ty', 'or'] AS s) y;
CREATE TEMP TABLE phrase AS
SELECT p.n, string_agg(w.word, ' ' ORDER BY p.place) AS text
FROM (SELECT n, place, floor(exp(random() * ln(4000)))::int AS word
      FROM generate_series(1, 40000) n CROSS JOIN LATERAL generate_series(1, 2 + n * 31 % 9) place) p
JOIN word w ON w.n = p.word GROUP BY p.n;

CREATE TEMP TABLE business AS
SELECT row_number() OVER (ORDER BY slug) AS b, id,
    ARRAY(SELECT c.id FROM channels c WHERE c.business_id = x.id ORDER BY c.created_at, c.id) AS channels,
    ARRAY(SELECT m.user_id FROM memberships m WHERE m.business_id = x.id ORDER BY m.created_at, m.id) AS members
FROM businesses x WHERE slug LIKE 'inbox-%';
UPDATE memberships SET created_at = now() - interval '731 days' WHERE business_id IN (SELECT id FROM business);

-- Labels: the first ones are on many conversations.
INSERT INTO labels (business_id, name) SELECT id, 'Label ' || k FROM business, generate_series(1, 12) k;

INSERT INTO companies (business_id, name, domain, created_at)
SELECT id, 'Company ' || k, 'company' || k || '.example', now() - k * interval '30 minutes' FROM business, generate_series(1, (:conversations + 9) / 10) k;
CREATE TEMP TABLE company AS SELECT business_id, id, row_number() OVER (PARTITION BY business_id ORDER BY created_at, id) AS k FROM companies;

-- Threads: five have a fiftieth of all messages each, the others' number falls with their rank. A fifth is open. The longest and most
-- of the others are open or not by chance; what is open had its last message in the last two weeks.
CREATE TEMP TABLE thread AS
SELECT t.*, pg_temp.made_id(t.started_at) AS id, pg_temp.made_id(t.started_at) AS peer_id
FROM (
    SELECT t.*, t.last_at - t.span AS started_at
    FROM (
        SELECT b.b, b.id AS business_id, k, b.channels[1 + floor(power(random(), 2) * array_length(b.channels, 1))::int] AS channel_id,
            CASE WHEN r.status < 0.2 AND r.assigned < 0.75 THEN b.members[1 + floor(power(random(), 1.5) * array_length(b.members, 1))::int]
                WHEN r.status >= 0.2 AND r.assigned < 0.9 THEN b.members[1 + floor(random() * array_length(b.members, 1))::int] END AS assignee_id,
            CASE WHEN r.status < 0.15 THEN 'active' WHEN r.status < 0.2 THEN 'pending' ELSE 'closed' END AS status,
            CASE WHEN r.status < 0.01 THEN now() + random() * interval '7 days' END AS snoozed_until,
            CASE WHEN r.status < 0.15 AND r.unread < 0.35 THEN least(z.n, 1 + floor(power(random(), 3) * 9)::int) ELSE 0 END AS unread,
            CASE WHEN r.handler < 0.2 THEN 'ai' ELSE 'person' END AS handler, z.n,
            now() - CASE WHEN r.status < 0.2 THEN power(random(), 3) * interval '14 days' ELSE interval '1 hour' + random() * interval '700 days' END AS last_at,
            least(z.n * interval '5 hours', interval '600 days') AS span
        FROM business b CROSS JOIN generate_series(1, :conversations) k
        CROSS JOIN LATERAL (SELECT CASE WHEN k <= 5 THEN :messages / 50
            ELSE greatest(1, round(:messages * 0.9 * power(k + 200, -0.9) / :weight))::int END AS n) z
        CROSS JOIN LATERAL (SELECT random() AS status, random() AS assigned, random() AS unread, random() AS handler, k AS of) r
    ) t
) t ORDER BY started_at;
CREATE TEMP TABLE customer AS
SELECT t.business_id, t.id AS conversation_id, pg_temp.made_id(t.started_at) AS id, c.id AS company_id, t.k, t.started_at
FROM thread t LEFT JOIN company c ON c.business_id = t.business_id AND t.k % 3 = 0 AND c.k = 1 + t.k / 3 % ((:conversations + 9) / 10) ORDER BY t.started_at;
INSERT INTO contacts (business_id, id, company_id, first_name, last_name, email, phone, created_at)
SELECT business_id, id, company_id, 'Ada', 'Customer ' || k, 'customer' || k || '@example.com', '+49151' || lpad(k::text, 8, '0'), started_at FROM customer;
INSERT INTO leads (business_id, contact_id, title, status, entered_at, created_at)
SELECT business_id, id, 'Lead ' || k, (ARRAY['new', 'contacted', 'qualified', 'won', 'lost'])[1 + k % 5], started_at, started_at FROM customer WHERE k % 2 = 0;
INSERT INTO tasks (business_id, contact_id, title, status, due_at, created_at)
SELECT business_id, id, 'Call back', CASE WHEN k % 3 = 0 THEN 'open' ELSE 'done' END, now() + random() * interval '9 days', started_at FROM customer WHERE k % 4 = 0;
INSERT INTO bookings (business_id, code, contact_id, customer_name, starts_at, ends_at, time_zone, day, status)
SELECT business_id, 'B' || k, id, 'Customer ' || k, at, at + interval '1 hour', 'UTC', at::date, 'confirmed'
FROM (SELECT *, now() + (random() - 0.7) * interval '60 days' AS at FROM customer WHERE k % 5 = 0) c;

-- The last messages of a thread are the customer's where it has unread ones.
INSERT INTO messages (business_id, id, conversation_id, direction, author, author_id, kind, body, external_id, status, sent_at, delivered_at, read_at,
    created_at, updated_at, origin, model, input_tokens, output_tokens, ai_cost)
SELECT m.business_id, pg_temp.made_id(m.at), m.id, CASE WHEN is_in THEN 'inbound' ELSE 'outbound' END,
    CASE WHEN is_in THEN 'contact' WHEN is_ai THEN 'ai' ELSE 'user' END, CASE WHEN NOT is_in AND NOT is_ai THEN m.assignee_id END,
    CASE WHEN is_note THEN 'note' ELSE 'text' END,
    p.text || ' ' || q.text || CASE WHEN m.words < 0.3 THEN ' appointment' ELSE '' END || CASE WHEN m.words BETWEEN 0.295 AND 0.305 THEN ' invoice' ELSE '' END
        || CASE WHEN m.words < 12.0 / :messages THEN ' zanzibar' ELSE '' END,
    CASE WHEN NOT is_note THEN 'wamid.HBgM' || upper(replace(gen_random_uuid()::text, '-', '')) END,
    CASE WHEN is_in AND m.j <= m.unread THEN 'received' WHEN is_in OR m.fate < 0.7 AND NOT is_note THEN 'read' WHEN is_note THEN 'sent' WHEN m.fate < 0.97 THEN 'delivered' ELSE 'failed' END,
    m.at, CASE WHEN NOT is_in AND NOT is_note AND m.fate < 0.97 THEN m.at + interval '2 seconds' END, CASE WHEN NOT is_in AND NOT is_note AND m.fate < 0.7 THEN m.at + interval '5 minutes' END,
    m.at, m.at, CASE WHEN is_in THEN 'channel' ELSE 'api' END,
    CASE WHEN is_ai AND NOT is_in THEN 'gpt-5-mini' END, CASE WHEN is_ai AND NOT is_in THEN 812 END, CASE WHEN is_ai AND NOT is_in THEN 64 END, CASE WHEN is_ai AND NOT is_in THEN 0.000310 END
FROM (
    SELECT m.*, m.j <= m.unread OR m.side < 0.5 AS is_in, m.side > 0.9 AS is_ai, m.j > m.unread AND m.side BETWEEN 0.5 AND 0.51 AS is_note
    FROM (
        SELECT t.business_id, t.id, t.assignee_id, t.unread, j, t.last_at - t.span * ((j - 1 + CASE WHEN j > 1 THEN random() * 0.9 ELSE 0 END) / t.n) AS at,
            random() AS side, random() AS words, random() AS fate, 1 + floor(random() * 40000)::int AS first, 1 + floor(random() * 40000)::int AS second
        FROM thread t CROSS JOIN LATERAL generate_series(1, t.n) j
    ) m ORDER BY m.at
) m JOIN phrase p ON p.n = m.first JOIN phrase q ON q.n = m.second;

-- With the totals that the service keeps (src/channels/conversations/totals.rs).
INSERT INTO conversations (business_id, id, contact_id, channel, channel_id, peer_id, address, status, assignee_id, handler, snoozed_until, started_at, created_at,
    last_message_at, last_inbound_at, unread_count, unread_new, window_expires_at, can_reply)
SELECT t.business_id, t.id, c.id, 'whatsapp', t.channel_id, t.peer_id, '+49151' || lpad(t.k::text, 8, '0'), t.status, t.assignee_id, t.handler, t.snoozed_until,
    t.started_at, t.started_at, coalesce(m.last, t.started_at), m.came, coalesce(m.unread, 0), coalesce(m.unread, 0), m.came + interval '24 hours',
    coalesce(m.came + interval '24 hours' > now(), false)
FROM thread t JOIN customer c ON c.conversation_id = t.id LEFT JOIN (
    SELECT conversation_id, max(sent_at) FILTER (WHERE rapport_is_said(kind, status)) AS last, max(sent_at) FILTER (WHERE direction = 'inbound') AS came,
        count(*) FILTER (WHERE direction = 'inbound' AND status <> 'read') AS unread
    FROM messages GROUP BY 1) m ON m.conversation_id = t.id
ORDER BY t.started_at;
INSERT INTO conversation_labels (business_id, conversation_id, label_id, created_at)
SELECT DISTINCT ON (t.id, l.id) t.business_id, t.id, l.id, t.started_at
FROM (SELECT t.*, 1 + floor(12 * power(random(), 2))::int AS place FROM thread t CROSS JOIN generate_series(1, 2) WHERE random() < 0.3) t
JOIN (SELECT *, row_number() OVER (PARTITION BY business_id ORDER BY created_at, id) AS k FROM labels) l ON l.business_id = t.business_id AND l.k = t.place;
-- Assignees have read what is theirs, and half of the members half of what is open; a third of it before the last message came.
INSERT INTO read_positions (business_id, conversation_id, user_id, read_until, created_at)
SELECT t.business_id, t.id, u.id, t.last_at - CASE WHEN random() < 0.33 THEN interval '1 day' ELSE interval '0' END, t.started_at
FROM thread t JOIN business b ON b.id = t.business_id CROSS JOIN LATERAL unnest(b.members) u (id)
WHERE u.id = t.assignee_id OR t.status <> 'closed' AND random() < 0.25;
COMMIT;
