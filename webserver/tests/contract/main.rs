//! What the server answers on a database that official Airflow filled, compared with the official API server's recorded
//! answers and with the official OpenAPI documents of the installed wheel.
//!
//! `tests/recorder/record.py` makes the database, the logs and the answers.

mod assets;
mod auth;
mod changes;
mod connections;
mod key_sets;
mod partitions;
mod rights;
mod served_logs;
mod server;
mod teams;
mod waiting;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use server::{Server, airflow_package, json_of, send, tests_folder, text_of};
use std::collections::{BTreeMap, BTreeSet};

/// Where the recorded paths begin.
const RECORDED_FOLDER: &str = "/opt/airflow";

/// GET operations that no recorded answer is of: other tests ask for them.
const ASKED_ELSEWHERE: [&str; 3] =
    ["/api/v2/connections/enqueue-test", "/ui/partitioned_dag_runs", "/ui/pending_partitioned_dag_run/{dag_id}"];

#[derive(Deserialize)]
struct Recorded {
    path: String,
    accept: String,
    status: u16,
    body: Value,
}

fn recorded() -> Vec<Recorded> {
    recorded_in("answers.ndjson")
}

fn recorded_in(file: &str) -> Vec<Recorded> {
    let text = std::fs::read_to_string(tests_folder().join("recorded").join(file)).expect("recorded answers");
    text.lines().map(|line| serde_json::from_str(line).expect("a recorded answer")).collect()
}

/// Leaves out what differs from call to call: times of reading, signatures over packed payloads, the order of sets, and
/// ids under which errors are logged.
fn normalise(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(normalise).collect(),
        Value::Object(fields) => {
            let keep = |name: &String| !matches!(name.as_str(), "file_token" | "last_parsed" | "next_cursor");
            let field = |(name, value): (String, Value)| {
                let mut value = normalise(value);
                let sets = ["consuming_tasks", "downstream_task_ids", "producing_tasks", "scheduled_dags"];
                if let Value::Array(members) = &mut value
                    && sets.contains(&name.as_str())
                {
                    members.sort_by_key(Value::to_string);
                }
                (name, value)
            };
            fields.into_iter().filter(|(name, _)| keep(name)).map(field).collect::<Map<_, _>>().into()
        }
        Value::Number(number) => match number.as_f64() {
            // Floats may differ in the last digit, depending on where they were computed.
            Some(float) if number.is_f64() => json!((float * 1e6).round() / 1e6),
            _ => Value::Number(number),
        },
        other => other,
    }
}

/// Where two values differ, in words.
fn differences(ours: &Value, official: &Value, place: &str, found: &mut Vec<String>) {
    match (ours, official) {
        (Value::Object(left), Value::Object(right)) => {
            for name in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
                let null = Value::String("(absent)".to_owned());
                let side = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_else(|| null.clone());
                differences(&side(left), &side(right), &format!("{place}.{name}"), found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differences(left, right, &format!("{place}[{index}]"), found);
            }
        }
        _ if ours == official => {}
        _ => found.push(format!("{place}: ours {ours:.200}, official {official:.200}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_as_the_official_api_server() {
    let server = Server::start().await;
    let mut found = Vec::new();
    for expected in recorded() {
        let answer = server.get(&expected.path, &expected.accept).await;
        let status = answer.status().as_u16();
        let text = text_of(answer).await.replace(&*server.logs.to_string_lossy(), &format!("{RECORDED_FOLDER}/logs"));
        let body = if expected.accept == "*/*" {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        } else {
            text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON")).collect()
        };
        if status != expected.status {
            found.push(format!("{}: status {status}, official {}", expected.path, expected.status));
        }
        differences(&normalise(body), &normalise(expected.body), &expected.path, &mut found);
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// An OpenAPI document of the wheel.
struct Document {
    root: Value,
}

impl Document {
    fn load(name: &str) -> Self {
        let path = airflow_package().join("api_fastapi/core_api/openapi").join(name);
        let text = std::fs::read_to_string(path).expect("the OpenAPI document of the wheel");
        Self { root: serde_yaml_ng::from_str(&text).expect("YAML") }
    }

    /// The templates of all paths that can be read.
    fn readable(&self) -> impl Iterator<Item = &String> {
        let paths = self.root["paths"].as_object().expect("paths");
        paths.iter().filter(|(_, operations)| operations.get("get").is_some()).map(|(template, _)| template)
    }

    /// The schema of the successful answer, with the components it refers to; none when any answer will do.
    fn schema(&self, template: &str) -> Option<Value> {
        let response = &self.root["paths"][template]["get"]["responses"]["200"]["content"]["application/json"];
        let mut schema = response.get("schema")?.as_object()?.clone();
        schema.insert("components".to_owned(), self.root["components"].clone());
        Some(Value::Object(schema))
    }

    /// Fails unless the successful answer of a path is as the document says.
    fn validate(&self, template: &str, body: &Value) {
        let schema = self.schema(template).expect("a schema");
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a valid schema");
        let problems: Vec<_> = validator.iter_errors(body).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{template}: {problems:?}");
    }
}

/// Whether a path is one of a template; of several the one with the fewest parameters is meant.
fn matches(template: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(|(part, given)| part.starts_with('{') || part == given)
}

fn template_of<'a>(documents: &'a [Document], path: &str) -> Option<(&'a Document, &'a String)> {
    let candidates =
        documents.iter().flat_map(|document| document.readable().map(move |template| (document, template)));
    candidates.filter(|(_, template)| matches(template, path)).min_by_key(|(_, template)| template.matches('{').count())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_fit_the_official_openapi_documents() {
    let documents = ["v2-rest-api-generated.yaml", "_private_ui.yaml"].map(Document::load);
    let server = Server::start().await;
    let mut covered = BTreeSet::new();
    let mut found = Vec::new();
    let official: BTreeMap<String, Value> = recorded().into_iter().map(|it| (it.path, it.body)).collect();
    let mut paths: Vec<String> = official.keys().cloned().collect();
    let further = ["/api/v2/monitor/health", "/ui/connections/hook_meta", "/api/v2/auth/login"];
    paths.extend(further.map(str::to_owned));
    paths.push("/api/v2/dags/example_xcom/dagRuns/one/wait?interval=1".to_owned());
    paths.push("/api/v2/dags/example_xcom/dagRuns/one/taskInstances?cursor=&limit=2".to_owned());
    // Last, since it revokes the token.
    paths.push("/api/v2/auth/logout".to_owned());
    for path in paths {
        let Some((document, template)) = template_of(&documents, &path) else { continue };
        let answer = server.get(&path, "application/json").await;
        covered.insert(template.clone());
        if answer.status() != StatusCode::OK {
            continue;
        }
        let Some(schema) = document.schema(template) else { continue };
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a valid schema");
        let problems = |body: &Value| -> BTreeSet<String> {
            validator.iter_errors(body).map(|error| format!("{path}: {error} at {}", error.instance_path())).collect()
        };
        // Some official answers leave out null fields that their own document requires: no more may be missing in ours.
        let official = official.get(&path).map(&problems).unwrap_or_default();
        found.extend(problems(&json_of(answer).await).difference(&official).cloned());
    }
    assert!(found.is_empty(), "{} answers that do not fit:\n{}", found.len(), found.join("\n"));
    let all: BTreeSet<String> = documents.iter().flat_map(Document::readable).cloned().collect();
    let missing: Vec<&String> = all.difference(&covered).collect();
    assert_eq!(missing, ASKED_ELSEWHERE, "operations that no request of tests/recorder/requests.txt asks for");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_who_may_not() {
    let server = Server::start().await;
    let ask = async |token: &str| {
        let request = Request::get("/api/v2/dags").header(header::AUTHORIZATION, format!("Bearer {token}"));
        let answer = send(&server.router, request.body(Body::empty())).await;
        (answer.status().as_u16(), json_of(answer).await["detail"].clone())
    };
    assert_eq!(ask("rubbish").await, (403, json!("Invalid JWT token")));
    assert_eq!(ask(&server.token).await.0, 200);
    let answer = send(&server.router, Request::get("/api/v2/dags").body(Body::empty())).await;
    assert_eq!((answer.status().as_u16(), json_of(answer).await), (401, json!({"detail": "Not authenticated"})));
    // A log-out revokes the token.
    let request = Request::get("/api/v2/auth/logout").header(header::AUTHORIZATION, format!("Bearer {}", server.token));
    assert_eq!(send(&server.router, request.body(Body::empty())).await.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(ask(&server.token).await, (403, json!("Invalid JWT token")));
}

#[tokio::test(flavor = "multi_thread")]
async fn describes_every_operation_and_shows_the_description() {
    let option = ("AIRFLOW__API__BASE_URL", "https://example.org/prefix");
    let server = Server::start_configured(&[], &[option]).await;
    let document = json_of(send(&server.router, Request::get("/openapi.json").body(Body::empty())).await).await;
    let login = json_of(send(&server.router, Request::get("/auth/openapi.json").body(Body::empty())).await).await;
    assert!(login.pointer("/paths/~1auth~1token/post").is_some(), "{login}");
    let operations = |prefix: &str| {
        let paths = document["paths"].as_object().expect("paths").iter().filter(|(path, _)| path.starts_with(prefix));
        let methods = ["get", "post", "put", "patch", "delete"];
        paths.flat_map(|(_, item)| methods.iter().filter(|method| item.get(method).is_some())).count()
    };
    assert_eq!((operations("/api/v2/"), operations("/ui/")), (128, 0));
    assert_eq!(document["servers"], json!([{"url": "/prefix"}]));
    // Whatever it refers to is in it.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().expect("an end");
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    for page in ["/docs", "/redoc", "/prefix/docs"] {
        let html = text_of(send(&server.router, Request::get(page).body(Body::empty())).await).await;
        assert!(html.contains("\"/prefix/openapi.json\""), "{page}: {html}");
    }
    let html = text_of(send(&server.router, Request::get("/auth/docs").body(Body::empty())).await).await;
    assert!(html.contains("\"/prefix/auth/openapi.json\""), "{html}");
    let server = Server::start_configured(&[], &[("AIRFLOW__API__ENABLE_SWAGGER_UI", "False")]).await;
    let html = text_of(send(&server.router, Request::get("/docs").body(Body::empty())).await).await;
    assert!(!html.contains("openapi.json"), "the UI's own page: {html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_the_official_ui() {
    let server = Server::start().await;
    for page in ["/", "/dags/example_xcom/runs/one", "/auth/login", "/auth/"] {
        let answer = send(&server.router, Request::get(page).body(Body::empty())).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let html = text_of(answer).await;
        assert!(html.contains(r#"<base href="/" />"#) && !html.contains("{{"), "{page}: {html}");
        let (_, rest) = html.split_once("src=\"./").expect("a script");
        let script = format!("/{}", rest.split('"').next().expect("an end"));
        let answer = send(&server.router, Request::get(&script).body(Body::empty())).await;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/javascript");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_no_file_that_a_browser_has_and_parts_of_one_that_it_wants() {
    let server = Server::start().await;
    let ask = || Request::get("/static/i18n/locales/en/common.json");
    let whole = send(&server.router, ask().body(Body::empty())).await;
    assert_eq!(
        (whole.status(), whole.headers()[header::CACHE_CONTROL].to_str().ok()),
        (StatusCode::OK, Some("no-cache"))
    );
    let (tag, changed) = (whole.headers()[header::ETAG].clone(), whole.headers()[header::LAST_MODIFIED].clone());
    let text = text_of(whole).await;
    for known in [ask().header(header::IF_NONE_MATCH, tag), ask().header(header::IF_MODIFIED_SINCE, changed)] {
        let answer = send(&server.router, known.body(Body::empty())).await;
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(text_of(answer).await, "");
    }
    let part = send(&server.router, ask().header(header::RANGE, "bytes=2-9").body(Body::empty())).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(text_of(part).await, text[2..10]);
    for missing in ["/static/none.js", "/static/i18n", "/static/..%2Findex.html"] {
        let answer = send(&server.router, Request::get(missing).body(Body::empty())).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{missing}");
    }
}
