//! Who may come in: tokens, roles, log-in and log-out, other origins, proxies, TLS.

use crate::server::{Server, airflow_package, json_of, send, tests_folder, text_of};
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tradewind_airflow::config::{Config, Environment};
use tradewind_airflow::jwt::Jwt;
use tradewind_metadata::testing::TestDatabase;
use tradewind_webserver::WebServer;

/// Asks with these headers.
async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    send(&server.router, request.body(Body::empty())).await
}

async fn status_with(server: &Server, path: &str, token: &str) -> (u16, Value) {
    let answer = get(server, path, &[("authorization", &format!("Bearer {token}"))]).await;
    (answer.status().as_u16(), json_of(answer).await)
}

/// A token of the server's own secret for somebody.
pub(crate) fn token(options: &[(&str, &str)], role: &str, issued_before: i64) -> String {
    let environment = options.iter().fold(Environment::default(), |all, (name, value)| all.with(*name, *value));
    let config = Config::from_environment(&environment).expect("a valid configuration");
    let claims = json!({"sub": "eve", "role": role, "teams": []}).as_object().expect("an object").clone();
    let issued = chrono::Utc::now() - chrono::Duration::seconds(issued_before);
    let jwt = Jwt::for_users(&config, Server::SECRET).expect("a key");
    jwt.issue(claims, issued, 60).expect("a token")
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().expect("text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_taken_that_are_valid_for_this_server() {
    let server = Server::start().await;
    let path = "/api/v2/pools";
    assert_eq!(status_with(&server, path, &token(&[], "viewer", 0)).await.0, 200);
    let expired = status_with(&server, path, &token(&[], "viewer", 600)).await;
    assert_eq!(expired, (401, json!({"detail": "Token Expired"})));
    let invalid = (403, json!({"detail": "Invalid JWT token"}));
    for option in [("AIRFLOW__API_AUTH__JWT_AUDIENCE", "somebody-else"), ("AIRFLOW__API_AUTH__JWT_ALGORITHM", "HS256")]
    {
        assert_eq!(status_with(&server, path, &token(&[option], "viewer", 0)).await, invalid);
    }
    let valid = token(&[], "viewer", 0);
    let (head, signature) = valid.rsplit_once('.').expect("three parts");
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    assert_eq!(status_with(&server, path, &forged).await, invalid);
    assert_eq!(status_with(&server, path, "").await, invalid);
    // Another scheme than Bearer says nothing.
    let basic = get(&server, path, &[("authorization", "Basic YTpi")]).await;
    assert_eq!((basic.status().as_u16(), json_of(basic).await), (401, json!({"detail": "Not authenticated"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_bound_what_is_read_and_changed() {
    let server = Server::start().await;
    let may = async |role: &str, method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", token(&[], role, 0)));
        let request = request.header(header::CONTENT_TYPE, "application/json");
        send(&server.router, request.body(Body::from("{}"))).await.status() != StatusCode::FORBIDDEN
    };
    let lowest = [
        ("viewer", "GET", "/api/v2/dags"),
        ("viewer", "GET", "/api/v2/dags/example_xcom/dagRuns"),
        ("viewer", "GET", "/api/v2/eventLogs"),
        ("viewer", "GET", "/ui/partitioned_dag_runs"),
        ("user", "POST", "/api/v2/dags/example_xcom/dagRuns"),
        ("user", "POST", "/api/v2/dags/example_xcom/clearPartitions"),
        ("op", "GET", "/api/v2/connections"),
        ("op", "POST", "/api/v2/variables"),
        ("op", "POST", "/api/v2/connections/defaults"),
        ("op", "POST", "/api/v2/pools"),
    ];
    let roles = ["nobody", "viewer", "user", "op", "admin"];
    for (needed, method, path) in lowest {
        let allowed: Vec<&str> = roles.iter().copied().skip_while(|role| *role != needed).collect();
        for role in roles {
            assert_eq!(may(role, method, path).await, allowed.contains(&role), "{role} {method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_out_is_out_with_every_token() {
    let server = Server::start().await;
    sqlx::query("INSERT INTO revoked_token (jti, exp) VALUES ('old', now() - interval '1 day')")
        .execute(server.pool())
        .await
        .expect("a row");
    let other = token(&[], "viewer", 0);
    let headers = [("authorization", &*format!("Bearer {}", server.token)), ("cookie", &*format!("_token={other}"))];
    let answer = get(&server, "/api/v2/auth/logout", &headers).await;
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers()[header::LOCATION], "/auth/login");
    assert!(
        cookies(answer.headers()).iter().all(|cookie| cookie.starts_with("_token=\"\"; HttpOnly; Max-Age=0; Path=/"))
    );
    for token in [&server.token, &other] {
        assert_eq!(status_with(&server, "/api/v2/pools", token).await, (403, json!({"detail": "Invalid JWT token"})));
    }
    let kept: Vec<String> =
        sqlx::query_scalar("SELECT jti FROM revoked_token").fetch_all(server.pool()).await.expect("rows");
    assert!(kept.len() == 2 && !kept.contains(&"old".to_owned()), "{kept:?}");
    // A cookie that is no longer valid goes, or the browser would come back with it for ever.
    let answer = get(&server, "/api/v2/pools", &[("cookie", &format!("_token={other}"))]).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(cookies(answer.headers()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_gives_a_token_for_the_right_password_only() {
    let server = Server::start().await;
    let log_in = async |path: &str, kind: &str, body: String| {
        let request = Request::post(path).header(header::CONTENT_TYPE, kind).body(Body::from(body));
        let answer = send(&server.router, request).await;
        (answer.status().as_u16(), json_of(answer).await)
    };
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let password = &server.password;
    for path in ["/auth/token", "/auth/token/cli"] {
        let body = json!({"username": "admin", "password": password}).to_string();
        let (status, answer) = log_in(path, json, body).await;
        assert_eq!(status, 201, "{answer}");
        let claims = Jwt::for_users(&Config::from_environment(&Environment::default()).expect("valid"), Server::SECRET)
            .expect("a key")
            .check(answer["access_token"].as_str().expect("a token"))
            .expect("a valid token");
        let seconds = claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(end, start)| end - start);
        assert_eq!(seconds, Some(if path.ends_with("cli") { 3600 } else { 86400 }));
        assert_eq!((&claims["sub"], &claims["role"], &claims["teams"]), (&json!("admin"), &json!("admin"), &json!([])));
    }
    assert_eq!(log_in("/auth/token", form, format!("username=admin&password={password}")).await.0, 201);
    let wrong = json!({"username": "admin", "password": "wrong"}).to_string();
    assert_eq!(log_in("/auth/token", json, wrong).await, (401, json!({"detail": "Invalid credentials"})));
    let empty = json!({"username": "admin", "password": ""}).to_string();
    let detail = json!({"detail": "Username and password must be provided"});
    assert_eq!(log_in("/auth/token", json, empty).await, (400, detail));
    assert_eq!(log_in("/auth/token", "text/plain", String::new()).await.0, 415);
    // Without a log-in there is no token unless everybody is an administrator.
    let detail = "This method is only allowed if ``[core] simple_auth_manager_all_admins`` is True";
    let answer = get(&server, "/auth/token", &[]).await;
    assert_eq!((answer.status().as_u16(), json_of(answer).await), (403, json!({"detail": detail})));
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_an_administrator_where_the_option_says_so() {
    let option = ("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True");
    let server = Server::start_configured(&[], &[option]).await;
    assert_eq!(
        json_of(get(&server, "/ui/auth/me", &[]).await).await,
        json!({"id": "Anonymous", "username": "Anonymous"})
    );
    assert_eq!(get(&server, "/api/v2/connections", &[]).await.status(), StatusCode::OK);
    assert_eq!(get(&server, "/auth/token", &[]).await.status(), StatusCode::CREATED);
    let answer = get(&server, "/auth/token/login?next=/dags", &[]).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()[header::LOCATION]), (307, &"/dags".parse().expect("text")));
    let [cookie] = &*cookies(answer.headers()) else { panic!("one cookie") };
    assert!(cookie.contains("; HttpOnly; Path=/; SameSite=lax") && !cookie.contains("Secure"), "{cookie}");
    assert_eq!(get(&server, "/api/v2/auth/login", &[]).await.headers()[header::LOCATION], "/auth/token/login");
    // Who shows a token is who it names.
    assert_eq!(status_with(&server, "/api/v2/connections", &token(&[], "viewer", 0)).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_of_the_base_url_is_part_of_every_path() {
    let option = ("AIRFLOW__API__BASE_URL", "https://example.org/team/airflow/");
    let server = Server::start_configured(&[], &[option]).await;
    for prefix in ["", "/team/airflow"] {
        assert_eq!(status_with(&server, &format!("{prefix}/api/v2/pools"), &server.token).await.0, 200);
    }
    let page = text_of(get(&server, "/team/airflow/", &[]).await).await;
    assert!(page.contains(r#"<base href="/team/airflow/" />"#), "{page}");
    let login = async |next: &str| {
        let answer = get(&server, &format!("/team/airflow/api/v2/auth/login?next={next}"), &[]).await;
        (
            answer.status().as_u16(),
            answer.headers().get(header::LOCATION).map(|to| to.to_str().expect("text").to_owned()),
        )
    };
    let (status, location) = login("/team/airflow/dags").await;
    assert_eq!((status, location.as_deref()), (307, Some("/team/airflow/auth/login?next=%2Fteam%2Fairflow%2Fdags")));
    for unsafe_next in [
        "/elsewhere",
        "/team/airflow-of-others",
        "//evil.org",
        "https://evil.org/team/airflow",
        "/team/airflow/../..",
        "javascript:alert(1)",
        "https:\\\\evil.org",
    ] {
        assert_eq!(login(unsafe_next).await, (400, None), "{unsafe_next}");
    }
    let answer = get(&server, "/team/airflow/api/v2/auth/logout", &[]).await;
    let paths: Vec<bool> =
        cookies(answer.headers()).iter().map(|cookie| cookie.contains("Path=/team/airflow/;")).collect();
    assert_eq!(paths, [true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_call_where_the_options_say_so() {
    let origin = ("origin", "https://page.example");
    let plain = Server::start().await;
    let answer = get(&plain, "/api/v2/version", &[origin]).await;
    assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));

    let server = Server::start_configured(
        &[],
        &[
            ("AIRFLOW__API__ACCESS_CONTROL_ALLOW_ORIGINS", "https://page.example, https://other.example"),
            ("AIRFLOW__API__ACCESS_CONTROL_ALLOW_METHODS", "GET, POST"),
            ("AIRFLOW__API__ACCESS_CONTROL_ALLOW_HEADERS", "authorization"),
        ],
    )
    .await;
    let answer = get(&server, "/api/v2/version", &[origin]).await;
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://page.example");
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    let answer = get(&server, "/api/v2/version", &[("origin", "https://evil.example")]).await;
    assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    // Asked before a call, without a token.
    let request = Request::options("/api/v2/dags")
        .header(origin.0, origin.1)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization");
    let answer = send(&server.router, request.body(Body::empty())).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_METHODS], "GET,POST");
    assert!(answer.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().expect("text").contains("authorization"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_tells_is_believed_of_those_named_only() {
    let option = ("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True");
    let is_secure = async |proxies: &[&str], scheme: &str| {
        let server = Server::listen(&[option], proxies).await;
        let mut stream = TcpStream::connect(server.address).await.expect("a connection");
        let request = format!(
            "GET /auth/token/login HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: {scheme}\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(&mut stream, &request).await.expect("an answer");
        server.stop().await;
        assert!(answer.contains("set-cookie: _token="), "{answer}");
        answer.contains("; Secure")
    };
    assert!(is_secure(&["10.0.0.0/8", "127.0.0.1"], "https").await);
    assert!(!is_secure(&["127.0.0.1"], "http").await);
    assert!(!is_secure(&["10.0.0.0/8"], "https").await);
    // By default nobody is believed.
    assert!(!is_secure(&[], "https").await);
}

/// Sends a request and reads until the other side has said everything.
async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_make_no_sense_are_refused_at_the_start() {
    let database = TestDatabase::migrated().await;
    let refused = |options: &[(&str, &str)]| {
        let home = tempfile::tempdir().expect("a temporary folder");
        let environment = Environment::default().with("AIRFLOW_HOME", home.path().to_string_lossy());
        let environment = options.iter().fold(environment, |all, (name, value)| all.with(*name, *value));
        let config = Config::from_environment(&environment).expect("readable");
        let server = WebServer::new(database.database(), &config, &airflow_package());
        server.err().map(|error| error.to_string()).expect("refused")
    };
    let fab = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager";
    assert!(refused(&[("AIRFLOW__CORE__AUTH_MANAGER", fab)]).contains(fab));
    assert!(refused(&[("AIRFLOW__API__ACCESS_CONTROL_ALLOW_ORIGINS", "*")]).contains("exact origins"));
    let certificate = tests_folder().join("fixtures/tls/certificate.pem");
    let certificate = certificate.to_str().expect("text");
    assert!(refused(&[("AIRFLOW__API__SSL_CERT", certificate)]).contains("ssl_key is not set"));
    let both = [("AIRFLOW__API__SSL_CERT", certificate), ("AIRFLOW__API__SSL_KEY", certificate)];
    assert!(refused(&both).contains("ssl_key"));
    assert!(refused(&[("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", "/nowhere")]).contains("/nowhere"));
    for wrong in ["http:/no-host", "httpx://somewhere/keys", "http://", "http://a b/keys"] {
        let refusal = refused(&[("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", wrong)]);
        assert!(refusal.contains(wrong) && refusal.contains("an http or https address, or a file"), "{refusal}");
    }
    let users = [("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "eve:viewer:red")];
    assert!(refused(&users).contains("[core] multi_team is not set; set it to True or leave the teams out"));
}

/// Asks over TLS; the answer as text, or why there is no connection.
async fn ask_tls(address: SocketAddr, with_certificate: bool) -> io::Result<String> {
    let folder = tests_folder().join("fixtures/tls");
    let certificate = || CertificateDer::from_pem_file(folder.join("certificate.pem")).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let client = if with_certificate {
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
        builder.with_client_auth_cert(vec![certificate()], key).expect("a client")
    } else {
        builder.with_no_client_auth()
    };
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
    exchange(&mut stream, "GET /api/v2/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_over_tls_and_asks_for_certificates() {
    let folder = tests_folder().join("fixtures/tls");
    let certificate = folder.join("certificate.pem").to_string_lossy().into_owned();
    let key = folder.join("key.pem").to_string_lossy().into_owned();
    for demand in ["none", "required"] {
        let options = [
            ("AIRFLOW__API__SSL_CERT", &*certificate),
            ("AIRFLOW__API__SSL_KEY", &*key),
            ("AIRFLOW__API__SSL_CA_FILE", &*certificate),
            ("AIRFLOW__API__SSL_CERT_REQS", demand),
        ];
        let server = Server::listen(&options, &[]).await;
        // Somebody who says nothing holds nobody up.
        let silent = TcpStream::connect(server.address).await.expect("a connection");
        let answer = ask_tls(server.address, true).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let without = ask_tls(server.address, false).await;
        assert_eq!(without.is_ok_and(|answer| answer.contains("200 OK")), demand == "none");
        drop(silent);
        server.stop().await;
    }
}
