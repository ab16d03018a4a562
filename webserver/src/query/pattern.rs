//! `*_pattern` (substring) and `*_prefix_pattern` (prefix) searches.

use super::filter::Clause;

/// The column contains the term (`ILIKE`); `|` means or, `~` everything.
pub(super) fn substring(column: &'static str, value: &str, pipe_as_or: bool) -> Clause {
    let value = if value == "~" { "%" } else { value };
    any_term(value, pipe_as_or, |term| Clause::sql(column).then(" ILIKE ").bind_text(format!("%{term}%")))
}

/// The column starts with the term, as a range that an index serves; `|` means or, `~` everything.
///
/// Trailing characters that are neither letter nor digit are dropped, since collations sort them apart.
pub(super) fn prefix(column: &'static str, value: &str, pipe_as_or: bool) -> Clause {
    let value = if value == "~" { "" } else { value };
    any_term(value, pipe_as_or, |term| {
        let lower = term.trim_end_matches(|character: char| !character.is_alphanumeric());
        if lower.is_empty() {
            return Clause::sql(column).then(" IS NOT NULL");
        }
        let clause = Clause::sql(column).then(" >= ").bind_text(lower.to_owned());
        match upper_bound(lower) {
            Some(upper) => clause.then(" AND ").then(column).then(" < ").bind_text(upper),
            None => clause,
        }
    })
}

fn any_term(value: &str, pipe_as_or: bool, clause: impl Fn(&str) -> Clause) -> Clause {
    let terms: Vec<&str> = value.split('|').map(str::trim).filter(|term| !term.is_empty()).collect();
    if !pipe_as_or || !value.contains('|') || terms.is_empty() {
        return clause(value);
    }
    Clause::any(terms.into_iter().map(clause))
}

/// The least text above all that start with `term`, ending in a letter or digit; `None` when there is none.
fn upper_bound(term: &str) -> Option<String> {
    let mut characters: Vec<char> = term.chars().collect();
    while let Some(last) = characters.pop() {
        if !last.is_alphanumeric() {
            continue;
        }
        if let Some(bumped) = char::from_u32(last as u32 + 1).filter(|bumped| bumped.is_alphanumeric()) {
            characters.push(bumped);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_bound_stays_alphanumeric() {
        assert_eq!(upper_bound("test").as_deref(), Some("tesu"));
        assert_eq!(upper_bound("jazz").as_deref(), Some("jb"));
        assert_eq!(upper_bound("zz"), None);
    }
}
