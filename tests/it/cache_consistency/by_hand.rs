//! What psql does past the service: writes, many changes at once, and the removal of what the log need not keep.

use std::sync::atomic::Ordering;

use diesel::connection::SimpleConnection;
use rand::Rng;
use rand::seq::IndexedRandom;

use super::History;
use super::world::World;

/// More than a validation round reads one by one.
const MANY: u32 = 5_200;

/// Removes what every snapshot from now on has seen. The service does so, too, but keeps minutes.
const TRIM: &str =
    "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('rapport change log', 0)); SELECT rapport_add_horizon();
    COMMIT; SELECT rapport_trim_change_log('0', 100000)";

/// The triggers of leads, without what a row referred to before.
const NEW_LINKS: &str =
    "CREATE OR REPLACE FUNCTION rapport_log_leads() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
    DECLARE it public.leads := coalesce(NEW, OLD);
    BEGIN
        INSERT INTO change_log (business_id, xid, changed, touched)
        VALUES (it.business_id, pg_current_xact_id(), 'leads', array_remove(ARRAY[it.id, it.company_id], NULL));
        RETURN NULL;
    END $$";

/// All changes that are committed, seen by the processes or not.
const TRIM_BY_TIME: &str =
    "CREATE OR REPLACE FUNCTION rapport_trim_change_log(keep interval, most integer) RETURNS integer
    LANGUAGE sql AS $$ WITH gone AS (DELETE FROM change_log RETURNING 1) SELECT count(*)::int FROM gone $$";

/// Breaks the rules that the database keeps.
pub fn break_database(world: &World, mutant: Option<&'static str>) {
    match mutant {
        Some("without-old-links") => world.primary.database().run(NEW_LINKS),
        Some("horizon-by-time") => world.primary.database().run(TRIM_BY_TIME),
        _ => {}
    }
}

impl History {
    /// Does something as psql.
    pub fn write_by_hand(&self) {
        match rand::rng().random_range(0..20) {
            0 => self.trim(),
            1 => self.write_among_many(),
            kind => self.write_lead(kind % 3),
        }
    }

    fn trim(&self) {
        let sql = match self.world.mutant {
            Some("horizon-by-time") => "SELECT rapport_trim_change_log('0', 100000)",
            _ => TRIM,
        };
        self.world.primary.try_to_run(sql);
    }

    /// A change after many others of the same transaction.
    fn write_among_many(&self) {
        let lead = self.leads.choose(&mut rand::rng()).expect("leads");
        let many = format!(
            "INSERT INTO change_log (business_id, xid, changed, touched)
             SELECT business_id, pg_current_xact_id(), 'notes', ARRAY[gen_random_uuid()]
             FROM leads, generate_series(1, {MANY}) WHERE id = '{lead}'"
        );
        self.write(lead, |update| format!("BEGIN; {many}; {update}; COMMIT"));
    }

    fn write_lead(&self, kind: u32) {
        let lead = self.leads.choose(&mut rand::rng()).expect("leads");
        self.write(lead, |update| match kind {
            0 => format!("BEGIN; {update}; SELECT pg_sleep(0.02); ROLLBACK"),
            // Others commit meanwhile.
            1 => format!("BEGIN; {update}; SELECT pg_sleep(0.02); COMMIT"),
            _ => update,
        });
    }

    fn write(&self, lead: &str, sql: impl Fn(String) -> String) {
        let Some(known) = self.known(lead) else { return };
        known.most.fetch_add(1, Ordering::SeqCst);
        let sql = sql(format!("UPDATE leads SET version = version + 1, title = 'Roof' WHERE id = '{lead}'"));
        let Some(mut conn) = self.world.primary.connect() else { return };
        if conn.batch_execute(&sql).is_ok() && !sql.ends_with("ROLLBACK") {
            // The resulting version is unknown; it is at least one more than the last known.
            let row =
                crate::support::statement(format!("SELECT version FROM leads WHERE id = '{lead}'")).row(&mut conn);
            if let Some(version) = row.ok().flatten().and_then(|row| row.int(0)) {
                known.least.fetch_max(version, Ordering::SeqCst);
            }
        }
    }
}
