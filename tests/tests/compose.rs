//! `docker-compose.yml` and `deploy/Dockerfile`. There is no engine that runs containers here: every service runs as a plain
//! process, with the command line, the environment and the health check of the file.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use sqlx::{Connection, PgConnection};
use tradewind_tests::compose::{self, Image, Stage};
use tradewind_tests::patience::eventually;
use tradewind_tests::process;
use tradewind_tests::program::workspace;
use tradewind_tests::rest::Rest;

/// All that are processes of ours, in the order in which they start.
const STARTED: [&str; 7] = ["aws", "sqs", "init", "scheduler", "dag-processor", "webserver", "triggerer"];

/// The port of Postgres in the file.
const POSTGRES: u16 = 5432;

#[tokio::test]
async fn every_service_runs_and_an_upload_is_all_that_a_user_does() {
    let database = StackDatabase::create().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("permissions");
    let services = compose::services(&workspace().join("docker-compose.yml"));
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    assert!(names.iter().all(|name| STARTED.contains(name) || *name == "postgres"), "{names:?}");
    let mut images = compose::own_images(&folder.path().join("home"));
    let postgres = services.iter().find(|service| service.name == "postgres").expect("a database");
    images.insert(
        postgres.image.clone(),
        Image { folder: "/".into(), programs: postgres_programs(), environment: vec![] },
    );
    let mut stage = Stage::new(services, images, folder.path());
    std::fs::create_dir(stage.volume("home")).expect("a folder");
    // What the image of Postgres does is not ours: a role and a database, as the variables of the service say.
    stage.is_at("postgres", POSTGRES, database.port);

    for name in STARTED {
        stage.start(name).await;
    }
    for name in ["postgres", "aws", "sqs", "scheduler", "dag-processor", "webserver", "triggerer"] {
        stage.is_healthy(name).await;
    }

    let endpoint = format!("http://127.0.0.1:{}", stage.port("aws", 5055));
    upload(&endpoint, "tests/compose/dags/waits.py");
    let passwords = stage.run("webserver", &["cat", "simple_auth_manager_passwords.json.generated"]);
    let passwords: serde_json::Value = serde_json::from_slice(&passwords.stdout).expect("the passwords");
    let url = format!("http://127.0.0.1:{}", stage.port("webserver", 8080));
    let rest = Rest::log_in(&url, "admin", passwords["admin"].as_str().expect("a password")).await;
    rest.dag_is_known("waits").await;
    rest.trigger("waits", "first").await;
    assert_eq!(rest.final_state("waits", "first").await, "success");
    let log = rest.get("dags/waits/dagRuns/first/taskInstances/defers/logs/1").await.to_string();
    assert!(log.contains("the trigger has fired"), "{log}");
    let health = rest.get("monitor/health").await;
    for component in ["metadatabase", "scheduler", "triggerer", "dag_processor"] {
        assert_eq!(health[component]["status"], "healthy", "{health}");
    }

    let mut last_first = STARTED;
    last_first.reverse();
    stage.end(&last_first);
    eventually("the end of every process", async || {
        process::started_for(&stage.volume("home")).is_empty().then_some(())
    })
    .await;
    drop(stage);
    database.remove().await;
}

#[test]
fn the_file_is_one_of_composes() {
    let checked = Command::new(workspace().join(".venv-test/bin/check-jsonschema"))
        .args(["--builtin-schema", "vendor.compose-spec", "docker-compose.yml"])
        .current_dir(workspace())
        .output()
        .expect("check-jsonschema, which scripts/setup --test installs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// What the engine would only find out when it starts them.
#[test]
fn services_are_as_containers_should_be() {
    let services = compose::services(&workspace().join("docker-compose.yml"));
    let named: BTreeMap<&str, _> = services.iter().map(|service| (service.name.as_str(), service)).collect();
    for service in &services {
        for (needed, condition) in &service.needs {
            let needed = named.get(needed.as_str()).unwrap_or_else(|| panic!("{}: there is no {needed}", service.name));
            assert_eq!(condition == "service_healthy", !needed.health_check.is_empty(), "{}", service.name);
        }
        assert_eq!(service.health_check.is_empty(), service.name == "init", "{} has no health check", service.name);
    }
    let text = std::fs::read_to_string(workspace().join("docker-compose.yml")).expect("the file");
    let published: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with("- \"127.0.0.1:")).collect();
    assert_eq!(published.len(), 3, "ports of this machine are published on loopback alone: {published:?}");
}

#[test]
fn what_the_dockerfile_copies_is_there() {
    let text = std::fs::read_to_string(workspace().join("deploy/Dockerfile")).expect("the Dockerfile");
    let lines = text.replace("\\\n", " ");
    let copied: Vec<&str> = lines.lines().filter(|line| line.starts_with("COPY ")).collect();
    assert!(copied.len() > 4, "{copied:?}");
    let mut stages: Vec<&str> = Vec::new();
    for line in lines.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["FROM", image, "AS", stage] => {
                assert!(image.contains(':') && !image.ends_with(":latest"), "{line}: the image has a version");
                stages.push(stage);
            }
            ["COPY", from, ..] if from.starts_with("--from=") => {
                assert!(stages.contains(&from.trim_start_matches("--from=")), "{line}: there is no such stage");
            }
            ["COPY", sources @ .., _] => {
                for source in sources {
                    assert!(workspace().join(source).exists(), "{line}: {source} is not there");
                }
            }
            _ => {}
        }
    }
    for (stage, user) in [("emulator", "USER emulator"), ("tradewind", "USER airflow")] {
        let begin = lines.find(&format!(" AS {stage}\n")).unwrap_or_else(|| panic!("there is no stage {stage}"));
        let end = lines[begin + 1..].find("\nFROM ").map_or(lines.len(), |end| begin + 1 + end);
        assert!(lines[begin..end].contains(&format!("\n{user}\n")), "{stage} runs as root");
    }
    assert!(lines.contains("\nHEALTHCHECK "));
}

fn upload(endpoint: &str, file: &str) {
    let uploaded = Command::new(workspace().join(".venv-emulator/bin/aws"))
        .args(["s3", "cp", file, "s3://my-bucket/dags/"])
        .envs([("AWS_ENDPOINT_URL", endpoint), ("AWS_REGION", "us-east-1")])
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
        .current_dir(workspace())
        .output()
        .expect("the AWS command line");
    assert!(uploaded.status.success(), "{}", String::from_utf8_lossy(&uploaded.stderr));
}

fn postgres_programs() -> Vec<std::path::PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin")).collect()
}

/// What stands for the image of Postgres: the role and the database that the service names, in the server of the tests.
struct StackDatabase {
    server: String,
    port: u16,
}

const NAME: &str = "tradewind";

impl StackDatabase {
    async fn create() -> Self {
        let server = std::env::var("TRADEWIND_TEST_POSTGRES").expect("scripts/with-test-postgres");
        let port = server.rsplit_once(':').and_then(|(_, rest)| rest.split_once('/'));
        let port = port.and_then(|(port, _)| port.parse().ok()).expect("a port");
        let database = Self { server, port };
        database.execute(&format!("CREATE ROLE {NAME} LOGIN PASSWORD '{NAME}'")).await;
        database.execute(&format!("CREATE DATABASE {NAME} OWNER {NAME}")).await;
        database
    }

    async fn remove(self) {
        self.execute(&format!("DROP DATABASE {NAME} WITH (FORCE)")).await;
        self.execute(&format!("DROP ROLE {NAME}")).await;
    }

    async fn execute(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.server).await.expect("the server");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.expect(statement);
    }
}
