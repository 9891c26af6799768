//! One test for each kind of damage to one database: `serve` and `worker` refuse to start and name it; `migrate` repairs
//! it, or names it with commands that do.

use crate::support::{Database, Program};

fn serve(database: &Database) -> (bool, String) {
    Program::run(
        &["serve", "--bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"],
        &[("DATABASE_URL", &database.url)],
    )
}

fn migrate(database: &Database) -> (bool, String) {
    Program::run(&["migrate"], &[("DATABASE_URL", &database.url)])
}

/// Which epoch of the cache it is.
fn epoch(database: &Database) -> String {
    database.run("INSERT INTO cache_incarnation (id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING");
    database.cell("SELECT id::text FROM cache_incarnation")
}

/// After `damage`, `serve` and `worker` refuse with `sentence`, and `migrate` repairs it.
fn is_repaired(damage: &str, sentence: &str) -> Database {
    let database = Database::create();
    let before = epoch(&database);
    database.run(damage);
    let (started, said) = serve(&database);
    assert!(!started && said.contains(sentence) && said.contains("`rapport migrate`"), "{said}");
    let (started, said) =
        Program::run(&["worker", "--metrics-bind", "127.0.0.1:0"], &[("DATABASE_URL", &database.url)]);
    assert!(!started && said.contains(sentence), "{said}");
    let (done, said) = migrate(&database);
    assert!(done && said.contains("Repaired") && said.contains(sentence), "{said}");
    assert_ne!(epoch(&database), before, "what was cached before the repair is dropped");
    let (done, said) = migrate(&database);
    assert!(done && said.contains("up to date"), "{said}");
    database
}

/// After `damage`, `serve` refuses with `sentence`; `migrate` too, with commands; once those have run, all is well.
fn is_named(damage: &str, sentence: &str) {
    let database = Database::create();
    database.run(damage);
    let (started, said) = serve(&database);
    assert!(!started && said.contains(sentence), "{said}");
    let (done, said) = migrate(&database);
    assert!(!done && said.contains(sentence), "{said}");
    run_printed(&database, &said);
    let (done, said) = migrate(&database);
    assert!(done, "{said}");
}

/// Runs the commands that `migrate` has printed, each by itself as psql does.
fn run_printed(database: &Database, said: &str) {
    let commands: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(!commands.is_empty(), "no commands in {said}");
    for command in commands.iter().flat_map(|line| line.split("; ")) {
        database.run(command.trim_end_matches(';'));
    }
}

#[test]
fn trigger_missing_is_repaired() {
    is_repaired("DROP TRIGGER cache_update ON leads", "trigger leads.cache_update is missing");
}

#[test]
fn trigger_disabled_is_repaired() {
    is_repaired("ALTER TABLE leads DISABLE TRIGGER audit_update", "trigger leads.audit_update is disabled");
}

#[test]
fn trigger_not_always_is_repaired() {
    // What `pg_restore --disable-triggers` leaves.
    let damage = "ALTER TABLE leads DISABLE TRIGGER ALL; ALTER TABLE leads ENABLE TRIGGER ALL";
    let database = is_repaired(damage, "trigger leads.cache_update does not fire always");
    let always = database
        .cell("SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = 'leads'::regclass AND tgname = 'cache_update'");
    assert_eq!(always, "A");
}

#[test]
fn trigger_calling_another_function_is_repaired() {
    is_repaired(
        "CREATE OR REPLACE TRIGGER cache_delete AFTER DELETE ON leads REFERENCING OLD TABLE AS before FOR EACH STATEMENT
             EXECUTE FUNCTION rapport_moved_user();
         ALTER TABLE leads ENABLE ALWAYS TRIGGER cache_delete",
        "trigger leads.cache_delete is not as the migrations made it",
    );
}

#[test]
fn policy_missing_is_repaired() {
    is_repaired("DROP POLICY wall ON contacts", "policy contacts.wall is missing");
}

#[test]
fn policy_changed_is_repaired() {
    is_repaired("ALTER POLICY wall ON contacts USING (true)", "policy contacts.wall is not as the migrations made it");
}

#[test]
fn row_level_security_off_is_repaired() {
    is_repaired("ALTER TABLE contacts DISABLE ROW LEVEL SECURITY", "row level security contacts is missing");
}

#[test]
fn grant_revoked_is_repaired() {
    is_repaired("REVOKE INSERT ON leads FROM rapport_tenant", "grant leads INSERT is missing");
    is_repaired("REVOKE USAGE ON SCHEMA public FROM rapport_tenant", "schema grant public USAGE is missing");
    is_repaired(
        "REVOKE USAGE ON SEQUENCE cache_version_values FROM rapport_tenant",
        "grant cache_version_values USAGE",
    );
}

#[test]
fn function_everybody_may_call_is_repaired() {
    is_repaired(
        "GRANT EXECUTE ON FUNCTION rapport_forget_person(uuid) TO PUBLIC",
        "execute rapport_forget_person(uuid) may be called by public, rapport_tenant, and must be by rapport_tenant",
    );
}

#[test]
fn function_replaced_is_repaired() {
    is_repaired(
        "CREATE OR REPLACE FUNCTION rapport_moved() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS
             $$ BEGIN RETURN NULL; END $$",
        "function rapport_moved() is not as the migrations made it",
    );
}

#[test]
fn function_missing_is_repaired_with_the_triggers_that_went_with_it() {
    is_repaired("DROP FUNCTION rapport_moved() CASCADE", "trigger leads.cache_insert is missing");
}

#[test]
fn function_with_another_search_path_is_repaired() {
    is_repaired("ALTER FUNCTION rapport_audited() RESET search_path", "function rapport_audited() is not as");
}

#[test]
fn view_that_shows_as_its_owner_is_repaired() {
    is_repaired("ALTER VIEW business_users RESET (security_invoker)", "view business_users is not as");
}

#[test]
fn column_default_missing_is_repaired() {
    is_repaired("ALTER TABLE leads ALTER COLUMN version DROP DEFAULT", "default leads.version is missing");
}

#[test]
fn extension_missing_is_repaired_and_its_indexes_are_named() {
    let database = Database::create();
    database.run("DROP EXTENSION pg_trgm CASCADE");
    let (started, said) = serve(&database);
    assert!(!started && said.contains("extension pg_trgm is missing"), "{said}");
    let (done, said) = migrate(&database);
    assert!(
        done && said.contains("extension pg_trgm") && said.contains("index contacts.contacts_search_idx is missing"),
        "{said}"
    );
    run_printed(&database, &said);
    let (done, said) = migrate(&database);
    assert!(done && said.contains("up to date") && !said.contains("index"), "{said}");
}

#[test]
fn index_missing_is_advice_and_hinders_nothing() {
    let database = Database::create();
    database.run("DROP INDEX leads_created_at_idx");
    let (done, said) = migrate(&database);
    assert!(done && said.contains("CREATE INDEX CONCURRENTLY leads_created_at_idx"), "{said}");
    let program = Program::serve(&[("DATABASE_URL", &database.url)]);
    program.until_ready();
}

#[test]
fn constraint_missing_is_named_with_the_command() {
    is_named("ALTER TABLE tasks DROP CONSTRAINT tasks_lead_id_fkey", "constraint tasks.tasks_lead_id_fkey is missing");
    is_named("ALTER TABLE leads DROP CONSTRAINT leads_status_check", "constraint leads.leads_status_check is missing");
}

#[test]
fn unique_index_missing_is_named_with_the_command() {
    is_named("DROP INDEX users_email_key", "index users.users_email_key is missing");
}

#[test]
fn column_missing_or_of_another_type_is_named_with_the_command() {
    is_named("ALTER TABLE leads DROP COLUMN lost_reason", "column leads.lost_reason is missing");
    is_named(
        "ALTER TABLE leads ALTER COLUMN title DROP NOT NULL",
        "column leads.title is `text`, and must be `text NOT NULL`",
    );
    is_named(
        "ALTER TABLE leads ALTER COLUMN lost_reason TYPE varchar(10)",
        "column leads.lost_reason is `character varying(10)`",
    );
}

#[test]
fn strange_policy_is_named_with_the_command() {
    is_named("CREATE POLICY everybody ON leads USING (true)", "policy leads.everybody is not Rapport's");
}

#[test]
fn table_missing_is_named_with_where_to_read_on() {
    let database = Database::create();
    database.run("DROP TABLE notes");
    let (started, said) = serve(&database);
    assert!(!started && said.contains("table notes is missing") && !said.contains("column notes."), "{said}");
    let (done, said) = migrate(&database);
    assert!(!done && said.contains("table notes is missing") && said.contains("docs/BACKUP.md"), "{said}");
}

#[test]
fn cache_epoch_that_a_crash_does_not_empty_is_named_with_the_command() {
    is_named("ALTER TABLE cache_incarnation SET LOGGED", "table cache_incarnation is `logged`, and must be `unlogged`");
}

#[test]
fn row_level_security_forced_is_repaired() {
    is_repaired("ALTER TABLE leads FORCE ROW LEVEL SECURITY", "row level security leads is forced on the owner");
}

#[test]
fn foreign_key_switched_off_is_named() {
    let damage = "DO $$ DECLARE name text; BEGIN FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'leads'::regclass \
                  AND tgisinternal LOOP EXECUTE format('ALTER TABLE leads DISABLE TRIGGER %I', name); END LOOP; END $$";
    is_named(damage, "constraint leads.leads_company_id_fkey is switched off");
}

#[test]
fn policy_that_hides_rows_is_named() {
    let damage = "CREATE POLICY hide ON leads AS RESTRICTIVE USING (false)";
    is_named(damage, "policy leads.hide is not Rapport's, and hides rows from the service");
}

#[test]
fn row_level_security_of_a_table_without_policies_is_named() {
    let damage = "ALTER TABLE cache_versions ENABLE ROW LEVEL SECURITY";
    is_named(damage, "row level security cache_versions is not Rapport's, and hides rows from the service");
}

#[test]
fn unique_index_with_another_predicate_is_named() {
    let damage = "DROP INDEX leads_external_id_key; \
                  CREATE UNIQUE INDEX leads_external_id_key ON leads (business_id, external_id) WHERE score > 1000";
    is_named(damage, "index leads.leads_external_id_key is `unique");
}
