//! `.airflowignore`: which files and folders of a bundle are not searched for Dags.
//!
//! Both syntaxes of `[core] dag_ignore_file_syntax` are read as `airflow/_shared/module_loading/file_discovery.py`
//! reads them; the `glob` syntax is that of gitignore as the Python package `pathspec` translates it, which Airflow
//! uses.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use regex::Regex;

/// The file that holds the patterns, one a line, valid for its folder and everything below.
pub const IGNORE_FILE: &str = ".airflowignore";

/// The value of `[core] dag_ignore_file_syntax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IgnoreSyntax {
    /// Patterns as in gitignore; a later pattern overrides an earlier one, `!` takes back.
    #[default]
    Glob,
    /// Regular expressions searched in the path relative to the bundle.
    Regexp,
}

/// The syntax named in the configuration does not exist.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no syntax of ignore files; `[core] dag_ignore_file_syntax` is `glob` or `regexp`")]
pub struct UnknownSyntax(String);

impl FromStr for IgnoreSyntax {
    type Err = UnknownSyntax;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "" | "glob" => Ok(Self::Glob),
            "regexp" => Ok(Self::Regexp),
            other => Err(UnknownSyntax(other.to_owned())),
        }
    }
}

#[derive(Debug, Clone)]
enum Rule {
    Glob(GlobRule),
    Regexp { pattern: fancy_regex::Regex, base: PathBuf },
}

#[derive(Debug, Clone)]
struct GlobRule {
    pattern: Regex,
    /// `false` for a pattern that takes back (`!`).
    ignores: bool,
    /// The folder of the ignore file, for a pattern with a slash in front or in its middle; else the name alone counts.
    relative_to: Option<PathBuf>,
    folders_only: bool,
}

/// The patterns in force in one folder: those of its own ignore file after those of the folders above.
#[derive(Debug, Clone, Default)]
pub struct IgnoreRules {
    rules: Vec<Rule>,
}

impl IgnoreRules {
    /// Adds the patterns of the ignore file `content` that lies in `folder` of the bundle at `bundle`. A pattern that
    /// is not valid is logged and left out, as in Airflow.
    pub fn extend(&mut self, syntax: IgnoreSyntax, content: &str, folder: &Path, bundle: &Path) {
        for pattern in content.lines().map(strip_comment).filter(|line| !line.is_empty()) {
            let rule = match syntax {
                IgnoreSyntax::Glob => GlobRule::compile(pattern, folder).map(|rule| rule.map(Rule::Glob)),
                IgnoreSyntax::Regexp => fancy_regex::Regex::new(pattern)
                    .map(|pattern| Some(Rule::Regexp { pattern, base: bundle.to_owned() }))
                    .map_err(|error| error.to_string()),
            };
            match rule {
                Ok(rule) => self.rules.extend(rule),
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), pattern, error, "invalid pattern in .airflowignore left out");
                }
            }
        }
    }

    /// Whether the entry at `path` (below the bundle) is ignored.
    #[must_use]
    pub fn matches(&self, path: &Path, is_folder: bool) -> bool {
        let mut ignored = false;
        for rule in &self.rules {
            match rule {
                Rule::Regexp { pattern, base } => {
                    let relative = path.strip_prefix(base).unwrap_or(path).to_string_lossy();
                    if pattern.is_match(&relative).unwrap_or(false) {
                        return true;
                    }
                }
                Rule::Glob(rule) => {
                    if rule.matches(path, is_folder) {
                        ignored = rule.ignores;
                    }
                }
            }
        }
        ignored
    }
}

/// What is left of a line once white space before `#` and everything behind are gone.
fn strip_comment(line: &str) -> &str {
    match line.find('#') {
        Some(at) => line[..at].trim_end(),
        None => line,
    }
}

impl GlobRule {
    /// `Ok(None)` for a line that says nothing (blank, a lone slash, a range that never closes).
    fn compile(pattern: &str, folder: &Path) -> Result<Option<Self>, String> {
        if pattern.trim() == "/" {
            tracing::warn!(folder = %folder.display(), "the pattern `/` in .airflowignore matches nothing");
            return Ok(None);
        }
        let anchored = pattern.starts_with('/') || pattern.trim_end_matches('/').contains('/');
        let plain = pattern.trim_start_matches('!').trim_end();
        let Some((expression, ignores)) = translate(pattern)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            pattern: Regex::new(&expression).map_err(|error| error.to_string())?,
            ignores,
            relative_to: anchored.then(|| folder.to_owned()),
            folders_only: plain.ends_with('/'),
        }))
    }

    fn matches(&self, path: &Path, is_folder: bool) -> bool {
        if self.folders_only && !is_folder {
            return false;
        }
        let relative = match &self.relative_to {
            Some(folder) => path.strip_prefix(folder).unwrap_or(path).to_string_lossy(),
            None => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy(),
        };
        if is_folder { self.pattern.is_match(&format!("{relative}/")) } else { self.pattern.is_match(&relative) }
    }
}

/// The regular expression of a gitignore pattern, and whether what it matches is ignored (`true`) or taken back.
fn translate(pattern: &str) -> Result<Option<(String, bool)>, String> {
    let pattern = if pattern.ends_with("\\ ") { pattern } else { pattern.trim_end() };
    if pattern.is_empty() || pattern.starts_with('#') || pattern == "/" {
        return Ok(None);
    }
    let (pattern, ignores) = match pattern.strip_prefix('!') {
        Some(rest) => (rest, false),
        None => (pattern, true),
    };
    let mut segments: Vec<&str> = pattern.split('/').collect();
    let folder_pattern = segments.last() == Some(&"");
    normalize(&mut segments)?;
    if let Some(whole) = whole_tree(&segments, folder_pattern) {
        return Ok(Some((whole.to_owned(), ignores)));
    }
    Ok(expression(&segments)?.map(|expression| (expression, ignores)))
}

/// Makes a pattern of one segment match at any depth, one with a leading slash at the root, one with a trailing slash
/// all that lies below, and folds runs of `**`.
fn normalize(segments: &mut Vec<&str>) -> Result<(), String> {
    if segments[0].is_empty() {
        segments.remove(0);
    } else if (segments.len() == 1 || (segments.len() == 2 && segments[1].is_empty())) && segments[0] != "**" {
        segments.insert(0, "**");
    }
    match segments.last_mut() {
        None => return Err("the pattern is empty".to_owned()),
        Some(last) if last.is_empty() => *last = "**",
        Some(_) => {}
    }
    segments.dedup_by(|later, earlier| *later == "**" && *earlier == "**");
    Ok(())
}

/// The patterns that match a whole tree have an expression of their own.
fn whole_tree(segments: &[&str], folder_pattern: bool) -> Option<&'static str> {
    match segments {
        ["**"] if folder_pattern => Some("/"),
        ["**"] | ["**", "*"] => Some("."),
        ["**", "*", "**"] => Some("/"),
        _ => None,
    }
}

fn expression(segments: &[&str]) -> Result<Option<String>, String> {
    let last = segments.len() - 1;
    let mut expression = String::new();
    let mut need_slash = false;
    for (index, segment) in segments.iter().enumerate() {
        if *segment == "**" {
            if index == 0 {
                expression.push_str("^(?:.+/)?");
            } else if index < last {
                expression.push_str("(?:/.+)?");
                need_slash = true;
            } else {
                expression.push('/');
            }
            continue;
        }
        if index == 0 {
            expression.push('^');
        }
        if need_slash {
            expression.push('/');
        }
        if *segment == "*" {
            expression.push_str("[^/]+");
        } else {
            match segment_expression(segment)? {
                Some(part) => expression.push_str(&part),
                None => return Ok(None),
            }
        }
        if index == last {
            expression.push_str("(?:/|$)");
        }
        need_slash = true;
    }
    Ok(Some(expression))
}

/// `None` when a bracket never closes: Git throws such a pattern away.
fn segment_expression(segment: &str) -> Result<Option<String>, String> {
    let characters: Vec<char> = segment.chars().collect();
    let mut expression = String::new();
    let mut at = 0;
    while at < characters.len() {
        let character = characters[at];
        at += 1;
        match character {
            '\\' => {
                let escaped = characters.get(at).ok_or("a backslash at its end escapes nothing")?;
                expression.push_str(&regex::escape(&escaped.to_string()));
                at += 1;
            }
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' => match bracket(&characters[at..]) {
                Some((part, length)) => {
                    expression.push_str(&part);
                    at += length;
                }
                None => return Ok(None),
            },
            other => expression.push_str(&regex::escape(&other.to_string())),
        }
    }
    Ok(Some(expression))
}

/// The bracket expression that starts behind `[`, and how many characters it takes.
fn bracket(characters: &[char]) -> Option<(String, usize)> {
    let negated = matches!(characters.first(), Some('!' | '^'));
    let first = usize::from(negated);
    let search_from = first + usize::from(characters.get(first) == Some(&']'));
    let close = search_from + characters.get(search_from..)?.iter().position(|character| *character == ']')?;
    let mut expression = String::from(if negated { "[^" } else { "[" });
    for (index, character) in characters[first..close].iter().enumerate() {
        match character {
            // A closing bracket in front is itself; an opening one and the doubled operators mean something to the
            // `regex` crate that they do not mean in a glob.
            ']' if index == 0 => expression.push_str("\\]"),
            '\\' | '[' | '&' | '~' => {
                expression.push('\\');
                expression.push(*character);
            }
            other => expression.push(*other),
        }
    }
    expression.push(']');
    Some((expression, close + 1))
}
