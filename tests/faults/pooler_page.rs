//! The settings of `PgBouncer` on the page about poolers.

use std::path::Path;

use groundwork_dev::pgbouncer::{PgBouncer, Program};
use url::Url;

use crate::databases::text;
use crate::harness::{Service, World, is_fine, run, until, with};

/// The first block of settings, with these instead of the values on the page, and without TLS.
fn settings_of_page(values: &[(&str, String)]) -> String {
    let page = include_str!("../../docs/scale/pooler.md");
    let block = page
        .split("```ini\n")
        .nth(1)
        .expect("the page has settings");
    let block = block.split("```").next().unwrap_or_default();
    let mut given = values.to_vec();
    let lines = block.lines().filter(|line| !line.contains("_tls_"));
    let text = lines.fold(String::new(), |text, line| {
        let name = line.split(" = ").next().unwrap_or_default();
        let Some(at) = given.iter().position(|(given, _)| *given == name) else {
            return text + line + "\n";
        };
        text + &given.swap_remove(at).1 + "\n"
    });
    assert!(given.is_empty(), "not on the page: {given:?}");
    text
}

#[tokio::test]
async fn f61_the_settings_on_the_page_serve() {
    let world = World::new().await;
    let direct: Url = world.settings["DATABASE_URL"].parse().expect("it is a URL");
    let secret: String = sqlx::query_scalar("SELECT rolpassword FROM pg_authid WHERE rolname = $1")
        .bind(direct.username())
        .fetch_one(&mut world.owner().await)
        .await
        .expect("the owner may read it");
    assert!(secret.starts_with("SCRAM-SHA-256$"), "{secret}");
    let users = format!("\"{}\" \"{secret}\"\n", direct.username());
    let database = direct.path().trim_start_matches('/').to_owned();
    let server = direct.port().expect("it has a port");
    let text_of = |port: u16, users: &Path| {
        settings_of_page(&[
            (
                "app",
                format!("{database} = host=127.0.0.1 port={server} dbname={database}"),
            ),
            ("listen_addr", "listen_addr = 127.0.0.1".to_owned()),
            ("listen_port", format!("listen_port = {port}")),
            ("auth_file", format!("auth_file = {}", users.display())),
        ])
    };
    let pooler = PgBouncer::start_from(Program::Following, &users, text_of).await;
    let pooler = pooler.expect("it starts");
    let mut pooled = direct.clone();
    pooled
        .set_port(Some(pooler.port()))
        .expect("it takes a port");
    let settings = with(
        &world.settings,
        &[
            ("DATABASE_URL", pooled.as_str()),
            ("DATABASE_DIRECT_URL", direct.as_str()),
        ],
    );
    let owner = world.owner_url();
    let migrating = with(&settings, &[("DATABASE_MIGRATION_URL", &owner)]);
    for command in ["migrate", "doctor"] {
        let done = run(&migrating, &[command], "").await;
        let report = text(&done);
        assert!(
            !report.contains("FAULT  database") && !report.contains("FAULT  DATABASE"),
            "{report}"
        );
        assert!(command == "doctor" || done.status.success(), "{report}");
    }
    let service = Service::start(&settings, &["serve"]).await;
    let access = service.sign_in("ada").await.access;
    assert!(is_fine(&service.me(&access).await));
    assert!(is_fine(&service.register("grace@example.com").await));
    until("the email comes", async || {
        !world.inbox.emails_to("grace@example.com").is_empty()
    })
    .await;
}
