//! Connections from texts: a URI, or a JSON object.
//!
//! Source: `BaseSecretsBackend.deserialize_connection`, `Connection._parse_from_uri` and `from_json` in
//! `airflow/models/connection.py`, `Connection.from_uri` in `airflow/sdk/definitions/connection.py`, and Python's `urlsplit`.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use tradewind_airflow::python_json;
use tradewind_metadata::connection::Connection;

/// The name of a query parameter that is the whole extra.
const EXTRA: &str = "__extra__";

/// What the parameters of a URI's query are in the extra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    /// Texts, as a task reads them.
    AsText,
    /// JSON where they are, as the API server reads them.
    AsJson,
}

/// Reads a Connection.
///
/// # Errors
/// The text is neither; what is wrong, without any of the text.
pub(crate) fn parse(conn_id: &str, text: &str, query: Query) -> Result<Connection, String> {
    let text = text.trim();
    let connection = if text.starts_with('{') { from_json(conn_id, text)? } else { from_uri(conn_id, text, query)? };
    if let Some(extra) = connection.extra.as_deref().filter(|extra| !extra.is_empty()) {
        serde_json::from_str::<Map<String, Value>>(extra).map_err(|_| "its extra is no JSON object".to_owned())?;
    }
    Ok(connection)
}

fn from_json(conn_id: &str, text: &str) -> Result<Connection, String> {
    let fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| "it begins like a JSON object, and is none".to_owned())?;
    let mut connection = empty(conn_id);
    for (name, value) in fields {
        match name.as_str() {
            "conn_type" => connection.conn_type = normalized(&scalar(&name, &value)?.unwrap_or_default()),
            "host" => connection.host = scalar(&name, &value)?,
            "schema" => connection.schema = scalar(&name, &value)?,
            "login" => connection.login = scalar(&name, &value)?,
            "password" => connection.password = scalar(&name, &value)?,
            "port" => connection.port = port(scalar(&name, &value)?.as_deref())?,
            "extra" => connection.extra = extra(&value),
            "description" | "conn_id" => {}
            _ => return Err(format!("its JSON object has a field {name:?}, which a Connection has not")),
        }
    }
    Ok(connection)
}

fn empty(conn_id: &str) -> Connection {
    Connection {
        conn_id: conn_id.to_owned(),
        conn_type: String::new(),
        host: None,
        schema: None,
        login: None,
        password: None,
        port: None,
        extra: None,
    }
}

/// The text of a field; numbers are taken as they are written.
fn scalar(name: &str, value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err(format!("{name} in its JSON object is no text")),
    }
}

fn port(text: Option<&str>) -> Result<Option<i32>, String> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let port = text.parse().map_err(|_| "its port is no number".to_owned())?;
    Ok((port != 0).then_some(port))
}

fn extra(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Object(fields) if fields.is_empty() => None,
        value => Some(python_json::dumps(value)),
    }
}

/// The parts of a URI as `urlsplit` gives them.
struct Parts<'a> {
    scheme: String,
    netloc: &'a str,
    path: &'a str,
    query: &'a str,
}

fn split(uri: &str) -> Parts<'_> {
    let (scheme, rest) = match uri.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
        _ => (String::new(), uri),
    };
    let (netloc, rest) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None => ("", rest),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Parts { scheme, netloc, path, query }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn from_uri(conn_id: &str, uri: &str, query: Query) -> Result<Connection, String> {
    // urlsplit leaves these out wherever they are.
    let uri: String = uri.chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).collect();
    let schemes = uri.matches("://").count();
    if schemes > 2 {
        return Err("it is neither a JSON object nor a URI: it has more than two schemes".to_owned());
    }
    let has_protocol = schemes == 2;
    let conn_type = split(&uri).scheme;
    let rest = uri.replace(&format!("{conn_type}://"), if has_protocol { "" } else { "//" });
    if has_protocol && rest.split("://").next().is_some_and(|before| before.contains(['@', ':'])) {
        return Err("it is no URI of a Connection: login and password stand before its second scheme".to_owned());
    }
    let parts = split(&rest);
    let (user, place) = match parts.netloc.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, parts.netloc),
    };
    let (login, password) = match user.map(|user| user.split_once(':').map_or((user, None), |(u, p)| (u, Some(p)))) {
        Some((login, password)) => (Some(unquoted(login)), password.map(unquoted)),
        None => (None, None),
    };
    let (host, written_port) = host_and_port(place);
    let host = match (has_protocol, host) {
        (true, host) if !host.is_empty() => format!("{}://{host}", parts.scheme),
        (_, host) => host,
    };
    Ok(Connection {
        conn_id: conn_id.to_owned(),
        conn_type: normalized(&conn_type),
        host: Some(host),
        schema: Some(unquoted(parts.path.strip_prefix('/').unwrap_or_else(|| after_first(parts.path)))),
        login,
        password,
        port: uri_port(written_port)?,
        extra: extra_of(parts.query, query),
    })
}

/// What Python's `path[1:]` is.
fn after_first(path: &str) -> &str {
    let mut rest = path.chars();
    rest.next();
    rest.as_str()
}

fn uri_port(written: Option<&str>) -> Result<Option<i32>, String> {
    let Some(text) = written.filter(|text| !text.is_empty()) else { return Ok(None) };
    let port: u16 = text.parse().map_err(|_| "the port in its URI is no port".to_owned())?;
    Ok(Some(i32::from(port)))
}

/// The host in lower case, unless it is a path, and the port as it is written.
fn host_and_port(place: &str) -> (String, Option<&str>) {
    let (name, port) = match place.split_once('[') {
        Some((_, bracketed)) => {
            let (name, after) = bracketed.split_once(']').unwrap_or((bracketed, ""));
            (name, after.split_once(':').map(|(_, port)| port))
        }
        None => place.split_once(':').map_or((place, None), |(name, port)| (name, Some(port))),
    };
    let lower = match name.split_once('%') {
        Some((before, after)) => format!("{}%{after}", before.to_lowercase()),
        None => name.to_lowercase(),
    };
    let host = unquoted(&lower);
    if host.contains('/') {
        return (unquoted(place.split(':').next().unwrap_or_default()), port);
    }
    (host, port)
}

fn extra_of(query: &str, form: Query) -> Option<String> {
    if query.is_empty() {
        return None;
    }
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == EXTRA {
            return Some(value.into_owned());
        }
        let json = (form == Query::AsJson && !value.is_empty()).then(|| serde_json::from_str(&value).ok()).flatten();
        fields.insert(name.into_owned(), json.unwrap_or_else(|| Value::String(value.into_owned())));
    }
    Some(python_json::dumps(&Value::Object(fields)))
}

fn normalized(conn_type: &str) -> String {
    if conn_type == "postgresql" { "postgres".to_owned() } else { conn_type.replace('-', "_") }
}

fn unquoted(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> =
        (&'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<i32>, Option<&'a str>);

    fn fields(connection: &Connection) -> Fields<'_> {
        let Connection { conn_type, host, schema, login, password, port, extra, .. } = connection;
        (conn_type, host.as_deref(), schema.as_deref(), login.as_deref(), password.as_deref(), *port, extra.as_deref())
    }

    /// As official Airflow 3.3.2 reads them.
    #[test]
    fn uris_are_read_as_in_airflow() {
        for (uri, expected) in [
            (
                "postgresql://us%40er:pa%2Fss@Host.example:5432/db%2Fone?a=1&b=x%20y&c=",
                (
                    "postgres",
                    Some("host.example"),
                    Some("db/one"),
                    Some("us@er"),
                    Some("pa/ss"),
                    Some(5432),
                    Some(r#"{"a": 1, "b": "x y", "c": ""}"#),
                ),
            ),
            (
                "aws://?region_name=eu-west-1",
                ("aws", Some(""), Some(""), None, None, None, Some(r#"{"region_name": "eu-west-1"}"#)),
            ),
            ("http://https://host:80/path", ("http", Some("https://host"), Some("path"), None, None, Some(80), None)),
            (
                "google-cloud-platform://?__extra__=%7B%22k%22%3A+1%7D",
                ("google_cloud_platform", Some(""), Some(""), None, None, None, Some(r#"{"k": 1}"#)),
            ),
            ("sqlite://%2FRelative%2FPath.db", ("sqlite", Some("/Relative/Path.db"), Some(""), None, None, None, None)),
            ("ssh://:secret@[::1]:22", ("ssh", Some("::1"), Some(""), Some(""), Some("secret"), Some(22), None)),
            ("plain", ("", Some(""), Some("lain"), None, None, None, None)),
        ] {
            let read = parse("c", uri, Query::AsJson).expect(uri);
            assert_eq!(fields(&read), expected, "{uri}");
        }
        let as_text = parse("c", "x://h?a=1", Query::AsText).expect("a Connection");
        assert_eq!(as_text.extra.as_deref(), Some(r#"{"a": "1"}"#));
    }

    #[test]
    fn json_is_read_as_in_airflow() {
        let json = r#" {"conn_type": "my-db", "host": "H", "port": "5432", "login": null, "extra": {"a": [1]}} "#;
        let read = parse("c", json, Query::AsJson).expect("a Connection");
        assert_eq!(fields(&read), ("my_db", Some("H"), None, None, None, Some(5432), Some(r#"{"a": [1]}"#)));
    }

    #[test]
    fn what_cannot_be_read_is_said_without_the_secret() {
        for (text, words) in [
            ("a://b://c://secret", "more than two"),
            ("a://user:secret@x://c", "before its second scheme"),
            ("a://h:secret", "port"),
            (r#"{"host": "secret""#, "JSON"),
            (r#"{"secret_field": "secret"}"#, "has a field"),
            (r#"{"port": "secret"}"#, "port"),
            (r#"{"extra": "secret"}"#, "extra"),
            (r#"{"host": ["secret"]}"#, "host"),
        ] {
            let error = parse("c", text, Query::AsJson).expect_err(text);
            assert!(error.contains(words) && !error.contains("\"secret\""), "{error}");
        }
    }
}
