//! Each table belongs to one slice: its statements are in that slice's `store.rs`.

use std::ops::Bound::{Excluded, Unbounded};

use super::{Files, Source, lists};

/// The slices, and the tables that they own.
const OWNERS: &str = "
users users sign_ups avatars
auth sessions session_revocations refresh_tokens mfa_challenges one_time_tokens email_changes
mfa mfa_factors recovery_codes
audit audit_log audit_address_progress
mail email_suppressions
usage_summary usage_summaries
consents consents
privacy data_exports data_export_parts
plans subscriptions
payments payments
customers billing_customers
billing checkouts stripe_events invoices billing_notices billed_usage
idempotency idempotency_keys
api_keys api_keys
secrets secrets secret_versions
usage api_usage usage_hourly usage_daily usage_backfill usage_totals usage_writers
events events event_totals
files files
organisations accounts account_slugs memberships invitations invitation_blocks
privacy account_deletions legal_holds data_requests
";

/// Tables that a slice reads though another one owns them, each in a statement that must see both at one
/// moment, or in one round trip.
pub(super) const READS: &[(&str, &str, &str)] = &[
    (
        "users",
        "legal_holds",
        "an unverified account that is held is not purged",
    ),
    (
        "files",
        "legal_holds",
        "deleted files of an account that is held are not removed",
    ),
    (
        "organisations",
        "invoices",
        "an account that keeps no books any more is deleted",
    ),
    ("payments", "accounts", "books of accounts that are gone"),
    ("plans", "accounts", "the same"),
    (
        "plans",
        "payments",
        "a subscription is deleted after the payments for it",
    ),
    ("billing", "payments", "whether an account has books"),
    (
        "secrets",
        "accounts",
        "secrets of an organisation whose purge has kept its account row",
    ),
    (
        "files",
        "accounts",
        "files of an organisation whose row is kept after its purge",
    ),
    (
        "files",
        "account_slugs",
        "an organisation without a slug is purged",
    ),
    (
        "auth",
        "users",
        "the account is enabled and at this version of its credentials",
    ),
    (
        "auth",
        "consents",
        "documents that a user has to accept, as the session begins",
    ),
    (
        "auth",
        "mfa_factors",
        "an administrator's role and second factor in one look-up",
    ),
    (
        "users",
        "one_time_tokens",
        "unverified accounts are deleted unless a link is left",
    ),
    (
        "api_keys",
        "users",
        "the owner of a key exists and is enabled",
    ),
    (
        "api_keys",
        "accounts",
        "the account of a key is not deleted",
    ),
    (
        "api_keys",
        "memberships",
        "whether the creator of a key is still a member",
    ),
    (
        "organisations",
        "users",
        "names and addresses of members beside their roles",
    ),
    (
        "organisations",
        "avatars",
        "addresses of pictures beside the names of members",
    ),
    (
        "organisations",
        "api_keys",
        "keys that a former member created, in the email about it",
    ),
    (
        "organisations",
        "subscriptions",
        "the account row of an organisation that has paid is kept",
    ),
    (
        "organisations",
        "payments",
        "the account row of an organisation that has paid is kept",
    ),
    (
        "payments",
        "invoices",
        "the subscription of an invoice's payment",
    ),
    (
        "payments",
        "subscriptions",
        "the subscription of an invoice's payment",
    ),
    (
        "customers",
        "accounts",
        "the address that invoices of an account go to",
    ),
    ("customers", "memberships", "the same, of an organisation"),
    ("customers", "users", "the same"),
    (
        "billing",
        "accounts",
        "the buyer and the recipients of emails",
    ),
    (
        "billing",
        "memberships",
        "the same, and the seats to pay for",
    ),
    (
        "billing",
        "users",
        "accounts whose address at Stripe is another one",
    ),
    (
        "billing",
        "subscriptions",
        "accounts whose subscription does not follow them",
    ),
    ("billing", "billing_customers", "the same"),
    (
        "payments",
        "billing_customers",
        "a request and its customer in one round trip",
    ),
    ("dashboard", "users", "one statement"),
    ("dashboard", "accounts", "one statement"),
    ("dashboard", "account_slugs", "one statement"),
    ("dashboard", "subscriptions", "one statement"),
    ("dashboard", "payments", "one statement"),
    ("dashboard", "usage_totals", "one statement"),
    ("dashboard", "usage_daily", "one statement"),
    ("dashboard", "usage_backfill", "one statement"),
    ("dashboard", "api_usage", "one statement"),
];

fn owner(table: &str) -> Option<&'static str> {
    let owns = |line: &&str| line.split(' ').skip(1).any(|owned| owned == table);
    let line = OWNERS.lines().find(owns)?;
    line.split(' ').next()
}

/// The owned tables that a string names, and whether it writes them.
fn tables(text: &str) -> Vec<(String, bool)> {
    let bare = text.trim_matches(|c| c == '"' || c == '#');
    if owner(bare).is_some() {
        return vec![(bare.to_owned(), true)]; // a name, from which a statement is made
    }
    let mut spaced = String::new();
    for c in text.chars() {
        match c {
            '(' | ')' | ',' | ';' => spaced.extend([' ', c, ' ']),
            '"' | '#' => spaced.push(' '),
            c => spaced.push(c),
        }
    }
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let word = |at: Option<usize>| at.and_then(|at| words.get(at)).copied().unwrap_or_default();
    let mut found = Vec::new();
    for (at, table) in words.iter().enumerate().filter(|it| owner(it.1).is_some()) {
        let before = word(at.checked_sub(1)).to_uppercase();
        let further = word(at.checked_sub(2)).to_uppercase();
        let is_named = lists("FROM JOIN UPDATE INTO ONLY USING TABLE TRUNCATE", &before)
            || (before == "," && word(Some(at + 1)).eq_ignore_ascii_case("as"));
        let is_written = lists("UPDATE INTO TABLE TRUNCATE", &before)
            || (before == "FROM" && further == "DELETE");
        if is_named {
            found.push(((*table).to_owned(), is_written));
        }
    }
    found
}

/// The tables of a file's statements, with whether they are written, and the line.
fn uses(source: &Source) -> Vec<(String, bool, usize)> {
    if source.role().1 != "store" && source.part(0) != "infra" {
        return Vec::new();
    }
    let strings = source.strings.iter();
    let statements = strings.flat_map(|(text, line)| {
        tables(text)
            .into_iter()
            .map(|(table, is_written)| (table, is_written, *line))
    });
    // `Users::Table` of sea-query.
    let built = source.names.iter().filter(|name| name.part(1) == "Table");
    let built = built.filter_map(|name| {
        let table = snake(name.part(0));
        owner(&table).map(|_| (table, true, name.line))
    });
    statements.chain(built).collect()
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

fn is_listed(reader: &str, table: &str) -> bool {
    READS.iter().any(|read| (read.0, read.1) == (reader, table))
}

pub(super) fn check(files: &Files, sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        let slice = source.part(0);
        for (table, is_written, line) in uses(source) {
            let owner = owner(&table).unwrap_or_default();
            if owner != slice && (is_written || !is_listed(slice, &table)) {
                faults.push(format!(
                    "{}:{line}: `{table}` belongs to `{owner}`: call a function of its store",
                    source.path
                ));
            }
        }
    }
    for (path, text) in files
        .iter()
        .filter(|file| file.0.starts_with("migrations/"))
    {
        for (at, line) in text.lines().enumerate() {
            let table = line.strip_prefix("CREATE TABLE ");
            let table = table.and_then(|rest| rest.split([' ', '(']).next());
            let is_partition = line.contains(" PARTITION OF ");
            let is_dropped = |table: &str| {
                let drop = format!("DROP TABLE {table};");
                let mut later = files.range::<str, _>((Excluded(path.as_str()), Unbounded));
                later.any(|(path, text)| path.starts_with("migrations/") && text.contains(&drop))
            };
            let needs =
                |table: &&str| !is_partition && owner(table).is_none() && !is_dropped(table);
            if let Some(table) = table.filter(needs) {
                let line = at + 1;
                faults.push(format!("{path}:{line}: no slice owns the table `{table}`"));
            }
        }
    }
    faults
}

/// Reads that are listed and not made.
pub(super) fn stale_reads(sources: &[Source]) -> Vec<(&'static str, &'static str)> {
    let made = |reader: &str, table: &str| {
        let of_reader = sources.iter().filter(|source| source.part(0) == reader);
        of_reader.flat_map(uses).any(|used| used.0 == table)
    };
    let pairs = READS.iter().map(|read| (read.0, read.1));
    pairs
        .filter(|(reader, table)| !made(reader, table))
        .collect()
}
