//! What mapped tasks and groups are expanded over.
//!
//! Source: `_ExpandInputRef` and `_XComRef` in `airflow/serialization/serialized_objects.py`,
//! `deserialize_xcom_arg` in `airflow/serialization/definitions/xcom_arg.py`.

use serde_json::Value;
use tradewind_model::mapping::{ExpandArgument, ExpandInput, XComArg};

use super::SerializedDagError;
use super::reader::Reader;

pub(super) fn read(input: &Reader<'_>) -> Result<ExpandInput, SerializedDagError> {
    let kind = input.require("type")?;
    let value = input.require("value")?;
    match kind.text()? {
        "dict-of-lists" => {
            let arguments = value.decoded("dict");
            let arguments = arguments.fields()?.map(|(name, argument)| Ok((name.to_owned(), argument_of(&argument)?)));
            Ok(ExpandInput::DictOfLists(arguments.collect::<Result<_, _>>()?))
        }
        "list-of-dicts" => Ok(ExpandInput::ListOfDicts(argument_of(&value)?)),
        _ => Err(kind.expected("\"dict-of-lists\" or \"list-of-dicts\"")),
    }
}

fn argument_of(argument: &Reader<'_>) -> Result<ExpandArgument, SerializedDagError> {
    let xcom = argument.decoded("xcomref");
    if !std::ptr::eq(xcom.value(), argument.value()) {
        return Ok(ExpandArgument::XCom(xcom_arg(&xcom)?));
    }
    let value = ["dict", "set", "tuple"].iter().fold(argument.value(), |value, kind| {
        if value.get("__type").and_then(Value::as_str) == Some(kind) { &value["__var"] } else { value }
    });
    match value {
        Value::Array(items) => Ok(ExpandArgument::Literal(items.len())),
        Value::Object(fields) if !fields.contains_key("__type") => Ok(ExpandArgument::Literal(fields.len())),
        _ => Err(argument.expected("a list, a dict or an XCom to expand over")),
    }
}

fn xcom_arg(arg: &Reader<'_>) -> Result<XComArg, SerializedDagError> {
    let args = |arg: &Reader<'_>| {
        let list = arg.require("args")?;
        list.items()?.map(|arg| xcom_arg(&arg)).collect::<Result<Vec<_>, _>>()
    };
    let Some(kind) = arg.get("type") else {
        return Ok(XComArg::Task {
            task_id: arg.require("task_id")?.text()?.to_owned(),
            key: arg.require("key")?.text()?.to_owned(),
        });
    };
    match kind.text()? {
        "map" => Ok(XComArg::Map(Box::new(xcom_arg(&arg.require("arg")?)?))),
        "concat" => Ok(XComArg::Concat(args(arg)?)),
        // A fill value may be null, which is not the same as none.
        "zip" => Ok(XComArg::Zip { args: args(arg)?, filled: arg.value().get("fillvalue").is_some() }),
        _ => Err(kind.expected("\"map\", \"concat\" or \"zip\"")),
    }
}
