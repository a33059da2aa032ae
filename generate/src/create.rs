//! `make new`: a product in a directory of its own, with a history of one commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use optional_slices::Definition;

use crate::answers::{self, Answers};
use crate::edits::Edits;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::{ask, git, render, root, say, variable};

pub(crate) fn new_product() -> Result<()> {
    let template = root()?;
    let commit = git::output(&mut git::git(&template, ["rev-parse", "HEAD"]))
        .map_err(|_| Error::refused("this is no clone of the template: a product remembers the commit that it was made from"))?;
    let usage = "usage: make new NAME=acme-billing DEST=../acme-billing";
    let name =
        variable("NAME").ok_or_else(|| Error::refused(format!("NAME is missing; {usage}")))?;
    let names = render::names_for(&template, &commit, &name)?;
    let destination =
        variable("DEST").ok_or_else(|| Error::refused(format!("DEST is missing; {usage}")))?;
    let destination = checked_destination(&template, Path::new(&destination))?;
    let optional = render::optional_slices(&template)?;
    let answers = ask_for(&names, commit, &optional)?;
    show(&names, &answers, &destination);
    if !git::output(&mut git::git(&template, ["status", "--porcelain"]))?.is_empty() {
        say("Uncommitted changes of the template are not in the product.");
    }

    // Beside it, so that it is whole when it gets its name.
    let mut draft = destination.clone().into_os_string();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    fs::create_dir(&draft).map_err(|error| Error::io("create", &draft, error))?;
    let made = make(&template, &answers, &names, &draft).and_then(|()| {
        fs::rename(&draft, &destination).map_err(|error| Error::io("name", &destination, error))
    });
    if made.is_err() {
        // The fault matters more than one of cleaning up.
        let _ = fs::remove_dir_all(&draft);
    }
    made?;
    if !answers.without.is_empty() {
        generate(&answers, &destination)?;
    }
    say(&format!(
        "\nMade {}. Next:\n\n  cd {}\n  make run\n",
        names.title,
        destination.display()
    ));
    Ok(())
}

fn make(template: &Path, answers: &Answers, names: &Names, draft: &Path) -> Result<()> {
    render::render(template, answers, names, Edits::All, draft)?;
    git::output(&mut git::git(
        draft,
        ["init", "--quiet", "--initial-branch=main"],
    ))?;
    git::output(&mut git::git(draft, ["add", "--all", "--force"]))?;
    let message = format!("Begin {}", names.title);
    let mut commit = git::git(
        draft,
        ["commit", "--quiet", "--no-verify", "--message", &message],
    );
    git::identify(&mut commit, draft, &answers.author, &answers.sender)?;
    git::output(&mut commit)?;
    Ok(())
}

/// Generates what depends on the slices that are left, as part of the first commit.
fn generate(answers: &Answers, product: &Path) -> Result<()> {
    say(
        "Compiling the product, for its OpenAPI document and what else is generated from the code:",
    );
    let mut make = Command::new("make");
    make.args([
        "--no-print-directory",
        "sqlx",
        "openapi",
        "settings",
        "privacy",
    ])
    .current_dir(product);
    // Arguments of this run are not those of that one.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL"] {
        make.env_remove(name);
    }
    let ran = make.stdin(Stdio::null()).status();
    if !ran.is_ok_and(|status| status.success()) {
        return Err(Error::refused(format!(
            "the product is in {}, but what is generated from the code could not be: see above, then `make sqlx openapi settings privacy` there, and commit",
            product.display()
        )));
    }
    git::output(&mut git::git(product, ["add", "--all"]))?;
    let mut commit = git::git(
        product,
        ["commit", "--quiet", "--no-verify", "--amend", "--no-edit"],
    );
    git::identify(&mut commit, product, &answers.author, &answers.sender)?;
    git::output(&mut commit)?;
    Ok(())
}

fn checked_destination(template: &Path, destination: &Path) -> Result<PathBuf> {
    let shown = destination.display();
    let parent = match destination.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(Error::refused(format!("{shown} exists"))),
    };
    let name = destination
        .file_name()
        .ok_or_else(|| Error::refused(format!("{shown} names no directory")))?;
    let parent = parent
        .canonicalize()
        .map_err(|_| Error::refused(format!("there is no directory {}", parent.display())))?;
    if parent.starts_with(template) {
        return Err(Error::refused(format!(
            "{shown} is inside the template: name a directory beside it"
        )));
    }
    let destination = parent.join(name);
    if destination.symlink_metadata().is_ok() {
        return Err(Error::refused(format!("{shown} exists")));
    }
    Ok(destination)
}

fn ask_for(names: &Names, template_commit: String, optional: &[Definition]) -> Result<Answers> {
    let domain = ask::answer(
        "DOMAIN",
        "Host name of the API",
        &format!("api.{}.example", names.kebab),
        answers::check_domain,
    )?;
    let host = domain.strip_prefix("api.").unwrap_or(&domain);
    let sender = format!("{} <hello@{host}>", names.title);
    let without = ask::without(optional)?;
    Ok(Answers {
        name: names.kebab.clone(),
        tables_kept: Vec::new(),
        without,
        description: ask::description(&names.title)?,
        sender: ask::answer("SENDER", "Sender of emails", &sender, answers::check_sender)?,
        domain,
        licence: ask::licence()?,
        author: ask::answer(
            "AUTHOR",
            "Author, for the licence",
            &format!("The {} authors", names.title),
            answers::check_author,
        )?,
        template_commit,
    })
}

fn show(names: &Names, answers: &Answers, destination: &Path) {
    let commit = &answers.template_commit[..12.min(answers.template_commit.len())];
    for (what, value) in [
        ("directory", destination.display().to_string()),
        ("package, binary, image", names.kebab.clone()),
        ("crate", names.snake.clone()),
        ("variables", names.upper.clone()),
        ("types", names.pascal.clone()),
        ("for people", names.title.clone()),
        ("API keys", format!("{}_live_…", names.key_prefix)),
        ("description", answers.description.clone()),
        ("host", answers.domain.clone()),
        ("sender", answers.sender.clone()),
        ("licence", answers.licence.name().to_owned()),
        ("author", answers.author.clone()),
        ("without", answers.without.join(", ")),
        ("template", commit.to_owned()),
    ] {
        if !value.is_empty() {
            say(&format!("  {what:<24}{value}"));
        }
    }
    if render::keeps_the_name(names) {
        say("  The template's name stays part of the product's.");
    }
}
