//! What simulations went through, so that a pass in which nothing happened shows.

use std::collections::BTreeMap;
use std::fmt;

/// Counters by name; names begin with their group, such as `fault:`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<String, u64>);

/// The groups in the order of the summary, with their headings.
const GROUPS: [(&str, &str); 5] = [
    ("work:", "work"),
    ("fault:", "faults"),
    ("user:", "what users did"),
    ("edge:", "edges of task instances"),
    ("end:", "ends of runs"),
];

impl Coverage {
    pub(crate) fn count(&mut self, name: &str) {
        match self.0.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(name.to_owned(), 1);
            }
        }
    }

    /// How often something happened.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds what another simulation went through.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (prefix, heading) in GROUPS {
            writeln!(f, "{heading}:")?;
            for (name, count) in self.0.iter().filter(|(name, _)| name.starts_with(prefix)) {
                writeln!(f, "  {count:>12}  {}", &name[prefix.len()..])?;
            }
        }
        Ok(())
    }
}
