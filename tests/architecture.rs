//! Checks the structure of the code (`docs/architecture.md`). The checker works on pairs of
//! a path and its text, so that every rule is also shown to fail on a bad sample.

use std::{collections::BTreeMap, fmt::Display, fs, path::Path};

use proc_macro2::{Delimiter, LexError, TokenStream, TokenTree};

#[path = "architecture/account_statements.rs"]
mod account_statements;
#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/migrations.rs"]
mod migrations;
#[path = "architecture/pooler.rs"]
mod pooler;
#[path = "architecture/replica.rs"]
mod replica;
#[path = "architecture/slices.rs"]
mod slices;
#[path = "architecture/tables.rs"]
mod tables;

/// Lines of a file up to its tests; STYLE's pointer is 100, and beyond this nobody reads it in one go.
const LONGEST_FILE: usize = 400;
/// Folders that are kits for the slices, not slices: their modules are open.
const KITS: &str = "infra web";
/// Crates that talk to an outside service.
const OUTSIDE: &str = "aws_config aws_sdk_s3 lettre redis reqwest stripe";
/// Their types for plain values, which configuration and emails may hold.
const VALUES: &str = "lettre::Address lettre::address lettre::message::Mailbox sea_query::Value \
    sqlx::Type";
/// Crates that one module of ours speaks for, so that what leaves by them is seen in one place.
const METRICS: &str = "metrics metrics_exporter_prometheus metrics_process";
const REPORTS: &str = "sentry";
/// Crates of outside services, and the crates of ours that name them.
const CLIENTS: &[(&str, &str)] = &[
    ("lettre", "email-transport"),
    ("redis", "redis-client cache rate-limit"),
    (
        "reqwest",
        "http-probe password-checks stripe-client telemetry",
    ),
    (
        "sqlx",
        "database crypto email-transport http-toolkit job-queue",
    ),
    ("sentry", "telemetry"),
];
/// How a connection or a pool comes into being, whichever module of `sqlx` offers it.
const POOLS: &str = "PgConnectOptions PgListener PgPoolOptions migrate";
/// How a statement in a string begins.
const STATEMENTS: &str = "ALTER COPY CREATE DELETE DROP EXPLAIN GRANT INSERT LISTEN LOCK NOTIFY \
    REVOKE SELECT SET TRUNCATE UPDATE WITH";

/// File names with the same meaning in every slice and in every folder of one.
const ROLES: &str = "model error store service jobs routes";
/// Names that a lower layer uses of a slice above it. The file that defines one uses nothing above that
/// layer, so that there is no circle between files. It is a statement that must run in the transaction of a
/// slice below. Slices are separated by a semicolon.
const UPWARD: &str = "auth api_keys::revoke_since";

/// The text of every file, by its path in the checkout.
type Files = BTreeMap<String, String>;

/// A name spelled with `::`; from `crate`, `self` or `super` it is `inside` and spelled from the root.
struct Name {
    segments: Vec<String>,
    inside: bool,
    line: usize,
}

/// What the rules ask of a Rust file.
#[derive(Default)]
struct Source<'a> {
    path: &'a str,
    module: Vec<String>,
    names: Vec<Name>,
    strings: Vec<(String, usize)>,
    open_modules: Vec<usize>,
    logic: Vec<usize>,
}

impl<'a> Source<'a> {
    fn parse(path: &'a str, text: &str) -> Result<Self, LexError> {
        let stem = path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = stem.split('/').map(str::to_owned).collect();
        if module
            .last()
            .is_some_and(|last| lists("mod lib main", last))
        {
            module.pop();
        }
        let mut source = Self {
            path,
            module: module.clone(),
            ..Self::default()
        };
        source.scan(text.parse()?, &module);
        Ok(source)
    }

    /// Tokens, not syntax: what stands inside a macro counts as much as what stands outside.
    fn scan(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Ident(word) => {
                    let line = word.span().start().line;
                    if word == "mod" {
                        if let [TokenTree::Ident(name), TokenTree::Group(body), ..] = &tokens[at..]
                        {
                            self.scan(body.stream(), &[module, &[name.to_string()]].concat());
                            at += 2;
                        } else if is_open(&tokens[..at - 1]) {
                            self.open_modules.push(line);
                        }
                    } else if (word == "fn" || word == "impl") && module == self.module {
                        self.logic.push(line);
                    } else {
                        at = self.name(&tokens, at - 1, &[], module);
                    }
                }
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    let text = text
                        .trim_start_matches(|c: char| "br#\"\\n".contains(c) || c.is_whitespace());
                    self.strings
                        .push((text.to_owned(), literal.span().start().line));
                }
                TokenTree::Group(group) if is_doc(&group.stream()) => {}
                TokenTree::Group(group) => self.scan(group.stream(), module),
                TokenTree::Punct(_) => {}
            }
        }
    }

    /// Takes the name at `at`, with every branch of a `use` tree, and returns where it ends.
    fn name(
        &mut self,
        tokens: &[TokenTree],
        mut at: usize,
        prefix: &[String],
        module: &[String],
    ) -> usize {
        let mut segments = prefix.to_vec();
        let line = tokens[at].span().start().line;
        loop {
            match &tokens[at] {
                TokenTree::Ident(word) => segments.push(word.to_string()),
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    let branches: Vec<TokenTree> = group.stream().into_iter().collect();
                    for branch in branches.split(|token| is_punct(token, ',')) {
                        if !branch.is_empty() {
                            self.name(branch, 0, &segments, module);
                        }
                    }
                    return at + 1;
                }
                _ => break,
            }
            at += 1;
            match &tokens[at..] {
                [one, two, _, ..] if is_punct(one, ':') && is_punct(two, ':') => at += 2,
                _ => break,
            }
        }
        if segments.len() > 1 {
            self.names.push(resolved(segments, module, line));
        }
        at
    }

    /// The module's path by its place: the slice, then the file in it.
    fn part(&self, at: usize) -> &str {
        self.module.get(at).map_or("", String::as_str)
    }

    /// How many segments lead to the folder of the file, and the file's role in it.
    fn role(&self) -> (usize, &str) {
        role_in(&self.module)
    }

    /// Whether a name begins with a crate, and not with a module of ours that is called the same.
    fn is_foreign(&self, name: &Name) -> bool {
        // `use crate::metrics::{self, Queue}` brings `metrics`.
        let brought = |other: &Name| other.segments.iter().rfind(|it| *it != "self").cloned();
        let ours = |other: &Name| other.inside && brought(other).as_ref() == name.segments.first();
        !name.inside && !self.names.iter().any(ours)
    }
}

fn role_in(segments: &[String]) -> (usize, &str) {
    let at = (1..segments.len()).find(|at| lists(ROLES, &segments[*at]));
    at.map_or((segments.len(), ""), |at| (at, segments[at].as_str()))
}

impl Name {
    fn part(&self, at: usize) -> &str {
        self.segments.get(at).map_or("", String::as_str)
    }
}

fn resolved(segments: Vec<String>, module: &[String], line: usize) -> Name {
    let start = segments
        .iter()
        .take_while(|it| lists("crate self super", it))
        .count();
    let up = segments[..start].iter().filter(|it| *it == "super").count();
    let base = match segments[0].as_str() {
        "crate" => &[],
        _ => &module[..module.len().saturating_sub(up)],
    };
    let inside = start > 0;
    let segments = if inside {
        [base, &segments[start..]].concat()
    } else {
        segments
    };
    Name {
        segments,
        inside,
        line,
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_doc(attribute: &TokenStream) -> bool {
    matches!(attribute.clone().into_iter().next(), Some(TokenTree::Ident(word)) if word == "doc")
}

/// Whether what stands before `mod` opens it: `pub`, also with a scope in parentheses.
fn is_open(before: &[TokenTree]) -> bool {
    let visibility = match before {
        [.., word, TokenTree::Group(scope)] if scope.delimiter() == Delimiter::Parenthesis => {
            Some(word)
        }
        [.., word] => Some(word),
        [] => None,
    };
    matches!(visibility, Some(TokenTree::Ident(word)) if word == "pub")
}

/// The faults of one file, each as `file:line: rule`.
struct Faults<'a> {
    path: &'a str,
    found: Vec<String>,
}

impl Faults<'_> {
    fn add(&mut self, line: usize, rule: impl Display) {
        self.found.push(format!("{}:{line}: {rule}", self.path));
    }
}

/// Whether a name is one of [`VALUES`], or in it.
fn is_value(in_full: &str) -> bool {
    let within = |value: &str| {
        let rest = in_full.strip_prefix(value);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    VALUES.split(' ').any(within)
}

/// Whether a list of words parted by blanks has this one.
fn lists(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// The layer of every module that `lib.rs` lists: groups are separated by a blank line, the lowest first.
fn layers(lib: &str) -> BTreeMap<&str, usize> {
    let mut layer = 0;
    let mut layers = BTreeMap::new();
    for line in lib.lines() {
        if line.trim().is_empty() {
            layer += 1;
        }
        let line = line
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub ");
        let name = line.strip_prefix("mod ");
        if let Some(name) = name.and_then(|rest| rest.strip_suffix(';')) {
            layers.insert(name, layer);
        }
    }
    layers
}

/// Holds a whole tree, as (path, text) pairs, against every rule.
fn check(files: &Files) -> Vec<String> {
    let layers = files
        .get("src/lib.rs")
        .map_or_else(BTreeMap::new, |lib| layers(lib));
    let mut all = Vec::new();
    let sources: Vec<Source> = files
        .iter()
        .filter(|(path, _)| path.starts_with("src/"))
        .filter_map(|(path, text)| Source::parse(path, text).ok())
        .collect();
    let graph = circles::Graph::new(&sources);
    all.append(&mut graph.circles());
    all.append(&mut tables::check(files, &sources));
    for (path, text) in files {
        let mut faults = Faults {
            path,
            found: Vec::new(),
        };
        if path.starts_with("migrations/") {
            check_migration(text, files, &mut faults);
        } else {
            check_page(text, &mut faults);
            match Source::parse(path, text) {
                Ok(source) if path.starts_with("crates/") => check_crate(&source, &mut faults),
                Ok(source) if path.starts_with("src/") => {
                    check_layers(&source, &layers, &graph, &mut faults);
                    check_reach(&source, &mut faults);
                    check_slice(&source, files, &mut faults);
                }
                Ok(_) => {}
                Err(error) => faults.add(1, format_args!("not Rust: {error}")),
            }
        }
        all.append(&mut faults.found);
    }
    all
}

/// Every file says what it is for, fits a reading and leaves nothing for later without an issue.
fn check_page(text: &str, faults: &mut Faults) {
    if !text.starts_with("//!") {
        faults.add(1, "a file begins with `//!` and what it is for");
    }
    let length = text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count();
    if length > LONGEST_FILE {
        faults.add(
            length,
            format_args!("longer than {LONGEST_FILE} lines: split it by concept"),
        );
    }
    for (at, line) in text.lines().enumerate() {
        let open = line.contains("TODO") || line.contains("FIXME");
        if open && !line.contains("/issues/") {
            faults.add(at + 1, "a TODO names its issue by address");
        }
    }
}

/// A module uses the layers below its own, which leaves no room for a circle.
fn check_layers(
    source: &Source,
    layers: &BTreeMap<&str, usize>,
    graph: &circles::Graph,
    faults: &mut Faults,
) {
    let own = source.part(0);
    if own.is_empty() {
        return;
    }
    let Some(layer) = layers.get(own) else {
        faults.add(
            1,
            format_args!("`{own}` is missing from the layers in lib.rs"),
        );
        return;
    };
    for name in source.names.iter().filter(|name| name.inside) {
        let used = name.part(0);
        match layers.get(used) {
            _ if used == own => {}
            Some(below) if below < layer => {}
            Some(_) if is_upward(own, name) => {
                for above in graph.uses_of(name) {
                    if layers.get(above.as_str()).is_some_and(|it| it >= layer) {
                        faults.add(
                            name.line,
                            format_args!(
                                "`{}` is used by `{own}` below it, but its file uses `{above}`",
                                name.segments.join("::")
                            ),
                        );
                    }
                }
            }
            Some(_) => faults.add(
                name.line,
                format_args!("`{own}` uses `{used}`, which is not in a layer below it in lib.rs"),
            ),
            None => faults.add(
                name.line,
                format_args!("`crate::{used}` is no layer of lib.rs"),
            ),
        }
    }
}

fn is_upward(own: &str, name: &Name) -> bool {
    let lists_name = |line: &str| {
        let rest = line.trim().strip_prefix(own)?.strip_prefix(' ')?;
        Some(lists(rest, &name.segments.join("::")))
    };
    UPWARD
        .split(';')
        .any(|line| lists_name(line).unwrap_or_default())
}

/// An outside service has one crate that speaks to it, and none reads the environment.
fn check_crate(source: &Source, faults: &mut Faults) {
    let krate = source.path.split('/').nth(1).unwrap_or_default();
    // Telemetry names spans by statements.
    if !lists("database job-queue telemetry", krate) {
        check_sql(source, "crates/database", faults);
    }
    for name in source.names.iter().filter(|name| source.is_foreign(name)) {
        let outside = name.part(0);
        let in_full = name.segments.join("::");
        let keeper = CLIENTS.iter().find(|(client, _)| *client == outside);
        if let Some((_, keepers)) = keeper
            && !lists(keepers, krate)
            && !is_value(&in_full)
        {
            faults.add(
                name.line,
                format_args!("`{in_full}` is named in {keepers} only"),
            );
        }
        if (outside, name.part(1)) == ("std", "env") {
            faults.add(name.line, "the environment is read in config.rs");
        }
    }
}

/// Statements and queries are written in `keeper` only.
fn check_sql(source: &Source, keeper: &str, faults: &mut Faults) {
    for (text, line) in &source.strings {
        let mut words = text.split_whitespace();
        let verb = words.next().is_some_and(|word| lists(STATEMENTS, word));
        // `DELETE` alone and `DELETE /users` are HTTP.
        let statement = verb && words.next().is_some_and(|word| !word.starts_with('/'));
        if statement {
            faults.add(*line, format_args!("SQL is written in {keeper}"));
        }
    }
    for name in source.names.iter().filter(|name| source.is_foreign(name)) {
        let (krate, item) = (name.part(0), name.part(1));
        let query = match krate {
            "sqlx" => item.to_lowercase().starts_with("query") || item == "raw_sql",
            _ => krate.starts_with("sea_query") && !is_value(&name.segments.join("::")),
        };
        if query {
            faults.add(name.line, format_args!("queries are built in {keeper}"));
        }
    }
}

/// SQL, the environment and outside services are each named in one place.
fn check_reach(source: &Source, faults: &mut Faults) {
    let (slice, part) = (source.part(0), source.role().1);
    if part != "store" && slice != "schema" {
        check_sql(source, "store.rs and schema.rs", faults);
    }
    for name in source.names.iter().filter(|name| source.is_foreign(name)) {
        let (krate, item) = (name.part(0), name.part(1));
        let in_full = name.segments.join("::");
        if is_value(&in_full) {
            continue;
        }
        if (krate, item) == ("std", "env") && slice != "config" {
            faults.add(name.line, "the environment is read in config.rs");
        }
        let pool = krate == "sqlx" && name.segments.iter().any(|segment| lists(POOLS, segment));
        if (pool || lists(OUTSIDE, krate)) && !lists("infra schema migrate", slice) {
            faults.add(
                name.line,
                format_args!("`{in_full}` is named in infra/ only"),
            );
        }
        for (crates, keeper) in [(METRICS, "metrics"), (REPORTS, "telemetry")] {
            if lists(crates, krate) && slice != keeper {
                faults.add(
                    name.line,
                    format_args!("`{in_full}` is named in {keeper} only"),
                );
            }
        }
        if lists("axum axum_extra utoipa_axum", krate) && lists("model store service jobs", part) {
            faults.add(name.line, format_args!("{part}.rs never names axum"));
        }
    }
}

/// Files of a slice depend on each other in one direction, and its `mod.rs` only declares and re-exports.
fn check_slice(source: &Source, files: &Files, faults: &mut Faults) {
    let (folder, file) = source.path.rsplit_once('/').expect("a file of src");
    // A folder may have its root beside it, such as config.rs.
    let has_root = [format!("{folder}/mod.rs"), format!("{folder}.rs")]
        .iter()
        .any(|root| files.contains_key(root));
    if folder != "src" && !has_root {
        faults.add(1, format_args!("{folder} has no mod.rs"));
    }
    if file == "mod.rs" {
        for line in &source.logic {
            faults.add(
                *line,
                "mod.rs only declares and re-exports: logic lives in a file with a name",
            );
        }
        let kit = lists(KITS, source.part(0));
        for line in source.open_modules.iter().filter(|_| !kit) {
            faults.add(
                *line,
                "a slice's modules are private: re-export what others may see",
            );
        }
    }
    let height = |part: &str| match part {
        "model" | "error" => Some(0),
        "store" => Some(1),
        "service" | "jobs" => Some(2),
        "routes" => Some(3),
        _ => None,
    };
    let (folder, own) = source.role();
    for name in source.names.iter().filter(|name| name.inside) {
        let used = name.part(folder);
        let above = height(used)
            .zip(height(own))
            .is_some_and(|(used, own)| used > own);
        if above && name.segments[..folder] == source.module[..folder] {
            faults.add(
                name.line,
                format_args!("{own}.rs leans on {used}.rs, which stands above it"),
            );
        }
    }
}

/// `YYYYMMDDHHMMSS_verb_object.sql`, one a moment, LF only, with a line of why on top.
fn check_migration(text: &str, files: &Files, faults: &mut Faults) {
    let file = faults.path.trim_start_matches("migrations/");
    let (moment, words) = file
        .trim_end_matches(".sql")
        .split_once('_')
        .unwrap_or_default();
    let field = |from: usize, to: usize| moment.get(from..to).and_then(|it| it.parse().ok());
    let dated = moment.len() == 14
        && field(0, 4).is_some_and(|year| (2000..=2999).contains(&year))
        && field(4, 6).is_some_and(|month| (1..=12).contains(&month))
        && field(6, 8).is_some_and(|day| (1..=31).contains(&day))
        && field(8, 10).is_some_and(|hour| (0..24).contains(&hour))
        && field(10, 12).is_some_and(|minute| (0..60).contains(&minute))
        && field(12, 14).is_some_and(|second| (0..60).contains(&second));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut words = words.split('_');
    let worded =
        words.clone().count() > 1 && words.all(|it| !it.is_empty() && it.chars().all(plain));
    if !dated || !worded {
        faults.add(1, "a migration is named YYYYMMDDHHMMSS_verb_object.sql");
    }
    let prefix = format!("migrations/{moment}_");
    if files
        .keys()
        .filter(|path| path.starts_with(&prefix))
        .count()
        > 1
    {
        faults.add(
            1,
            "two migrations share a moment, so that their order is chance",
        );
    }
    if let Some(at) = text.split('\n').position(|line| line.contains('\r')) {
        faults.add(
            at + 1,
            "a migration's lines end in LF: its checksum is over its bytes",
        );
    }
    let first = text.lines().find(|line| *line != "-- no-transaction");
    let why = first.and_then(|line| line.strip_prefix("-- "));
    if why.is_none_or(|why| why.len() < 10) {
        faults.add(1, "a migration begins with a comment line that says why");
    }
    for (line, rule) in migrations::check(file, text) {
        faults.add(line, format_args!("{rule} (docs/migrations.md)"));
    }
}

/// Every file below `folder` of the checkout with this ending, by its path in the checkout.
fn read(folder: &str, ending: &str) -> Files {
    let mut files = Files::new();
    let Ok(entries) = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) else {
        return files;
    };
    for entry in entries.map(|entry| entry.expect("an entry of the checkout").path()) {
        let name = entry
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a plain name");
        let path = format!("{folder}/{name}");
        if entry.is_dir() {
            files.append(&mut read(&path, ending));
        } else if name.ends_with(ending) {
            files.insert(path, fs::read_to_string(&entry).expect("a text file"));
        }
    }
    files
}

#[test]
fn the_code_keeps_the_rules_of_its_structure() {
    let mut files = read("src", ".rs");
    assert!(
        files.contains_key("src/lib.rs"),
        "the checkout's sources are here"
    );
    files.append(&mut read("dev/src", ".rs"));
    files.append(&mut read("crates", ".rs"));
    files.append(&mut read("migrations", ".sql"));
    let faults = check(&files);
    assert!(
        faults.is_empty(),
        "the rules of the structure are broken:\n{}\n",
        faults.join("\n")
    );
}

#[test]
fn every_listed_read_of_another_slices_table_is_made() {
    let files = read("src", ".rs");
    let parsed = files.iter().map(|(path, text)| Source::parse(path, text));
    let sources: Vec<Source> = parsed.map(|source| source.expect("it is Rust")).collect();
    assert_eq!(tables::stale_reads(&sources), []);
}

#[test]
fn every_audit_event_is_recorded() {
    let files = read("src", ".rs");
    let list = files["src/audit/model.rs"].split("pub enum Event {").nth(1);
    let list = list.and_then(|rest| rest.split("\n}").next());
    let lines = list.expect("the events are listed").lines().map(str::trim);
    let events: Vec<&str> = lines
        .filter(|line| !line.starts_with("//"))
        .filter_map(|line| line.strip_suffix(','))
        .collect();
    assert!(events.len() > 20, "{events:?}");
    let is_recorded = |event: &&str| {
        let name = format!("Event::{event}");
        let names = |text: &str| {
            let mut after = text.split(&name).skip(1);
            after.any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
        };
        files.values().any(|text| names(text))
    };
    let mut forgotten = events;
    forgotten.retain(|event| !is_recorded(event));
    assert!(forgotten.is_empty(), "nothing records {forgotten:?}");
}

/// A small sample without a fault: the file, and its text with `¶` for a line's end.
const SAMPLE: &str = r#"
src/lib.rs | //! x¶¶pub mod config;¶¶pub mod infra;¶¶pub mod state;¶¶pub mod auth;¶pub mod billing;¶pub mod users;¶¶pub mod api_keys;¶¶pub mod app;¶
src/config.rs | //! x¶use std::env;
src/infra/mod.rs | //! x¶pub mod redis;
src/infra/redis.rs | //! x¶use redis::Client;¶use crate::config::Redis;
src/users/mod.rs | //! x¶mod routes;¶mod store;¶pub use routes::router;¶pub use store::find;
src/users/routes.rs | //! x¶use super::store;¶fn f() { store::find(); }
src/auth/mod.rs | //! x¶mod attempt_slots;¶mod routes;¶pub use attempt_slots::AttemptSlots;
src/auth/attempt_slots.rs | //! x¶use crate::infra::redis::Redis;
src/auth/service.rs | //! x¶use super::attempt_slots;¶fn f() { attempt_slots::count(); }
src/users/store.rs | //! x¶use crate::infra::redis;¶fn f() { redis::get("SELECT 1"); }
src/billing/mod.rs | //! x¶mod store;
src/api_keys/mod.rs | //! x¶mod store;¶pub use store::revoke_since;
src/api_keys/store.rs | //! x¶fn f() {}
migrations/20260115093000_create_users.sql | -- People come first.¶CREATE TABLE users ();
"#;

/// What the checker says of it once `path` holds `text`.
fn faults_with(path: &str, text: &str) -> Vec<String> {
    let mut sample: Files = samples(SAMPLE)
        .map(|file| (file[0].clone(), file[1].clone()))
        .collect();
    sample.insert(path.to_owned(), text.to_owned());
    check(&sample)
}

/// One sample a line: the file, its text with `¶` for a line's end, and the fault it must bring.
const BAD: &str = r##"
src/users/model.rs | use super::Name;¶ | 1: a file begins with `//!`
src/app.rs | //! x¶// TODO: later¶ | 2: a TODO names its issue
dev/src/lib.rs | //! x¶// FIXME¶ | 2: a TODO names its issue
src/app.rs | //! x¶fn f( {¶ | 1: not Rust
src/stray.rs | //! x¶ | 1: `stray` is missing from the layers
src/users/routes.rs | //! x¶use crate::{¶config,¶app::State,¶}; | 4: `users` uses `app`
src/users/routes.rs | //! x¶use crate::billing::Plan; | 2: `users` uses `billing`
src/users/routes.rs | //! x¶use super::super::billing; | 2: `users` uses `billing`
src/users/routes.rs | //! x¶mod t {¶use super::super::super::app;¶} | 3: `users` uses `app`
src/users/routes.rs | //! x¶fn f() {¶call!(x, crate::app::Y);¶} | 3: `users` uses `app`
src/users/routes.rs | //! x¶type X = crate::lost::Y; | 2: `crate::lost` is no layer
src/config.rs | //! x¶use crate::users; | 2: `config` uses `users`
src/users/routes.rs | //! x¶const Q: &str = "SELECT id"; | 2: SQL is written in
crates/cache/src/lib.rs | //! x¶const Q: &str = "SELECT id"; | 2: SQL is written in
crates/cache/src/lib.rs | //! x¶fn f() { sqlx::query("x"); } | 2: queries are built in
crates/cache/src/lib.rs | //! x¶use lettre::Message; | 2: `lettre::Message` is named in
crates/clock/src/lib.rs | //! x¶fn f() { std::env::var("X"); } | 2: the environment is read in
src/users/service.rs | //! x¶const Q: &str = r#"¶UPDATE t"#; | 2: SQL is written in
src/app.rs | //! x¶fn f() { sqlx::query!("x"); } | 2: queries are built in
src/users/model.rs | //! x¶use sqlx::{FromRow, QueryBuilder}; | 2: queries are built in
src/users/routes.rs | //! x¶use sea_query::Query; | 2: queries are built in
src/main.rs | //! x¶fn f() { std::env::var("X"); } | 2: the environment is read in config.rs
src/config.rs | //! x¶use lettre::AsyncSmtpTransport; | 2: `lettre::AsyncSmtpTransport` is
src/app.rs | //! x¶use redis::Client; | 2: `redis::Client` is named in infra/ only
src/app.rs | //! x¶use sqlx::postgres::PgPoolOptions; | 2: `sqlx::postgres::PgPoolOptions` is
src/users/jobs.rs | //! x¶fn f() { sentry::capture_message(); } | 2: `sentry::capture_message` is
src/users/routes.rs | //! x¶fn f() { metrics::counter!("x"); } | 2: `metrics::counter` is
src/users/service.rs | //! x¶use axum::Json; | 2: service.rs never names axum
src/users/jobs.rs | //! x¶type R = axum::Router; | 2: jobs.rs never names axum
src/app/part.rs | //! x¶ | 1: src/app has no mod.rs
src/users/mod.rs | //! x¶pub mod store; | 2: a slice's modules are private
src/users/mod.rs | //! x¶pub(crate) mod store; | 2: a slice's modules are private
src/users/mod.rs | //! x¶mod store;¶pub fn f() {} | 3: mod.rs only declares and re-exports
src/users/model.rs | //! x¶use super::store; | 2: model.rs leans on store.rs
src/users/store.rs | //! x¶use crate::users::routes::Page; | 2: store.rs leans on routes.rs
src/users/part/store.rs | //! x¶use super::routes; | 2: store.rs leans on routes.rs
src/users/part/service.rs | //! x¶const Q: &str = "SELECT id"; | 2: SQL is written in
src/users/part/jobs.rs | //! x¶use axum::Json; | 2: jobs.rs never names axum
src/auth/attempt_slots.rs | //! x¶use super::service::run; | 2: a circle of files: auth::attempt_slots uses auth::service, which uses auth::attempt_slots
src/auth/attempt_slots.rs | //! x¶use crate::auth::{self, Sum};¶fn f() { auth::service::run(); } | 3: a circle of files
src/infra/redis.rs | //! x¶use crate::users::find; | 2: `infra` uses `users`
src/state.rs | //! x¶use crate::users::find; | 2: `state` uses `users`
src/state.rs | //! x¶use crate::auth::service::run; | 2: `state` uses `auth`
src/users/store.rs | //! x¶fn f() { sqlx::query!("UPDATE sessions SET id = $1"); } | 2: `sessions` belongs to `auth`
src/users/store.rs | //! x¶fn f() { sqlx::query!("WITH a AS (DELETE FROM¶api_keys) SELECT 1"); } | 2: `api_keys` belongs to
src/users/store.rs | //! x¶fn f() { sqlx::query!("SELECT 1 FROM users, payments AS p"); } | 2: `payments` belongs to
src/users/store.rs | //! x¶const E: E = E::new("name", "events"); | 2: `events` belongs to `events`
src/users/store.rs | //! x¶fn f() { Query::select().from(ApiKeys::Table); } | 2: `api_keys` belongs to
src/users/store.rs | //! x¶fn f() { sqlx::query!("DELETE FROM one_time_tokens"); } | 2: `one_time_tokens` belongs to
migrations/1_create_teams.sql | -- Teams come next. | 1: a migration is named
migrations/20261315093000_create_teams.sql | -- Teams come next. | 1: a migration is named
migrations/20260116093000_teams.sql | -- Teams come next. | 1: a migration is named
migrations/20260115093000_create_teams.sql | -- Teams come next. | 1: two migrations share a moment
migrations/20260116093000_create_teams.sql | -- Teams come next.\r¶ | 1: a migration's lines end in LF
migrations/20260116093000_create_teams.sql | CREATE TABLE t (); | 1: a migration begins with
migrations/20260116093000_create_teams.sql | -- no-transaction¶ | 1: a migration begins with
migrations/20260116093000_create_teams.sql | -- Teams come next.¶CREATE TABLE teams (); | 2: no slice owns the table `teams`
migrations/20270116093000_add_index.sql | -- Names are searched.¶CREATE INDEX n ON users (name); | 2: an index on an existing table
"##;

/// What only looks like a fault.
const GOOD: &str = r#"
src/app.rs | //! x¶use crate::users;
src/users/routes.rs | //! x¶/// SELECT nothing¶fn redis() { let axum = "Selected "; }
src/users/routes.rs | //! x¶//! Uses crate::app.¶use axum::Json;¶use super::store;
src/users/store.rs | //! x¶fn f() { sqlx::query!("DELETE FROM users"); }
src/users/store.rs | //! x¶fn f() { sqlx::query!("SELECT FROM one_time_tokens"); }
src/auth/jobs.rs | //! x¶use crate::api_keys::revoke_since;
crates/database/src/lib.rs | //! x¶fn f() { sqlx::query("SELECT 1"); }
crates/redis-client/src/lib.rs | //! x¶use redis::Client;
src/infra/redis.rs | //! x¶mod tests {¶use super::*;¶use super::super::redis;¶}
src/app.rs | //! x¶// TODO https://example.org/issues/7¶const V: &str = env!("X");
src/app.rs | //! x¶const A: [&str; 2] = ["DELETE", "DELETE /users"];
src/config.rs | //! x¶use lettre::{Address, address::AddressError, message::Mailbox};
src/app.rs | //! x¶use crate::infra::redis;¶fn f() { redis::connect(); }
src/app.rs | //! x¶use crate::infra::redis::{self, Redis};¶fn f() { redis::connect(); }
migrations/20260116093000_add_index.sql | -- no-transaction¶-- Names are looked up by prefix.
"#;

fn samples(table: &str) -> impl Iterator<Item = Vec<String>> {
    let lines = table.lines().filter(|line| !line.is_empty());
    lines.map(|line| {
        let cells = line.split(" | ");
        cells
            .map(|cell| cell.replace('¶', "\n").replace("\\r", "\r"))
            .collect()
    })
}

#[test]
fn every_rule_can_fail() {
    for sample in samples(BAD) {
        let [path, text, fault] = &sample[..] else {
            panic!("three cells: {sample:?}")
        };
        let found = faults_with(path, text);
        let wanted = format!("{path}:{fault}");
        assert!(
            found.iter().any(|fault| fault.starts_with(&wanted)),
            "wanted {wanted}\nfound {found:#?}\nin {text}"
        );
    }
    let found = faults_with(
        "src/auth/attempt_slots.rs",
        "//! x\nuse crate::auth::find;\n",
    );
    assert_eq!(found, Vec::<String>::new(), "a name that the slice has not");
    let mut sample: Files = samples(SAMPLE)
        .map(|file| (file[0].clone(), file[1].clone()))
        .collect();
    sample.insert(
        "src/auth/jobs.rs".into(),
        "//! x\nuse crate::api_keys::revoke_since;\n".into(),
    );
    sample.insert(
        "src/api_keys/store.rs".into(),
        "//! x\nuse super::model::Key;\n".into(),
    );
    sample.insert("src/api_keys/model.rs".into(), "//! x\n".into());
    assert_eq!(
        check(&sample),
        [
            "src/auth/jobs.rs:2: `api_keys::revoke_since` is used by `auth` below it, but its file uses `api_keys`"
        ]
    );
    let long = format!("//! x\n{}", "\n".repeat(LONGEST_FILE));
    assert_eq!(
        faults_with("src/app.rs", &long),
        ["src/app.rs:401: longer than 400 lines: split it by concept"]
    );
}

#[test]
fn what_only_looks_like_a_fault_is_none() {
    for sample in samples(GOOD) {
        let [path, text] = &sample[..] else {
            panic!("two cells: {sample:?}")
        };
        assert_eq!(faults_with(path, text), Vec::<String>::new(), "in {text}");
    }
}

/// Columns of `users` that signing in rests on.
const CREDENTIALS: &str = "email email_verified_at password_hash role disabled_at";
/// Functions that write them and void nothing: a new hash of the same password, and a sign-up that nobody
/// has confirmed.
const NO_CHANGE: &str = "rehash_password sign_up";

#[test]
fn credentials_are_written_with_a_change_that_one_function_begins() {
    let files = read("src", ".rs");
    let outside = |path: &&String| !path.starts_with("src/users/");
    let calls = |path: &&String| files[*path].contains("advance_credentials(");
    let callers: Vec<_> = files.keys().filter(outside).filter(calls).collect();
    assert_eq!(callers, ["src/auth/credentials_change.rs"]);

    let mut writers = 0;
    for (path, text) in &files {
        for function in text.split("async fn ").skip(1) {
            let (head, body) = function.split_once('{').unwrap_or((function, ""));
            let name = head.split(['(', '<']).next().unwrap_or_default();
            let written = body.split("UPDATE users").skip(1).any(|statement| {
                let set = statement.split("WHERE").next().unwrap_or_default();
                let sets = |column: &str| set.contains(&format!(" {column} = "));
                CREDENTIALS.split(' ').any(sets)
            });
            if written && !lists(NO_CHANGE, name) {
                writers += 1;
                assert!(
                    head.contains("&CredentialsChange"),
                    "{path}: {name} writes credentials without voiding what was issued under those before"
                );
            }
        }
    }
    assert!(writers >= 6, "only {writers} functions were found");
}
