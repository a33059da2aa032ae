//! `sqlx`: what the checked queries know about the database, refreshed or compared.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::SystemTime,
};

use groundwork_dev::{Error, Postgres, Result, error::Doing, files::Scratch};

use super::{
    db::apply_folder,
    foreground::{Foreground, Interrupts, interrupted},
    home, say,
};

const PACKAGE: &str = "groundwork";
const DATABASE: &str = "app";

/// `sqlx`: compiles the service against a fresh database and keeps what its queries learn.
pub(crate) async fn sqlx(check: bool) -> Result<ExitCode> {
    let root = home::checkout()?;
    let mut interrupts = Interrupts::listen()?;
    let prepare = async {
        let postgres = Postgres::throw_away().await?;
        postgres.ensure_database(DATABASE).await?;
        apply_folder(&postgres, DATABASE, &root.join("migrations")).await?;
        Ok::<_, Error>(postgres)
    };
    let postgres = tokio::select! {
        prepared = prepare => prepared?,
        signal = interrupts.next() => return Ok(interrupted(signal)),
    };

    let learned = Scratch::new(None)?;
    expand_again(&root)?;
    let mut compile = Command::new(cargo());
    compile
        .args(["check", "--quiet", "--package", PACKAGE, "--all-targets"])
        .current_dir(&root)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", learned.path())
        .env("DATABASE_URL", postgres.url(DATABASE));
    let ended = Foreground::start(&mut compile)?
        .wait(&mut interrupts)
        .await?;
    postgres.stop().await;
    // What was compiled against that database must not pass for compiled against `.sqlx/`.
    expand_again(&root)?;
    if !ended.is_success() {
        return Ok(ended.code());
    }

    let fresh = queries(learned.path())?;
    let kept_in = root.join(".sqlx");
    let kept = queries(&kept_in)?;
    if check {
        return compare(&fresh, &kept);
    }
    replace(&kept_in, &fresh, &kept)?;
    say(&format!("{} checked queries in .sqlx/", fresh.len()));
    Ok(ExitCode::SUCCESS)
}

/// Makes cargo compile the service again: the macros do not see a database change by themselves.
fn expand_again(root: &Path) -> Result<()> {
    let library = root.join("src/lib.rs");
    fs::File::options()
        .append(true)
        .open(&library)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .doing_to("touch", &library)
}

/// The query files in a folder, by name.
fn queries(folder: &Path) -> Result<BTreeMap<OsString, Vec<u8>>> {
    let mut found = BTreeMap::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder).doing_to("list", folder)? {
            let entry = entry.doing_to("list", folder)?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b"query-")
                && entry.path().extension() == Some(OsStr::new("json"))
            {
                found.insert(
                    name,
                    fs::read(entry.path()).doing_to("read", &entry.path())?,
                );
            }
        }
    }
    Ok(found)
}

fn compare(
    fresh: &BTreeMap<OsString, Vec<u8>>,
    kept: &BTreeMap<OsString, Vec<u8>>,
) -> Result<ExitCode> {
    let mut faults = Vec::new();
    for (name, data) in fresh {
        match kept.get(name) {
            None => faults.push(format!(
                "missing   {}\n          {}",
                name.display(),
                statement(data)
            )),
            Some(other) if parsed(other) != parsed(data) => {
                faults.push(format!(
                    "outdated  {}\n          {}",
                    name.display(),
                    statement(data)
                ));
            }
            Some(_) => {}
        }
    }
    for (name, data) in kept.iter().filter(|(name, _)| !fresh.contains_key(*name)) {
        faults.push(format!(
            "unused    {}\n          {}",
            name.display(),
            statement(data)
        ));
    }
    if faults.is_empty() {
        say(&format!(
            ".sqlx/ is up to date: {} checked queries",
            fresh.len()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    Err(Error::Other(format!(
        ".sqlx/ is not what it should be: run `make sqlx`\n{}",
        faults.join("\n")
    )))
}

fn parsed(data: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(data).ok()
}

/// The first words of the statement that a query file is about.
fn statement(data: &[u8]) -> String {
    let file = parsed(data).unwrap_or_default();
    let words: Vec<&str> = file["query"]
        .as_str()
        .unwrap_or_default()
        .split_whitespace()
        .take(12)
        .collect();
    words.join(" ")
}

fn replace(
    folder: &Path,
    fresh: &BTreeMap<OsString, Vec<u8>>,
    kept: &BTreeMap<OsString, Vec<u8>>,
) -> Result<()> {
    fs::create_dir_all(folder).doing_to("create", folder)?;
    for name in kept.keys().filter(|name| !fresh.contains_key(*name)) {
        let path = folder.join(name);
        fs::remove_file(&path).doing_to("remove", &path)?;
    }
    for (name, data) in fresh
        .iter()
        .filter(|(name, data)| kept.get(*name) != Some(*data))
    {
        let path = folder.join(name);
        fs::write(&path, data).doing_to("write", &path)?;
    }
    Ok(())
}

/// The `cargo` that called us, or the one on `PATH`.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
