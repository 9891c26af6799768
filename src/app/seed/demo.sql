-- The demo business: Harbour & Spoke, a bicycle workshop in Vancouver that repairs by appointment and sells to fleets.
--
-- One statement, hence one transaction. Everything but the clock is fixed: two databases seeded at the same moment are
-- equal. All dates hang on now(), so that the inbox, the pipeline and the calendar are always fresh. Telephone numbers
-- are of the 555-01xx range and domains end in .example: nobody real can be reached by accident.
DO $demo$
DECLARE
    home constant text := 'America/Vancouver';
    today constant date := pg_temp.seed_today('America/Vancouver');
    demo uuid;
    people uuid[];
BEGIN
PERFORM set_config('rapport.seeded', 'no', false);
-- the plans look expensive, the rows are few: compiling them took most of the time
SET LOCAL jit = off;
INSERT INTO businesses (id, name, slug, time_zone, currency, country, opening_hours, metadata, created_at, updated_at)
VALUES (pg_temp.seed_id(now() - interval '900 days', 'demo'), 'Harbour & Spoke', 'demo', home, 'CAD', 'CA', 'Mo-Fr 08:30-17:30; Sa 09:00-13:30',
    '{"about": "Bicycle workshop, cargo bikes and company fleets", "website": "https://harbourandspoke.example"}',
    now() - interval '900 days', now() - interval '900 days')
ON CONFLICT (slug) DO NOTHING RETURNING id INTO demo;
IF demo IS NULL THEN
    RETURN;
END IF;
-- It stands for a number of WhatsApp, and answers by itself.
INSERT INTO channels (business_id, id, kind, name, display_number, quality, created_at, updated_at)
VALUES (demo, pg_temp.seed_id(now() - interval '899 days', 'demo channel'), 'loopback', 'Front desk',
    '+1 604 555 0100', 'green', now() - interval '899 days', now() - interval '899 days');

-- Users are global and outlive a business: a user that exists only becomes a member again.
CREATE TEMP TABLE demo_user ON COMMIT DROP AS
SELECT * FROM (VALUES
    (1, 'Morag Sinclair', 'morag', 'owner'), (2, 'Tomasz Wieczorek', 'tomasz', 'admin'), (3, 'Priya Raghavan', 'priya', 'manager'),
    (4, 'Callum Okafor', 'callum', 'agent'), (5, 'Hélène Marchetti', 'helene', 'viewer')) AS t (k, name, email, role);
INSERT INTO users (id, email, name, created_at, updated_at)
SELECT pg_temp.seed_id(at, 'demo user ' || k), email || '@harbourandspoke.example', name, at, at
FROM demo_user, LATERAL (SELECT now() - interval '880 days' + k * interval '31 days' AS at) AS born
ON CONFLICT (lower(email)) DO NOTHING;
INSERT INTO memberships (business_id, id, user_id, role, created_at, updated_at)
SELECT demo, pg_temp.seed_id(u.created_at, 'demo membership ' || k), u.id, d.role, u.created_at, u.created_at
FROM demo_user d JOIN users u ON lower(u.email) = d.email || '@harbourandspoke.example';
people := ARRAY(SELECT u.id FROM demo_user d JOIN users u ON lower(u.email) = d.email || '@harbourandspoke.example' ORDER BY k);

CREATE TEMP TABLE demo_service ON COMMIT DROP AS
SELECT k, name, description, minutes, price, now() - interval '850 days' + k * interval '3 hours' AS at FROM (VALUES
    (1, 'Safety check', 'Brakes, headset, wheels and bolts; a written list of what will need work.', 30, 3900),
    (2, 'Standard service', 'Safety check, gears and brakes adjusted, drivetrain cleaned, wheels trued.', 60, 9500),
    (3, 'Full service', 'Everything taken apart, cleaned, greased and put together again.', 120, 21500),
    (4, 'E-bike diagnostics', 'Motor and battery read out, firmware updated, capacity measured.', 45, 7900),
    (5, 'Brake and gear tune', 'New pads or cables as needed, adjusted while you wait.', 45, 6500),
    (6, 'Bike fitting', 'Saddle, bars and cleats set for you on the trainer.', 90, 16500),
    (7, 'Fleet inspection visit', 'We come to your yard and check up to ten bikes.', 120, 32000),
    (8, 'Cargo bike test ride', 'An hour with any of our long-tails or box bikes, child seats included.', 60, 0)
) AS t (k, name, description, minutes, price);
INSERT INTO services (business_id, id, name, description, duration_minutes, price_minor, currency, created_at, updated_at)
SELECT demo, pg_temp.seed_id(at, 'demo service ' || k), name, description, minutes, price, 'CAD', at, at FROM demo_service;

INSERT INTO staff (business_id, id, user_id, name, email, phone, time_zone, metadata, created_at, updated_at)
SELECT demo, pg_temp.seed_id(at, 'demo staff ' || k), people[member], name, email || '@harbourandspoke.example',
    '+1672555010' || k, home, jsonb_build_object('skills', skills), at, at
FROM (VALUES
    (1, 2, 'Tomasz Wieczorek', 'tomasz', '["motors", "fleet"]'::jsonb), (2, 4, 'Callum Okafor', 'callum', '["sales", "fitting"]'),
    (3, NULL, 'Ingrid Solheim', 'ingrid', '["wheels", "frames"]'), (4, NULL, 'Mateus Carvalho', 'mateus', '["brakes", "gears"]'),
    (5, NULL, 'Noor van Dijk', 'noor', '["motors", "fitting"]')) AS t (k, member, name, email, skills),
    LATERAL (SELECT now() - interval '800 days' + k * interval '77 days' AS at) AS born;

CREATE TEMP TABLE demo_campaign ON COMMIT DROP AS
SELECT k, name, channel, status, source, first, last, budget, now() - (15 - first) * interval '1 day' AS at FROM (VALUES
    (1, 'Commuter tune-up reminder', 'whatsapp', 'active', 'whatsapp', -60, 30, 80000),
    (2, 'Cargo bikes for couriers', 'ads', 'active', 'google-ads', -75, 15, 450000),
    (3, 'Cycle-to-work breakfast at Sun Wharf', 'event', 'finished', 'event', -48, -48, 120000),
    (4, 'Fleet letter, quarterly', 'email', 'active', 'newsletter', -90, 90, 40000),
    (5, 'Bring a workmate', 'referral', 'paused', 'referral', -85, 60, 150000),
    (6, 'Battery health month', 'sms', 'draft', 'sms', 12, 42, 95000)
) AS t (k, name, channel, status, source, first, last, budget);
INSERT INTO campaigns (business_id, id, name, channel, status, starts_on, ends_on, budget_minor, currency, created_at, updated_at)
SELECT demo, pg_temp.seed_id(least(at, now()), 'demo campaign ' || k), name, channel, status, today + first, today + last, budget, 'CAD',
    least(at, now()), least(at, now()) FROM demo_campaign;

-- What leads are about. A conversation of a lead follows a dialogue of the same topic; 'home' is for private people.
CREATE TEMP TABLE demo_offer ON COMMIT DROP AS
SELECT * FROM (VALUES
    (1, 'cargo', '%s e-cargo bikes for the delivery round', 2, 8, 649000, '{cargo,e-bike}'::text[]),
    (2, 'scheme', 'Cycle-to-work scheme for %s staff', 15, 90, 42000, '{scheme}'),
    (3, 'contract', 'Yearly service contract, %s bikes', 6, 40, 28500, '{service,recurring}'),
    (4, 'lease', 'Lease of %s e-bikes, 24 months', 4, 20, 312000, '{lease,e-bike}'),
    (5, 'kit', 'Lights and high-vis kits for %s riders', 10, 60, 8900, '{accessories}'),
    (6, 'contract', 'On-site repair day, %s bikes', 8, 30, 9500, '{service}'),
    (7, 'cargo', 'Trial of %s cargo trikes', 2, 4, 158000, '{cargo,trial}'),
    (8, 'kit', 'Rain capes and gloves for %s riders', 10, 40, 14900, '{accessories}'),
    (9, 'scheme', 'Company bikes through payroll, %s people', 8, 30, 96000, '{scheme,e-bike}'),
    (10, 'lease', '%s pool bikes for the office, leased', 3, 12, 146000, '{lease}'),
    (11, 'kit', 'Puncture-proof tires for %s couriers', 5, 25, 13500, '{accessories,cargo}'),
    (12, 'contract', 'Overhaul of %s pool bikes', 5, 18, 21500, '{service}'),
    (13, 'home', 'Long-tail e-bike for the school run', 1, 1, 689000, '{cargo,e-bike,family}'),
    (14, 'home', 'Commuter e-bike, old one traded in', 1, 1, 342000, '{e-bike,trade-in}'),
    (15, 'home', 'Box bike with rain cover for twins', 1, 1, 742000, '{cargo,family}'),
    (16, 'home', 'Gravel bike, custom build', 1, 1, 418000, '{custom}')
) AS t (k, topic, title, least_n, most_n, price, tags);

-- Leads first, because a company and a contact are at least as old as their oldest lead. Number 1 is the newest.
CREATE TEMP TABLE demo_lead ON COMMIT DROP AS
SELECT k, 1 + (k - 1) * 7 % 120 AS contact, least(now() - k * interval '9 minutes', pg_temp.seed_instant(home, today - (90 * (k / 150.0) ^ 1.15)::int
        + interval '8 hours' + pg_temp.seed_pick(k, 1, 640) * interval '61 seconds')) AS entered,
    CASE WHEN k <= 8 THEN 'new'
        WHEN k <= 25 THEN (ARRAY['new', 'contacted', 'contacted', 'qualified', 'new'])[1 + k % 5]
        WHEN k <= 70 THEN (ARRAY['contacted', 'qualified', 'proposal', 'won', 'proposal', 'lost', 'qualified'])[1 + k % 7]
        ELSE (ARRAY['won', 'lost', 'lost', 'proposal', 'won', 'lost', 'qualified', 'won'])[1 + k % 8] END AS status,
    people[(ARRAY[4, 3, 4, 1, 3, 4, 2])[1 + pg_temp.seed_pick(k, 2, 7)]] AS assignee
FROM generate_series(1, 150) AS k;

CREATE TEMP TABLE demo_company ON COMMIT DROP AS
SELECT k::int, f[1] AS name, f[2] || '.example' AS domain, f[3] AS industry, f[4] AS size, f[5] || ', BC' AS address
FROM string_to_table($$Tidewater Parcel Co-op|tidewaterparcel|logistics|51-200|1180 Powell St, Vancouver
Maple & Rye Bakeries|mapleandrye|food|51-200|2455 Main St, Vancouver
Granite Peak Brewing|granitepeakbrewing|food|11-50|88 Esplanade W, North Vancouver
Lumen Architecture Studio|lumenstudio|architecture|11-50|305 Water St, Vancouver
Coastline Credit Union|coastlinecu|finance|201-1000|900 Burrard St, Vancouver
Second Kettle Coffee|secondkettle|food|11-50|1702 Commercial Dr, Vancouver
Northshore Physiotherapy|northshorephysio|health|11-50|140 Lonsdale Ave, North Vancouver
Fraser Valley Greens|fvgreens|agriculture|51-200|3390 River Rd, Delta
Hotel Sylvan Court|sylvancourt|hospitality|51-200|1154 Robson St, Vancouver
Bluebird Courier|bluebirdcourier|logistics|51-200|615 Terminal Ave, Vancouver
Kwan Legal LLP|kwanlegal|legal|11-50|1055 W Georgia St, Vancouver
Salish Software|salishsoftware|software|201-1000|128 W Hastings St, Vancouver
Harvest Box Delivery|harvestbox|logistics|11-50|2050 Columbia St, Vancouver
Pacific Crest Insurance|pacificcrest|finance|201-1000|4710 Kingsway, Burnaby
Wren & Daughters Florists|wrenflorists|retail|1-10|3612 W 4th Ave, Vancouver
Burrard Dental Group|burrarddental|health|11-50|1750 E 10th Ave, Vancouver
Quayside Property Management|quaysidepm|property|51-200|810 Quayside Dr, New Westminster
Evergreen Montessori School|evergreenmontessori|education|11-50|5488 Dunbar St, Vancouver
Oso Negro Tacos|osonegrotacos|food|1-10|2733 Fraser St, Vancouver
City of Port Alder|portalder|government|1001+|1 Civic Sq, Port Alder
Kitsilano Film Services|kitsfilm|media|11-50|1980 W 2nd Ave, Vancouver
Cedar House Hospice|cedarhouse|health|51-200|4900 Heather St, Vancouver
Ironbark Landscaping|ironbark|services|11-50|7215 Progress Way, Delta
Mount Seymour Outfitters|seymouroutfitters|retail|11-50|1425 Dollarton Hwy, North Vancouver
Pinnacle Biologics|pinnaclebio|biotech|201-1000|6190 Agronomy Rd, Vancouver
Skytrain Studios|skytrainstudios|media|51-200|3883 Cambie St, Vancouver
The Paper Crane Press|papercranepress|publishing|1-10|211 E Georgia St, Vancouver
False Creek Rowing Club|fcrowing|sports|1-10|1318 Cartwright St, Vancouver
Dhaliwal Produce|dhaliwalproduce|food|51-200|12880 80 Ave, Surrey
Strata Robotics|stratarobotics|manufacturing|51-200|8525 Baxter Pl, Burnaby
Grouse Grind Apparel|grousegrind|retail|11-50|1015 Marine Dr, North Vancouver
Yaletown Veterinary Clinic|yaletownvet|health|11-50|1202 Hamilton St, Vancouver
Simon & Laurier Accountants|simonlaurier|finance|51-200|1500 W 8th Ave, Vancouver
Lions Gate Catering|lionsgatecatering|hospitality|51-200|455 Industrial Ave, Vancouver
Orca Energy Advisors|orcaenergy|consulting|11-50|750 W Pender St, Vancouver
Rainier Freight Forwarding|rainierfreight|logistics|201-1000|15100 Knox Way, Richmond
Little Sparrow Daycare|littlesparrow|education|1-10|3250 Victoria Dr, Vancouver
Bowen Island Ferry Society|bowenferry|transport|11-50|6640 Bay St, West Vancouver
Mosaic Housing Association|mosaichousing|property|201-1000|2610 Renfrew St, Vancouver
Tanaka Instruments|tanakainstruments|manufacturing|51-200|3771 Jacombs Rd, Richmond$$, E'\n') WITH ORDINALITY AS t (line, k),
    LATERAL (SELECT string_to_array(line, '|') AS f) AS fields;

CREATE TEMP TABLE demo_contact ON COMMIT DROP AS
SELECT t.k::int, f[1] AS first, f[2] AS last, CASE WHEN k <= 100 THEN 1 + (k::int - 1) % 40 END AS company,
    format('+1%s55501%s', (ARRAY['604', '778', '236'])[1 + k % 3], to_char(k / 3, 'FM00')) AS phone,
    coalesce(oldest, now()) - CASE WHEN k % 3 = 0 THEN interval '4 minutes'
        ELSE pg_temp.seed_pick(k, 3, 400) * interval '25 hours 7 minutes' + interval '90 minutes' END AS at
FROM string_to_table($$Aoife:Brennan,Wei:Zhang,Olumide:Adeyemi,Sofía:Herrera,Jasleen:Gill,Björn:Lindqvist,Chloé:Gauthier,Hiroshi:Matsuda,
Fatima:El Amrani,Liam:MacKenzie,Ngoc:Trần,Katarzyna:Nowak,Diego:Fuentes,Emma:Thompson,Arash:Rahimi,Mei Ling:Chow,Sébastien:Roy,Anneke:de Vries,
Kwame:Mensah,Harpreet:Sidhu,Giulia:Ferraro,Noah:Friesen,Yuki:Nakagawa,Zanele:Dlamini,Marc-André:Bouchard,Leila:Haddad,Oleksandr:Kovalenko,
Grace:Wong,Tariq:Mahmood,Ingeborg:Nilsen,Rohan:Deshpande,Camila:Duarte,Dylan:Cardinal,Min-jun:Park,Eilidh:Fraser,José:Quintero,Anita:Sharma,
Henrik:Østergaard,Thandiwe:Moyo,Victor:Lam,Beatriz:Monteiro,Connor:O'Leary,Shirin:Tavakoli,Pavel:Dvořák,Maya:Joseph,Ahmed:Farouk,Lucía:Navarro,
Stefan:Petrov,Jia Hui:Tan,Rebecca:Klassen,Emeka:Obi,Astrid:Bergman,Daniel:Charbonneau,Sunita:Pillai,Mehmet:Yıldız,Hannah:Weiss,Kofi:Asante,
Elena:Popescu,Ryan:Whitecloud,Amélie:Tremblay,Takumi:Inoue,Gurpreet:Dhaliwal,Ewa:Zielińska,Patrick:Doyle,Layla:Nasser,Andrés:Castillo,
Ji-woo:Kim,Freya:Sørensen,Samuel:Okonkwo,Isabelle:Fournier,Vikram:Menon,Tui:Parata,Nadia:Rezaei,Lukas:Hoffmann,Wanjiru:Kamau,Olivia:Bennett,
Raúl:Ibarra,Siobhan:Walsh,Jun:Fujimoto,Marta:Kowalczyk,Ravi:Krishnan,Claire:Desjardins,Ibrahim:Diallo,Sigrid:Haugen,Ethan:Cheung,Paola:Ricci,
Abena:Owusu,Goran:Marković,Simran:Bains,Jacob:Wiebe,Thuy:Nguyễn,Mikael:Virtanen,Rosa:Delgado,Adam:Szabó,Naomi:Crowchild,Kenji:Ota,Farah:Siddiqui,
Tomáš:Novotný,Adaeze:Eze,Peter:Vandenberg,Yasmin:Karimi,Alistair:Munro,Xin Yi:Lau,Bruno:Teixeira,Hana:Suzuki,Owen:Pritchard,Mariam:Sow,
Lars:Eklund,Valentina:Rossi,Jasper:Huang,Aisha:Bello,Gareth:Llewellyn,Milena:Jovanović,Sanjay:Reddy,Élodie:Lefebvre,Cian:Gallagher,Ruth:Abebe,
Felix:Baumann,Keiko:Yamada,Teresa:Almeida$$, ',') WITH ORDINALITY AS t (line, k),
    LATERAL (SELECT string_to_array(trim(both E'\n' FROM line), ':') AS f) AS fields,
    LATERAL (SELECT min(entered) AS oldest FROM demo_lead WHERE contact = t.k) AS leads;

INSERT INTO companies (business_id, id, name, domain, industry, size, phone, address, owner_id, tags, metadata, created_at, updated_at)
SELECT demo, pg_temp.seed_id(at, 'demo company ' || k), name, domain, industry, size, '+16045550' || 150 + k, address,
    people[(ARRAY[4, 3, 1])[1 + k % 3]], CASE WHEN k % 4 = 0 THEN '{key-account}'::text[] WHEN k % 5 = 0 THEN '{partner,fleet}' ELSE '{}' END,
    CASE WHEN k % 3 = 0 THEN jsonb_build_object('fleet_size', 3 + pg_temp.seed_pick(k, 4, 45)) ELSE '{}' END, at, at
FROM demo_company c, LATERAL (SELECT min(at) - interval '3 minutes' AS at FROM demo_contact WHERE company = c.k) AS born;

INSERT INTO contacts (business_id, id, company_id, first_name, last_name, email, phone, title, owner_id, tags, metadata, created_at, updated_at)
SELECT demo, pg_temp.seed_id(p.at, 'demo contact ' || p.k), c.id, p.first, p.last,
    regexp_replace(translate(lower(p.first || '.' || p.last), 'áàâäãåąçčćéèêëęíìîïıľłñńňóòôöøõőšśúùûüýžźżřầễ', 'aaaaaaaccceeeeeiiiiillnnnooooooossuuuuyzzzrae'),
        '[^a-z.]', '', 'g') || '@' || coalesce(c.domain, (ARRAY['postbox.example', 'inlet-mail.example'])[1 + p.k % 2]),
    p.phone, CASE WHEN p.company IS NOT NULL THEN (ARRAY['Office Manager', 'Head of Operations', 'Owner', 'People & Culture Lead', 'Fleet Coordinator',
        'Managing Director', 'Sustainability Officer', 'Purchasing', 'Facilities Manager', 'Executive Assistant', 'Store Manager', 'Dispatcher',
        'Finance Director'])[1 + pg_temp.seed_pick(p.k, 5, 13)] END,
    people[(ARRAY[4, 3, 1])[1 + coalesce(p.company, p.k) % 3]],
    CASE WHEN p.company IS NULL THEN '{private}'::text[] WHEN p.k <= 12 THEN '{decision-maker}' ELSE '{}' END,
    CASE p.k % 4 WHEN 0 THEN '{"newsletter": true}' WHEN 1 THEN '{"newsletter": true, "prefers": "whatsapp"}' ELSE '{}' END::jsonb, p.at, p.at
FROM demo_contact p LEFT JOIN demo_company d ON d.k = p.company LEFT JOIN companies c ON c.business_id = demo AND c.domain = d.domain;
ALTER TABLE demo_contact ADD id uuid, ADD email text;
UPDATE demo_contact p SET id = c.id, email = c.email FROM contacts c WHERE c.business_id = demo AND c.phone = p.phone;

ALTER TABLE demo_lead ADD id uuid, ADD offer int, ADD n int, ADD closed timestamptz, ADD reason text;
UPDATE demo_lead l SET id = pg_temp.seed_id(entered, 'demo lead ' || l.k), offer = o.k,
    n = o.least_n + pg_temp.seed_pick(l.k, 6, o.most_n - o.least_n + 1),
    closed = CASE WHEN status IN ('won', 'lost') THEN entered + (now() - entered) * (20 + pg_temp.seed_pick(l.k, 7, 60)) / 100 END,
    reason = CASE WHEN status = 'lost' THEN (ARRAY['Over budget', 'Chose another supplier', 'Postponed', 'No answer'])[1 + pg_temp.seed_pick(l.k, 8, 4)] END
FROM demo_offer o WHERE o.k = CASE WHEN l.contact <= 100 THEN 1 + pg_temp.seed_pick(l.k, 9, 12) ELSE 13 + pg_temp.seed_pick(l.k, 9, 4) END;
INSERT INTO leads (business_id, id, company_id, contact_id, campaign_id, assignee_id, title, status, furthest_stage, score, source, value_minor, currency, tags,
    entered_at, first_touch_at, closed_at, lost_reason, metadata, created_at, updated_at)
SELECT demo, l.id, c.company_id, c.id, m.id, CASE WHEN l.status <> 'new' OR l.k % 3 = 0 THEN l.assignee END, format(o.title, l.n), l.status,
    -- what is lost had come some way
    CASE l.status WHEN 'lost' THEN (ARRAY['new', 'contacted', 'contacted', 'qualified', 'proposal'])[1 + pg_temp.seed_pick(l.k, 14, 5)] ELSE 'new' END,
    CASE l.status WHEN 'new' THEN 10 WHEN 'contacted' THEN 25 WHEN 'qualified' THEN 50 WHEN 'proposal' THEN 65 WHEN 'won' THEN 80 ELSE 5 END
        + pg_temp.seed_pick(l.k, 10, 20),
    coalesce(d.source, (ARRAY['website', 'walk-in', 'phone', 'website', 'whatsapp', 'referral'])[1 + pg_temp.seed_pick(l.k, 11, 6)]),
    CASE WHEN l.status <> 'new' OR l.k % 2 = 0 THEN l.n * o.price END, 'CAD', o.tags || CASE WHEN l.k % 9 = 0 THEN '{urgent}'::text[] ELSE '{}' END,
    l.entered, touched, l.closed, l.reason,
    CASE WHEN d.source = 'google-ads' THEN '{"utm_source": "google", "utm_campaign": "couriers"}' ELSE '{}' END::jsonb, l.entered,
    coalesce(l.closed, touched, l.entered)
FROM demo_lead l JOIN demo_offer o ON o.k = l.offer JOIN demo_contact p ON p.k = l.contact JOIN contacts c ON c.business_id = demo AND c.id = p.id
    LEFT JOIN demo_campaign d ON d.k = CASE WHEN l.k % 2 = 0 THEN 1 + pg_temp.seed_pick(l.k, 12, 5) END
        AND l.entered > d.at + interval '15 days' AND (d.last > 0 OR l.entered < now() - interval '44 days')
    LEFT JOIN campaigns m ON m.business_id = demo AND m.name = d.name,
    LATERAL (SELECT CASE WHEN l.status <> 'new' THEN l.entered + (now() - l.entered) * (1 + pg_temp.seed_pick(l.k, 13, 9)) / 100 END AS touched) AS t;

-- Dialogues. "= topic | channels | subject" opens one; "<" is the contact, "*" the AI, ">" a colleague. The topic 'shop'
-- is for conversations without a lead.
CREATE TEMP TABLE demo_line ON COMMIT DROP AS
SELECT dialogue, row_number() OVER (PARTITION BY dialogue ORDER BY n) - 1 AS k, left(line, 1) AS who, substr(line, 3) AS body
FROM (SELECT n, line, count(*) FILTER (WHERE line LIKE '=%') OVER (ORDER BY n) AS dialogue FROM string_to_table(
$$= cargo | whatsapp,web
< Hi, we are thinking of replacing two of our vans. Do you sell cargo bikes to companies?
* Hello {first}, yes: long-tails, box bikes and trikes, from one bike to a whole fleet. How many do you have in mind, and what do they carry?
< {n} to start with. Mostly crates, up to 80 kg, inside the city
> Hi {first}, {agent} here. 80 kg is fine for the box bikes. Are the bikes going to sleep indoors?
< Yes, we have a loading bay with sockets
> Perfect, then charging is no problem. I'll put {n} of them into a quote with service included, you'll have it tomorrow.
< Great. Can one of our drivers try one before that?
> Of course. Pick any slot for a test ride, it's free and takes an hour.
= cargo | email | Cargo bikes for {company}
< Hello, we saw your bikes on Main Street and would like an offer for {n}. We need space for two euro crates each and a lock that our drivers share. Delivery would be in about six weeks. Kind regards, {first}
> Hello {first}, thank you for writing. I have attached a first offer for {n} bikes, {value} CAD before tax, with a shared smart lock on each. Six weeks is realistic if we order by the end of next week. Best, {agent}
< Thanks, that was quick. Is there a discount if we take the maintenance contract as well?
> There is: 8 % on the contract, and the first inspection is on us. I'll send the revised offer this afternoon. {agent}
< Received. I need a signature from our finance director, who is back on Monday.
= scheme | email | Cycle-to-work scheme
< Hi there, our staff keep asking for a bike benefit. Around {n} people would be interested. How does the payroll side work, and who carries the insurance? {first}, {company}
> Hi {first}, you deduct a fixed amount each month and we invoice the company once. Insurance and one service a year are in the price. I'd suggest a short lunch session at your office, shall I bring some bikes? {agent}
< That sounds good. Could you do a Wednesday? We have a courtyard where people could try them.
> Wednesday works. We will come at 11:30 with five bikes and helmets in all sizes. I'll need the gate code the day before.
< Wonderful, I will let everybody know.
= scheme | whatsapp,web
< do you do cycle to work for small companies too?
* Yes, from five people on. The company pays one invoice and each person pays it back through payroll, usually over 24 months. How many colleagues would join?
< about {n} I think
* Good size for a group price. A colleague can prepare a proposal; may I ask for the company's name?
< {company}
> Hi {first}, {agent} from the workshop. I'm preparing it now. Do people want e-bikes mostly, or a mix?
< a mix, maybe half and half
> Got it. Proposal will be in your mailbox before the weekend.
= contract | email | Servicing our bikes
< Good morning, we have {n} bikes and nobody who looks after them. Two had brake problems last week. Can you take this over? {first}
> Good morning {first}, gladly. We would start with an inspection at your place and give every bike a tag with its history; after that we come every quarter. Please take the two with the brake problems off the road until then. {agent}
< Done, they are locked away. When could you come for the inspection?
> We have the early slot on Thursday, 8:30. It takes about two hours for {n} bikes if they stand together.
< Thursday 8:30 is booked in on our side. Thank you!
> See you then. The invoice for the inspection is credited if you sign the contract.
= contract | whatsapp,sms
< Hello, can you repair bikes at our office instead of us bringing them in?
> Hi {first}, yes. We bring a stand and the common parts. How many bikes, roughly?
< {n}
> That is one day for two mechanics. It comes to about {value} CAD, parts extra.
< ok for us. do you need anything on site?
> A roof and a socket. And please ask people to leave their keys at the front desk.
< Will do, thanks {agent}
= lease | whatsapp,web
< We would like to lease instead of buying, is that possible?
* It is. Terms are 12, 24 or 36 months, with servicing and theft cover included. How many bikes would you need?
< {n}, 24 months
> Hi {first}, {agent} here. For {n} bikes over 24 months the total is {value} CAD. A bike that fails is swapped within one working day.
< What happens at the end of the term?
> You hand them back, extend month by month, or keep them for 15 % of the price.
< Nice. Send me the papers please, to the office address
= kit | email | Order for our riders
< Hello, please quote for {n} sets as on your website. We would need our logo on them if possible. Thanks, {first}
> Hello {first}, {n} sets come to {value} CAD, the logo adds 4 CAD each and one week. Could you send the logo as a vector file? {agent}
< Attached. One week is fine.
> Thank you, the print looks good in our proof. I have reserved the stock for you until Friday.
< We will confirm by Thursday.
= kit | whatsapp,sms
< Hi, do you have {n} in stock? Our riders are out every night now
> Hi {first}, 20 on the shelf, the rest would come in on Tuesday. Shall I put yours aside?
< Yes please. Can we pay on invoice?
> Sure, 30 days. What is your order number?
< No order number, just put {company} and my name
> Done. You'll get a text when everything is here.
= home | whatsapp,web
< Hi! We have a 3 and a 5 year old and want to get rid of our second car. What would you recommend?
* Congratulations on the plan! For two children a long-tail or a box bike both work: the long-tail is easier to park, the box keeps rain and wind out. Do you have hills on your way?
< oh yes, we live at the top of the Drive
> Hello {first}, {agent} here. Then take the bigger motor. Come by and try both, we have helmets for the kids.
< Saturday morning?
> Saturday 9:30 is yours. Bring the kids, they decide anyway.
< haha true. see you then
= home | whatsapp,sms
< Hello, is the bike in your window still available? And would you take mine in exchange?
> Hi {first}, it is. What are you riding now? A photo helps.
< a 2019 city bike, about 6000 km, new chain last year
> Then I can offer 250 to 350 CAD for it, once we have seen it. The new one is {value} CAD less that amount.
< Sounds fair. I'll come by after work on Thursday
> We are open until 5:30. Ask for {agent}.
= shop | whatsapp,sms
< Hi, is my bike ready? Name is {first} {last}
* Hello {first}, one moment, I am looking it up.
* It is on the stand right now and should be ready at 4 pm. We will text you when it is done.
< Perfect thanks
> Hi {first}, all done: new chain, pads front and rear, and we trued the rear wheel. 142.50 CAD in total.
< On my way
= shop | whatsapp,web
< My e-bike shows error 503 and the motor cuts out after a few minutes
* Error 503 usually means that the speed sensor or its magnet has moved. Can you check whether the magnet on the rear spoke still faces the sensor?
< it's there but turned away, maybe 2 cm off
* Turn it back so that it passes within 5 to 15 mm of the sensor, tighten it by hand, and restart the bike. Does the error come back?
< It's gone!! you saved my week
* Glad to hear that. If it happens again, an E-bike diagnostics appointment takes 45 minutes.
= shop | whatsapp,web,sms
< Can I bring my bike in today for a flat tire?
* Today we have one opening left, at 15:15. Shall I book it for you?
< yes please
* Booked: 15:15, Brake and gear tune desk, ask for Mateus. Please bring the key of your lock.
< will do
= shop | sms,whatsapp
< I need to move my appointment tomorrow, sick kid at home
> Oh no, get well soon. Is the same time next week all right, {first}?
< Yes that works, thank you
> Moved. You'll get a reminder the day before.
= shop | email | Question about my invoice
< Hello, my last invoice has the brake pads twice. Could you check? Best regards, {first} {last}
> Hello {first}, you are right, that was our mistake. A corrected invoice is attached and 34 CAD are on their way back to your card. Sorry for the trouble! {agent}
< Thank you for the quick answer. See you at the next service.
= shop | web
< what are your opening hours on saturday
* On Saturdays we are open from 9:00 to 13:30, Monday to Friday from 8:30 to 17:30.
< and do I need an appointment for a safety check?
* It helps: with an appointment you can wait for it, it takes 30 minutes. Without one we keep the bike until the evening.
< ok I'll book one
= shop | whatsapp
< The new brakes squeal a lot when it rains. Is that normal?
> Hi {first}, a little in the first days, a lot is not. Did you bed them in? Ten firm stops from 25 km/h, without locking the wheel.
< no, nobody told me
> Sorry, we should have. Try that first, and if it still squeals come by without an appointment, we will look at it right away.
< Tried it, much better already. Thanks!$$, E'\n') WITH ORDINALITY AS t (line, n)) AS lines;
CREATE TEMP TABLE demo_dialogue ON COMMIT DROP AS
SELECT dialogue, f[1] AS topic, string_to_array(f[2], ',') AS channels, f[3] AS subject,
    row_number() OVER (PARTITION BY f[1] ORDER BY dialogue) - 1 AS turn, count(*) OVER (PARTITION BY f[1]) AS turns
FROM demo_line, LATERAL (SELECT string_to_array(body, ' | ') AS f) AS fields WHERE who = '=';

-- Forty conversations of leads, the newest ones closest together, and twenty of people who only have a question.
CREATE TEMP TABLE demo_talk ON COMMIT DROP AS
SELECT t.*, c.first_name, c.last_name, c.email, c.phone, d.dialogue, d.subject,
    d.channels[1 + pg_temp.seed_pick(t.k, 20, cardinality(d.channels))] AS channel
FROM (SELECT w.*, row_number() OVER (PARTITION BY topic ORDER BY k) - 1 AS turn FROM (
        SELECT j AS k, l.k AS lead, l.contact, o.topic, l.entered + interval '70 seconds' AS started
        FROM generate_series(1, 40) AS j JOIN demo_lead l ON l.k = j + j * j / 24 JOIN demo_offer o ON o.k = l.offer
        UNION ALL
        (SELECT 40 + row_number() OVER (ORDER BY p.k * 37 % 121), NULL, p.k, 'shop', greatest(p.at + interval '1 day',
            least(now() - q.k * interval '23 minutes', pg_temp.seed_instant(home, today - q.k * q.k / 6 + interval '8 hours 35 minutes'
                + pg_temp.seed_pick(p.k, 21, 500) * interval '63 seconds')))
        FROM (SELECT *, row_number() OVER (ORDER BY x.k * 37 % 121) AS k2 FROM demo_contact x WHERE x.at < now() - interval '75 days' AND x.k NOT IN
            (SELECT l.contact FROM generate_series(1, 40) AS j JOIN demo_lead l ON l.k = j + j * j / 24)) AS p
        JOIN generate_series(1, 20) AS q (k) ON q.k = p.k2)) AS w) AS t
    JOIN demo_dialogue d ON d.topic = t.topic AND d.turn = t.turn % d.turns
    JOIN demo_contact p ON p.k = t.contact JOIN contacts c ON c.business_id = demo AND c.id = p.id;

-- A new lead has no reply of a colleague yet, a contacted one is in the middle; all others reach the end that fits the
-- lead's status.
CREATE TEMP TABLE demo_message ON COMMIT DROP AS
WITH lines AS (
    SELECT t.k AS talk, t.lead, l.k, l.who, l.body, l.k AS place FROM demo_talk t JOIN demo_line l ON l.dialogue = t.dialogue AND l.k > 0
        LEFT JOIN demo_lead d ON d.k = t.lead
    WHERE CASE d.status WHEN 'new' THEN NOT EXISTS
            (SELECT FROM demo_line e WHERE e.dialogue = l.dialogue AND e.k > 0 AND e.k <= l.k AND e.who = '>')
        WHEN 'contacted' THEN l.k <= 4 + t.k % 3 WHEN 'lost' THEN l.k <= 5
        ELSE true END
    UNION ALL
    SELECT t.k, t.lead, e.k, left(e.line, 1), substr(e.line, 3), 100 + e.k
    FROM demo_talk t LEFT JOIN demo_lead d ON d.k = t.lead, unnest(CASE
        WHEN t.lead IS NULL THEN CASE WHEN t.started < now() - interval '9 days' THEN ARRAY[
            '> Hi {first}, is everything fine since your last visit? If it is, a short review would help us a lot.',
            '< All good, just left you one!'] END
        WHEN d.status = 'qualified' AND t.k % 3 > 0 THEN ARRAY[
            '> One more question before I write everything up, {first}: is there a date you have to be ready by?',
            '< The beginning of next month would be ideal, but a week later is fine too.',
            '> Good, that is doable. I will be back with the details. {agent}']
        WHEN d.status = 'proposal' THEN ARRAY[
            '> Hi {first}, our offer is on its way to you. It is valid for four weeks.',
            '< Got it, thank you. We will look at it together on Thursday.',
            '> Take your time, and call me if a number is unclear. {agent}'] || CASE WHEN t.k % 2 = 0 THEN ARRAY[
            '< Short question: could we split the payment in two?'] END
        WHEN d.status = 'won' THEN ARRAY[
            '< We are in. Where do I sign?',
            '> Wonderful! The order is confirmed with your answer, {first}. I will write as soon as we have the date.',
            '< Looking forward to it. Thanks for your patience with all our questions!']
        WHEN d.status = 'lost' THEN ARRAY[
            '> Hi {first}, did you have a chance to look at our offer?', CASE d.reason
            WHEN 'Over budget' THEN '< Thanks for asking. It is more than we can spend this year, so we will leave it for now.'
            WHEN 'Chose another supplier' THEN '< Hi {agent}, we went with another shop in the end, sorry. The advice was very good though.'
            WHEN 'Postponed' THEN '< We had to move this to next year. Please ask me again then!'
            ELSE '> I will close this for now, {first}. Just write here whenever it becomes interesting again. {agent}' END] END)
        WITH ORDINALITY AS e (line, k)
), timed AS (
    SELECT *, sum(CASE WHEN who = '*' THEN 4 + pg_temp.seed_pick(seed, 22, 9) WHEN place = 101 OR place > 100 AND who = '>' AND lost THEN 86400 * (1 + pg_temp.seed_pick(seed, 22, 3)) + pg_temp.seed_pick(seed, 23, 1800)
            WHEN place = 1 THEN 0 ELSE 70 + pg_temp.seed_pick(seed, 22, CASE who WHEN '<' THEN 900 ELSE 2400 END) END
            * CASE WHEN channel = 'email' AND place < 100 THEN 4 ELSE 1 END) OVER (PARTITION BY talk ORDER BY place) AS pause
    FROM (SELECT m.*, t.channel, t.started, talk * 1000 + place AS seed,
        EXISTS (SELECT FROM demo_lead l WHERE l.k = m.lead AND l.status = 'lost') AS lost
        FROM lines m JOIN demo_talk t ON t.k = m.talk) AS m
)
-- A conversation that began a moment ago cannot have lasted for hours: pauses shrink until the last message is past.
SELECT talk, lead, channel, who, body, row_number() OVER w AS n, started + pause * interval '1 second' * least(1, 0.9
    * extract(epoch FROM now() - started) / greatest(1, max(pause) OVER (PARTITION BY talk))) AS sent,
    count(*) FILTER (WHERE who <> '<') OVER (PARTITION BY talk ORDER BY place DESC) = 0 AS unanswered
FROM timed WINDOW w AS (PARTITION BY talk ORDER BY place);

ALTER TABLE demo_talk ADD id uuid, ADD last timestamptz, ADD heard timestamptz, ADD unread int, ADD assignee uuid, ADD status text;
UPDATE demo_talk t SET id = pg_temp.seed_id(t.started, 'demo conversation ' || t.k), last = m.last, heard = m.heard, unread = m.unread,
    assignee = coalesce(l.assignee, people[4 - t.k % 2]),
    status = CASE WHEN l.status IN ('won', 'lost') OR m.last < now() - interval '14 days' THEN 'closed' WHEN m.unread > 0 THEN 'active' ELSE 'pending' END
FROM (SELECT talk, max(sent) AS last, max(sent) FILTER (WHERE who = '<') AS heard, count(*) FILTER (WHERE unanswered) AS unread
    FROM demo_message GROUP BY talk) AS m, demo_talk x LEFT JOIN demo_lead l ON l.k = x.lead
WHERE m.talk = t.k AND x.k = t.k;
INSERT INTO conversations (business_id, id, contact_id, lead_id, channel_id, channel, address, status, assignee_id, subject, started_at, last_message_at,
    last_inbound_at, unread_count, window_expires_at, created_at, updated_at)
SELECT demo, t.id, p.id, l.id, CASE channel WHEN 'whatsapp' THEN (SELECT id FROM channels WHERE business_id = demo) END, channel, CASE channel WHEN 'email' THEN t.email WHEN 'web' THEN 'visitor-' || right(t.id::text, 10) ELSE t.phone END, t.status,
    CASE WHEN l.status IS DISTINCT FROM 'new' THEN t.assignee END, CASE WHEN channel = 'email' THEN replace(t.subject, '{company}', coalesce(f.name, '')) END,
    t.started, t.last, heard, CASE WHEN t.status = 'closed' THEN 0 ELSE t.unread END,
    CASE WHEN channel = 'whatsapp' THEN heard + interval '24 hours' END, t.started, t.last
FROM demo_talk t JOIN demo_contact p ON p.k = t.contact LEFT JOIN demo_company f ON f.k = p.company LEFT JOIN demo_lead l ON l.k = t.lead;

INSERT INTO messages (business_id, id, conversation_id, direction, author, author_id, kind, body, external_id, status, sent_at, delivered_at, read_at,
    failed_reason, cost, cost_currency, model, input_tokens, output_tokens, ai_cost, created_at, updated_at)
SELECT demo, pg_temp.seed_id(m.sent, key), t.id, CASE who WHEN '<' THEN 'inbound' ELSE 'outbound' END,
    CASE who WHEN '<' THEN 'contact' WHEN '*' THEN 'ai' ELSE 'user' END, CASE WHEN who = '>' THEN t.assignee END,
    -- more than a day after the contact's last word WhatsApp lets only templates through, and charges for them
    CASE WHEN m.channel = 'whatsapp' AND late AND who <> '<' THEN 'template' ELSE 'text' END, text,
    CASE m.channel WHEN 'whatsapp' THEN 'wamid.' || rtrim(translate(encode(left(key, 6)::bytea || sha256(key::bytea), 'base64'), E'\n', ''), '=')
        WHEN 'sms' THEN 'SM' || left(encode(sha256(key::bytea), 'hex'), 32)
        WHEN 'email' THEN '<' || left(encode(sha256(key::bytea), 'hex'), 20) || '@mail.harbourandspoke.example>' END,
    CASE WHEN who = '<' THEN 'received' WHEN failed THEN 'failed' WHEN seen IS NOT NULL THEN 'read' ELSE 'delivered' END, m.sent,
    CASE WHEN who <> '<' AND NOT failed THEN least(m.sent + interval '1.3 seconds', now()) END, CASE WHEN NOT failed THEN seen END,
    CASE WHEN failed THEN 'The carrier could not reach the handset' END,
    CASE WHEN who <> '<' AND m.channel = 'sms' THEN 0.0119 WHEN who = '>' AND m.channel = 'whatsapp' AND late THEN 0.0342 END,
    CASE WHEN who <> '<' AND (m.channel = 'sms' OR who = '>' AND m.channel = 'whatsapp' AND late) THEN 'CAD' END,
    CASE WHEN who = '*' THEN 'frontdesk-mini-2' END, CASE WHEN who = '*' THEN tokens END, CASE WHEN who = '*' THEN length(text) / 4 END,
    CASE WHEN who = '*' THEN round((tokens * 0.35 + length(text) / 4 * 1.4) / 1000000, 6) END, m.sent, coalesce(seen, m.sent)
FROM demo_message m JOIN demo_talk t ON t.k = m.talk JOIN demo_contact p ON p.k = t.contact LEFT JOIN demo_company f ON f.k = p.company
    LEFT JOIN demo_lead l ON l.k = t.lead LEFT JOIN demo_offer o ON o.k = l.offer JOIN users u ON u.id = t.assignee,
    -- an answer, or on WhatsApp the time, shows that the message was read; an inbound one is read when it is answered
    LATERAL (SELECT CASE WHEN who = '<' THEN (SELECT min(a.sent) FROM demo_message a WHERE a.talk = m.talk AND a.sent > m.sent AND a.who <> '<')
            - interval '3 seconds' WHEN m.channel IN ('whatsapp', 'web') OR m.talk % 2 = 0 AND m.channel = 'email' THEN (SELECT min(a.sent) FROM demo_message a
            WHERE a.talk = m.talk AND a.sent > m.sent AND a.who = '<') - interval '20 seconds' END AS at) AS answered,
    LATERAL (SELECT greatest(m.sent + interval '1.5 seconds', answered.at) AS seen WHERE answered.at IS NOT NULL UNION ALL SELECT NULL LIMIT 1) AS s,
    LATERAL (SELECT 'demo message ' || m.talk || ' ' || m.n AS key, 410 + m.n * 57 AS tokens, m.channel = 'sms' AND who = '>' AND m.sent = t.last AS failed,
        m.sent > coalesce((SELECT max(a.sent) FROM demo_message a WHERE a.talk = m.talk AND a.sent < m.sent AND a.who = '<'), m.sent)
            + interval '24 hours' AS late,
        replace(replace(replace(replace(replace(replace(m.body, '{first}', p.first), '{last}', p.last), '{company}', coalesce(f.name, p.last)),
            '{agent}', split_part(u.name, ' ', 1)), '{n}', coalesce(l.n, 1)::text), '{value}', to_char(coalesce(l.n * o.price, 0) / 100, 'FM999,999')) AS text) AS filled;
-- Messages set the lead's dates: first touched when a colleague first wrote, closed after the last message.
UPDATE leads SET first_touch_at = coalesce(t.touched, first_touch_at), closed_at = CASE WHEN closed_at IS NOT NULL THEN greatest(closed_at, t.last) END,
    updated_at = greatest(leads.updated_at, t.touched, CASE WHEN closed_at IS NOT NULL THEN t.last END)
FROM (SELECT lead, min(sent) FILTER (WHERE who = '>') AS touched, max(sent) AS last FROM demo_message GROUP BY lead) AS t
    JOIN demo_lead l ON l.k = t.lead WHERE business_id = demo AND leads.id = l.id;

-- The calendar: every mechanic has four slots of two hours on a weekday and two on a Saturday, and no service is longer
-- than that, so nobody is booked twice. Days closer to today are fuller.
CREATE TEMP TABLE demo_booking ON COMMIT DROP AS
WITH slots AS (
    SELECT s.id AS staff, s.name, d AS day, pg_temp.seed_instant(home, d + hour) AS opens, row_number() OVER (ORDER BY d, hour, s.name) AS seed
    FROM staff s, generate_series(-60, 28) AS ahead, LATERAL (SELECT today + ahead AS d) AS days,
        unnest(ARRAY['8:30', '10:30', '13:00', '15:00', '9:00', '11:00']::interval[]) WITH ORDINALITY AS h (hour, nth)
    WHERE s.business_id = demo AND CASE extract(isodow FROM d) WHEN 7 THEN false WHEN 6 THEN nth > 4 AND s.name > 'I' ELSE nth <= 4 END
), chosen AS (
    SELECT s.*, v.k, v.name AS service, v.minutes, v.price, opens + interval '15 minutes' * pg_temp.seed_pick(seed, 31, (120 - v.minutes) / 15 + 1) AS starts
    FROM slots s JOIN demo_service v ON v.k = (ARRAY[1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 2])[1 + pg_temp.seed_pick(seed, 32, 12)]
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY past ORDER BY pg_temp.seed_pick(seed, 33, 1000) * (12 + abs(day - today)), seed) AS nth
    FROM (SELECT *, starts + minutes * interval '1 minute' < now() AS past FROM chosen) AS c
)
SELECT row_number() OVER (ORDER BY starts, name) AS n, r.*, c.contact, CASE WHEN past THEN CASE pg_temp.seed_pick(seed, 34, 12) WHEN 0 THEN 'no_show'
        WHEN 1 THEN 'cancelled' WHEN 2 THEN 'cancelled' ELSE 'completed' END
    WHEN starts < now() + interval '20 hours' THEN 'confirmed' ELSE (ARRAY['confirmed', 'pending', 'confirmed', 'confirmed', 'pending',
        'confirmed', 'held', 'confirmed'])[1 + nth % 8] END AS status
FROM ranked r, LATERAL (SELECT x.k AS contact FROM demo_contact x WHERE x.at < least(r.starts, now()) - interval '6 days'
    ORDER BY r.service LIKE 'Fleet%' AND x.company IS NULL, pg_temp.seed_pick(x.k, r.seed::int, 100000) LIMIT 1) AS c
WHERE nth <= CASE WHEN past THEN 98 ELSE 52 END;
INSERT INTO bookings (business_id, id, code, service_id, staff_id, contact_id, lead_id, customer_name, customer_phone, customer_email, starts_at,
    ends_at, time_zone, day, status, price_minor, currency, notes, created_at, updated_at)
SELECT demo, pg_temp.seed_id(made, 'demo booking ' || b.n), pg_temp.seed_code(b.n), v.id, b.staff, c.id,
    CASE WHEN b.k IN (7, 8) THEN (SELECT l.id FROM demo_lead l WHERE l.contact = b.contact AND l.entered < made ORDER BY l.entered DESC LIMIT 1) END,
    c.first_name || ' ' || c.last_name, c.phone, c.email, b.starts, b.starts + b.minutes * interval '1 minute', home, b.day, b.status, b.price, 'CAD',
    CASE WHEN b.n % 3 = 0 THEN CASE b.k WHEN 7 THEN 'Ring at the loading dock, the bikes are in the basement.' WHEN 8 THEN 'Brings a child of four.'
        WHEN 6 THEN 'Numb hands after an hour.' WHEN 4 THEN 'Range has halved since autumn.' ELSE (ARRAY['Creaks under load, probably the bottom bracket.',
        'Customer waits in the shop.', 'Second key is in the saddle bag.', 'Please call before ordering parts over 80 CAD.'])[1 + b.n % 4] END END,
    made, CASE b.status WHEN 'completed' THEN b.starts + b.minutes * interval '1 minute' WHEN 'no_show' THEN b.starts + interval '20 minutes'
        WHEN 'cancelled' THEN b.starts - (b.starts - made) / 4 ELSE made END
FROM demo_booking b JOIN contacts c ON c.business_id = demo JOIN demo_contact p ON p.k = b.contact AND p.id = c.id
    JOIN services v ON v.business_id = demo AND v.name = b.service,
    -- a slot is held for minutes, a request is pending for a day or two
    LATERAL (SELECT CASE b.status WHEN 'held' THEN now() - (1 + b.n % 9) * interval '1 minute' WHEN 'pending' THEN now() - (2 + b.n % 40) * interval '1 hour'
        ELSE least(b.starts, now()) - (5 + pg_temp.seed_pick(b.n, 35, 130)) * interval '61 minutes' END AS made) AS m;

INSERT INTO tasks (business_id, id, title, description, status, priority, due_at, completed_at, assignee_id, lead_id, contact_id, company_id,
    created_at, updated_at)
SELECT demo, pg_temp.seed_id(made, 'demo task ' || l.k), w.title || ' – ' || coalesce(f.name, p.first || ' ' || p.last), w.description,
    CASE WHEN finished IS NULL THEN 'open' ELSE 'done' END, (ARRAY['normal', 'high', 'normal', 'low', 'normal', 'urgent'])[1 + l.k % 6],
    CASE WHEN finished IS NULL THEN pg_temp.seed_instant(home, today - 2 + l.k % 13 + interval '9 hours' + l.k % 8 * interval '1 hour')
        ELSE made + (2 + l.k % 9) * interval '20 hours' END, finished, l.assignee, x.id, x.contact_id, x.company_id, made, coalesce(finished, made)
FROM demo_lead l JOIN leads x ON x.business_id = demo AND x.id = l.id JOIN demo_contact p ON p.k = l.contact LEFT JOIN demo_company f ON f.k = p.company
    JOIN (VALUES ('contacted', 'Call back', 'Ask how many bikes they have and who decides.'), ('qualified', 'Send the offer', NULL),
        ('proposal', 'Follow up on the offer', 'Offer the free first inspection if they hesitate.'),
        ('won', 'Order stock and agree on the hand-over', 'Check the lead times of the batteries first.')) AS w (status, title, description) ON w.status = l.status,
    LATERAL (SELECT coalesce(x.closed_at, x.first_touch_at) AS made) AS m,
    LATERAL (SELECT CASE WHEN l.status = 'won' OR l.k % 4 = 0 THEN made + (now() - made) * (10 + l.k % 60) / 100 END AS finished) AS e
WHERE l.k % 5 < 3;

INSERT INTO notes (business_id, id, body, pinned, author_id, lead_id, contact_id, company_id, conversation_id, created_at, updated_at)
SELECT demo, pg_temp.seed_id(made, 'demo note ' || l.k), (ARRAY['Decides together with the finance director; budget year ends in March.',
        'Had bad luck with a cheap supplier before. Quality and quick repairs matter more than the price.', 'Prefers messages, does not pick up the phone.',
        'Bikes are parked outside: recommend covers and better locks.', 'Asked for a reference, gave them the number of Harvest Box Delivery.',
        'Wants everything delivered on one day, the yard is small.', 'Very friendly, knows Morag from the rowing club.',
        'Compared us with two others; our service contract made the difference so far.', 'Site visit done. Ramp to the basement is too steep for trikes.',
        'Needs the invoice split by department.', 'Two of their bikes are ours from 2021, both in good shape.'])[1 + l.k * 7 % 11],
    l.k % 10 = 0, coalesce(x.assignee_id, people[3]), x.id, x.contact_id, x.company_id, t.id, made, made
FROM demo_lead l JOIN leads x ON x.business_id = demo AND x.id = l.id LEFT JOIN demo_talk t ON t.lead = l.k,
    LATERAL (SELECT greatest(x.first_touch_at, t.last) + (now() - greatest(x.first_touch_at, t.last)) * 0.05 AS made) AS m
WHERE l.status <> 'new' AND (l.k % 5 = 0 OR t.k % 2 = 0);

-- Decisions on the leads: the assistant looks at every conversation, people decide the rest.
INSERT INTO decisions (business_id, id, lead_id, conversation_id, author, author_id, decision, reason, score, model, confidence, payload,
    created_at, updated_at)
SELECT demo, pg_temp.seed_id(made, 'demo decision ' || l.k), x.id, t.id, CASE WHEN ai THEN 'ai' ELSE 'user' END,
    CASE WHEN NOT ai THEN coalesce(x.assignee_id, people[3]) END, w.decision, w.reason, x.score, CASE WHEN ai THEN 'gpt-5-mini' END,
    CASE WHEN ai THEN (60 + l.k % 40) / 100.0 END, CASE WHEN ai THEN jsonb_build_object('intent', w.intent) ELSE '{}' END, made, made
FROM demo_lead l JOIN leads x ON x.business_id = demo AND x.id = l.id LEFT JOIN demo_talk t ON t.lead = l.k
    JOIN (VALUES ('contacted', 'follow_up', 'Answered, and has not said how many bikes they need.', 'question'),
        ('qualified', 'qualify', 'Has a date and a number in mind, and asks for an offer.', 'order'),
        ('proposal', 'send_proposal', 'Everything that an offer needs is known.', 'order'),
        ('won', 'accept', 'Agreed to the offer in writing.', 'order'),
        ('lost', 'drop', 'No answer to the last two messages.', 'none')) AS w (status, decision, reason, intent) ON w.status = l.status,
    LATERAL (SELECT t.id IS NOT NULL AND l.k % 3 > 0 AS ai, greatest(x.first_touch_at, l.entered) AS first) AS f,
    LATERAL (SELECT first + (now() - first) * 0.1 AS made) AS m
WHERE t.id IS NOT NULL OR l.k % 4 = 0;
PERFORM set_config('rapport.seeded', 'yes', false);
END $demo$;
