//! The name of a slice in each form in which it is written, and the names that are refused.

use std::collections::BTreeSet;

use super::tree::Tree;
use crate::error::{Error, Result};

/// In characters: `…_account_id_created_at_id_idx` has at most 63 in PostgreSQL.
const LENGTH: std::ops::RangeInclusive<usize> = 3..=30;

/// Keywords of Rust, also reserved ones.
const KEYWORDS: &str = "abstract as async await become box break const continue crate do dyn else enum extern false \
    final fn for gen if impl in let loop macro match mod move mut override priv pub ref return self static struct \
    super trait true try type typeof union unsafe unsized use virtual where while yield";

/// Words that PostgreSQL does not take for a table.
const RESERVED_SQL: &str = "all analyse analyze and any array as asc asymmetric authorization binary both case cast check \
    collate collation column concurrently constraint create cross current_catalog current_date current_role \
    current_schema current_time current_timestamp current_user default deferrable desc distinct do else end except \
    false fetch for foreign freeze from full grant group having ilike in initially inner intersect into is isnull join \
    lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer \
    overlaps placing primary references returning right select session_user similar some symmetric system_user table \
    tablesample then to trailing true union unique user using variadic verbose when where window with";

/// Types that the files of a slice import, and variables of their functions.
const IMPORTED: &str = "account answer app arc caller_ctx changes code conn created_at ctx data date_time detail duration \
    error event hash_set id ids json key left limit method name new now option page page_params \
    page_request page_size paged path pg_executor problem replica result router routes row self session \
    sqlx state status_code string test_app time_cursor to_schema tx utc value vec";

/// Names of one slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// `support_tickets`: module, table and scopes.
    pub(super) plural: String,
    /// `support_ticket`
    pub(super) singular: String,
}

impl Names {
    /// Names by the plural, and the singular where it does not follow from it.
    pub(super) fn new(plural: &str, singular: Option<&str>) -> Result<Self> {
        if let Some(rule) = broken_form(plural) {
            return Err(refused(plural, rule, &proposal(plural)));
        }
        let singular = match singular {
            Some(given) => match broken_form(given) {
                Some(rule) => return Err(refused(given, rule, &proposal_of_one(given))),
                None => given.to_owned(),
            },
            None => singular_of(plural).ok_or_else(|| {
                let end = if plural.ends_with('s') { "es" } else { "s" };
                let rule = "no singular follows from it (SINGULAR=… gives one)";
                refused(plural, rule, &format!("{plural}{end}"))
            })?,
        };
        let names = Self {
            plural: plural.to_owned(),
            singular,
        };
        match names.broken_word() {
            Some(rule) => Err(refused(plural, &rule, &names.longer())),
            None => Ok(names),
        }
    }

    /// The name with one more word before it.
    fn longer(&self) -> String {
        let mut longer = format!("own_{}", self.plural);
        longer.truncate(*LENGTH.end());
        longer.trim_end_matches('_').to_owned()
    }

    fn broken_word(&self) -> Option<String> {
        let Self { plural, singular } = self;
        if plural == singular {
            return Some("singular and plural must differ".to_owned());
        }
        for word in [plural, singular] {
            if lists(KEYWORDS, word) {
                return Some(format!("`{word}` is a keyword of Rust"));
            }
            if lists(RESERVED_SQL, word) {
                return Some(format!("`{word}` is reserved in PostgreSQL"));
            }
            if lists(IMPORTED, word) {
                return Some(format!(
                    "the files of a slice use `{word}` for something else"
                ));
            }
        }
        None
    }

    /// `SupportTickets`
    pub(super) fn types(&self) -> String {
        pascal(&self.plural)
    }

    /// `SupportTicket`
    pub(super) fn kind(&self) -> String {
        pascal(&self.singular)
    }

    /// `support-tickets`, in paths.
    pub(super) fn segment(&self) -> String {
        self.plural.replace('_', "-")
    }

    /// `support tickets`
    pub(super) fn words(&self) -> String {
        self.plural.replace('_', " ")
    }

    /// Replaces the words `sample_items` and `sample_item` of a template, in each form.
    pub(super) fn fill(&self, template: &str) -> String {
        let one = self.singular.replace('_', " ");
        let article = if one.starts_with(['a', 'e', 'i', 'o', 'u']) {
            "an"
        } else {
            "a"
        };
        let forms = [
            ("a sample item", format!("{article} {one}")),
            ("A sample item", format!("{} {one}", sentence(article))),
            ("a_sample_item", format!("{article}_{}", self.singular)),
            ("sample_items", self.plural.clone()),
            ("sample_item", self.singular.clone()),
            ("sample-items", self.segment()),
            ("SAMPLE_ITEMS", self.plural.to_uppercase()),
            ("SampleItems", self.types()),
            ("SampleItem", self.kind()),
            ("Sample items", sentence(&self.words())),
            ("sample items", self.words()),
            ("sample item", one.clone()),
        ];
        // In one pass, so that no form is searched in a name.
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while !rest.is_empty() {
            let form = forms.iter().find(|(form, _)| rest.starts_with(form));
            if let Some((form, name)) = form {
                filled.push_str(name);
                rest = &rest[form.len()..];
            } else {
                let next = rest.chars().next().map_or(1, char::len_utf8);
                filled.push_str(&rest[..next]);
                rest = &rest[next..];
            }
        }
        filled
    }

    /// Refuses names of what is there: modules, tables, paths, scopes, types, events and tests.
    pub(super) fn check_free(&self, tree: &Tree) -> Result<()> {
        match self.taken(tree)? {
            Some(by) => Err(refused(&self.plural, &by, &self.longer())),
            None => Ok(()),
        }
    }

    fn taken(&self, tree: &Tree) -> Result<Option<String>> {
        let Self { plural, singular } = self;
        for path in [
            format!("src/{plural}"),
            format!("src/{plural}.rs"),
            format!("src/{singular}"),
            format!("src/{singular}.rs"),
            format!("tests/api/{plural}.rs"),
            format!("crates/{}", self.segment()),
        ] {
            if tree.exists(&path) {
                return Ok(Some(format!("{path} exists")));
            }
        }
        for (file, text) in tree.migrations()? {
            for table in [plural, singular] {
                let creates = |line: &str| {
                    let rest = line.strip_prefix("CREATE TABLE ");
                    let name = rest.and_then(|rest| rest.split([' ', '(']).next());
                    name == Some(table.as_str())
                };
                if text.lines().any(creates) {
                    return Ok(Some(format!("{file} creates the table `{table}`")));
                }
            }
        }
        let (kind, types) = (self.kind(), self.types());
        let segment = self.segment();
        let in_document = [
            format!("\"/api/v1/{segment}\""),
            format!("\"/api/v1/{segment}/"),
            format!("      \"{kind}\": {{"),
            format!("      \"New{kind}\": {{"),
            format!("      \"{kind}Changes\": {{"),
            format!("      \"{kind}Name\": {{"),
            format!("\"operationId\": \"list_{plural}\""),
            format!("\"operationId\": \"create_{singular}\""),
            format!("\"operationId\": \"get_{singular}\""),
            format!("\"operationId\": \"change_{singular}\""),
            format!("\"operationId\": \"delete_{singular}\""),
        ];
        let in_document = in_document.map(|text| ("docs/openapi.json", text));
        let in_code = [
            ("src/policy.rs", format!("\"{plural}:read\"")),
            ("src/policy.rs", format!("    {types},")),
            ("src/roles.rs", format!("\"{plural}:read\"")),
            ("src/ids.rs", format!("    {kind}Id,")),
            ("src/audit/model.rs", format!("    {kind}Created,")),
            ("src/audit/model.rs", format!("    {kind}Changed,")),
            ("src/audit/model.rs", format!("    {kind}Deleted,")),
            ("src/web/code.rs", format!("\"too_many_{plural}\"")),
            ("tests/api/main.rs", format!("mod {plural};")),
        ];
        for (path, text) in in_document.into_iter().chain(in_code) {
            if tree.read(path)?.contains(&text) {
                return Ok(Some(format!("{path} has {}", text.trim())));
            }
        }
        Ok(None)
    }
}

fn refused(name: &str, rule: &str, proposal: &str) -> Error {
    Error::Other(format!(
        "{name:?} is no name for a slice: {rule}; {proposal} would do"
    ))
}

fn lists(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// The rule that the form of a name breaks.
fn broken_form(name: &str) -> Option<&'static str> {
    if !LENGTH.contains(&name.chars().count()) {
        Some("it needs 3 to 30 characters")
    } else if !name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    {
        Some("it may have a-z, 0-9 and underscores")
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        Some("the first character must be one of a-z")
    } else if name
        .split('_')
        .any(|word| !word.starts_with(|c: char| c.is_ascii_lowercase()))
    {
        Some("an underscore stands between two words")
    } else {
        None
    }
}

/// The singular of a plural: of its last word `ies` becomes `y`, the `es` of `sses`, `shes`, `ches` and `xes` is removed, or
/// the `s`. `None` of what ends in `ss`, `us` or `is`, or not in `s`.
fn singular_of(plural: &str) -> Option<String> {
    let is_long = plural.rsplit('_').next().is_some_and(|word| word.len() > 4);
    if let Some(stem) = plural.strip_suffix("ies").filter(|_| is_long) {
        return Some(format!("{stem}y"));
    }
    if ["sses", "shes", "ches", "xes"]
        .iter()
        .any(|end| plural.ends_with(end))
    {
        return plural.strip_suffix("es").map(str::to_owned);
    }
    if ["ss", "us", "is"].iter().any(|end| plural.ends_with(end)) {
        return None;
    }
    let stem = plural.strip_suffix('s');
    stem.filter(|stem| !stem.ends_with('_')).map(str::to_owned)
}

/// A plural that keeps the rules, made of a name that does not.
fn proposal(name: &str) -> String {
    let one = proposal_of_one(name);
    let plural = if one.ends_with('s') {
        one
    } else {
        format!("{one}s")
    };
    let taken: BTreeSet<&str> = KEYWORDS.split(' ').chain(RESERVED_SQL.split(' ')).collect();
    if broken_form(&plural).is_none() && !taken.contains(plural.as_str()) {
        plural
    } else {
        "projects".to_owned()
    }
}

fn proposal_of_one(name: &str) -> String {
    let mut plain = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && plain.ends_with(|c: char| c.is_ascii_lowercase()) {
            plain.push('_');
        }
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => plain.push(c),
            _ if !plain.ends_with('_') => plain.push('_'),
            _ => (),
        }
    }
    let start = plain.find(|c: char| c.is_ascii_lowercase());
    let plain = start.map_or("", |at| &plain[at..]);
    let plain: String = plain.chars().take(LENGTH.end() - 1).collect();
    let plain = plain.trim_matches('_');
    if broken_form(plain).is_some() {
        return "project".to_owned();
    }
    plain.to_owned()
}

fn pascal(snake: &str) -> String {
    snake.split('_').map(sentence).collect()
}

/// With a capital.
fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_derived_from_the_plural() {
        for (plural, singular, kind) in [
            ("projects", "project", "Project"),
            ("support_tickets", "support_ticket", "SupportTicket"),
            ("categories", "category", "Category"),
            ("boxes", "box_", ""),
            ("addresses", "address", "Address"),
            ("tax_batches", "tax_batch", "TaxBatch"),
            ("ties", "tie", "Tie"),
            ("notes", "note", "Note"),
        ] {
            let names = Names::new(plural, None);
            if kind.is_empty() {
                let error = names.expect_err("box is a keyword").to_string();
                assert!(error.contains("`box` is a keyword"), "{error}");
                continue;
            }
            let names = names.expect("it is good");
            assert_eq!(
                (names.singular.as_str(), names.kind().as_str()),
                (singular, kind)
            );
        }
        let people = Names::new("people", Some("person")).expect("it is good");
        assert_eq!(
            (people.types(), people.kind()),
            ("People".to_owned(), "Person".to_owned())
        );
    }

    #[test]
    fn a_template_is_filled_in_each_form_with_its_article() {
        let names = Names::new("invoice_items", None).expect("it is good");
        let text = "A sample item: a_sample_item, sample_items, /sample-items, SAMPLE_ITEMS, NewSampleItem, SampleItems, Sample items";
        assert_eq!(
            names.fill(text),
            "An invoice item: an_invoice_item, invoice_items, /invoice-items, INVOICE_ITEMS, NewInvoiceItem, InvoiceItems, \
             Invoice items"
        );
    }

    #[test]
    fn a_bad_name_is_refused_with_its_rule_and_one_that_would_do() {
        let long = "a".repeat(60);
        for (bad, rule, proposed) in [
            ("Projects", "a-z, 0-9", "projects would do"),
            ("SupportTickets", "a-z, 0-9", "support_tickets would do"),
            ("a", "3 to 30", "projects would do"),
            ("1st", "must be one of a-z", "projects would do"),
            ("my--things", "a-z, 0-9", "my_things would do"),
            ("my__things", "between two words", "my_things would do"),
            ("my_", "between two words", "projects would do"),
            ("project", "no singular", "projects would do"),
            ("status", "no singular", "statuses would do"),
            ("crates", "`crate` is a keyword", "own_crates would do"),
            (
                "references",
                "reserved in PostgreSQL",
                "own_references would do",
            ),
            ("pages", "for something else", "own_pages would do"),
            (long.as_str(), "3 to 30", "would do"),
            ("", "3 to 30", "projects would do"),
        ] {
            let error = Names::new(bad, None).expect_err(bad).to_string();
            assert!(error.contains(rule) && error.ends_with(proposed), "{error}");
        }
        for singular in ["Person", "sheep", "self"] {
            assert!(Names::new("sheep", Some(singular)).is_err(), "{singular}");
        }
    }
}
