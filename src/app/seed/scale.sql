-- The load data set. At scale 1: 50 businesses with 20,000 companies, 60,000 contacts, 100,000 leads, 20,000
-- conversations of 50 messages each and 200,000 bookings, the same number for every business.
--
-- This script creates one of them, :business of :businesses. Rows are inserted in the order of time, so that the upper levels
-- of every index are hot and its leaves are filled from left to right. Each step is prepared in a temporary table that the
-- later ones join.

-- Foreign keys stay on: they cost a fifth of the time, and data that proves speed must be valid. Insertion into GIN
-- collects its entries and merges them in large batches; compiling expressions costs more than it saves.
SET LOCAL jit = off;
SET LOCAL work_mem = '128MB';
SET LOCAL maintenance_work_mem = '256MB';
SET LOCAL gin_pending_list_limit = '64MB';
SET LOCAL synchronous_commit = off;
CREATE TEMP TABLE load_size ON COMMIT DROP AS
SELECT businesses, ceil(20000 * scale / businesses)::int AS companies, ceil(60000 * scale / businesses)::int AS contacts,
    ceil(100000 * scale / businesses)::int AS leads, ceil(20000 * scale / businesses)::int AS conversations, 50 AS messages,
    ceil(200000 * scale / businesses)::int AS bookings, 8 AS staff
FROM (SELECT :scale::numeric AS scale, :businesses AS businesses) AS asked;

-- businesses
CREATE TEMP TABLE load_business ON COMMIT DROP AS
SELECT b, ':slug' AS slug, at, pg_temp.seed_id(at, 'load business ' || b) AS id, zone, currency, country
FROM (SELECT :business AS b) AS asked, LATERAL (SELECT now() - interval '800 days' + b % 400 * interval '1 hour' AS at) AS born,
    LATERAL (SELECT (ARRAY['Europe/Berlin', 'America/New_York', 'Asia/Singapore', 'Europe/London', 'Australia/Sydney'])[1 + b % 5] AS zone,
        (ARRAY['EUR', 'USD', 'SGD', 'GBP', 'AUD'])[1 + b % 5] AS currency, (ARRAY['DE', 'US', 'SG', 'GB', 'AU'])[1 + b % 5] AS country) AS place;
INSERT INTO businesses (id, name, slug, time_zone, currency, country, created_at, updated_at)
SELECT id, 'Load ' || b, slug, zone, currency, country, at, at FROM load_business ORDER BY b;
INSERT INTO channels (business_id, id, kind, name, phone_number_id, account_id, quality, created_at, updated_at)
SELECT id, pg_temp.seed_id(at, 'load channel ' || b), 'whatsapp', 'Load ' || b, (300000000000000 + b)::text, (310000000000000 + b)::text, 'green', at, at
FROM load_business ORDER BY b;

-- People are global and outlive a business: those of an earlier load become members again.
CREATE TEMP TABLE load_user ON COMMIT DROP AS
SELECT b, business.id AS business_id, k, at, role || '@' || slug || '.example' AS email, role
FROM load_business business, unnest(ARRAY['owner', 'admin', 'manager', 'agent', 'viewer']) WITH ORDINALITY AS t (role, k);
INSERT INTO users (id, email, name, created_at, updated_at)
SELECT pg_temp.seed_id(at, 'load user ' || b || ' ' || k), email, initcap(role) || ' ' || b, at, at FROM load_user ORDER BY b, k
ON CONFLICT (lower(email)) DO NOTHING;
ALTER TABLE load_user ADD id uuid;
UPDATE load_user l SET id = u.id FROM users u WHERE lower(u.email) = l.email;
INSERT INTO memberships (business_id, id, user_id, role, created_at, updated_at)
SELECT business_id, pg_temp.seed_id(at, 'load membership ' || b || ' ' || k), id, role, at, at FROM load_user ORDER BY b, k;
-- who works on what: the first four, the viewer does not
ALTER TABLE load_business ADD people uuid[], ADD services uuid[], ADD staff uuid[], ADD campaigns uuid[];
UPDATE load_business b SET people = ARRAY(SELECT id FROM load_user u WHERE u.b = b.b AND k <= 4 ORDER BY k),
    services = ARRAY(SELECT pg_temp.seed_id(at, 'load service ' || b.b || ' ' || k) FROM generate_series(1, 6) AS k),
    staff = ARRAY(SELECT pg_temp.seed_id(at, 'load staff ' || b.b || ' ' || k) FROM load_size, generate_series(1, load_size.staff) AS k),
    campaigns = ARRAY(SELECT pg_temp.seed_id(at, 'load campaign ' || b.b || ' ' || k) FROM generate_series(1, 5) AS k);
INSERT INTO services (business_id, id, name, duration_minutes, price_minor, currency, created_at, updated_at)
SELECT b.id, s.id, (ARRAY['First consultation', 'Check-up', 'Follow-up', 'Full treatment', 'Express visit', 'Review'])[k],
    (ARRAY[30, 45, 30, 60, 15, 45])[k], (ARRAY[4000, 9500, 6000, 18000, 3000, 12500])[k], currency, at, at
FROM load_business b, unnest(b.services) WITH ORDINALITY AS s (id, k);
INSERT INTO staff (business_id, id, user_id, name, email, time_zone, created_at, updated_at)
SELECT b.id, s.id, people[k], (ARRAY['Ada', 'Bruno', 'Chen', 'Dara', 'Elif', 'Femi', 'Greta', 'Hugo'])[k] || ' of ' || slug, 'staff' || k || '@' || slug || '.example',
    zone, at, at
FROM load_business b, unnest(b.staff) WITH ORDINALITY AS s (id, k);
INSERT INTO campaigns (business_id, id, name, channel, status, starts_on, ends_on, budget_minor, currency, created_at, updated_at)
SELECT b.id, c.id, (ARRAY['Reactivation', 'Search ads', 'Newsletter', 'Trade fair', 'Referral bonus'])[k], (ARRAY['whatsapp', 'ads', 'email', 'event', 'referral'])[k],
    (ARRAY['active', 'active', 'paused', 'finished', 'draft'])[k], pg_temp.seed_today(zone) - 100 * k::int, pg_temp.seed_today(zone) + 20, 100000 * k, currency, at, at
FROM load_business b, unnest(b.campaigns) WITH ORDINALITY AS c (id, k);

-- companies
CREATE TEMP TABLE load_company ON COMMIT DROP AS
SELECT b, k, n, born.at, pg_temp.seed_id(born.at, 'load company ' || n) AS id
FROM load_size, load_business, generate_series(1, companies) AS k, LATERAL (SELECT b::bigint * 10000000 + k AS n) AS number,
    LATERAL (SELECT now() - interval '700 days' + k * (interval '300 days' / companies) + pg_temp.seed_pick(n, 1, 3600) * interval '1 second' AS at) AS born;
INSERT INTO companies (business_id, id, name, domain, industry, size, phone, address, owner_id, tags, metadata, created_at, updated_at)
SELECT b.id, c.id, first || ' ' || second || ' ' || c.k, lower(first || second) || c.k || '.example',
    (ARRAY['logistics', 'health', 'retail', 'software', 'finance', 'hospitality', 'education', 'manufacturing'])[1 + pg_temp.seed_pick(n, 2, 8)],
    (ARRAY['1-10', '11-50', '51-200', '201-1000', '1001+'])[1 + pg_temp.seed_pick(n, 3, 5)], '+1907555' || to_char(100 + c.k % 100, 'FM0000'),
    c.k || ' ' || second || ' Street', people[1 + c.k % 4], CASE WHEN c.k % 5 = 0 THEN '{partner}'::text[] ELSE '{}' END,
    CASE WHEN c.k % 4 = 0 THEN jsonb_build_object('tier', pg_temp.seed_pick(n, 4, 3)) ELSE '{}' END, c.at, c.at
FROM load_company c JOIN load_business b USING (b),
    LATERAL (SELECT (ARRAY['Amber', 'Boreal', 'Cobalt', 'Delta', 'Ember', 'Fjord', 'Granite', 'Harbour', 'Indigo', 'Juniper', 'Keystone', 'Lumen', 'Meridian',
        'Northern', 'Orchard', 'Pioneer', 'Quartz', 'River', 'Summit', 'Timber'])[1 + pg_temp.seed_pick(n, 5, 20)] AS first,
        (ARRAY['Analytics', 'Bakery', 'Clinic', 'Dental', 'Energy', 'Foods', 'Garage', 'Hotels', 'Insurance', 'Joinery', 'Kitchens', 'Labs', 'Motors',
        'Networks', 'Optics', 'Partners'])[1 + pg_temp.seed_pick(n, 6, 16)] AS second) AS words
ORDER BY c.b, c.k;

-- contacts
CREATE TEMP TABLE load_contact ON COMMIT DROP AS
SELECT s.b, s.k, s.n, s.at, pg_temp.seed_id(s.at, 'load contact ' || s.n) AS id, c.id AS company_id, first, last,
    lower(first || '.' || last) || s.k || '@mail.example' AS email,
    -- four thousand numbers of the range that is reserved for fiction; in a larger business some people share one
    '+1' || (ARRAY[201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218, 219, 224, 225, 228, 229, 231, 234, 239, 240, 248, 251,
        252, 253, 254, 256, 260, 262, 267, 269, 270, 276, 281, 301, 302])[1 + s.k / 100 % 40] || '555' || to_char(100 + s.k % 100, 'FM0000') AS phone
FROM (SELECT b, k, b::bigint * 10000000 + k AS n, now() - interval '390 days' + k * (interval '20 days' / contacts) AS at, companies
        FROM load_size, load_business, generate_series(1, contacts) AS k) AS s
    JOIN load_company c ON c.b = s.b AND c.k = 1 + s.k % s.companies,
    LATERAL (SELECT (ARRAY['Anna', 'Ben', 'Carla', 'David', 'Eva', 'Farid', 'Grace', 'Hassan', 'Ines', 'Jonas', 'Kavya', 'Leo', 'Mina', 'Nils', 'Olga', 'Pablo',
        'Quinn', 'Rosa', 'Sven', 'Tara', 'Umar', 'Vera', 'Wei', 'Yusuf', 'Zoe'])[1 + pg_temp.seed_pick(s.n, 11, 25)] AS first,
        (ARRAY['Almeida', 'Becker', 'Chen', 'Dubois', 'Eriksen', 'Fischer', 'Garcia', 'Hansen', 'Ivanov', 'Jensen', 'Kumar', 'Lopez', 'Mbeki', 'Novak', 'Okafor',
        'Peters', 'Rossi', 'Sato', 'Tanaka', 'Usman', 'Varga', 'Walker', 'Yilmaz', 'Zhang'])[1 + pg_temp.seed_pick(s.n, 12, 24)] AS last) AS words;
INSERT INTO contacts (business_id, id, company_id, first_name, last_name, email, phone, title, owner_id, tags, metadata, created_at, updated_at)
SELECT b.id, c.id, company_id, first, last, email, phone, (ARRAY['Director', 'Buyer', 'Assistant', 'Engineer', NULL])[1 + pg_temp.seed_pick(n, 13, 5)],
    people[1 + c.k % 4], CASE WHEN c.k % 6 = 0 THEN '{vip}'::text[] ELSE '{}' END,
    CASE WHEN c.k % 3 = 0 THEN '{"newsletter": true}' ELSE '{}' END::jsonb, c.at, c.at
FROM load_contact c JOIN load_business b USING (b) ORDER BY c.b, c.k;

-- leads
CREATE TEMP TABLE load_lead ON COMMIT DROP AS
SELECT s.b, s.k, s.n, s.at, pg_temp.seed_id(s.at, 'load lead ' || s.n) AS id, c.k AS contact, c.id AS contact_id, c.company_id,
    (ARRAY['new', 'new', 'contacted', 'contacted', 'qualified', 'proposal', 'won', 'won', 'lost', 'lost'])[1 + pg_temp.seed_pick(s.n, 21, 10)] AS status
FROM (SELECT b, k, b::bigint * 10000000 + k AS n, now() - interval '365 days' + k * (interval '364 days' / leads)
            + pg_temp.seed_pick(k, 22, 7200) * interval '1 second' AS at, contacts
        FROM load_size, load_business, generate_series(1, leads) AS k) AS s
    JOIN load_contact c ON c.b = s.b AND c.k = 1 + s.k % s.contacts;
INSERT INTO leads (business_id, id, company_id, contact_id, campaign_id, assignee_id, title, status, score, source, value_minor, currency, tags, entered_at,
    first_touch_at, closed_at, lost_reason, metadata, created_at, updated_at)
SELECT b.id, l.id, company_id, contact_id, CASE WHEN l.k % 3 = 0 THEN campaigns[1 + pg_temp.seed_pick(n, 23, 5)] END,
    CASE WHEN status <> 'new' THEN people[1 + pg_temp.seed_pick(n, 24, 4)] END,
    (ARRAY['Offer for', 'Renewal of', 'Question about', 'Trial of', 'Expansion of', 'Replacement of'])[1 + pg_temp.seed_pick(n, 25, 6)] || ' '
        || (ARRAY['annual plan', 'team training', 'equipment', 'maintenance', 'consulting days', 'starter package', 'licences', 'treatment plan'])[1 + pg_temp.seed_pick(n, 26, 8)]
        || ' ' || l.k, status, pg_temp.seed_pick(n, 27, 101), (ARRAY['website', 'referral', 'ads', 'event', 'whatsapp', 'phone'])[1 + pg_temp.seed_pick(n, 28, 6)],
    CASE WHEN l.k % 10 <> 0 THEN (1 + pg_temp.seed_pick(n, 29, 50000)) * 100 END, currency,
    CASE l.k % 8 WHEN 0 THEN '{hot}'::text[] WHEN 1 THEN '{hot,enterprise}' WHEN 2 THEN '{returning}' ELSE '{}' END, l.at, touched, closed,
    CASE WHEN status = 'lost' THEN (ARRAY['price', 'timing', 'competitor', 'no answer'])[1 + pg_temp.seed_pick(n, 30, 4)] END,
    CASE WHEN l.k % 5 = 0 THEN jsonb_build_object('region', (ARRAY['north', 'south', 'east', 'west'])[1 + pg_temp.seed_pick(n, 31, 4)]) ELSE '{}' END,
    l.at, coalesce(closed, touched, l.at)
FROM load_lead l JOIN load_business b USING (b),
    LATERAL (SELECT CASE WHEN status <> 'new' THEN l.at + (now() - l.at) * (1 + pg_temp.seed_pick(n, 32, 10)) / 200 END AS touched,
        CASE WHEN status IN ('won', 'lost') THEN l.at + (now() - l.at) * (10 + pg_temp.seed_pick(n, 33, 80)) / 100 END AS closed) AS times
ORDER BY l.b, l.k;

-- conversations
-- The times of the messages follow from these four figures: the start, the pause between two messages, how many are
-- unread at the end, and the number of the conversation. Every conversation has a contact of its own where there are
-- enough, so that only one thread is open for an address.
CREATE TEMP TABLE load_conversation ON COMMIT DROP AS
SELECT s.b, s.k, s.n, s.at, pause, messages, pg_temp.seed_id(s.at, 'load conversation ' || s.n) AS id, c.id AS contact_id, l.id AS lead_id,
    (ARRAY['whatsapp', 'whatsapp', 'whatsapp', 'email', 'sms', 'web'])[1 + pg_temp.seed_pick(s.n, 41, 6)] AS channel, c.phone, c.email, t.status,
    CASE WHEN t.status = 'active' THEN 1 + pg_temp.seed_pick(s.n, 43, 3) ELSE 0 END AS unread
FROM (SELECT b, k, b::bigint * 10000000 + k AS n, now() - interval '360 days' + k * (interval '350 days' / conversations) AS at, contacts, leads, conversations, messages
        FROM load_size, load_business, generate_series(1, conversations) AS k) AS s
    JOIN load_lead l ON l.b = s.b AND l.k = s.k * (s.contacts / s.conversations) JOIN load_contact c ON c.b = s.b AND c.k = l.contact,
    LATERAL (SELECT (ARRAY['active', 'pending', 'closed', 'closed'])[1 + pg_temp.seed_pick(s.n, 42, 4)] AS status,
        interval '1 second' * (1800 + pg_temp.seed_pick(s.n, 44, 15000)) AS pause) AS t;
INSERT INTO conversations (business_id, id, contact_id, lead_id, channel_id, channel, address, status, assignee_id, subject, started_at, last_message_at, unread_count,
    last_inbound_at, window_expires_at, created_at, updated_at)
SELECT b.id, c.id, contact_id, lead_id,
    CASE channel WHEN 'whatsapp' THEN pg_temp.seed_id(b.at, 'load channel ' || c.b) END, channel, CASE channel WHEN 'email' THEN email WHEN 'web' THEN 'visitor-' || right(c.id::text, 12) ELSE phone END, status,
    CASE WHEN c.k % 4 <> 0 THEN people[1 + c.k % 4] END, CASE WHEN channel = 'email' THEN 'Your request ' || c.k END, c.at, last, unread,
    heard, CASE WHEN channel = 'whatsapp' THEN heard + interval '24 hours' END, c.at, last
FROM load_conversation c JOIN load_business b USING (b), LATERAL (SELECT c.at + pause * (messages - 1) AS last) AS t,
    LATERAL (SELECT last - CASE WHEN unread = 0 THEN pause ELSE '0' END AS heard) AS h ORDER BY c.b, c.k;

-- messages
INSERT INTO messages (business_id, id, conversation_id, direction, author, author_id, body, external_id, status, sent_at, delivered_at, read_at, cost,
    cost_currency, model, input_tokens, output_tokens, ai_cost, created_at, updated_at)
SELECT b.id, pg_temp.seed_id(sent, 'load message ' || number), c.id, CASE WHEN author = 'contact' THEN 'inbound' ELSE 'outbound' END, author,
    CASE WHEN author = 'user' THEN people[1 + c.k % 4] END,
    CASE WHEN author = 'contact' THEN (ARRAY['Hello, do you have a free appointment this week?', 'Thanks, that works for me.', 'What does it cost, all included?',
            'Could you send the offer again, please? I cannot find the mail.', 'We need it for about thirty people.', 'Is parking available at your place?',
            'I will be ten minutes late, sorry.', 'Perfect, see you then!', 'Can my colleague come along?', 'Please call me in the afternoon.',
            'The invoice has the wrong address.', 'Do you also work on Saturdays?'])[1 + word / 6 % 12]
        ELSE (ARRAY['Good morning, how can we help you?', 'We have a slot on Thursday at ten. Shall I book it?', 'I have sent the offer to your mailbox.',
            'The price includes everything, also the follow-up visit.', 'You can reschedule until the day before.', 'Thank you, your booking is confirmed.',
            'A colleague will call you back today.', 'Please bring the documents of your last visit.', 'Yes, there is parking behind the building.',
            'We are sorry for the mistake, a corrected invoice is on its way.', 'Is there anything else we can do for you?'])[1 + word / 6 % 11]
    END || CASE WHEN word % 7 = 0 THEN ' Ref ' || c.k ELSE '' END,
    CASE WHEN channel <> 'web' THEN channel || '.' || number END,
    CASE WHEN author = 'contact' THEN 'received' ELSE (ARRAY['read', 'read', 'delivered', 'sent'])[1 + word / 6 % 4] END, sent,
    CASE WHEN author <> 'contact' AND word / 6 % 4 < 3 THEN sent + interval '2 seconds' END,
    CASE WHEN author <> 'contact' AND word / 6 % 4 < 2 OR author = 'contact' AND m < messages - unread THEN sent + interval '1 minute' END,
    CASE WHEN author <> 'contact' AND channel IN ('whatsapp', 'sms') THEN 0.0125 END, CASE WHEN author <> 'contact' AND channel IN ('whatsapp', 'sms') THEN currency END,
    CASE WHEN author = 'ai' THEN 'frontdesk-mini-2' END, CASE WHEN author = 'ai' THEN 300 + 20 * m END, CASE WHEN author = 'ai' THEN 25 + word % 40 END,
    CASE WHEN author = 'ai' THEN 0.000150 + 0.000007 * m END, sent, sent
FROM load_conversation c JOIN load_business b USING (b), generate_series(0, messages - 1) AS m,
    LATERAL (SELECT n * 1000 + m AS number) AS numbered,
    -- the first, the last and the last but one are on time, because the conversation names their times
    LATERAL (SELECT pg_temp.seed_pick(number, 51, 997) AS word, c.at + pause * (m + CASE WHEN m BETWEEN 1 AND messages - 3
        THEN pg_temp.seed_pick(number, 52, 900) / 1000.0 ELSE 0 END) AS sent) AS told,
    LATERAL (SELECT CASE WHEN m = 0 OR m >= messages - unread OR unread = 0 AND m = messages - 2 THEN 'contact'
        WHEN m < messages - unread - 1 AND word % 2 = 0 THEN 'contact' WHEN word % 3 = 0 THEN 'ai' ELSE 'user' END AS author) AS said
ORDER BY c.b, c.k, m;

-- bookings
-- Every member of staff has a grid of an hour each, ten a day of which eight are taken, from Monday to Friday; no service
-- is longer than an hour. Three quarters of the days are past.
INSERT INTO bookings (business_id, id, code, service_id, staff_id, contact_id, lead_id, customer_name, customer_phone, customer_email, starts_at, ends_at,
    time_zone, day, status, price_minor, currency, created_at, updated_at)
SELECT b.id, pg_temp.seed_id(made, 'load booking ' || number), pg_temp.seed_code(g), b.services[service], b.staff[1 + g % s.staff], c.id,
    CASE WHEN g % 4 = 0 THEN l.id END, first || ' ' || last, c.phone, c.email, starts, ends, zone, day, t3.status, (ARRAY[4000, 9500, 6000, 18000, 3000, 12500])[service],
    currency, made, least(now(), greatest(made, ends))
FROM (SELECT s.*, weeks.first_monday, g FROM load_size s, LATERAL (SELECT today - extract(isodow FROM today)::int + 1 - 7 * (bookings * 3 / (4 * s.staff * 40)) AS first_monday
            FROM (SELECT pg_temp.seed_today(zone) AS today FROM load_business) t) AS weeks,
        generate_series(0, bookings - 1) AS g) AS s, load_business b,
    LATERAL (SELECT b.b::bigint * 10000000 + g AS number, g / s.staff AS place) AS numbered,
    LATERAL (SELECT first_monday + place / 40 * 7 + place / 8 % 5 AS day, 1 + pg_temp.seed_pick(number, 61, 6) AS service,
        8 + place % 8 + CASE WHEN place % 8 >= 4 THEN 1 ELSE 0 END AS hour) AS planned,
    LATERAL (SELECT pg_temp.seed_instant(zone, day + hour * interval '1 hour') AS starts) AS t1,
    LATERAL (SELECT starts + (ARRAY[30, 45, 30, 60, 15, 45])[service] * interval '1 minute' AS ends,
        least(starts, now()) - (3600 + pg_temp.seed_pick(number, 63, 1200000)) * interval '1 second' AS made) AS t2,
    LATERAL (SELECT CASE WHEN ends < now() THEN (ARRAY['completed', 'completed', 'completed', 'completed', 'completed', 'completed', 'completed', 'cancelled',
            'cancelled', 'no_show'])[1 + pg_temp.seed_pick(number, 64, 10)]
        ELSE (ARRAY['confirmed', 'confirmed', 'confirmed', 'confirmed', 'confirmed', 'confirmed', 'pending', 'pending', 'held', 'cancelled'])[1 + pg_temp.seed_pick(number, 64, 10)]
        END AS status) AS t3
    JOIN load_lead l ON true JOIN load_contact c ON true
WHERE l.b = b.b AND l.k = 1 + g % s.leads AND c.b = b.b AND c.k = l.contact
ORDER BY b.b, g;
