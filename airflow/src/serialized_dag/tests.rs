//! The fixtures are documents that official Airflow 3.3.2 wrote, with the hash it gave each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tradewind_model::dag::WeightRule;
use tradewind_model::mapping::{ExpandArgument, ExpandInput, XComArg};
use tradewind_model::trigger_rule::TriggerRule;

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/serialized_dag")
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn fixture(dag_id: &str) -> Value {
    read(&folder().join(format!("{dag_id}.json")))
}

fn dag(dag_id: &str) -> Dag {
    parse(&fixture(dag_id)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_recorded_document_is_read_and_named_as_official_airflow_names_it() {
    // Another folder of documents with a hashes.json may be checked the same way.
    let folder = std::env::var_os("TRADEWIND_SERIALIZED_DAGS").map_or_else(folder, PathBuf::from);
    let hashes: BTreeMap<String, String> =
        serde_json::from_value(read(&folder.join("hashes.json"))).unwrap_or_else(|error| panic!("{error}"));
    assert!(!hashes.is_empty());
    for (dag_id, hash) in hashes {
        let document = read(&folder.join(format!("{dag_id}.json")));
        let dag = parse(&document).unwrap_or_else(|error| panic!("{dag_id}: {error}"));
        assert_eq!(dag.dag_id, dag_id);
        assert_eq!(dag_hash(&document), hash, "{dag_id}");
        let of_text = parse_text(&document.to_string()).unwrap_or_else(|error| panic!("{dag_id}: {error}"));
        assert_eq!(format!("{of_text:?}"), format!("{dag:?}"), "{dag_id}: its text says the same");
    }
}

#[test]
fn settings_are_read() {
    let dag = dag("every_setting");
    let settings = &dag.settings;
    assert_eq!(settings.dag_display_name.as_deref(), Some("Every setting"));
    assert_eq!(settings.timetable.type_name, "airflow.timetables.trigger.CronTriggerTimetable");
    assert_eq!(settings.timetable.vars["expression"], "*/5 * * * *");
    assert_eq!(settings.start_date.map(|date| date.to_rfc3339()).as_deref(), Some("2024-01-01T00:00:00+00:00"));
    assert_eq!(settings.end_date.map(|date| date.timestamp_millis()), Some(1_893_456_000_250));
    assert_eq!(settings.dagrun_timeout, Some(TimeDelta::milliseconds(3_600_001)));
    assert_eq!(
        (settings.max_active_tasks, settings.max_active_runs, settings.max_consecutive_failed_dag_runs),
        (3, 2, 4)
    );
    assert!(settings.catchup && settings.has_on_success_callback && settings.has_on_failure_callback);
    assert_eq!(settings.is_paused_upon_creation, Some(false));
    assert_eq!(settings.tags.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "ü"]);
    assert_eq!(settings.params["obj"].default, json!({"a": {"b": [1.0, -0.0, 1e16, 123456789.123]}}));
    assert_eq!(settings.params["when"].schema, json!({"type": "string", "format": "date-time"}));
    assert_eq!(settings.params.keys().next().map(String::as_str), Some("n"));
}

#[test]
fn task_settings_are_read() {
    let dag = dag("every_setting");
    let [a, b, c, s, d, k] = ["a", "b", "c", "s", "d", "k"].map(|id| dag.task(id).unwrap_or_else(|| panic!("{id}")));
    assert!(a.succeeds_without_running() && !c.succeeds_without_running() && !b.succeeds_without_running());
    assert_eq!((a.retries, b.retries), (3, 1));
    assert_eq!((b.pool.as_str(), b.pool_slots, b.queue.as_str(), b.priority_weight), ("p", 2, "q", 7));
    assert_eq!((b.weight_rule.clone(), b.trigger_rule), (WeightRule::Absolute, TriggerRule::AllDone));
    assert_eq!((b.max_active_tis_per_dag, b.max_active_tis_per_dagrun), (Some(1), Some(1)));
    assert!((b.retry_exponential_backoff - 2.0).abs() < f64::EPSILON);
    assert_eq!(b.max_retry_delay, Some(TimeDelta::minutes(10)));
    assert_eq!(b.execution_timeout, Some(TimeDelta::minutes(1)));
    assert!(b.depends_on_past && b.wait_for_downstream && !b.ignore_first_depends_on_past);
    assert!(b.has_on_execute_callback && b.has_on_retry_callback && b.has_on_skipped_callback);
    assert!(!b.has_on_failure_callback);
    assert_eq!((b.task_display_name(), b.custom_operator_name()), ("Bee", "BashOperator"));
    assert_eq!(b.start_date.map(|date| date.timestamp()), Some(1_706_745_600));
    assert_eq!(a.start_date, dag.settings.start_date, "a task without dates has those of its Dag");
    assert!(s.is_sensor && s.reschedule && k.can_skip_downstream);
    let trigger = d.start_trigger.as_ref().unwrap_or_else(|| panic!("d starts with a trigger"));
    assert_eq!(trigger.next_method, "execute_complete");
    assert_eq!(dag.index_of("a").map(|index| dag.priority_weight(index)), Some(1 + 7 + 1 + 1 + 1 + 1));
}

#[test]
fn mapping_is_read() {
    let dag = dag("mapping_shapes");
    let input = |id: &str| dag.task(id).and_then(|task| task.expand_input.clone());
    let output = |task: &str| XComArg::Task { task_id: task.to_owned(), key: "return_value".to_owned() };
    let x = |arg: XComArg| {
        Some(ExpandInput::DictOfLists([("x".to_owned(), ExpandArgument::XCom(arg))].into_iter().collect()))
    };
    let both = || vec![output("numbers"), output("letters")];
    assert_eq!(input("numbers"), None);
    assert_eq!(input("one"), x(output("numbers")));
    assert_eq!(input("zipped"), x(XComArg::Zip { args: both(), filled: false }));
    assert_eq!(input("filled"), x(XComArg::Zip { args: both(), filled: true }));
    assert_eq!(input("joined"), x(XComArg::Map(Box::new(XComArg::Concat(both())))));
    assert_eq!(input("literals"), Some(ExpandInput::ListOfDicts(ExpandArgument::Literal(2))));
    let mapped = XComArg::Map(Box::new(output("numbers")));
    assert_eq!(input("kwargs"), Some(ExpandInput::ListOfDicts(ExpandArgument::XCom(mapped))));
    let Some(ExpandInput::DictOfLists(product)) = input("product") else { panic!("product is mapped") };
    assert_eq!(product["y"], ExpandArgument::Literal(2));
}

#[test]
fn a_mapped_task_takes_its_settings_from_what_it_passes_on() {
    let dag = dag("mapping_shapes");
    let task = dag.task("literals").unwrap_or_else(|| panic!("literals"));
    assert_eq!((task.pool.as_str(), task.pool_slots, task.queue.as_str()), ("small", 3, "fast"));
    assert_eq!((task.retries, task.retry_delay), (2, TimeDelta::milliseconds(7500)));
    assert_eq!((task.weight_rule.clone(), task.trigger_rule), (WeightRule::Upstream, TriggerRule::NoneFailed));
    assert_eq!((task.owner.as_str(), task.map_index_template.as_deref()), ("me", Some("{{ x }}")));
    assert!(task.has_on_failure_callback);
}

#[test]
fn groups_are_named_and_nested() {
    let dag = dag("mapping_shapes");
    let names: Vec<&str> = dag.groups().iter().map(|group| group.group_id.as_str()).collect();
    assert_eq!(names, ["", "tg", "tg.deeper"]);
    let index = dag.index_of("c").unwrap_or_else(|| panic!("c"));
    let around: Vec<&str> = dag.mapped_groups(index).map(|group| dag.groups()[group.0].group_id.as_str()).collect();
    assert_eq!(around, ["tg"]);
    assert!(dag.needs_expansion(index));
}

#[test]
fn setups_and_teardowns_are_read() {
    let dag = dag("setups");
    let index = |id: &str| dag.index_of(id).unwrap_or_else(|| panic!("{id}"));
    let names = |tasks: &[tradewind_model::dag::TaskIndex]| {
        tasks.iter().map(|task| dag.at(*task).task_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(dag.structure().indirect_setups(index("w2"))), ["s1", "s2"]);
    assert_eq!(names(dag.structure().indirect_setups(index("w3"))), Vec::<String>::new());
    assert_eq!(names(dag.structure().teardown_scope(index("t2"))), ["w1"]);
    assert!(dag.task("t1").is_some_and(|task| task.on_failure_fail_dagrun && task.is_teardown));
}

#[test]
fn the_writers_defaults_stand_below_what_a_task_says() {
    let mut document = fixture("every_setting");
    document["client_defaults"] = json!({"tasks": {"retries": 9, "pool": "theirs", "retry_delay": 60.0}});
    let dag = parse(&document).unwrap_or_else(|error| panic!("{error}"));
    let (a, b) = (dag.task("a"), dag.task("b"));
    assert_eq!(a.map(|task| (task.retries, task.pool.as_str())), Some((3, "theirs")));
    assert_eq!(b.map(|task| task.pool.as_str()), Some("p"));
}

#[test]
fn an_error_names_the_place() {
    let fails = |change: fn(&mut Value)| {
        let mut document = fixture("every_setting");
        change(&mut document);
        parse(&document).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(
        fails(|document| document["dag"]["tasks"][1]["__var"]["retries"] = json!("two")),
        r#"serialized Dag: $.dag.tasks[1].__var.retries: expected a 32-bit integer, found "two""#
    );
    assert_eq!(
        fails(|document| document["dag"]["tasks"][1]["__var"]["trigger_rule"] = json!("sometimes")),
        r#"serialized Dag: $.dag.tasks[1].__var.trigger_rule: expected a trigger rule, found "sometimes""#
    );
    assert_eq!(
        fails(|document| document["dag"]["tasks"][5]["__var"]["downstream_task_ids"] = json!(["nowhere"])),
        r#"serialized Dag "every_setting": task "k" has an unknown downstream task "nowhere""#
    );
    assert!(fails(|document| document["__version"] = json!(1)).contains("format version 1"));
    assert!(
        fails(|document| document["dag"] = json!(null)).starts_with(r#"serialized Dag: $: expected a field "dag""#)
    );
}

#[test]
fn the_hash_leaves_out_the_file_and_the_order_of_tasks() {
    let document = fixture("setups");
    let mut moved = document.clone();
    moved["dag"]["fileloc"] = json!("/elsewhere.py");
    if let Some(tasks) = moved["dag"]["tasks"].as_array_mut() {
        tasks.reverse();
    }
    assert_eq!(dag_hash(&document), dag_hash(&moved));
    moved["dag"]["max_active_runs"] = json!(1);
    assert_ne!(dag_hash(&document), dag_hash(&moved));
}

#[test]
fn a_text_is_refused_as_its_document_is() {
    let mut document = fixture("every_setting");
    document["dag"]["tasks"][1]["__var"]["retries"] = json!("many");
    let of_text = parse_text(&document.to_string()).map(|_| ());
    assert_eq!(of_text, parse(&document).map(|_| ()));
    assert!(of_text.is_err_and(|error| error.to_string().contains("$.dag.tasks[1].__var.retries")));
    for wrong in
        [json!([]), json!({"__version": 3, "dag": 7}), json!({"__version": 3, "dag": {"dag_id": "d", "tasks": 7}})]
    {
        assert_eq!(parse_text(&wrong.to_string()).map(|_| ()), parse(&wrong).map(|_| ()), "{wrong}");
    }
    assert!(matches!(parse_text("{"), Err(SerializedDagError::Json { .. })));
}
