//! The layout of `src/`: rooms in layers, no circles between files, and `mod.rs` files that only declare.
//!
//! Every path of every file is resolved to the file that defines what it names, through imports and re-exports. Unit tests
//! inside a file are left out: they may look where they like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The rooms of `src/`, from the lowest to the highest: a file uses its own room and those before it. Five layers:
/// foundation; data; platform; features; application.
const ROOMS: [&str; 15] = [
    "base",
    "db",
    "cache",
    "auth",
    "background",
    "http",
    "resource",
    "identity",
    "crm",
    "scheduling",
    "channels",
    "integrations",
    "analytics",
    "monitoring",
    "app",
];

/// Uses that the order forbids and that stand nevertheless, each with its reason.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

/// Lines of a file above which it has more than one subject; generated files do not count.
const MAX_LINES: usize = 400;

#[test]
fn rooms_use_only_rooms_below_them() {
    let source = Source::read();
    let found: BTreeSet<&str> = source.files.keys().filter_map(|module| module.split("::").next()).collect();
    let expected: BTreeSet<&str> = ROOMS.into_iter().chain(["", "main"]).collect();
    assert_eq!(found, expected, "src/ has a room that this test does not place");
    let level = |module: &str| ROOMS.iter().position(|room| Some(*room) == module.split("::").next());
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for (from, to) in source.uses() {
        // The root declares the rooms, and the binary starts the application.
        if level(&from).is_none() || level(&to) <= level(&from) {
            continue;
        }
        match EXCEPTIONS.iter().find(|(a, b, _)| (*a, *b) == (from.as_str(), to.as_str())) {
            Some(exception) => drop(used.insert(*exception)),
            None => wrong.push(format!("{from} uses {to}")),
        }
    }
    assert!(wrong.is_empty(), "{} uses of a room above:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(used.len(), EXCEPTIONS.len(), "an exception is not needed any more");
}

#[test]
fn files_have_no_circles() {
    let source = Source::read();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in source.uses() {
        edges.entry(from).or_default().insert(to);
    }
    let circles = circles(&edges);
    let told: Vec<String> = circles
        .iter()
        .map(|circle| {
            let inside =
                |from: &String| edges[from].iter().filter(|to| circle.contains(*to)).cloned().collect::<Vec<_>>();
            let arrows = circle.iter().map(|from| format!("  {from} -> {}", inside(from).join(", ")));
            format!("{} files:\n{}", circle.len(), arrows.collect::<Vec<_>>().join("\n"))
        })
        .collect();
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), told.join("\n"));
}

#[test]
fn mod_files_only_declare() {
    let source = Source::read();
    let mut wrong = Vec::new();
    for (module, file) in &source.files {
        if !file.path.ends_with("mod.rs") {
            continue;
        }
        for item in &file.syntax.items {
            if !matches!(item, syn::Item::Mod(syn::ItemMod { content: None, .. }) | syn::Item::Use(_)) {
                wrong.push(module.as_str());
                break;
            }
        }
        if file.syntax.attrs.is_empty() {
            wrong.push(module.as_str());
        }
    }
    assert!(wrong.is_empty(), "these mod.rs decide something, or say not what their room is for: {wrong:#?}");
}

#[test]
fn files_have_one_subject() {
    let source = Source::read();
    let long = source.files.iter().filter(|(module, _)| *module != "db::schema");
    let long: Vec<_> =
        long.filter(|(_, file)| file.lines > MAX_LINES).map(|(module, file)| (module, file.lines)).collect();
    assert!(long.is_empty(), "files with more than {MAX_LINES} lines: {long:#?}");
}

#[test]
fn files_named_in_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let documents = documents.chain([root.join("README.md"), root.join("CONTRIBUTING.md")]);
    let mut missing = Vec::new();
    for document in documents.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(&document).unwrap();
        for path in text.split('`').filter(|code| is_path(code)) {
            // The example of a new resource, and placeholders.
            if path.contains("projects") || path.contains('<') {
                continue;
            }
            if !["", "src", "tests/it", "docs"].iter().any(|folder| root.join(folder).join(path).exists()) {
                missing.push(format!("{}: {path}", document.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    assert!(missing.is_empty(), "documents name files that are not there: {missing:#?}");
}

/// Whether a piece of a document looks like the path of a source file or folder of this repository.
fn is_path(code: &str) -> bool {
    let clean = code.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-<>".contains(c));
    let ends = [".rs", ".sql", ".md", ".toml"].iter().any(|end| code.ends_with(end));
    let is_folder = code.ends_with('/') && !code.starts_with('/') && !code.starts_with('.');
    clean && code.contains('/') && (ends || is_folder)
}

/// The files of `src/` by module path: `db::pooler`, and "" for the root.
struct Source {
    files: BTreeMap<String, File>,
}

struct File {
    path: PathBuf,
    syntax: syn::File,
    lines: usize,
    /// Names that the file imports, and the absolute paths behind them.
    imports: Vec<(String, String)>,
    /// Modules of which it imports everything.
    globs: Vec<String>,
    /// Absolute paths that it names, as far as they can be read off.
    paths: BTreeSet<String>,
}

impl Source {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let module = module_of(path.strip_prefix(&root).unwrap());
                    files.insert(module.clone(), File::read(path, &module));
                }
            }
        }
        Self { files }
    }

    /// Which file uses which, by module path.
    fn uses(&self) -> BTreeSet<(String, String)> {
        let mut uses = BTreeSet::new();
        for (module, file) in &self.files {
            let declares_only = file.path.ends_with("mod.rs") || module.is_empty();
            for path in &file.paths {
                let target = self.resolve(path, 0);
                // A room's own list of its files, and what it hands on of them, is no use of them.
                let is_own = declares_only && target.starts_with(module.as_str());
                if target != *module && !is_own {
                    uses.insert((module.clone(), target));
                }
            }
        }
        uses
    }

    /// The file that defines what the absolute `path` names.
    fn resolve(&self, path: &str, depth: usize) -> String {
        let segments: Vec<&str> = path.split("::").collect();
        let known = (0..=segments.len()).rev().find(|count| self.files.contains_key(&segments[..*count].join("::")));
        let module = segments[..known.unwrap_or_default()].join("::");
        let Some(name) = segments.get(known.unwrap_or_default()).filter(|_| depth < 8) else { return module };
        let file = &self.files[&module];
        if file.defines(name) {
            return module;
        }
        if let Some((_, behind)) = file.imports.iter().find(|(known, _)| known == name) {
            return self.resolve(behind, depth + 1);
        }
        for glob in &file.globs {
            if self.files.get(glob).is_some_and(|file| file.defines(name)) {
                return glob.clone();
            }
        }
        module
    }
}

impl File {
    fn read(path: PathBuf, module: &str) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let syntax = syn::parse_file(&text).unwrap();
        let children = syntax.items.iter().filter_map(|item| match item {
            syn::Item::Mod(item) if item.content.is_none() => Some(item.ident.to_string()),
            _ => None,
        });
        let mut names = Names {
            module: module.to_owned(),
            children: children.collect(),
            imports: Vec::new(),
            globs: Vec::new(),
            paths: BTreeSet::new(),
        };
        // Imports first: paths in the code begin with them.
        for item in &syntax.items {
            if let syn::Item::Use(item) = item {
                names.import(&item.tree, Vec::new());
            }
        }
        names.visit_file(&syntax);
        let Names { imports, globs, mut paths, .. } = names;
        paths.extend(imports.iter().map(|(_, path)| path.clone()));
        Self { path, lines: text.lines().count(), syntax, imports, globs, paths }
    }

    fn defines(&self, name: &str) -> bool {
        use syn::Item::{Const, Enum, Fn, Macro, Static, Struct, Trait, Type};
        self.syntax.items.iter().any(|item| match item {
            Const(item) => item.ident == name,
            Enum(item) => item.ident == name,
            Fn(item) => item.sig.ident == name,
            Static(item) => item.ident == name,
            Struct(item) => item.ident == name,
            Trait(item) => item.ident == name,
            Type(item) => item.ident == name,
            Macro(item) => item.ident.as_ref().is_some_and(|ident| ident == name),
            _ => false,
        })
    }
}

/// Gathers the paths of a file.
struct Names {
    module: String,
    /// Files that it declares with `mod`.
    children: BTreeSet<String>,
    imports: Vec<(String, String)>,
    globs: Vec<String>,
    paths: BTreeSet<String>,
}

impl Names {
    fn import(&mut self, tree: &syn::UseTree, prefix: Vec<String>) {
        let with = |name: &syn::Ident| [prefix.as_slice(), &[name.to_string()]].concat();
        let (name, path) = match tree {
            syn::UseTree::Path(path) => return self.import(&path.tree, with(&path.ident)),
            syn::UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(tree, prefix.clone())),
            syn::UseTree::Glob(_) => return self.globs.extend(self.absolute(&prefix)),
            syn::UseTree::Name(name) if name.ident == "self" => (prefix.last().cloned().unwrap_or_default(), prefix),
            syn::UseTree::Name(name) => (name.ident.to_string(), with(&name.ident)),
            syn::UseTree::Rename(rename) => (rename.rename.to_string(), with(&rename.ident)),
        };
        if let Some(path) = self.absolute(&path) {
            self.imports.push((name, path));
        }
    }

    /// A path from the root; `None`: it leads out of this crate, or to a local name.
    fn absolute(&self, path: &[String]) -> Option<String> {
        let own: Vec<&str> = self.module.split("::").filter(|segment| !segment.is_empty()).collect();
        let rest = |from: usize| path[from..].iter().map(String::as_str);
        let segments: Vec<&str> = match path.first()?.as_str() {
            "crate" => rest(1).collect(),
            "rapport" if own.first() == Some(&"main") => rest(1).collect(),
            "self" => own.into_iter().chain(rest(1)).collect(),
            "super" => {
                let up = path.iter().take_while(|segment| *segment == "super").count();
                own[..own.len().checked_sub(up)?].iter().copied().chain(rest(up)).collect()
            }
            first if self.children.contains(first) => own.into_iter().chain(rest(0)).collect(),
            first => {
                let (_, behind) = self.imports.iter().find(|(name, _)| name == first)?;
                behind.split("::").chain(rest(1)).collect()
            }
        };
        Some(segments.join("::"))
    }

    fn named(&mut self, segments: &[String]) {
        // A single name is an import or local.
        if segments.len() > 1 {
            self.paths.extend(self.absolute(segments));
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut segments: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 => segments.push(ident.to_string()),
                TokenTree::Ident(ident) => {
                    self.named(&segments);
                    segments = vec![ident.to_string()];
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                _ => {}
            }
            colons = 0;
        }
        self.named(&segments);
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() && item.ident == "tests" {
            return;
        }
        visit::visit_item_mod(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.named(&segments);
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        // Those inside functions count as well.
        self.import(&item.tree, Vec::new());
    }

    fn visit_macro(&mut self, macro_: &'ast syn::Macro) {
        self.tokens(macro_.tokens.clone());
        visit::visit_macro(self, macro_);
    }
}

fn module_of(path: &Path) -> String {
    let mut segments: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if segments.last().is_some_and(|last| last == "mod" || last == "lib") {
        segments.pop();
    }
    segments.join("::")
}

/// The groups of files that lead to each other: the strongly connected components of more than one file.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reach = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = edges.get(from).into_iter().flatten().collect();
        while let Some(file) = next.pop() {
            if seen.insert(file.clone()) {
                next.extend(edges.get(file).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = edges.keys().map(|from| (from, reach(from))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (from, files) in &reached {
        if !files.contains(*from) || circles.iter().any(|circle| circle.contains(*from)) {
            continue;
        }
        let circle = files.iter().filter(|file| reached.get(file).is_some_and(|back| back.contains(*from)));
        circles.push(circle.cloned().collect());
    }
    circles
}
