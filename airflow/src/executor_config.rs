//! `executor_config` of a task: in the serialized Dag it is encoded as every value, in `task_instance` it is a Python pickle
//! (`ExecutorConfigType` in `airflow/utils/sqlalchemy.py`).

use serde_json::Value;
use serde_pickle::{DeOptions, SerOptions};

/// The pickle of what a serialized task holds; `None` when that is nothing, or cannot be pickled. Tuples become lists.
pub fn pickle(serialized: &Value) -> Option<Vec<u8>> {
    let mut plain = decode(serialized);
    let config = plain.as_object_mut()?;
    if config.is_empty() {
        return None;
    }
    // A pod stays encoded: Airflow pickles it in that form and decodes it when it reads the column.
    if let Some(pod) = serialized.pointer("/__var/pod_override").or_else(|| serialized.get("pod_override")) {
        config.insert("pod_override".to_owned(), pod.clone());
    }
    serde_pickle::to_vec(&plain, SerOptions::new()).ok()
}

/// What a pickle holds; `None` when it holds more than plain data.
pub fn unpickle(pickled: &[u8]) -> Option<Value> {
    serde_pickle::from_slice(pickled, DeOptions::new()).ok()
}

fn decode(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(decode).collect(),
        Value::Object(object) => match (object.get("__type"), object.get("__var")) {
            (Some(_), Some(inner)) => decode(inner),
            _ => object.iter().map(|(key, value)| (key.clone(), decode(value))).collect(),
        },
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    }

    #[test]
    fn what_official_airflow_pickles_is_read() {
        assert_eq!(unpickle(&bytes("80047d942e")), Some(json!({})));
        assert_eq!(unpickle(b"\x80\x05}\x94."), Some(json!({})));
        // {"KubernetesExecutor": {"image": "a", "n": 1, "l": [1, None, True, 2.5]}}
        let official = "80049544000000000000007d948c124b756265726e657465734578656375746f72947d94288c05696d616765948c0161948c01\
                        6e944b018c016c945d94284b014e884740040000000000006575732e";
        let plain = json!({"KubernetesExecutor": {"image": "a", "n": 1, "l": [1, null, true, 2.5]}});
        assert_eq!(unpickle(&bytes(official)), Some(plain));
        // An object of a class: os.system("true"). Nothing is ever called.
        assert_eq!(unpickle(b"cos\nsystem\n(S'true'\ntR."), None);
        assert_eq!(unpickle(b"rubbish"), None);
    }

    #[test]
    fn what_a_serialized_task_holds_is_pickled() {
        let inner = json!({"__type": "dict", "__var": {"image": "a", "sizes": {"__type": "tuple", "__var": [1, 2.5]}}});
        let pod = json!({"__type": "k8s.V1Pod", "__var": {"spec": {"containers": []}}});
        let serialized = json!({"__type": "dict", "__var": {"KubernetesExecutor": inner, "pod_override": pod}});
        let pickled = pickle(&serialized).expect("a pickle");
        let plain = json!({"KubernetesExecutor": {"image": "a", "sizes": [1, 2.5]}, "pod_override": pod});
        assert_eq!(unpickle(&pickled), Some(plain));
        assert_eq!(pickle(&json!({"__type": "dict", "__var": {}})), None);
    }
}
