//! Texts as Python prints them, where official answers contain such texts.

/// `repr` of a text: single quotes unless it contains some and no double ones.
pub(crate) fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            character if character == quote => shown.extend(['\\', character]),
            character => shown.push(character),
        }
    }
    shown.push(quote);
    shown
}

/// `repr` of a list of texts.
pub(crate) fn repr_list<T: AsRef<str>>(texts: &[T]) -> String {
    format!("[{}]", texts.iter().map(|text| repr(text.as_ref())).collect::<Vec<_>>().join(", "))
}

/// `repr` of a set of texts, sorted (Python's own order is arbitrary).
pub(crate) fn repr_set<T: AsRef<str>>(texts: &[T]) -> String {
    let mut shown: Vec<String> = texts.iter().map(|text| repr(text.as_ref())).collect();
    shown.sort();
    format!("{{{}}}", shown.join(", "))
}

/// `repr` of a JSON value that became a Python object.
pub(crate) fn repr_value(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => repr(text),
        Value::Array(items) => format!("[{}]", items.iter().map(repr_value).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| format!("{}: {}", repr(key), repr_value(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// `str` of a JSON value that became a Python object.
pub(crate) fn str_value(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| repr_value(value), str::to_owned)
}

/// `json.dumps(value, indent=2)`: nothing but ASCII.
pub(crate) fn dumps_indented(value: &serde_json::Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    let mut ascii = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            let mut units = [0; 2];
            ascii.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    ascii
}

/// `inspect.cleandoc`: the common indentation of all lines but the first is removed, blank lines around too.
pub(crate) fn cleandoc(text: &str) -> String {
    let text = text.replace('\t', "        ");
    let mut lines: Vec<&str> = text.split('\n').collect();
    let indentation = |line: &&str| line.len() - line.trim_start_matches(' ').len();
    let margin = lines.iter().skip(1).filter(|line| !line.trim().is_empty()).map(indentation).min().unwrap_or(0);
    for (index, line) in lines.iter_mut().enumerate() {
        *line = if index == 0 { line.trim_start() } else { line.get(margin..).unwrap_or("") };
    }
    let is_blank = |line: &&str| line.is_empty();
    let start = lines.iter().position(|line| !is_blank(line)).unwrap_or(lines.len());
    let end = lines.iter().rposition(|line| !is_blank(line)).map_or(start, |last| last + 1);
    lines[start..end].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repr_is_pythons() {
        assert_eq!(repr("it's"), "\"it's\"");
        assert_eq!(repr("a\"'b\n"), "'a\"\\'b\\n'");
        assert_eq!(repr_value(&serde_json::json!({"a": [1, null, true]})), "{'a': [1, None, True]}");
    }

    #[test]
    fn cleandoc_removes_the_margin() {
        assert_eq!(cleandoc("\n    ### Title\n      indented\n\n    end\n    "), "### Title\n  indented\n\nend");
        assert_eq!(cleandoc("one line"), "one line");
    }
}
