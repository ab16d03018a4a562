//! The search for Dag files, against what official Airflow finds in the same trees (`recorded/record_discovery.py`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tradewind_dag_processor::discovery::{Discovery, DiscoveryRules, Searcher};
use tradewind_dag_processor::ignore::IgnoreSyntax;

use crate::support::TestResult;

fn write(root: &Path, path: &str, content: &[u8]) -> std::io::Result<()> {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap_or(root))?;
    fs::write(path, content)
}

fn search(root: &Path, syntax: IgnoreSyntax, safe_mode: bool) -> std::io::Result<Discovery> {
    Searcher::new(DiscoveryRules { syntax, safe_mode }).search(root)
}

fn dag_files(found: &Discovery) -> Vec<String> {
    found.dag_files.keys().map(|path| path.to_string_lossy().into_owned()).collect()
}

#[test]
fn ignore_files_mean_what_they_mean_to_airflow() -> TestResult {
    let recorded: Value = serde_json::from_str(include_str!("recorded/discovery.json"))?;
    let tree: Vec<String> = serde_json::from_value(recorded["tree"].clone())?;
    let cases = recorded["cases"].as_array().ok_or("no cases")?;
    assert!(cases.len() > 20);
    for case in cases {
        let root = TempDir::new()?;
        for path in &tree {
            write(root.path(), path, b"")?;
        }
        let ignore_files: BTreeMap<String, String> = serde_json::from_value(case["ignore_files"].clone())?;
        for (folder, content) in &ignore_files {
            write(root.path(), format!("{folder}/.airflowignore").trim_start_matches('/'), content.as_bytes())?;
        }
        let syntax: IgnoreSyntax = case["syntax"].as_str().ok_or("no syntax")?.parse()?;
        let found = search(root.path(), syntax, false)?;
        let expected: Vec<String> = serde_json::from_value::<Vec<String>>(case["found"].clone())?
            .into_iter()
            .filter(|path| path.ends_with(".py"))
            .collect();
        let mut dag_files = dag_files(&found);
        dag_files.sort();
        assert_eq!(dag_files, expected, "{}", case["name"]);
    }
    Ok(())
}

#[test]
fn safe_mode_wants_airflow_and_dags_or_assets() -> TestResult {
    let root = TempDir::new()?;
    write(root.path(), "dag.py", b"from airflow.sdk import DAG")?;
    write(root.path(), "asset.py", b"from AIRFLOW.sdk import Asset")?;
    write(root.path(), "helper.py", b"import airflow")?;
    write(root.path(), "other.py", b"dag = 1")?;
    write(root.path(), "dag.txt", b"airflow dag")?;
    write(root.path(), "__pycache__/dag.cpython-311.pyc", b"airflow dag")?;
    let found = search(root.path(), IgnoreSyntax::Glob, true)?;
    assert_eq!(dag_files(&found), ["asset.py", "dag.py"]);
    let found = search(root.path(), IgnoreSyntax::Glob, false)?;
    assert_eq!(dag_files(&found), ["asset.py", "dag.py", "helper.py", "other.py"]);
    Ok(())
}

#[test]
fn what_dag_files_may_read_is_watched_also_where_it_is_ignored() -> TestResult {
    let root = TempDir::new()?;
    write(root.path(), ".airflowignore", b"plugins/\n")?;
    write(root.path(), "dag.py", b"airflow dag")?;
    write(root.path(), "helper.py", b"")?;
    write(root.path(), "plugins/inner/tables.yaml", b"")?;
    write(root.path(), "plugins/dag.py", b"airflow dag")?;
    write(root.path(), ".git/index", b"")?;
    let found = search(root.path(), IgnoreSyntax::Glob, true)?;
    assert_eq!(dag_files(&found), ["dag.py"]);
    let watched: Vec<_> = found.watched.keys().map(|path| path.to_string_lossy()).collect();
    let expected =
        ["", ".airflowignore", "helper.py", "plugins", "plugins/dag.py", "plugins/inner", "plugins/inner/tables.yaml"];
    assert_eq!(watched, expected);
    Ok(())
}

#[test]
fn links_are_followed_once() -> TestResult {
    let root = TempDir::new()?;
    let elsewhere = TempDir::new()?;
    write(elsewhere.path(), "linked.py", b"airflow dag")?;
    symlink(elsewhere.path(), root.path().join("link"))?;
    symlink(root.path(), root.path().join("circle"))?;
    symlink("nowhere.py", root.path().join("broken.py"))?;
    let found = search(root.path(), IgnoreSyntax::Glob, true)?;
    assert_eq!(dag_files(&found), ["link/linked.py"]);
    Ok(())
}

#[test]
fn an_ignored_folder_can_be_searched_through_a_link_to_it() -> TestResult {
    let root = TempDir::new()?;
    write(root.path(), ".airflowignore", b"/releases\n")?;
    write(root.path(), "releases/17/dag.py", b"airflow dag")?;
    symlink("releases/17", root.path().join("current"))?;
    let found = search(root.path(), IgnoreSyntax::Glob, true)?;
    assert_eq!(dag_files(&found), ["current/dag.py"]);
    Ok(())
}

#[test]
fn only_changed_files_are_read_again() -> TestResult {
    let root = TempDir::new()?;
    write(root.path(), "a.py", b"airflow dag")?;
    let mut searcher = Searcher::new(DiscoveryRules { syntax: IgnoreSyntax::Glob, safe_mode: true });
    let first = searcher.search(root.path())?;
    assert_eq!(dag_files(&first), ["a.py"]);
    write(root.path(), "a.py", b"nothing")?;
    let second = searcher.search(root.path())?;
    assert_eq!(dag_files(&second), [""; 0]);
    assert!(second.watched.contains_key(Path::new("a.py")));
    Ok(())
}
