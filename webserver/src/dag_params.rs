//! Parameters of Dags: their values checked against their JSON schemas (`airflow/serialization/definitions/param.py`).

use crate::python;
use crate::serialized_dag::decode;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value, json};

/// Formats that Python's `jsonschema` checks only when further packages are installed, which Airflow does not demand.
const UNCHECKED_FORMATS: [&str; 9] = [
    "date-time",
    "uri",
    "uri-reference",
    "uri-template",
    "iri",
    "iri-reference",
    "hostname",
    "json-pointer",
    "relative-json-pointer",
];

/// The format `time` as Python's `jsonschema` reads it: `%H:%M:%S`.
fn is_time(text: &str) -> bool {
    chrono::NaiveTime::parse_from_str(text, "%H:%M:%S").is_ok()
}

/// A parameter as serialized.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    /// The default; none: every run must give a value.
    value: Option<Value>,
    schema: Value,
    description: Value,
    source: Value,
}

impl Param {
    fn parse(param: &Value) -> Self {
        if param.get("__class").is_none() {
            let value = Some(decode(param));
            return Self { value, schema: json!({}), description: Value::Null, source: Value::Null };
        }
        let part = |key: &str| param.get(key).map(decode).unwrap_or_default();
        let default = param.get("default").cloned().unwrap_or_default();
        let is_unset = default.get("__type").and_then(Value::as_str) == Some("arg_not_set");
        Self {
            value: (!is_unset).then(|| decode(&default)),
            schema: Some(part("schema")).filter(Value::is_object).unwrap_or_else(|| json!({})),
            description: part("description"),
            source: part("source"),
        }
    }

    /// The value, if it satisfies the schema.
    fn resolve(&self) -> Result<&Value, String> {
        let value = self.value.as_ref().ok_or("No value passed")?;
        let mut options = jsonschema::options().should_validate_formats(true).with_format("time", is_time);
        for format in UNCHECKED_FORMATS {
            options = options.with_format(format, |_: &str| true);
        }
        let validator = options.build(&self.schema).map_err(|error| format!("its schema is wrong: {error}"))?;
        validator.validate(value).map_err(|error| explain(&error))?;
        Ok(value)
    }
}

/// The parameters of a Dag or task by name, in the order of the Dag file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(Vec<(String, Param)>);

impl Params {
    /// Reads the field `params` of a serialized Dag or task: pairs of name and parameter.
    pub(crate) fn parse(params: Option<&Value>) -> Self {
        let pairs = params.and_then(Value::as_array).into_iter().flatten();
        let pairs = pairs.filter_map(|pair| Some((pair.get(0)?.as_str()?.to_owned(), Param::parse(pair.get(1)?))));
        Self(pairs.collect())
    }

    /// Value, schema, description and source of each, as pages and forms want them.
    pub(crate) fn dump(&self) -> Value {
        let dump = |param: &Param| {
            json!({
                "value": param.resolve().cloned().unwrap_or_default(),
                "schema": param.schema,
                "description": param.description,
                "source": param.source,
            })
        };
        Value::Object(self.0.iter().map(|(name, param)| (name.clone(), dump(param))).collect())
    }

    /// Whether a run with these values may be made; the error is Airflow's sentence.
    pub(crate) fn check(&self, conf: &Map<String, Value>) -> Result<(), String> {
        for (name, param) in &self.0 {
            let mut param = param.clone();
            if let Some(value) = conf.get(name) {
                param.value = Some(value.clone());
            }
            param.resolve().map_err(|problem| format!("Invalid input for param {name}: {problem}"))?;
        }
        Ok(())
    }
}

/// A broken rule in the words of Python's `jsonschema`.
fn explain(error: &jsonschema::ValidationError<'_>) -> String {
    let value = python::repr_value(error.instance());
    match error.kind() {
        ValidationErrorKind::Type { kind } => {
            use jsonschema::error::TypeKind;
            let types = match kind {
                TypeKind::Single(kind) => python::repr(&kind.to_string()),
                TypeKind::Multiple(kinds) => {
                    kinds.iter().map(|kind| python::repr(&kind.to_string())).collect::<Vec<_>>().join(", ")
                }
            };
            format!("{value} is not of type {types}")
        }
        ValidationErrorKind::Enum { options } => format!("{value} is not one of {}", python::repr_value(options)),
        ValidationErrorKind::Maximum { limit } => format!("{value} is greater than the maximum of {limit}"),
        ValidationErrorKind::Minimum { limit } => format!("{value} is less than the minimum of {limit}"),
        ValidationErrorKind::MaxLength { .. } => format!("{value} is too long"),
        ValidationErrorKind::MinLength { .. } => format!("{value} is too short"),
        ValidationErrorKind::Pattern { pattern } => format!("{value} does not match {}", python::repr(pattern)),
        ValidationErrorKind::Format { format } => format!("{value} is not a {}", python::repr(format)),
        ValidationErrorKind::Required { property } => {
            format!("{} is a required property", python::repr_value(property))
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> Params {
        Params::parse(Some(&json!([
            ["count", {"__class": "airflow.sdk.definitions.param.Param", "default": 3, "schema": {"type": "integer"}}],
            ["name", {"__class": "airflow.sdk.definitions.param.Param", "default": {"__type": "arg_not_set"}}],
        ])))
    }

    fn check(conf: Value) -> Result<(), String> {
        params().check(conf.as_object().expect("an object"))
    }

    #[test]
    fn checks_values_against_schemas() {
        assert_eq!(check(json!({"name": "x"})), Ok(()));
        assert_eq!(check(json!({})), Err("Invalid input for param name: No value passed".to_owned()));
        let wrong = "Invalid input for param count: 'a' is not of type 'integer'";
        assert_eq!(check(json!({"name": "x", "count": "a"})), Err(wrong.to_owned()));
    }

    #[test]
    fn shows_defaults_that_hold() {
        let dump = params().dump();
        assert_eq!(dump["count"]["value"], 3);
        assert_eq!(dump["name"], json!({"value": null, "schema": {}, "description": null, "source": null}));
    }
}
