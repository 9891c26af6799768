//! Finds PostgreSQL's programs for the embedded server, and runs `initdb`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::Error;
use super::os_user::OsUser;

#[derive(Debug)]
pub struct Binaries {
    pub folder: PathBuf,
    /// Major release: part of the data folder's name, because one release cannot open another's files.
    pub major: u32,
}

impl Binaries {
    /// Looks in `explicit` (alone, if given), PATH, the usual places of Debian, Homebrew and Postgres.app, and the
    /// cache that `make run` fills.
    pub fn find(explicit: Option<&Path>) -> Result<Self, Error> {
        let places = match explicit {
            Some(folder) => vec![folder.to_path_buf()],
            None => places(),
        };
        places.iter().find_map(|folder| Self::at(folder)).ok_or_else(|| {
            Error::NotFound(places.iter().map(|p| format!("  {}", p.display())).collect::<Vec<_>>().join("\n"))
        })
    }

    fn at(folder: &Path) -> Option<Self> {
        // A symlink in /usr/local/bin has no initdb next to it; its target has.
        let server = std::fs::canonicalize(folder.join("postgres")).ok()?;
        let folder = server.parent()?.to_path_buf();
        if !folder.join("initdb").is_file() {
            return None;
        }
        let version = Command::new(&server).arg("--version").stdin(Stdio::null()).output().ok()?;
        // "postgres (PostgreSQL) 15.18 (Debian …)"
        let text = String::from_utf8_lossy(&version.stdout).into_owned();
        let major = text.split_whitespace().nth(2)?.split(['.', 'b', 'r']).next()?.parse().ok()?;
        Some(Self { folder, major })
    }

    pub fn initdb(&self, data: &Path, owner: &OsUser) -> Result<(), Error> {
        // Case folding beyond ASCII needs a locale; not every machine has this one.
        let locales: &[&str] = &["--locale=C.UTF-8", "--locale=en_US.UTF-8", "--no-locale"];
        let mut detail = String::new();
        for locale in locales {
            let mut command = Command::new(self.folder.join("initdb"));
            command
                .arg("-D")
                .arg(data)
                .args(["-U", "rapport", "--auth=trust", "--encoding=UTF8", "--no-sync", locale])
                .stdin(Stdio::null())
                .current_dir("/");
            owner.apply(&mut command);
            let failed = |error: std::io::Error| Error::Program { program: "initdb", detail: error.to_string() };
            let output = command.output().map_err(failed)?;
            if output.status.success() {
                return Ok(());
            }
            detail = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        }
        Err(Error::Program { program: "initdb", detail })
    }
}

fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    for (parent, below) in [
        ("/usr/lib/postgresql", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/usr/local/opt", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "bin"),
    ] {
        places.extend(newest_first(Path::new(parent)).into_iter().map(|folder| folder.join(below)));
    }
    places.extend(caches().iter().flat_map(|cache| newest_first(cache)).map(|folder| folder.join("bin")));
    let mut seen = BTreeSet::new();
    places.retain(|place| seen.insert(place.clone()));
    places
}

/// Folders where `scripts/postgres.sh` may have installed a server.
fn caches() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let user = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home);
    let user = user.map(|cache| cache.join("rapport"));
    user.into_iter().chain(["/var/cache/rapport".into(), "/var/tmp/rapport-cache".into()]).collect()
}

/// Returns the folders in `parent` that may hold PostgreSQL, highest release first.
fn newest_first(parent: &Path) -> Vec<PathBuf> {
    let release = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<f32>().unwrap_or_default()
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(parent).into_iter().flatten().flatten().map(|e| e.path()).collect();
    // Homebrew's and Rapport's cache folders contain other things too.
    if !parent.ends_with("postgresql") && !parent.ends_with("Versions") {
        found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("postgresql")));
    }
    found.sort_by(|a, b| release(b).total_cmp(&release(a)));
    found
}
