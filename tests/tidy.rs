//! The architecture, held: who may name what, how large things may be, and that what documents name exists.
//!
//! Reads the repository as text and as syntax; builds nothing. Each rule has its reason beside it.
//! Invariant: a rule that is broken names the file, the line and the remedy.
#![allow(clippy::unwrap_used, reason = "a panic here is the report")]

use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FUNCTION_LINES: usize = 60;
const FILE_LINES: usize = 500;
const PARAMETERS: usize = 5;
const NESTING: usize = 4;

/// A crate, who may name it, and why nobody else.
const MAY_NAME: &[(&str, &[&str], &str)] = &[
    ("rdkafka", &["src/kafka/"], "one folder knows Kafka; records leave it as our own type"),
    ("rdkafka_sys", &["src/kafka/native.rs"], "all calls without a safe form stand in one file"),
    ("actix", &["src/actors/", "src/runtime.rs"], "the engine and the protocol run without actors"),
    ("actix_web", &["src/http/"], "the HTTP edge is one room; a client of it needs no framework"),
    (
        "rocksdb",
        &["state/src/rocks.rs", "state/src/verify.rs"],
        "a store is a trait; one file knows the library, and one what it lacks",
    ),
    ("librocksdb_sys", &["state/src/verify.rs"], "what is called in C stands in one small file"),
    ("tokio_postgres", &["src/sinks/"], "one folder knows the databases that results go to"),
    ("bincode", &["state/src/codec.rs"], "3.0.0 is a tombstone: the way out must be one file"),
    ("prometheus", &["observability/"], "handles are typed and stand in one room"),
    ("opentelemetry", &["observability/"], "as prometheus"),
    ("opentelemetry_sdk", &["observability/"], "as prometheus"),
    ("opentelemetry_otlp", &["observability/"], "as prometheus"),
    ("tracing_opentelemetry", &["observability/"], "as prometheus"),
    ("tracing_subscriber", &["observability/"], "one place decides what a log line looks like"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the repository, as its path from the root.
fn files(below: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for folder in below {
        collect(&root().join(folder), &mut found);
    }
    let prefix = root();
    let mut names: Vec<String> =
        found.iter().map(|p| p.strip_prefix(&prefix).unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(!names.is_empty(), "no files below {below:?}");
    names
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().unwrap() != "target" {
            collect(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

const PRODUCT: &[&str] = &["src", "topology/src", "state/src", "observability/src"];
const ALL: &[&str] = &["src", "topology", "state", "observability", "tests"];

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn is_test_file(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("tests.rs") || name.starts_with("tests/")
}

/// The text up to the module of unit tests.
fn without_tests(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod ").filter(|at| text[*at..].lines().nth(1).is_some_and(|l| l.ends_with('{')));
    text[..end.unwrap_or(text.len())].to_owned()
}

/// Fails with all that was found, a line each.
fn none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}\n{}", broken.join("\n"));
}

#[test]
fn crates_are_named_only_where_they_belong() {
    let mut broken = Vec::new();
    for name in files(PRODUCT).iter().filter(|n| !is_test_file(n)) {
        let text = without_tests(&read(name));
        for (at, line) in text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            for (krate, places, why) in MAY_NAME {
                let named = line.contains(&format!("{krate}::")) || line.contains(&format!("use {krate};"));
                if named && !places.iter().any(|p| name.starts_with(p)) {
                    broken.push(format!("{name}:{}: names {krate}, which is for {places:?}: {why}", at + 1));
                }
            }
        }
    }
    none("who may name what", broken);
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    let headless = |n: &String| !read(n).starts_with("//!");
    none("a file begins with //!", files(ALL).into_iter().filter(headless).collect());
}

#[test]
fn files_are_short() {
    let long = |n: &String| without_tests(&read(n)).lines().count() > FILE_LINES;
    let product = files(ALL).into_iter().filter(|n| !is_test_file(n) || n.starts_with("tests/harness/src"));
    none("at most 500 lines without tests: what second thing does it do?", product.filter(long).collect());
}

#[test]
fn nothing_is_left_to_do_and_nothing_ignores_a_mailbox() {
    let banned = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("do_", "send("), concat!("todo", "!(")];
    let mut broken = Vec::new();
    for name in files(ALL) {
        for (at, line) in read(&name).lines().enumerate() {
            for word in banned.iter().filter(|w| line.contains(**w)) {
                broken.push(format!("{name}:{}: {word}", at + 1));
            }
        }
    }
    none("finish it, or use try_send on one kept handle", broken);
}

/// Sizes of functions, read from syntax.
struct Sizes<'a> {
    name: &'a str,
    broken: Vec<String>,
    depth: usize,
    /// In an implementation of a trait, which alone says what its functions take.
    of_trait: bool,
}

impl Sizes<'_> {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (start, end) = (block.span().start().line, block.span().end().line);
        let place = format!("{}:{start}: fn {}", self.name, signature.ident);
        let lines = end - start + 1;
        if lines > FUNCTION_LINES {
            self.broken.push(format!("{place} has {lines} lines, at most {FUNCTION_LINES}"));
        }
        if !self.of_trait {
            self.parameters(signature, &place);
        }
    }

    fn parameters(&mut self, signature: &syn::Signature, place: &str) {
        let parameters = signature.inputs.iter().filter(|i| matches!(i, syn::FnArg::Typed(_))).count();
        if parameters > PARAMETERS {
            self.broken.push(format!("{place} has {parameters} parameters, at most {PARAMETERS}"));
        }
    }

    fn deeper(&mut self, line: usize, walk: impl FnOnce(&mut Self)) {
        self.depth += 1;
        if self.depth == NESTING + 1 {
            self.broken.push(format!("{}:{line}: nested deeper than {NESTING}", self.name));
        }
        walk(self);
        self.depth -= 1;
    }
}

impl<'ast> Visit<'ast> for Sizes<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, f: &'ast syn::ItemFn) {
        self.function(&f.sig, &f.block);
        visit::visit_item_fn(self, f);
    }

    fn visit_item_impl(&mut self, i: &'ast syn::ItemImpl) {
        let outer = std::mem::replace(&mut self.of_trait, i.trait_.is_some());
        visit::visit_item_impl(self, i);
        self.of_trait = outer;
    }

    fn visit_trait_item_fn(&mut self, f: &'ast syn::TraitItemFn) {
        let place = format!("{}:{}: fn {}", self.name, f.span().start().line, f.sig.ident);
        self.parameters(&f.sig, &place);
        visit::visit_trait_item_fn(self, f);
    }

    fn visit_impl_item_fn(&mut self, f: &'ast syn::ImplItemFn) {
        self.function(&f.sig, &f.block);
        visit::visit_impl_item_fn(self, f);
    }

    fn visit_expr(&mut self, e: &'ast syn::Expr) {
        use syn::Expr::{ForLoop, If, Loop, Match, While};
        let line = e.span().start().line;
        match e {
            // `else if` is no deeper than `if`.
            If(i) => self.deeper(line, |s| {
                s.visit_block(&i.then_branch);
                let mut rest = &i.else_branch;
                while let Some((_, other)) = rest {
                    match &**other {
                        If(next) => {
                            s.visit_block(&next.then_branch);
                            rest = &next.else_branch;
                        }
                        block => {
                            visit::visit_expr(s, block);
                            break;
                        }
                    }
                }
            }),
            ForLoop(_) | Loop(_) | Match(_) | While(_) => self.deeper(line, |s| visit::visit_expr(s, e)),
            _ => visit::visit_expr(self, e),
        }
    }
}

#[test]
fn functions_are_short_flat_and_take_little() {
    let mut broken = Vec::new();
    let product = files(ALL).into_iter().filter(|n| !is_test_file(n) || n.starts_with("tests/harness/src"));
    for name in product {
        let syntax = syn::parse_file(&read(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut sizes = Sizes { name: &name, broken: Vec::new(), depth: 0, of_trait: false };
        sizes.visit_file(&syntax);
        broken.extend(sizes.broken);
    }
    none("hard limits", broken);
}

#[test]
fn every_dependency_has_its_reason_beside_it() {
    let manifest = read("Cargo.toml");
    let (_, rest) = manifest.split_once("[workspace.dependencies]").unwrap();
    let (table, _) = rest.split_once("\n[").unwrap();
    let mut broken = Vec::new();
    let mut explained = false;
    for line in table.lines() {
        if line.starts_with('#') {
            explained = true;
        } else if line.trim().is_empty() {
            explained = false;
        } else if !explained && !line.starts_with("tidemill-") && line.contains('"') {
            broken.push(format!("Cargo.toml: {line}"));
        }
    }
    none("a pin stands under the comment that gives its reason", broken);
}

#[test]
fn the_map_of_the_readme_is_true() {
    let readme = read("README.md");
    let (_, map) = readme.split_once("## Map").expect("README.md has a section '## Map'");
    let (map, _) = map.split_once("\n## ").unwrap_or((map, ""));
    let named: Vec<&str> = map.split('`').skip(1).step_by(2).filter(|n| n.contains('/') || n.contains('.')).collect();
    assert!(named.len() > 20, "the map names its files between backquotes");
    let missing = |n: &&&str| !root().join(n.trim_end_matches('/')).exists();
    none("a path of the map does not exist", named.iter().filter(missing).map(|n| (*n).to_owned()).collect());
    let mut absent = Vec::new();
    for room in ["src", "topology/src", "state/src", "observability/src", "tests"] {
        for entry in fs::read_dir(root().join(room)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && !map.contains(&format!("{name}/")) {
                absent.push(format!("{room}/{name}/"));
            }
        }
    }
    none("a folder stands on no map", absent);
}

#[test]
fn the_tests_that_a_table_names_are_there() {
    let table = read("tests/harness/REPLACED.md");
    let (mut file, mut absent, mut found) = ("", Vec::new(), 0);
    for name in table.split('`').skip(1).step_by(2).skip_while(|name| *name != "tests/harness/tests/hour.rs") {
        if root().join(name).is_file() {
            file = name;
        } else if read(file).contains(&format!("fn {name}(")) || read(file).contains(&format!("name: {name}\n")) {
            found += 1;
        } else {
            absent.push(format!("{file}: {name}"));
        }
    }
    none("a test that tests/harness/REPLACED.md names is not there", absent);
    assert!(found > 10, "the table names {found} tests");
}

#[test]
fn the_version_of_rocksdb_is_the_one_that_is_bound() {
    let lock = read("Cargo.lock");
    let (_, rest) = lock.split_once("name = \"librocksdb-sys\"\nversion = \"").unwrap();
    let bound = rest.split('"').next().unwrap();
    assert!(bound.ends_with(&format!("+{}", tidemill_state::rocksdb_version())), "Cargo.lock binds {bound}");
}

#[test]
fn protocol_and_model_speak_the_same_words() {
    assert_eq!(tidemill::exactly_once::PROTECTIONS, tidemill_model::protections());
    let model: Vec<&str> = tidemill_model::steps().iter().map(|s| s.split([' ', '(']).next().unwrap()).collect();
    for step in tidemill::exactly_once::STEPS {
        assert!(model.contains(step), "the model has no step {step}; it has {model:?}");
    }
}

/// Paths and hosts that belong to no one's checkout.
#[test]
fn no_path_of_a_machine_is_in_the_repository() {
    let mut broken = Vec::new();
    for name in files(ALL).iter().map(String::as_str).chain(["README.md", "CHANGELOG.md", "Makefile"]) {
        for (at, line) in read(name).lines().enumerate() {
            for place in [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")] {
                if line.contains(place) {
                    broken.push(format!("{name}:{}: {place}", at + 1));
                }
            }
        }
    }
    none("name no machine's path", broken);
}
