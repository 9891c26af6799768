//! The result of a catalogue check, and its texts for logs, health probes and the command line.

use serde::Serialize;
use utoipa::ToSchema;

/// ValidationErrors listed in a probe's response; the rest is a number.
const MAX_LISTED: usize = 20;
/// ValidationErrors named in a one-line summary.
const MAX_IN_SUMMARY: usize = 3;

/// An object that differs from what this release needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueFault {
    pub kind: &'static str,
    pub name: String,
    /// Follows kind and name: "is missing".
    pub problem: String,
    /// Commands that repair it, each ended by a semicolon, or a reference to the documentation.
    pub remedy: String,
    /// Whether `rapport migrate` runs the remedy.
    pub repairable: bool,
}

impl CatalogueFault {
    /// Returns the fault as one sentence.
    pub fn sentence(&self) -> String {
        format!("{} {} {}", self.kind, self.name, self.problem)
    }
}

/// What a check of the database's catalogue found.
#[derive(Debug, Serialize, ToSchema)]
pub struct CatalogueState {
    pub status: CatalogueStatus,
    /// How many objects differ from what this release needs.
    #[schema(value_type = u32)]
    pub faults: usize,
    /// The first of them.
    pub reasons: Vec<String>,
    /// What could be better, and harms nothing.
    pub advice: Vec<String>,
    /// Migrations that have not run.
    pub missing_migrations: Vec<String>,
    /// Migrations of a later release.
    pub unknown_migrations: Vec<String>,
    /// The command that repairs it.
    #[schema(required = true)]
    pub remedy: Option<&'static str>,
}

/// Whether the database is what this release needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CatalogueStatus {
    #[serde(rename = "not migrated")]
    NotMigrated,
    Damaged,
    /// A later release has migrated it.
    Newer,
    Intact,
}

/// The result of a check.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// While there are any, the service cannot work correctly.
    pub faults: Vec<CatalogueFault>,
    /// ValidationErrors that only make reads slower: indexes.
    pub advice: Vec<CatalogueFault>,
    /// Migrations of this release that have not run; nothing else is compared then.
    pub missing_migrations: Vec<String>,
    /// Migrations that this release does not know: a newer one has run them.
    pub unknown_migrations: Vec<String>,
}

impl Report {
    pub fn is_migrated(&self) -> bool {
        self.missing_migrations.is_empty()
    }

    pub fn is_newer(&self) -> bool {
        !self.unknown_migrations.is_empty()
    }

    /// Whether the service can work on the database.
    pub fn is_intact(&self) -> bool {
        self.is_migrated() && self.faults.is_empty()
    }

    pub fn has_repairable(&self) -> bool {
        self.faults.iter().any(|fault| fault.repairable)
    }

    /// Returns one line: the first faults and how many there are.
    pub fn summary(&self) -> String {
        if !self.is_migrated() {
            return format!(
                "{} migrations have not run, first {}; run `rapport migrate`",
                self.missing_migrations.len(),
                self.missing_migrations[0]
            );
        }
        let first =
            self.faults.iter().take(MAX_IN_SUMMARY).map(CatalogueFault::sentence).collect::<Vec<_>>().join("; ");
        let more = match self.faults.len().saturating_sub(MAX_IN_SUMMARY) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        format!("the database lacks what this release needs: {first}{more}. Run `rapport migrate`")
    }

    /// Returns every fault on its own line, and what to do.
    pub fn sentences(&self) -> String {
        if !self.is_migrated() {
            return format!("the database is not migrated: {}", self.summary());
        }
        let mut text = String::from("the database lacks what this release needs:");
        self.faults.iter().for_each(|fault| text.push_str(&format!("\n  - {}", fault.sentence())));
        if self.has_repairable() && !self.is_newer() {
            text.push_str("\n`rapport migrate` repairs what can be repaired without touching rows.");
        }
        text + &remedies(self.faults.iter().filter(|fault| !fault.repairable || self.is_newer()))
    }

    /// Returns the report for `/health/detailed`, without SQL, which `rapport migrate` prints.
    pub fn state(&self) -> CatalogueState {
        let list = |faults: &[CatalogueFault]| {
            faults.iter().take(MAX_LISTED).map(CatalogueFault::sentence).collect::<Vec<_>>()
        };
        let status = match (self.is_migrated(), self.is_intact(), self.is_newer()) {
            (false, ..) => CatalogueStatus::NotMigrated,
            (_, false, _) => CatalogueStatus::Damaged,
            (_, _, true) => CatalogueStatus::Newer,
            _ => CatalogueStatus::Intact,
        };
        CatalogueState {
            status,
            faults: self.faults.len(),
            reasons: list(&self.faults),
            advice: list(&self.advice),
            missing_migrations: self.missing_migrations.clone(),
            unknown_migrations: self.unknown_migrations.clone(),
            remedy: if self.is_intact() { None } else { Some("rapport migrate") },
        }
    }
}

/// Returns the commands of `faults`, to be run by hand.
pub fn remedies<'f>(faults: impl Iterator<Item = &'f CatalogueFault>) -> String {
    let commands: Vec<&str> = faults.map(|fault| fault.remedy.as_str()).collect();
    if commands.is_empty() {
        return String::new();
    }
    format!("\nRun this as an administrator, then `rapport migrate` again:\n    {}", commands.join("\n    "))
}
