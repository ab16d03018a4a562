//! Rights on single Dags: what may not be read is refused by every path that names it, and told of by no other answer.

use crate::auth::token;
use crate::server::{Server, text_of};
use crate::{Document, recorded, template_of};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tradewind_webserver::{Action, AuthManager, DagRights, Identity, Resource, TeamRights};

/// What the names of all Dags begin with that `eve` may not read.
const SECRET: &str = "secret_";

/// A Dag that she may not read.
const HIDDEN: &str = "secret_example_task_group";

/// Read operations whose answers depend on who asks, not on the Dags that they may read.
const PERSONAL: [&str; 2] = ["/api/v2/dags/{dag_id}/details", "/ui/auth/me"];

/// Read operations that tell of other Dags than the one in their path, if any, to who may read all.
const TELLING: [&str; 30] = [
    "/api/v2/assets",
    "/api/v2/assets/events",
    "/api/v2/assets/{asset_id}",
    "/api/v2/assets/{asset_id}/queuedEvents",
    "/api/v2/assets/{asset_id}/state-store",
    "/api/v2/assets/{asset_id}/state-store/{key}",
    "/api/v2/backfills/{backfill_id}",
    "/api/v2/dagSources/{dag_id}",
    "/api/v2/dagStats",
    "/api/v2/dagTags",
    "/api/v2/dagWarnings",
    "/api/v2/dags",
    "/api/v2/dags/{dag_id}/dagRuns",
    "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/hitlDetails",
    "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
    "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries",
    "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents",
    "/api/v2/dags/{dag_id}/dagVersions",
    "/api/v2/eventLogs",
    "/api/v2/importErrors",
    "/api/v2/importErrors/{import_error_id}",
    "/api/v2/jobs",
    "/ui/backfills",
    "/ui/dags",
    "/ui/dags/{dag_id}/dagRuns/{dag_run_id}/deadlines",
    "/ui/dashboard/dag_stats",
    "/ui/dashboard/historical_metrics_data",
    "/ui/dependencies",
    "/ui/partitioned_dag_runs",
    "/ui/structure/structure_data",
];

/// Whatever anybody asks is allowed, and `eve` has rights on some Dags only.
#[derive(Debug)]
struct ByName {
    readable: Mutex<Arc<BTreeSet<String>>>,
    editable: Arc<BTreeSet<String>>,
}

impl ByName {
    fn new() -> Arc<Self> {
        let ids = |ids: &[&str]| Arc::new(ids.iter().map(|id| (*id).to_owned()).collect());
        Arc::new(Self {
            readable: Mutex::new(ids(&["asset_consumes_1", "example_xcom"])),
            editable: ids(&["example_xcom"]),
        })
    }

    fn let_read(&self, dag_ids: &[&str]) {
        let dag_ids = dag_ids.iter().map(|id| (*id).to_owned()).collect();
        *self.readable.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(dag_ids);
    }
}

impl AuthManager for ByName {
    fn claims(&self, identity: &Identity) -> Map<String, Value> {
        Map::from_iter([("sub".to_owned(), json!(identity.name))])
    }

    fn identity(&self, claims: &Map<String, Value>) -> Option<Identity> {
        Some(Identity { name: claims.get("sub")?.as_str()?.to_owned(), role: None, teams: BTreeSet::new() })
    }

    fn without_token(&self) -> Option<Identity> {
        None
    }

    fn login_path(&self) -> &'static str {
        "/auth/login"
    }

    fn is_authorized(&self, _: &Identity, _: Action, _: Resource) -> bool {
        true
    }

    fn dag_rights(&self, identity: &Identity, action: Action) -> DagRights {
        match (identity.name.as_str(), action) {
            ("eve", Action::Read) => {
                DagRights::Of(Arc::clone(&self.readable.lock().unwrap_or_else(PoisonError::into_inner)))
            }
            ("eve", Action::Write) => DagRights::Of(Arc::clone(&self.editable)),
            _ => DagRights::All,
        }
    }

    fn team_rights(&self, _: &Identity) -> TeamRights {
        TeamRights::All
    }

    fn may_answer(&self, _: &Identity, _: &BTreeSet<&str>) -> bool {
        true
    }
}

/// A server, and who asks it.
struct Desk {
    server: Server,
    manager: Arc<ByName>,
    eve: String,
}

impl Desk {
    async fn open() -> Self {
        let manager = ByName::new();
        let server = Server::start_managed(&["partitions.sql", "rights.sql"], &[], manager.clone()).await;
        Self { server, manager, eve: token(&[], "anything", 0) }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let answer = crate::server::send(&self.server.router, request.body(body)).await;
        (answer.status().as_u16(), text_of(answer).await)
    }

    async fn eve_reads(&self, path: &str) -> (u16, Value) {
        let (status, text) = self.ask(&self.eve, "GET", path, None).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn eve_writes(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (status, text) = self.ask(&self.eve, method, path, Some(&body)).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

fn documents() -> [Document; 2] {
    ["v2-rest-api-generated.yaml", "_private_ui.yaml"].map(Document::load)
}

/// Methods and templates of all operations.
fn operations(documents: &[Document]) -> Vec<(String, String)> {
    let mut operations = Vec::new();
    for document in documents {
        for (template, item) in document.root["paths"].as_object().expect("paths") {
            let methods = ["get", "post", "put", "patch", "delete"].into_iter();
            let there = methods.filter(|method| item.get(method).is_some());
            operations.extend(there.map(|method| (method.to_uppercase(), template.clone())));
        }
    }
    operations
}

/// A path of a template, of that Dag, its run and `1` of anything else.
fn path(template: &str, dag_id: &str, run_id: &str) -> String {
    let part = |part: &str| match part {
        "{dag_id}" => dag_id.to_owned(),
        "{dag_run_id}" | "{run_id}" => run_id.to_owned(),
        part if part.starts_with('{') => "1".to_owned(),
        part => part.to_owned(),
    };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dag_that_may_not_be_read_is_refused_by_every_path() {
    let desk = Desk::open().await;
    let mut of_dag: Vec<(String, String)> = operations(&documents());
    of_dag.retain(|(_, template)| template.contains("{dag_id}"));
    let run = "/tradewind/v1/dags/{dag_id}/dagRuns/{dag_run_id}";
    let own = ["/tradewind/v1/dags/{dag_id}/explain".to_owned(), format!("{run}/explain")];
    of_dag.extend(own.map(|template| ("GET".to_owned(), template)));
    of_dag.push(("GET".to_owned(), format!("{run}/taskInstances/1/explain")));
    assert!(of_dag.len() > 60, "{}", of_dag.len());
    let mut wrong = Vec::new();
    for (who, token) in [("eve", &desk.eve), ("admin", &desk.server.token)] {
        for (method, template) in &of_dag {
            let (status, text) = desk.ask(token, method, &path(template, HIDDEN, "one"), Some(&json!({}))).await;
            if (status == 403) != (who == "eve") || (who == "eve" && text.contains(SECRET)) {
                wrong.push(format!("{who} {method} {template}: {status} {text:.200}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the recorder asked, about the Dags as they are called here, and every list of all Dags.
fn questions(desk: &[Document], dag_ids: &[String]) -> BTreeSet<String> {
    let renamed = |path: String| {
        let hidden = dag_ids.iter().filter_map(|dag_id| dag_id.strip_prefix(SECRET));
        let mut path = format!("{path}/");
        for dag_id in hidden {
            for (before, after) in [("/", "/"), ("/", "?"), ("=", "&"), ("=", "/"), (":", "/")] {
                path = path.replace(&format!("{before}{dag_id}{after}"), &format!("{before}{SECRET}{dag_id}{after}"));
            }
        }
        path.trim_end_matches('/').to_owned()
    };
    let mut questions: BTreeSet<String> = recorded().into_iter().map(|it| renamed(it.path)).collect();
    let reads = operations(desk).into_iter().filter(|(method, _)| method == "GET");
    questions.extend(
        reads.map(|(_, template)| path(&template, "~", "~").replace("/~/taskInstances/1/", "/~/taskInstances/~/")),
    );
    let further = [
        "/api/v2/dagSources/asset_consumes_1",
        "/api/v2/backfills/2",
        "/api/v2/dags/example_xcom/dagRuns/one/upstreamAssetEvents",
        "/api/v2/assets/1/state-store/written",
        "/api/v2/importErrors/20",
        "/api/v2/importErrors/21",
        "/api/v2/eventLogs?limit=100",
        "/api/v2/dags/example_xcom/dagRuns/one/wait?interval=1",
        "/ui/structure/structure_data?dag_id=example_xcom&external_dependencies=true",
        "/ui/dependencies?node_id=asset:1&dependency_type=data",
        "/ui/dashboard/historical_metrics_data?start_date=2026-11-01T00:00:00Z",
    ];
    questions.extend(further.map(str::to_owned));
    // It would revoke the token.
    questions.retain(|path| !path.starts_with("/api/v2/auth/"));
    questions
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_tells_of_a_dag_that_may_not_be_read() {
    let desk = Desk::open().await;
    let documents = documents();
    let dag_ids: Vec<String> =
        sqlx::query_scalar("SELECT dag_id FROM dag").fetch_all(desk.server.pool()).await.expect("Dags");
    assert_eq!(dag_ids.iter().filter(|dag_id| !dag_id.starts_with(SECRET)).count(), 2);
    let (mut wrong, mut telling) = (Vec::new(), BTreeSet::new());
    for path in questions(&documents, &dag_ids) {
        let Some((_, template)) = template_of(&documents, &path) else { continue };
        let (status, text) = desk.ask(&desk.eve, "GET", &path, None).await;
        if status >= 500 || (!path.contains(SECRET) && text.contains(SECRET)) {
            wrong.push(format!("{path}: {status} {text:.300}"));
        }
        if template.contains("{dag_id}") && path.contains(SECRET) && status != 403 {
            wrong.push(format!("{path}: {status}"));
        }
        let (status, of_all) = desk.ask(&desk.server.token, "GET", &path, None).await;
        if !path.contains(SECRET) && status == 200 && of_all != text {
            telling.insert(template.clone());
        }
    }
    for (method, template) in operations(&documents).into_iter().filter(|(method, _)| method != "GET") {
        let (status, text) = desk.ask(&desk.eve, &method, &path(&template, "~", "~"), Some(&json!({}))).await;
        if status >= 500 || text.contains(SECRET) {
            wrong.push(format!("{method} {template}: {status} {text:.300}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let known: BTreeSet<String> = TELLING.into_iter().chain(PERSONAL).map(str::to_owned).collect();
    let missing: Vec<&String> = known.difference(&telling).collect();
    assert!(missing.is_empty(), "these tell of no Dag in this test, so it shows nothing of them: {missing:?}");
    let new: Vec<&String> = telling.difference(&known).collect();
    assert!(new.is_empty(), "these tell of Dags, too, and belong in the list: {new:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_counts_are_of_the_dags_that_may_be_read() {
    let desk = Desk::open().await;
    let count = async |path: &str| desk.eve_reads(path).await.1["total_entries"].clone();
    for path in ["/api/v2/dags", "/ui/dags", "/api/v2/dagStats"] {
        assert_eq!(count(path).await, 2, "{path}");
    }
    let runs: i64 =
        sqlx::query_scalar("SELECT count(*) FROM dag_run WHERE dag_id IN ('example_xcom', 'asset_consumes_1')")
            .fetch_one(desk.server.pool())
            .await
            .expect("a count");
    assert_eq!(count("/api/v2/dags/~/dagRuns").await, runs);
    assert_eq!(desk.eve_writes("POST", "/api/v2/dags/~/dagRuns/list", json!({})).await.1["total_entries"], runs);
    let (_, states) = desk.eve_reads("/ui/dashboard/historical_metrics_data?start_date=2020-01-01T00:00:00Z").await;
    let of_states: i64 = states["dag_run_states"].as_object().expect("counts").values().filter_map(Value::as_i64).sum();
    assert_eq!(of_states, runs);
    let (_, stats) = desk.eve_reads("/ui/dashboard/dag_stats").await;
    assert_eq!((&stats["active_dag_count"], &stats["failed_dag_count"]), (&json!(2), &json!(0)), "{stats}");

    // Of a file with more Dags than she may read she sees that there is an error, and not what the file says.
    let redacted = "REDACTED - you do not have read permission on all Dags in the file";
    let (_, errors) = desk.eve_reads("/api/v2/importErrors").await;
    let errors: Vec<(&Value, bool)> = errors["import_errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|error| (&error["import_error_id"], error["stack_trace"] == redacted))
        .collect();
    assert_eq!(errors, [(&json!(1), false), (&json!(21), true)]);
    let (status, refusal) = desk.eve_reads("/api/v2/importErrors/20").await;
    assert_eq!(status, 403, "{refusal}");
    assert_eq!(refusal["detail"], "You do not have read permission on any of the Dags in the file");
    assert_eq!(desk.eve_reads("/api/v2/importErrors/21").await.1["stack_trace"], redacted);
    assert_eq!(desk.eve_reads("/api/v2/dagSources/asset_consumes_1").await.1["content"], redacted);
    assert_ne!(desk.eve_reads("/api/v2/dagSources/example_xcom").await.1["content"], redacted);

    // What her own Dags have to do with each other stays, and with them what she may see of the others.
    let (_, graph) = desk.eve_reads("/ui/dependencies").await;
    let nodes: Vec<&Value> = graph["nodes"].as_array().expect("nodes").iter().map(|node| &node["id"]).collect();
    assert!(nodes.contains(&&json!("trigger:example_xcom:asset_consumes_1:calls")), "{nodes:?}");
    let (_, asset) = desk.eve_reads("/api/v2/assets/1").await;
    assert_eq!(asset["scheduled_dags"].as_array().map(Vec::len), Some(1), "{asset}");
    assert_eq!(asset["producing_tasks"], json!([]));
    for path in ["/ui/partitioned_dag_runs?dag_id=secret_gathers", "/ui/partitioned_dag_runs?dag_id=nothing"] {
        assert_eq!(desk.eve_reads(path).await.0, 404, "whether there is such a Dag is not told: {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dags_in_bodies_and_behind_other_ids_are_guarded_too() {
    let desk = Desk::open().await;
    let backfill = |dag_id: &str| json!({"dag_id": dag_id, "from_date": "2026-11-01T00:00:00Z", "to_date": "2026-11-02T00:00:00Z"});
    let entity = |action: &str, dag_id: &str| {
        let entity = json!({"dag_id": dag_id, "dag_run_id": "one"});
        json!({"actions": [{"action": action, "entities": [entity]}]})
    };
    let instance = |action: &str, dag_id: &str| {
        let entity = json!({"dag_id": dag_id, "dag_run_id": "one", "task_id": "push"});
        json!({"actions": [{"action": action, "entities": [entity]}]})
    };
    // `asset_consumes_1` may be read, and not changed.
    for dag_id in [HIDDEN, "asset_consumes_1"] {
        let runs = json!({"dry_run": false, "dag_runs": [{"dag_id": dag_id, "dag_run_id": "one"}]});
        for (method, path, body) in [
            ("POST", "/api/v2/backfills", backfill(dag_id)),
            ("POST", "/api/v2/backfills/dry_run", backfill(dag_id)),
            ("POST", "/api/v2/dags/~/clearDagRuns", runs),
            ("PATCH", "/api/v2/dags/~/dagRuns", entity("update", dag_id)),
            ("PATCH", "/api/v2/dags/~/dagRuns", entity("delete", dag_id)),
            ("PATCH", &format!("/api/v2/dags/{dag_id}"), json!({"is_paused": true})),
            ("POST", &format!("/api/v2/dags/{dag_id}/dagRuns"), json!({"logical_date": null})),
        ] {
            let (status, answer) = desk.eve_writes(method, path, body).await;
            assert_eq!((status, answer), (403, json!({"detail": "Forbidden"})), "{method} {path} {dag_id}");
        }
        let bulk = "/api/v2/dags/~/dagRuns/~/taskInstances";
        let (status, answer) = desk.eve_writes("PATCH", bulk, instance("delete", dag_id)).await;
        assert_eq!((status, &answer["delete"]["errors"][0]["status_code"]), (200, &json!(403)), "{answer}");
    }
    // Pausing many pauses what may be changed alone.
    let all = "/api/v2/dags?dag_id_pattern=%";
    let (status, paused) = desk.eve_writes("PATCH", all, json!({"is_paused": true})).await;
    assert_eq!(
        (status, &paused["total_entries"], &paused["dags"][0]["dag_id"]),
        (200, &json!(1), &json!("example_xcom"))
    );
    let open: i64 = sqlx::query_scalar("SELECT count(*) FROM dag WHERE NOT is_paused AND dag_id LIKE 'secret%'")
        .fetch_one(desk.server.pool())
        .await
        .expect("a count");
    assert!(open > 5, "{open}");
    // A backfill that she may not read is not there; one that she may read is.
    for (id, status) in [(2, 404), (9, 404), (1, 200)] {
        assert_eq!(desk.eve_reads(&format!("/api/v2/backfills/{id}")).await.0, status);
        assert_eq!(desk.eve_writes("PUT", &format!("/api/v2/backfills/{id}/pause"), json!({})).await.0, status);
    }
    let record: i32 = sqlx::query_scalar("SELECT min(id) FROM log WHERE dag_id = $1")
        .bind(HIDDEN)
        .fetch_one(desk.server.pool())
        .await
        .expect("a record");
    assert_eq!(desk.eve_reads(&format!("/api/v2/eventLogs/{record}")).await.0, 403);
    // The Dag that makes the asset is not hers, and is not told.
    let (status, answer) = desk.eve_writes("POST", "/api/v2/assets/1/materialize", json!({})).await;
    assert_eq!((status, answer), (403, json!({"detail": "Forbidden"})));
    // A file is parsed for who may change all of its Dags.
    let (_, dag) = desk.eve_reads("/api/v2/dags/asset_consumes_1").await;
    let file = dag["file_token"].as_str().expect("a token");
    assert_eq!(desk.eve_writes("PUT", &format!("/api/v2/parseDagFile/{file}"), json!({})).await.0, 403);
    let (_, dag) = desk.eve_reads("/api/v2/dags/example_xcom").await;
    let file = dag["file_token"].as_str().expect("a token");
    assert_eq!(desk.eve_writes("PUT", &format!("/api/v2/parseDagFile/{file}"), json!({})).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_shared_are_not_shared_with_whom_they_are_not_for() {
    let desk = Desk::open().await;
    let paths = ["/ui/dags", "/api/v2/dags", "/ui/dashboard/dag_stats", "/ui/dependencies", "/api/v2/dags/~/dagRuns"];
    for _ in 0..20 {
        for path in paths {
            let (of_all, of_eve) =
                tokio::join!(desk.ask(&desk.server.token, "GET", path, None), desk.ask(&desk.eve, "GET", path, None));
            assert_ne!(of_all.1, of_eve.1, "{path}");
            assert!(!of_eve.1.contains(SECRET), "{path}");
        }
    }
    // Rights count from the next request on, though nothing in the database has changed.
    let seen = async || desk.eve_reads("/api/v2/dags").await.1["total_entries"].as_u64();
    assert_eq!(seen().await, Some(2));
    desk.manager.let_read(&["example_xcom"]);
    assert_eq!(seen().await, Some(1));
    assert_eq!(desk.eve_reads("/ui/grid/runs/asset_consumes_1").await.0, 403);
    desk.manager.let_read(&["asset_consumes_1", "example_xcom", HIDDEN]);
    assert_eq!(seen().await, Some(3));
    assert_eq!(desk.eve_reads(&format!("/ui/grid/runs/{HIDDEN}")).await.0, 200);
    desk.manager.let_read(&[]);
    assert_eq!(seen().await, Some(0));
}
