//! Teams (`[core] multi_team`): what belongs to one is seen and changed by its members and by administrators alone.

use crate::server::{Server, json_of, send};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

/// Two teams, with a pool, a variable, a connection and a bundle of Dags each.
const ROWS: &str = "
    INSERT INTO team (name) VALUES ('blue'), ('red');
    INSERT INTO slot_pool (pool, slots, include_deferred, team_name) VALUES ('of_blue', 1, FALSE, 'blue'), ('of_red', 1, FALSE, 'red');
    INSERT INTO variable (key, val, is_encrypted, team_name) VALUES ('of_blue', 'b', FALSE, 'blue'), ('of_red', 'r', FALSE, 'red');
    INSERT INTO connection (conn_id, conn_type, is_encrypted, is_extra_encrypted, team_name)
    VALUES ('of_blue', 'http', FALSE, FALSE, 'blue'), ('of_red', 'http', FALSE, FALSE, 'red');
    INSERT INTO dag_bundle (name, active) VALUES ('blue_bundle', TRUE), ('red_bundle', TRUE);
    INSERT INTO dag_bundle_team (dag_bundle_name, team_name) VALUES ('blue_bundle', 'blue'), ('red_bundle', 'red');
    UPDATE dag SET bundle_name = 'blue_bundle' WHERE dag_id IN ('example_task_group', 'example_trigger_controller_dag');
    UPDATE dag SET bundle_name = 'red_bundle' WHERE dag_id = 'example_xcom';
";

/// Where the three kinds of things are, and what a new one of each needs.
fn kinds() -> [(&'static str, &'static str, Value); 3] {
    [
        ("/api/v2/pools", "name", json!({"name": "of_red", "slots": 2, "include_deferred": false})),
        ("/api/v2/variables", "key", json!({"key": "of_red", "value": "new"})),
        ("/api/v2/connections", "connection_id", json!({"connection_id": "of_red", "conn_type": "http"})),
    ]
}

/// A body for another thing, with what is to be added.
fn body(mut body: Value, key: &str, id: &str, further: &Value) -> Value {
    body[key] = id.into();
    for (name, value) in further.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

struct Desk {
    server: Server,
    /// Of team `red`, with the role `op`.
    ruth: String,
    _passwords: tempfile::NamedTempFile,
}

impl Desk {
    async fn open() -> Self {
        let passwords = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(passwords.path(), r#"{"ruth": "secret"}"#).expect("it is written");
        let server = Server::start_configured(
            &[],
            &[
                ("AIRFLOW__CORE__MULTI_TEAM", "True"),
                ("AIRFLOW__CORE__TEST_CONNECTION", "Enabled"),
                ("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin,ruth:op:red"),
                ("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", &passwords.path().to_string_lossy()),
            ],
        )
        .await;
        sqlx::raw_sql(AssertSqlSafe(ROWS)).execute(server.pool()).await.expect("rows that fit the schema");
        let log_in = json!({"username": "ruth", "password": "secret"}).to_string();
        let answer = send(&server.router, Request::post("/auth/token").body(Body::from(log_in))).await;
        let ruth = json_of(answer).await["access_token"].as_str().expect("a token").to_owned();
        Self { server, ruth, _passwords: passwords }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = send(&self.server.router, request.body(body)).await;
        (answer.status().as_u16(), json_of(answer).await)
    }

    async fn ruth(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.ask(&self.ruth, method, path, body).await
    }

    async fn admin(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.ask(&self.server.token, method, path, body).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_team_is_its_members_business() {
    let desk = Desk::open().await;
    let names = |teams: &Value| -> Vec<Value> {
        teams["teams"].as_array().expect("teams").iter().map(|team| team["name"].clone()).collect()
    };
    assert_eq!(names(&desk.ruth("GET", "/ui/teams", &Value::Null).await.1), ["red"]);
    assert_eq!(names(&desk.admin("GET", "/ui/teams", &Value::Null).await.1), ["blue", "red"]);

    let forbidden = (403, json!({"detail": "Forbidden"}));
    for (path, key, new) in kinds() {
        let list = desk.ruth("GET", path, &Value::Null).await.1.to_string();
        assert!(list.contains("of_red") && !list.contains("blue"), "{path}: {list}");
        let of_all = desk.admin("GET", path, &Value::Null).await.1;
        assert!(of_all.to_string().contains("of_blue"));
        let blue = format!("{path}/of_blue");
        let change = body(new.clone(), key, "of_blue", &json!({}));
        for (method, body) in [("GET", &Value::Null), ("PATCH", &change), ("DELETE", &Value::Null)] {
            assert_eq!(desk.ruth(method, &blue, body).await, forbidden, "{method} {blue}");
        }
        assert_eq!(desk.ruth("GET", &format!("{path}/of_red"), &Value::Null).await.1["team_name"], "red");
        assert_eq!(desk.ruth("GET", &format!("{path}/nothing"), &Value::Null).await.0, 404);

        // Which team something new, or something of hers, shall belong to.
        let with_team = |team: &str| body(new.clone(), key, "new", &json!({"team_name": team}));
        assert_eq!(desk.ruth("POST", path, &with_team("blue")).await, forbidden, "{path}");
        let unknown = (400, json!({"detail": "Team 'green' does not exist"}));
        assert_eq!(desk.ruth("POST", path, &with_team("green")).await, unknown, "{path}");
        let (status, made) = desk.ruth("POST", path, &with_team("red")).await;
        assert_eq!((status, &made["team_name"]), (201, &json!("red")), "{path}: {made}");
        let mut gift = new.clone();
        gift["team_name"] = json!("blue");
        let red = format!("{path}/of_red");
        assert_eq!(desk.ruth("PATCH", &red, &gift).await, forbidden, "{path}");
        let (status, kept) = desk.ruth("PATCH", &red, &new).await;
        assert_eq!((status, &kept["team_name"]), (200, &json!("red")), "{path}: what is not given stays");
        let (status, given) = desk.admin("PATCH", &red, &gift).await;
        assert_eq!((status, &given["team_name"]), (200, &json!("blue")), "{path}: {given}");
        assert_eq!(desk.ruth("GET", &red, &Value::Null).await, forbidden, "{path}: it is no longer hers");

        // Of many at once none is dealt with when one is another team's.
        let many = |action: &str, id: &str, team: &str| {
            let entity = body(new.clone(), key, id, &json!({"team_name": team}));
            json!({"actions": [{"action": action, "entities": [entity], "action_on_existence": "overwrite"}]})
        };
        let mut update = many("update", "of_blue", "red");
        update["actions"][0].as_object_mut().expect("an action").remove("action_on_existence");
        assert_eq!(desk.ruth("PATCH", path, &update).await, forbidden, "{path}");
        assert_eq!(desk.ruth("PATCH", path, &many("create", "of_blue", "red")).await, forbidden, "{path}");
        assert_eq!(desk.ruth("PATCH", path, &many("create", "newer", "blue")).await, forbidden, "{path}");
        let delete = json!({"actions": [{"action": "delete", "entities": ["new", "of_blue"]}]});
        assert_eq!(desk.ruth("PATCH", path, &delete).await, forbidden, "{path}");
        let (status, done) = desk.ruth("PATCH", path, &many("create", "newer", "red")).await;
        assert_eq!((status, &done["create"]["errors"]), (200, &json!([])), "{path}: {done}");
        let made = desk.ruth("GET", &format!("{path}/newer"), &Value::Null).await.1;
        assert_eq!(made["team_name"], "red", "{path}");
        assert_eq!(desk.ruth("DELETE", &format!("{path}/newer"), &Value::Null).await.0, 204, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dags_belong_to_the_team_of_their_bundle() {
    let desk = Desk::open().await;
    let dags = desk.ruth("GET", "/api/v2/dags", &Value::Null).await.1;
    let of_all = desk.admin("GET", "/api/v2/dags", &Value::Null).await.1;
    assert_eq!(
        of_all["total_entries"].as_i64().zip(dags["total_entries"].as_i64()).map(|(all, hers)| all - hers),
        Some(2)
    );
    let listed = dags.to_string();
    assert!(
        listed.contains("\"example_xcom\"") && listed.contains("\"example_failed_dag\""),
        "of hers, and of nobody's"
    );
    assert!(!listed.contains("\"example_task_group\""));
    let status = async |dag_id: &str| desk.ruth("GET", &format!("/api/v2/dags/{dag_id}"), &Value::Null).await.0;
    assert_eq!(status("example_task_group").await, 403);
    assert_eq!(status("example_xcom").await, 200);
    assert_eq!(status("example_failed_dag").await, 200);
    assert_eq!(status("nothing").await, 404, "what is not there belongs to no team");

    let graph = desk.admin("GET", "/ui/dependencies", &Value::Null).await.1;
    let node = |graph: &Value, id: &str| graph["nodes"].as_array()?.iter().find(|node| node["id"] == id).cloned();
    let controller = node(&graph, "dag:example_trigger_controller_dag").expect("a node");
    assert_eq!(controller["team"], "blue", "{controller}");
    assert_eq!(node(&graph, "dag:example_trigger_target_dag").expect("a node")["team"], Value::Null);
    let graph = desk.ruth("GET", "/ui/dependencies", &Value::Null).await.1;
    assert_eq!(node(&graph, "dag:example_trigger_controller_dag"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_tested_by_whose_team_it_is() {
    let desk = Desk::open().await;
    let path = "/api/v2/connections/enqueue-test";
    let test = |id: &str, team: Value| json!({"connection_id": id, "conn_type": "http", "team_name": team});
    let (status, refusal) = desk.ruth("POST", path, &test("of_blue", Value::Null)).await;
    assert_eq!((status, &refusal["detail"]), (403, &json!("You are not authorized to test connection `of_blue`.")));
    let (status, refusal) = desk.ruth("POST", path, &test("of_red", json!("blue"))).await;
    let detail = "team_name `blue` does not match the team of connection `of_red`.";
    assert_eq!((status, &refusal["detail"]), (403, &json!(detail)));
    assert_eq!(desk.ruth("POST", path, &test("of_red", Value::Null)).await.0, 202);
    assert_eq!(desk.ruth("POST", path, &test("new", json!("red"))).await.0, 202);
    let teams: Vec<Option<String>> =
        sqlx::query_scalar("SELECT team_name FROM connection_test_request ORDER BY created_at")
            .fetch_all(desk.server.pool())
            .await
            .expect("rows");
    assert_eq!(teams, [Some("red".to_owned()), Some("red".to_owned())]);
}
