//! The codes that the OpenAPI document lists are those of the source. That no test receives another one, is checked by
//! the client of the tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rapport::base::error::{FIELD_ERROR_CODES, PROBLEM_CODES};

#[test]
fn documented_codes_are_those_of_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<String> = sources(&root)
        .iter()
        .filter(|file| !file.ends_with("base/error/codes.rs"))
        .map(|file| std::fs::read_to_string(file).expect("a file of source"))
        .collect();
    for (name, codes) in [("PROBLEM_CODES", PROBLEM_CODES), ("FIELD_ERROR_CODES", FIELD_ERROR_CODES)] {
        let known: BTreeSet<&&str> = codes.iter().collect();
        assert_eq!(known.len(), codes.len(), "{name} has a code twice");
        let unused: Vec<_> =
            codes.iter().filter(|code| !files.iter().any(|text| text.contains(&format!("\"{code}\"")))).collect();
        assert!(unused.is_empty(), "{name} has codes that no error has: {unused:?}");
    }
    let mut seen = 0;
    for begin in ["code: \"", "::malformed(\"", "::conflict(\""] {
        for rest in files.iter().flat_map(|text| text.split(begin).skip(1)) {
            let code = rest.split('"').next().unwrap_or_default();
            let is_known = PROBLEM_CODES.contains(&code) || FIELD_ERROR_CODES.contains(&code);
            assert!(is_known, "neither list has {code}");
            seen += 1;
        }
    }
    for call in files.iter().flat_map(|text| text.split("FieldError::new(").skip(1)) {
        let Some(code) = second_argument(call) else { continue };
        seen += 1;
        assert!(FIELD_ERROR_CODES.contains(&code), "FIELD_ERROR_CODES lacks {code}");
    }
    assert!(seen > 30, "{seen} codes: the source was not read");
}

/// The second argument of a call whose arguments `call` begins with, if it is a literal and the first has no comma.
fn second_argument(call: &str) -> Option<&str> {
    let literal = call.split(',').nth(1)?.trim().strip_prefix('"')?;
    literal.strip_suffix('"').filter(|code| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
