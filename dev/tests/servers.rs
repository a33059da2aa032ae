//! The private servers: started as whoever we are, ended with us, their data kept or not as promised.

use std::{fs, os::unix::fs::PermissionsExt};

use groundwork_dev::{Postgres, Redis, files::Scratch, ports, postgres};
use sqlx::{Connection, PgConnection, Row};

async fn count(url: &str, statement: &'static str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let row = sqlx::query(statement)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    row.get(0)
}

#[tokio::test]
async fn a_throw_away_server_leaves_nothing() {
    let server = Postgres::throw_away().await.unwrap();
    server.ensure_database("one").await.unwrap();
    server.ensure_database("one").await.unwrap();
    let (directory, url) = (server.directory().to_owned(), server.url("one"));
    assert_eq!(count(&url, "SELECT 1::BIGINT").await, 1);
    drop(server);
    assert!(!directory.exists());
    assert!(PgConnection::connect(&url).await.is_err());
}

#[tokio::test]
async fn data_survive_a_restart_and_a_stale_note() {
    // Nobody else may enter it, as is usual for root's home.
    let home = Scratch::new(None).unwrap();
    let first = Postgres::keep(home.path(), None).await.unwrap();
    assert!(first.is_new);
    first.ensure_database("app").await.unwrap();
    let mut connection = first.connect("app").await.unwrap();
    sqlx::query("CREATE TABLE t AS SELECT 7::BIGINT AS n")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let port = first.port();
    let data = first.directory().join("data");
    first.stop().await;

    // A killed server leaves its note behind, and its number may by now be somebody else's.
    let note = format!(
        "{}\n{}\n1\n{port}\n\n127.0.0.1\n",
        std::process::id(),
        data.display()
    );
    fs::write(data.join("postmaster.pid"), note).unwrap();
    let second = Postgres::keep(home.path(), Some(port)).await.unwrap();
    assert!(!second.is_new);
    assert_eq!(second.port(), port, "a checkout keeps its port");
    assert_eq!(count(&second.url("app"), "SELECT n FROM t").await, 7);

    // Another start takes over from a server that a killed run left behind.
    let third = Postgres::keep(home.path(), Some(port)).await.unwrap();
    assert_eq!(count(&third.url("app"), "SELECT n FROM t").await, 7);
    let mode = fs::metadata(third.directory())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    drop((second, third));
    postgres::remove(home.path()).unwrap();
    assert!(!data.exists());
    assert!(!home.path().join("postgres").is_symlink());
}

#[tokio::test]
async fn a_private_redis_answers_and_ends() {
    let server = Redis::throw_away().await.unwrap();
    let address = server.url().replace("redis://", "");
    assert!(tokio::net::TcpStream::connect(&address).await.is_ok());
    server.stop().await;
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
}

#[test]
fn two_runs_never_get_the_same_port() {
    let first = ports::reserve(None, 18_000).unwrap();
    let second = ports::reserve(None, 18_000).unwrap();
    assert_ne!(first.port, second.port);
    let number = first.port;
    drop(first);
    let again = ports::reserve(Some(number), 18_000).unwrap();
    assert_eq!(
        again.port, number,
        "a free port of the last run comes first"
    );
}

#[tokio::test]
async fn a_sweep_takes_only_what_the_dead_left() {
    let living = Scratch::new(None).unwrap();
    let name = living.path().file_name().unwrap().to_str().unwrap();
    // No system gives out so high a process id.
    let dead = living
        .path()
        .with_file_name(name.replace(&std::process::id().to_string(), "2147483647"));
    let elsewhere = living.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("data")).unwrap();
    fs::create_dir(&dead).unwrap();
    std::os::unix::fs::symlink(&elsewhere, dead.join("postgres")).unwrap();
    Scratch::sweep();
    assert!(!dead.exists() && !elsewhere.exists());
    assert!(living.path().exists());
}
