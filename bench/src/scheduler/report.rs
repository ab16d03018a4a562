//! The table of figures and goals.

use std::fmt;

use crate::deployment::Deployment;

/// Resident memory that the scheduler must stay under, in MB.
const MOST_MEMORY: f64 = 100.0;

/// What a figure has to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    None,
}

impl Goal {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::None => true,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(formatter, "≥ {bound}"),
            Self::AtMost(bound) => write!(formatter, "≤ {bound}"),
            Self::None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    goal: Goal,
}

/// What was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str, goal: Goal) {
        self.figures.push(Figure { name: name.into(), value, unit, goal });
    }

    /// A number of things a second.
    pub(crate) fn rate(&mut self, name: &str, per_second: f64, goal: Goal) {
        self.add(name, per_second, "/s", goal);
    }

    /// A delay in milliseconds.
    pub(crate) fn delay(&mut self, name: &str, milliseconds: f64, goal: Goal) {
        self.add(name, milliseconds, "ms", goal);
    }

    /// The scheduler's resident memory now.
    pub(crate) fn memory(&mut self, moment: &str, deployment: &Deployment) -> anyhow::Result<()> {
        let resident = deployment.resident_megabytes()?;
        self.add(format!("scheduler's resident memory {moment}"), resident, "MB", Goal::AtMost(MOST_MEMORY));
        Ok(())
    }

    /// Whether every goal is reached.
    pub(crate) fn holds(&self) -> bool {
        self.figures.iter().all(|figure| figure.goal.holds(figure.value))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Figure { name, value, unit, goal } in &self.figures {
            let missed = if goal.holds(*value) { "" } else { "  MISSED" };
            let goal = goal.to_string();
            writeln!(formatter, "{name:<64} {value:>10.1} {unit:<3} {goal:>10}{missed}")?;
        }
        Ok(())
    }
}
