//! Tests of each kind of schema damage: `serve` and `worker` refuse to start and name it; `migrate` repairs it or
//! prints the commands that do. Kinds with one outcome share a database, and no other fault may be found.

use rapport::db::catalogue::{Report, inspect};
use rapport::db::migrate;

use crate::support::{Database, Program};

/// A kind of damage, and the beginnings of its fault messages: all that may be found, and each of which must be.
type Damage = (&'static str, &'static [&'static str]);

const REPAIRED: &[Damage] = &[
    ("DROP TRIGGER log_change ON leads", &["trigger leads.log_change is missing"]),
    ("ALTER TABLE leads DISABLE TRIGGER log_truncate", &["trigger leads.log_truncate is disabled"]),
    // The state that `pg_restore --disable-triggers` leaves.
    (
        "ALTER TABLE tasks DISABLE TRIGGER ALL; ALTER TABLE tasks ENABLE TRIGGER ALL",
        &["trigger tasks.log_change does not fire always", "trigger tasks."],
    ),
    (
        "CREATE OR REPLACE TRIGGER log_change AFTER DELETE ON notes FOR EACH ROW EXECUTE FUNCTION rapport_log_notes();
         ALTER TABLE notes ENABLE ALWAYS TRIGGER log_change",
        &["trigger notes.log_change is not as the migrations made it"],
    ),
    ("DROP POLICY tenant_isolation ON contacts", &["policy contacts.tenant_isolation is missing"]),
    ("ALTER POLICY tenant_isolation ON companies USING (true)", &["policy companies.tenant_isolation is not as the migrations made it"]),
    ("ALTER TABLE bookings DISABLE ROW LEVEL SECURITY", &["row level security bookings is missing"]),
    ("ALTER TABLE campaigns FORCE ROW LEVEL SECURITY", &["row level security campaigns is forced on the owner"]),
    ("REVOKE INSERT ON leads FROM rapport_tenant", &["grant leads INSERT is missing"]),
    ("REVOKE USAGE ON SCHEMA public FROM rapport_tenant", &["schema grant public USAGE is missing"]),
    (
        "GRANT EXECUTE ON FUNCTION rapport_erase_user(uuid) TO PUBLIC",
        &["execute rapport_erase_user(uuid) may be called by public, rapport_tenant, and must be by rapport_tenant"],
    ),
    (
        "CREATE OR REPLACE FUNCTION rapport_log_leads() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
             $$ BEGIN RETURN NULL; END $$",
        &["function rapport_log_leads() is not as the migrations made it"],
    ),
    (
        "DROP FUNCTION rapport_log_users() CASCADE",
        &["function rapport_log_users() is missing", "execute rapport_log_users() is missing", "trigger users.log_change is missing"],
    ),
    ("ALTER FUNCTION rapport_log_truncate() RESET search_path", &["function rapport_log_truncate() is not as"]),
    ("ALTER VIEW business_users RESET (security_invoker)", &["view business_users is not as"]),
    ("ALTER TABLE leads ALTER COLUMN version DROP DEFAULT", &["default leads.version is missing"]),
    ("DROP EXTENSION pg_trgm CASCADE", &["extension pg_trgm is missing"]),
    (
        "ALTER SEQUENCE change_log_place_seq AS integer INCREMENT 5 MINVALUE -10 MAXVALUE 99 CACHE 7 CYCLE;
         ALTER SEQUENCE change_log_place_seq SET UNLOGGED; ALTER SEQUENCE change_log_place_seq OWNED BY notes.id",
        &["sequence change_log_place_seq is `integer by 5 from -10 to 99 cache 7 cycle unlogged owned by notes`, and must be `bigint by 1"],
    ),
];

const NAMED: &[Damage] = &[
    ("ALTER TABLE tasks DROP CONSTRAINT tasks_lead_id_fkey", &["constraint tasks.tasks_lead_id_fkey is missing"]),
    ("ALTER TABLE leads DROP CONSTRAINT leads_status_check", &["constraint leads.leads_status_check is missing"]),
    (
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'bookings'::regclass
             AND tgisinternal LOOP EXECUTE format('ALTER TABLE bookings DISABLE TRIGGER %I', name); END LOOP; END $$",
        &["constraint bookings.bookings_contact_id_fkey is switched off", "constraint "],
    ),
    ("DROP INDEX users_email_key", &["index users.users_email_key is missing"]),
    (
        "DROP INDEX leads_external_id_key;
         CREATE UNIQUE INDEX leads_external_id_key ON leads (business_id, external_id) WHERE score > 1000",
        &["index leads.leads_external_id_key is `unique"],
    ),
    ("ALTER TABLE companies DROP COLUMN address", &["column companies.address is missing"]),
    (
        "ALTER TABLE leads ALTER COLUMN title DROP NOT NULL",
        &["column leads.title is `text`, and must be `text NOT NULL`"],
    ),
    (
        "ALTER TABLE companies ALTER COLUMN industry TYPE varchar(10)",
        &["column companies.industry is `character varying(10)`"],
    ),
    ("CREATE POLICY everybody ON leads USING (true)", &["policy leads.everybody is not Rapport's, and lets rows"]),
    (
        "CREATE POLICY hide ON contacts AS RESTRICTIVE USING (false)",
        &["policy contacts.hide is not Rapport's, and hides rows from the service"],
    ),
    (
        "ALTER TABLE change_log_position ENABLE ROW LEVEL SECURITY",
        &["row level security change_log_position is not Rapport's, and hides rows from the service"],
    ),
    ("ALTER TABLE cache_epoch SET LOGGED", &["table cache_epoch is `logged`, and must be `unlogged`"]),
    (
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER \"Lose it\" BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION lose()",
        &["trigger audit_log.Lose it is not Rapport's, and can change or swallow what is written"],
    ),
    (
        "CREATE TRIGGER lose BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION lose(); ALTER TABLE leads ENABLE ALWAYS TRIGGER lose",
        &["trigger leads.lose is not Rapport's"],
    ),
    (
        "CREATE TRIGGER lose INSTEAD OF UPDATE ON business_users FOR EACH ROW EXECUTE FUNCTION lose()",
        &["trigger business_users.lose is not Rapport's"],
    ),
    (
        "CREATE RULE lose AS ON UPDATE TO notes DO INSTEAD NOTHING",
        &["rule notes.lose is not Rapport's, and can change or swallow what is written"],
    ),
    ("CREATE RULE more AS ON DELETE TO notes DO ALSO NOTIFY deleted", &["rule notes.more is not Rapport's"]),
    (
        "CREATE TABLE old_services () INHERITS (services)",
        &["inheritance services is broken: old_services inherits from it"],
    ),
    (
        "CREATE SCHEMA old; CREATE TABLE old.messages () INHERITS (messages)",
        &["inheritance messages is broken: old.messages inherits from it"],
    ),
    (
        "CREATE TABLE written (body text); ALTER TABLE notes INHERIT written",
        &["inheritance notes is broken: it inherits from written"],
    ),
    (
        "CREATE TABLE all_campaigns (LIKE campaigns INCLUDING GENERATED) PARTITION BY LIST (id);
         ALTER TABLE all_campaigns ATTACH PARTITION campaigns DEFAULT",
        &["inheritance campaigns is broken: it inherits from all_campaigns"],
    ),
    // Last, because it changes new sessions.
    (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); END $$",
        &["setting session_replication_role is `replica`, so foreign keys are not checked"],
    ),
];

/// Objects that operators may add: they cannot change what is written, or do not belong to Rapport.
const TOLERATED: &[&str] = &[
    "CREATE FUNCTION copied() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
    "CREATE TRIGGER copied AFTER INSERT OR UPDATE OR DELETE ON leads FOR EACH ROW EXECUTE FUNCTION copied()",
    "CREATE CONSTRAINT TRIGGER copied_later AFTER INSERT ON leads DEFERRABLE FOR EACH ROW EXECUTE FUNCTION copied()",
    "CREATE TRIGGER counted BEFORE INSERT ON leads FOR EACH STATEMENT EXECUTE FUNCTION copied()",
    "CREATE TRIGGER off BEFORE INSERT ON leads FOR EACH ROW EXECUTE FUNCTION copied(); ALTER TABLE leads DISABLE TRIGGER off",
    "CREATE TRIGGER replica BEFORE INSERT ON leads FOR EACH ROW EXECUTE FUNCTION copied(); ALTER TABLE leads ENABLE REPLICA TRIGGER replica",
    "CREATE TABLE mine (id int); CREATE TABLE mine_too () INHERITS (mine);
     CREATE TRIGGER mine BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION copied(); CREATE RULE mine AS ON DELETE TO mine DO INSTEAD NOTHING",
    "DO $$ BEGIN EXECUTE format('ALTER ROLE rapport_tenant IN DATABASE %I SET session_replication_role = replica', current_database()); END $$",
];

fn serve(database: &Database) -> (bool, String) {
    Program::run(
        &["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"],
        &[("DATABASE_URL", &database.url)],
    )
}

fn migrate(database: &Database) -> (bool, String) {
    Program::run(&["migrate"], &[("DATABASE_URL", &database.url)])
}

fn report(database: &Database) -> Report {
    inspect(&mut database.connect()).expect("a report")
}

fn assert_intact(database: &Database) {
    let report = report(database);
    assert!(report.is_intact() && report.advice.is_empty(), "{report:?}");
}

/// Applies all of `damage`, and asserts that exactly its faults are found.
fn damage(database: &Database, damage: &[Damage]) {
    damage.iter().for_each(|(sql, _)| database.run(sql));
    let found: Vec<String> = report(database).faults.iter().map(|fault| fault.sentence()).collect();
    for (sql, sentences) in damage {
        for sentence in *sentences {
            assert!(found.iter().any(|found| found.starts_with(sentence)), "{sql}: no `{sentence}` in {found:#?}");
        }
    }
    let is_done =
        |found: &String| damage.iter().flat_map(|(_, sentences)| *sentences).any(|done| found.starts_with(done));
    let unknown: Vec<&String> = found.iter().filter(|found| !is_done(found)).collect();
    assert!(unknown.is_empty(), "nobody did this: {unknown:#?}");
}

fn assert_says_all(said: &str, damage: &[Damage]) {
    for sentence in damage.iter().flat_map(|(_, sentences)| *sentences) {
        assert!(said.contains(sentence), "no `{sentence}` in {said}");
    }
}

/// The cache epoch.
fn epoch(database: &Database) -> String {
    database.run("INSERT INTO cache_epoch (id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING");
    database.cell("SELECT id::text FROM cache_epoch")
}

/// Runs the commands that `migrate` printed, each by itself in one session, like psql.
fn run_printed(database: &Database, said: &str) {
    use diesel::connection::SimpleConnection;
    let commands: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(!commands.is_empty(), "no commands in {said}");
    let mut conn = database.connect();
    for command in commands.iter().flat_map(|line| line.split("; ")) {
        conn.batch_execute(command).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

#[test]
fn repairable_damage_stops_serve_and_migrate_repairs_it() {
    let database = Database::create();
    let before = epoch(&database);
    damage(&database, REPAIRED);
    let (started, said) = serve(&database);
    assert!(!started && said.contains("`rapport migrate`"), "{said}");
    assert_says_all(&said, REPAIRED);
    let (started, said) =
        Program::run(&["worker", "--metrics-bind", "127.0.0.1:0"], &[("DATABASE_URL", &database.url)]);
    assert!(!started, "{said}");
    assert_says_all(&said, REPAIRED);
    let (done, said) = migrate(&database);
    assert!(done && said.contains("Repaired"), "{said}");
    assert_says_all(&said, REPAIRED);
    assert_ne!(epoch(&database), before, "what was cached before the repair is dropped");
    let always = database
        .cell("SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = 'tasks'::regclass AND tgname = 'log_change'");
    assert_eq!(always, "A");
    // A missing index makes reads slow; it was dropped with the extension.
    assert!(said.contains("index contacts.contacts_search_idx is missing"), "{said}");
    run_printed(&database, &said);
    assert_intact(&database);
    let (done, said) = migrate(&database);
    assert!(done && said.contains("up to date") && !said.contains("index"), "{said}");
}

#[test]
fn migrate_repair_of_one_fault_starts_new_cache_epoch() {
    let database = Database::create();
    for (sql, sentence) in [
        ("REVOKE INSERT ON leads FROM rapport_tenant", "grant leads INSERT is missing"),
        ("DROP POLICY tenant_isolation ON contacts", "policy contacts.tenant_isolation is missing"),
        ("SELECT nextval('change_log_place_seq')", ""),
        ("ALTER SEQUENCE change_log_place_seq INCREMENT 2", "sequence change_log_place_seq is `bigint by 2"),
    ] {
        let before = epoch(&database);
        database.run(sql);
        let repaired = migrate::run(&database.url).expect("a repair").repaired.join("; ");
        assert!(repaired.starts_with(sentence) && repaired.is_empty() == sentence.is_empty(), "{sql}: {repaired}");
        assert_eq!(epoch(&database) == before, sentence.is_empty(), "{sql}");
    }
}

#[test]
fn unrepairable_damage_reported_with_repair_commands() {
    let database = Database::create();
    TOLERATED.iter().for_each(|sql| database.run(sql));
    assert_intact(&database);
    damage(&database, NAMED);
    let (started, said) = serve(&database);
    assert!(!started, "{said}");
    assert_says_all(&said, NAMED);
    let (done, said) = migrate(&database);
    assert!(!done && !said.contains("Repaired"), "{said}");
    assert_says_all(&said, NAMED);
    run_printed(&database, &said);
    let (done, said) = migrate(&database);
    assert!(done, "{said}");
    assert_intact(&database);
}

#[test]
fn migrate_read_only_database_reports_the_setting_and_fix() {
    let database = Database::create();
    database.run("DROP POLICY tenant_isolation ON contacts");
    database.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = true", database.name()));
    let said = migrate::run(&database.url).expect_err("it cannot repair").to_string();
    assert!(said.contains("setting default_transaction_read_only is `on`, so nothing can be written"), "{said}");
    assert!(said.contains("policy contacts.tenant_isolation is missing"), "{said}");
    run_printed(&database, &said);
    migrate::run(&database.url).expect("up to date");
    assert_intact(&database);
}

#[test]
fn missing_index_is_advice_and_serve_starts() {
    let database = Database::create();
    database.run("DROP INDEX leads_created_at_idx");
    let done = migrate::run(&database.url).expect("it hinders nothing").to_string();
    assert!(done.contains("CREATE INDEX CONCURRENTLY leads_created_at_idx"), "{done}");
    let program = Program::serve(&[("DATABASE_URL", &database.url)]);
    program.until_ready();
}

#[test]
fn missing_table_reported_with_pointer_to_backup_docs() {
    let database = Database::create();
    database.run("DROP TABLE notes; DROP TABLE webhook_backlogs");
    let said = migrate::run(&database.url).expect_err("only a backup has it").to_string();
    assert!(said.contains("table notes is missing") && !said.contains("column notes."), "{said}");
    assert!(said.contains("table webhook_backlogs is missing") && said.contains("docs/BACKUP.md"), "{said}");
}
