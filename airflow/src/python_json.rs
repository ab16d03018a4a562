//! JSON text as Python's `json.dumps` writes it with its default options.
//!
//! Airflow keeps JSON in text columns (state stores, arguments of triggers, extras of the audit log); writing the same
//! text lets official components and people compare it.

use std::io;

use serde_json::Value;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// Whether Python takes a value for true.
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
    }
}

/// `json.dumps(value)`: a blank after `,` and `:`, and nothing but ASCII.
pub fn dumps(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, PythonFormatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => value.to_string(),
    }
}

struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    /// Python and Rust agree on the digits of a float, the shortest that read back the same, but not on when an
    /// exponent is written: Python does from 1e16 on and below 1e-4, with a sign and two digits at least.
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let magnitude = value.abs();
        if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
            return write!(writer, "{value:?}");
        }
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        write!(writer, "{digits}e{sign}{exponent:0>2}")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut units = [0; 2];
        for character in fragment.chars() {
            if matches!(character, ' '..='~') {
                write!(writer, "{character}")?;
            } else {
                for unit in character.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::Solidus => writer.write_all(b"/"),
            CharEscape::Backspace => writer.write_all(b"\\b"),
            CharEscape::FormFeed => writer.write_all(b"\\f"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn looks_like_python() {
        // Recorded: json.dumps({"a": [1, 2.5, None, True], "é\n": {"😀": {}}, "\x7f": "~"})
        let value = json!({"a": [1, 2.5, null, true], "é\n": {"😀": {}}, "\u{7f}": "~"});
        assert_eq!(dumps(&value), r#"{"a": [1, 2.5, null, true], "\u00e9\n": {"\ud83d\ude00": {}}, "\u007f": "~"}"#);
    }
    #[test]
    fn writes_floats_like_python() {
        // Recorded: json.dumps([…]) of the same numbers.
        let value =
            json!([1.5e-7, 1e-4, 0.00012, 1e-5, 1e22, 1e16, 9999999999999998.0, -0.0, 300.0, 1.5e300, -1.25e-10]);
        assert_eq!(
            dumps(&value),
            "[1.5e-07, 0.0001, 0.00012, 1e-05, 1e+22, 1e+16, 9999999999999998.0, -0.0, 300.0, 1.5e+300, -1.25e-10]"
        );
    }
}
