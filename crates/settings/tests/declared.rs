//! Declared settings: read, reported, listed and rendered.

use std::collections::HashMap;
use std::time::Duration;

use settings::{Faults, List, PostgresUrl, Reader, Source};

settings::settings! {
    "Where", PlaceSettings {
        /// Where the process runs.
        STAGE => stage: String = "production", decides_production(|stage| stage != "development");
    }
}

settings::settings! {
    /// A server.
    pub struct ServerConfig {
        /// Of ports and names.
        total: usize,
    }
    "Server": "What it listens to.", ServerSettings {
        /// Ports, in order; see [ports](ports.md).
        PORTS => ports: List<u32> = "80,443", within(1..=65535);
        /// Its names, `a` | `b`.
        NAMES => names: List<String>, production(|name| !name.contains('*'), "must not have a `*`");
        /// For a response.
        SERVER_TIMEOUT => timeout: Duration = "15s", in_development("1m"), at_most("1h"),
            production_at_most("10m");
        /// The database.
        STORE_URL => store_url: PostgresUrl, required("ask the owner"), secret;
        /// The greeting.
        GREETING => greeting: String, computed("from `STAGE`", |reader| {
            reader.text("STAGE").map(|stage| format!("hello from {stage}"))
        });
        /// The mascot.
        MASCOT => mascot: Option<String>, check(|name| name != "cat", "must not be a cat");
    }
}

settings::sections! {
    /// All of them.
    All { place: PlaceSettings, server: ServerSettings, }
}

fn variables(set: &[(&str, &str)]) -> HashMap<String, String> {
    let url = ("STORE_URL", "postgres://app:hunter2@db/app");
    let all = [url].into_iter().chain(set.iter().copied());
    all.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn read(set: &[(&str, &str)]) -> Result<ServerConfig, Faults> {
    let variables = variables(set);
    let mut reader = Reader::new(&variables);
    let All { place, server } = All::read(&mut reader);
    let total = server.ports.as_ref().map_or(0, Vec::len) + server.names.iter().flatten().count();
    let config = server.build(total).filter(|_| place.stage.is_some());
    reader.finish(config)
}

fn faults(set: &[(&str, &str)]) -> Vec<(String, String)> {
    let faults = read(set).expect_err("there is a fault").0;
    let pairs = faults.into_iter();
    pairs.map(|fault| (fault.variable, fault.message)).collect()
}

#[test]
fn defaults_are_fixed_or_by_environment_or_computed() {
    let config = read(&[]).expect("it is good");
    assert_eq!(config.ports, [80, 443]);
    assert_eq!(config.timeout, Duration::from_secs(15));
    assert_eq!(config.greeting, "hello from production");
    assert!(config.names.is_empty() && config.mascot.is_none() && config.total == 2);
    let config = read(&[("STAGE", "development")]).expect("it is good");
    assert_eq!(config.timeout, Duration::from_mins(1));
    assert_eq!(config.greeting, "hello from development");
}

#[test]
fn all_faults_come_at_once_in_order_and_without_values() {
    let set = [
        ("MASCOT", "cat"),
        ("STORE_URL", "hunter2"),
        ("SERVER_TIMEOUT", "2h"),
        ("PORTS", "80,hunter2"),
        ("NAMES", "a,*"),
    ];
    let found = faults(&set);
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    let order = ["PORTS", "NAMES", "SERVER_TIMEOUT", "STORE_URL", "MASCOT"];
    assert_eq!(names, order);
    assert!(!format!("{found:?}").contains("hunter2"));
    assert_eq!(found[1].1, "must not have a `*` (in production)");
    assert_eq!(found[2].1, "must be at most 1h");
}

#[test]
fn production_rules_hold_in_production_alone_and_unless_it_says_otherwise() {
    let set = [("NAMES", "*"), ("SERVER_TIMEOUT", "30m")];
    assert_eq!(faults(&set).len(), 2);
    assert!(read(&[("STAGE", "development"), set[0], set[1]]).is_ok());
    // A stage that cannot be read is production.
    assert_eq!(faults(&[("STAGE", "a\nb"), set[0]]).len(), 2);
}

#[test]
fn unset_is_empty_and_a_required_setting_says_how_to_get_it() {
    for empty in ["", "  "] {
        let found = faults(&[("STORE_URL", empty), ("PORTS", ",")]);
        let message = "is required: ask the owner".to_owned();
        assert_eq!(found, [("STORE_URL".to_owned(), message)]);
    }
}

#[test]
fn bounds_apply_to_each_member_of_a_list() {
    let message = "must be 1 to 65535".to_owned();
    for ports in ["0", "80,65536"] {
        let fault = ("PORTS".to_owned(), message.clone());
        assert_eq!(faults(&[("PORTS", ports)]), [fault]);
    }
}

#[test]
fn a_value_can_be_in_a_file_but_not_in_two_places() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("ports");
    std::fs::write(&path, "\u{feff} 8080\n").expect("the file is written");
    let named = ("PORTS_FILE", path.to_str().expect("the path is text"));
    assert_eq!(read(&[named]).expect("it is good").ports, [8080]);
    assert_eq!(faults(&[named, ("PORTS", "1")])[0].0, "PORTS");
    std::fs::remove_file(&path).expect("the file is removed");
    assert_eq!(faults(&[named])[0].0, "PORTS_FILE");
}

#[test]
fn what_is_in_effect_is_listed_with_its_source_and_without_secrets() {
    let set = variables(&[("PORTS", "8080"), ("SERVER_TIMEOUT", "hunter2")]);
    let mut reader = Reader::new(&set);
    All::read(&mut reader);
    let lines: Vec<_> = reader.effective().iter().map(ToString::to_string).collect();
    let expected = [
        "STAGE=production  # default",
        "PORTS=8080  # from the environment",
        "NAMES=  # unset",
        "SERVER_TIMEOUT=  # faulty",
        "STORE_URL=********  # from the environment",
        "GREETING=hello from production  # default",
        "MASCOT=  # unset",
    ];
    assert_eq!(lines, expected);
    assert_eq!(reader.effective()[0].source, Source::Default);
}

#[test]
fn names_that_are_nearly_right_are_pointed_out() {
    let set = variables(&[
        ("STOR_URL", ""),
        ("server_timeout", ""),
        ("SERVER_X", ""),
        ("PORTS_FILE", ""),
        ("HOME", ""),
    ]);
    let mut reader = Reader::new(&set);
    All::read(&mut reader);
    let found = reader.suspects(&["SERVER_"]);
    let lines: Vec<_> = found
        .iter()
        .map(|fault| format!("{} {}", fault.variable, fault.message))
        .collect();
    let expected = [
        "SERVER_X is not a setting",
        "STOR_URL is not a setting; perhaps STORE_URL is meant",
        "server_timeout is not a setting; perhaps SERVER_TIMEOUT is meant",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_page_and_the_example_are_rendered() {
    let page = settings::markdown_section(&All::SECTIONS[1]).expect("not all are required");
    let rows: Vec<_> = page.lines().collect();
    assert_eq!(rows[..4], ["## Server", "", "What it listens to.", ""]);
    assert_eq!(
        rows[6],
        "| `PORTS` | `80,443` | 1 to 65535 | Ports, in order; see [ports](ports.md). |"
    );
    assert_eq!(rows[7], "| `NAMES` | none |  | Its names, `a` \\| `b`. |");
    assert!(rows[8].starts_with("| `SERVER_TIMEOUT` | `15s`, in development `1m` | at most 1h |"));
    let required = settings::required_table(All::SECTIONS);
    assert!(required.ends_with("\n| `STORE_URL` | The database. |\n"));
    let production = settings::production_list(All::SECTIONS);
    let rules = "- `NAMES` must not have a `*`\n- `SERVER_TIMEOUT` must be at most 10m\n";
    assert_eq!(production, rules);
    let example = settings::env_section(&All::SECTIONS[1]);
    for lines in [
        "\n# Ports, in order; see ports. Bounds: 1 to 65535.\n#PORTS=80,443\n",
        "\n# Required. The database.\nSTORE_URL=\n",
        "\n# The greeting. Default: from STAGE.\n#GREETING=\n",
    ] {
        assert!(example.contains(lines), "{example}");
    }
}
