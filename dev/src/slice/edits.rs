//! The lines of a slice in files of the product, and their places.

use super::names::Names;
use super::tree::Tree;

/// Adds the lines; places that are not there are collected.
pub(super) fn apply(tree: &mut Tree, names: &Names) {
    source(tree, names);
    access(tree, names);
    privacy(tree, names);
    tests(tree, names);
    pages(tree, names);
}

fn source(tree: &mut Tree, names: &Names) {
    let fill = |text: &str| names.fill(text);
    let id = fill("    /// `sample_items.id`\n    SampleItemId,\n");
    tree.insert_before("src/ids.rs", "typed_ids! {", "}", &id);
    tree.edit(
        "src/lib.rs",
        "the layer below `pub mod privacy;`",
        &fill("pub mod sample_items;"),
        |lib| add_to_layer(lib, &names.plural),
    );
    let app = "src/app.rs";
    tree.insert_after(app, "use crate::{", &fill("sample_items, "));
    let group = "\n        .group(\"/api/v1/sample-items\",
            signed_in().scope(Area::SampleItems).idempotency_keys(KeyUse::Optional),
            sample_items::routes())";
    let place = "fn entrusted_groups(groups: Groups) -> Groups {\n    groups";
    tree.insert_after(app, place, &fill(group));
    tree.insert_before(
        "src/app/document.rs",
        "    tags(\n",
        "        (name = \"health\"",
        &fill(
            "        (name = \"sample items\", description = \"Sample items of the account\"),\n",
        ),
    );
    let events = fill("    SampleItemCreated,\n    SampleItemChanged,\n    SampleItemDeleted,\n");
    tree.insert_before("src/audit/model.rs", "pub enum Event {\n", "}\n", &events);
    let code = "    TooManySampleItems: problem_code!(409, \"too_many_sample_items\", \"The account has reached its limit of \
        sample items.\");\n";
    tree.insert_after(
        "src/web/code.rs",
        "    Conflict: ProblemCode::CONFLICT;\n",
        &fill(code),
    );
    let worker = "src/worker.rs";
    tree.insert_before(
        worker,
        "use crate::privacy",
        "use crate::s",
        &fill("use crate::sample_items::PurgeSampleItems;\n"),
    );
    let job = fill("        .define_job::<PurgeSampleItems>()\n");
    tree.insert_before(
        worker,
        "job_queue::options(",
        "        .define_job::<PurgeDeadJobs>()",
        &job,
    );
    let schedule =
        "        .with_cron(Cron::daily_at::<PurgeSampleItems>(5, 57).expect(VALID_TIME))\n";
    tree.insert_before(
        worker,
        "job_queue::options(",
        "        .with_cron(Cron::daily_at::<PurgeDeadJobs>",
        &fill(schedule),
    );
}

fn access(tree: &mut Tree, names: &Names) {
    let fill = |text: &str| names.fill(text);
    let policy = "src/policy.rs";
    tree.insert_before(
        policy,
        "pub enum Area {\n",
        "}\n",
        &fill("    SampleItems,\n"),
    );
    tree.insert_before(
        policy,
        "pub const ALL: &[Self] = &[\n",
        "    ];",
        &fill("        Self::SampleItems,\n"),
    );
    let scopes =
        "            Self::SampleItems => [\"sample_items:read\", \"sample_items:write\"],\n";
    tree.insert_before(
        policy,
        "fn scope_names(self)",
        "        }\n    }",
        &fill(scopes),
    );
    tree.insert_before(
        policy,
        "let (read, write) = match self {\n",
        "        };\n",
        &fill("            Self::SampleItems => (P::SampleItemsRead, P::SampleItemsWrite),\n"),
    );
    let roles = "src/roles.rs";
    let permissions = "    SampleItemsRead \"sample_items:read\",\n    SampleItemsWrite \"sample_items:write\",\n";
    tree.insert_before(roles, "\npermissions! {\n", "}\n", &fill(permissions));
    tree.insert_before(
        roles,
        "Self::Member => Self::ReadOnly",
        "]",
        &fill("P::SampleItemsWrite,"),
    );
    tree.insert_before(
        roles,
        "Self::ReadOnly => Permissions::NONE",
        "]",
        &fill("P::SampleItemsRead,"),
    );
}

fn privacy(tree: &mut Tree, names: &Names) {
    let store = "    Store {
        name: \"sample_items\",
        purpose: Purpose::Content,
        owners: &[Owner::Account(\"account_id\")],
        retention: Retention::Owner,
        export: Export::Included,
        erasure: Erasure::Deleted,
        columns: &[
            column(\"id\", Describes),
            column(\"account_id\", Identifies),
            column(\"name\", Describes),
            column(\"created_at\", Describes),
            column(\"updated_at\", Describes),
        ],
    },\n";
    tree.insert_before(
        "src/privacy/inventory/content.rs",
        "STORES: &[Store] = &[\n",
        "\n];",
        &format!("\n{}", names.fill(store).trim_end()),
    );
}

fn tests(tree: &mut Tree, names: &Names) {
    let fill = |text: &str| names.fill(text);
    let tables = "tests/architecture/tables.rs";
    tree.insert_before(
        tables,
        "const OWNERS: &str = \"\n",
        "\";",
        &fill("sample_items sample_items\n"),
    );
    let reads = "READS: &[(&str, &str, &str)] = &[\n";
    let read = "    (\"sample_items\", \"accounts\", \"those of an organisation whose row is kept after its purge\"),\n";
    tree.insert_before(tables, reads, "];", &fill(read));
    tree.edit(
        "tests/api/main.rs",
        "the list of modules",
        &fill("mod sample_items;"),
        |main| insert_sorted(main, &fill("mod sample_items;"), "mod "),
    );
    let id =
        "        (\"/api/v1/sample-items/{id}\", account.new_sample_item(\"of-another\").await),\n";
    tree.insert_before(
        "tests/api/whole_surface.rs",
        "async fn ids_of(",
        "    ]\n",
        &fill(id),
    );
    let row = "INSERT INTO sample_items (id, account_id, name, created_at, updated_at)
             VALUES (gen_random_uuid(), '{owner}', 'x', now(), now());\n         ";
    tree.insert_before(
        "tests/api/row_security/behaviour.rs",
        "pub(crate) async fn fill(",
        "INSERT INTO",
        &fill(row),
    );
    let request = "\n        (\"/api/v1/sample-items\", json!({ \"name\": \"Apollo\" })),";
    let place = "// One of each; a new operation needs a line.\n    let requests = [";
    tree.insert_after("tests/api/idempotency.rs", place, &fill(request));
}

fn pages(tree: &mut Tree, names: &Names) {
    tree.edit(
        "docs/architecture.md",
        "the line below that of `privacy` in the list of layers",
        &names.plural,
        |page| add_to_page(page, names),
    );
    tree.insert_before(
        "docs/organisations.md",
        "| `member` |",
        " |\n",
        &format!(", {}", names.words()),
    );
}

/// Adds a module to the layer below that of `privacy`.
fn add_to_layer(lib: &str, module: &str) -> Option<String> {
    let above = lib.find("\n\npub mod privacy;")?;
    let begin = lib[..above].rfind("\n\n")? + 2;
    let mut lines: Vec<&str> = lib[begin..above].lines().collect();
    let new = format!("pub mod {module};");
    lines.push(&new);
    lines.sort_unstable_by_key(|line| line.trim_end_matches(';'));
    Some(format!(
        "{}{}{}",
        &lib[..begin],
        lines.join("\n"),
        &lib[above..]
    ))
}

/// Adds a module to the line of the same layer in the page, and its words to what the line describes.
fn add_to_page(page: &str, names: &Names) -> Option<String> {
    let list = page.find("## The layers")?;
    let privacy = list + page[list..].find("\nprivacy ")?;
    let begin = privacy + 1 + page[privacy + 1..].find('\n')? + 1;
    let end = begin + page[begin..].find('\n')?;
    let (modules, words) = page[begin..end].split_once("  ")?;
    let line = format!(
        "{modules} · {}  {}; {}",
        names.plural,
        words.trim_start(),
        names.words()
    );
    Some(format!("{}{line}{}", &page[..begin], &page[end..]))
}

/// Inserts a line before the first one with the same beginning that sorts after it, or after the last.
fn insert_sorted(text: &str, line: &str, prefix: &str) -> Option<String> {
    let list = text.rfind("\n\nmod ")? + 2;
    let lines = text[list..].lines().filter(|it| it.starts_with(prefix));
    let next = lines
        .clone()
        .find(|it| it.trim_end_matches(';') > line.trim_end_matches(';'));
    let at = match next {
        Some(next) => list + text[list..].find(next)?,
        None => text.len(),
    };
    Some(format!("{}{line}\n{}", &text[..at], &text[at..]))
}

#[cfg(test)]
mod tests_of_places {
    use super::*;

    #[test]
    fn a_module_is_inserted_in_its_layer_in_order() {
        let lib = "pub mod a;\n\npub mod api_keys;\npub mod start_page;\n\npub mod privacy;\n\npub mod app;\n";
        let edited = add_to_layer(lib, "projects").expect("it has the layer");
        assert!(
            edited.contains(
                "\n\npub mod api_keys;\npub mod projects;\npub mod start_page;\n\npub mod privacy;\n"
            ),
            "{edited}"
        );
        assert_eq!(add_to_layer("pub mod a;\n", "projects"), None);
    }

    #[test]
    fn the_page_names_the_module_and_its_words() {
        let names = Names::new("support_tickets", None).expect("it is good");
        let page = "## The layers\n\n```text\napp   routes\nprivacy    records\nfiles · secrets  files; keys\nauth\n```\n";
        let edited = add_to_page(page, &names).expect("it has the line");
        assert!(
            edited.contains(
                "\nfiles · secrets · support_tickets  files; keys; support tickets\nauth"
            ),
            "{edited}"
        );
        assert_eq!(add_to_page("## The layers\n", &names), None);
    }

    #[test]
    fn a_test_is_listed_in_order() {
        let main = "//! x\n\nmod harness;\n\nmod plans;\nmod users;\n";
        let first = insert_sorted(main, "mod projects;", "mod ").expect("it has a list");
        assert!(
            first.ends_with("mod plans;\nmod projects;\nmod users;\n"),
            "{first}"
        );
        let last = insert_sorted(main, "mod zones;", "mod ").expect("it has a list");
        assert!(last.ends_with("mod users;\nmod zones;\n"), "{last}");
    }
}
