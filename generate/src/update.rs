//! `make update` in a product: merges what the template has changed since the product was made.
//!
//! Both states of the template are rendered with the product's answers, the one that it has and the new one. They become two
//! commits in the product's repository, and git applies the second one: an ordinary merge of three sides.

use std::fs;
use std::path::{Path, PathBuf};

use crate::answers::Answers;
use crate::edits::Edits;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::{git, render, root, say};

pub(crate) fn update(product: &Path) -> Result<()> {
    let product = product
        .canonicalize()
        .map_err(|_| Error::refused(format!("there is no directory {}", product.display())))?;
    let template = root()?;
    let answers = Answers::read(&product)?;
    let commit = git::output(&mut git::git(&template, ["rev-parse", "HEAD"]))?;
    if !check(&template, &product, &answers, &commit)? {
        say("The product is up to date.");
        return Ok(());
    }
    let names = render::names_for(&template, &commit, &answers.name)?;
    let scratch = scratch(&product)?;
    let theirs = commits(&template, &product, &answers, &commit, &names, &scratch);
    // What is left of it is of no use.
    let _ = fs::remove_dir_all(&scratch);
    merge(&product, &answers, &theirs?, &commit)
}

/// Returns whether there is something to merge.
fn check(template: &Path, product: &Path, answers: &Answers, commit: &str) -> Result<bool> {
    let top = git::output(&mut git::git(product, ["rev-parse", "--show-toplevel"]))?;
    if Path::new(&top) != product {
        return Err(Error::refused(format!(
            "{} is not the top of a git repository",
            product.display()
        )));
    }
    if !git::output(&mut git::git(product, ["status", "--porcelain"]))?.is_empty() {
        return Err(Error::refused(
            "the product has uncommitted changes or untracked files: commit, stash or ignore them first",
        ));
    }
    let manifest = product.join("Cargo.toml");
    let manifest =
        fs::read_to_string(&manifest).map_err(|error| Error::io("read", &manifest, error))?;
    let package = manifest.split("[package]").nth(1).unwrap_or_default();
    let package = package
        .lines()
        .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    if package != Some(&answers.name) {
        return Err(Error::refused(format!(
            "the package is named {} and product.json has {}: rename by hand is not followed; correct the one that is wrong",
            package.unwrap_or("nothing"),
            answers.name
        )));
    }
    let old = &answers.template_commit;
    if old == commit {
        return Ok(false);
    }
    let is_known = git::succeeds(&mut git::git(
        template,
        ["cat-file", "-e", &format!("{old}^{{commit}}")],
    ))?;
    if !is_known {
        return Err(Error::refused(format!(
            "the template has no commit {old}, from which the product was made: is it another one?"
        )));
    }
    if !git::succeeds(&mut git::git(
        template,
        ["merge-base", "--is-ancestor", old, commit],
    ))? {
        return Err(Error::refused(format!(
            "the template is older than the product: {commit} does not follow {old}; fetch a newer one"
        )));
    }
    Ok(true)
}

/// A directory of its own below the repository's, where no tool looks.
fn scratch(product: &Path) -> Result<PathBuf> {
    let path = PathBuf::from(git_dir(product)?).join("template-update");
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).map_err(|error| Error::io("create", &path, error))?;
    Ok(path)
}

/// Commits both states and returns the id of the second, whose parent is the first.
fn commits(
    template: &Path,
    product: &Path,
    answers: &Answers,
    commit: &str,
    names: &Names,
    scratch: &Path,
) -> Result<String> {
    let git_dir = git_dir(product)?;
    let mut parent: Option<String> = None;
    for (name, of, edits) in [
        (
            "old",
            answers.template_commit.as_str(),
            Edits::WherePossible,
        ),
        ("new", commit, Edits::All),
    ] {
        let tree = scratch.join(name);
        fs::create_dir(&tree).map_err(|error| Error::io("create", &tree, error))?;
        let answers = Answers {
            template_commit: of.to_owned(),
            ..answers.clone()
        };
        render::render(template, &answers, names, edits, &tree)?;
        let index = scratch.join(format!("{name}-index"));
        let in_tree = |args: &[&str]| {
            let mut command = git::git(&tree, args);
            command
                .env("GIT_DIR", &git_dir)
                .env("GIT_WORK_TREE", &tree)
                .env("GIT_INDEX_FILE", &index);
            command
        };
        git::output(&mut in_tree(&["add", "--all", "--force", "."]))?;
        let written = git::output(&mut in_tree(&["write-tree"]))?;
        let message = format!("Update from the template to {}", short(of));
        let mut args = vec!["commit-tree", "-m", &message];
        if let Some(parent) = &parent {
            args.extend(["-p", parent]);
        }
        args.push(&written);
        let mut make = git::git(product, args);
        git::identify(&mut make, product, &answers.author, &answers.sender)?;
        parent = Some(git::output(&mut make)?);
    }
    Ok(parent.unwrap_or_default())
}

fn git_dir(product: &Path) -> Result<String> {
    git::output(&mut git::git(product, ["rev-parse", "--absolute-git-dir"]))
}

fn short(commit: &str) -> &str {
    &commit[..12.min(commit.len())]
}

fn merge(product: &Path, answers: &Answers, theirs: &str, commit: &str) -> Result<()> {
    let before = git::output(&mut git::git(
        product,
        ["symbolic-ref", "--quiet", "--short", "HEAD"],
    ))
    .map_err(|_| Error::refused("the product is on no branch: switch to one first"))?;
    let branch = format!("template-{}", short(commit));
    let exists = git::succeeds(&mut git::git(
        product,
        [
            "rev-parse",
            "--verify",
            "--quiet",
            &format!("refs/heads/{branch}"),
        ],
    ))?;
    if exists {
        return Err(Error::refused(format!(
            "there is a branch {branch}: finish or delete it first"
        )));
    }
    let go_back = || -> Result<()> {
        git::output(&mut git::git(product, ["switch", "--quiet", &before]))?;
        git::succeeds(&mut git::git(product, ["branch", "--quiet", "-D", &branch]))?;
        Ok(())
    };
    let create = ["switch", "--quiet", "--create", &branch];
    if let Err(error) = git::output(&mut git::git(product, create)) {
        // A hook may fail after the branch was made.
        go_back()?;
        return Err(error);
    }
    let pick = |args: &[&str]| -> Result<()> {
        let mut command = git::git(
            product,
            [
                "-c",
                "core.editor=true",
                "-c",
                "merge.renameLimit=10000",
                "cherry-pick",
            ],
        );
        command.args(args);
        git::identify(&mut command, product, &answers.author, &answers.sender)?;
        git::output(&mut command).map(|_| ())
    };
    let mut picked = pick(&["--allow-empty", theirs]);
    let mut removed = Vec::new();
    if picked.is_err() {
        removed = keep_deletions(product)?;
        if !removed.is_empty() && conflicts(product)?.is_empty() {
            picked = pick(&["--continue"]);
        }
    }
    let left = conflicts(product)?;
    if let (Err(error), true) = (picked, left.is_empty()) {
        // There is none in progress if it has not begun.
        let _ = pick(&["--abort"]);
        go_back()?;
        return Err(Error::refused(format!("nothing was changed: {error}")));
    }
    report(&before, &branch, &removed, &left);
    Ok(())
}

/// Files that the product has deleted and the template has changed stay deleted.
fn keep_deletions(product: &Path) -> Result<Vec<String>> {
    let status = git::output(&mut git::git(
        product,
        ["status", "--porcelain", "--untracked-files=no"],
    ))?;
    let deleted: Vec<String> = status
        .lines()
        .filter_map(|line| line.strip_prefix("DU "))
        .map(str::to_owned)
        .collect();
    if !deleted.is_empty() {
        let mut remove = git::git(product, ["rm", "--quiet", "--"]);
        git::output(remove.args(&deleted))?;
    }
    Ok(deleted)
}

fn conflicts(product: &Path) -> Result<Vec<String>> {
    let list = git::output(&mut git::git(
        product,
        ["diff", "--name-only", "--diff-filter=U"],
    ))?;
    Ok(list.lines().map(str::to_owned).collect())
}

fn report(before: &str, branch: &str, removed: &[String], left: &[String]) {
    for path in removed {
        say(&format!("  stays deleted: {path}"));
    }
    if left.is_empty() {
        say(&format!(
            "The update is on the branch {branch}. Test it, then: git switch {before} && git merge {branch}"
        ));
        return;
    }
    for path in left {
        say(&format!("  both changed: {path}"));
    }
    say(&format!(
        "The update is on the branch {branch}, with the conflicts above. Resolve them, then: git add --all && git cherry-pick --continue\n\
         To go back: git cherry-pick --abort && git switch {before} && git branch -D {branch}"
    ));
}
