//! What was recorded under one name since the last look.

/// A metric with its labels, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// The name, as Airflow has it.
    pub(crate) name: String,
    /// Names and values of its labels.
    pub(crate) labels: Vec<(String, String)>,
    /// What was recorded.
    pub(crate) value: Value,
}

/// What was recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    /// How much a counter grew.
    Count(u64),
    /// Where a gauge stands.
    Level(f64),
    /// How often a histogram was given a value, and which.
    Spread(Spread),
}

/// Several values in short.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
    /// All of them added up.
    pub(crate) sum: f64,
    /// How many.
    pub(crate) count: u64,
}

impl Spread {
    /// That of these values; none when there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let one = |value| Self { min: value, max: value, sum: value, count: 1 };
        values.into_iter().map(one).reduce(Self::with)
    }

    /// Both together.
    #[must_use]
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum + other.sum,
            count: self.count + other.count,
        }
    }

    /// In another unit.
    #[must_use]
    pub(crate) fn times(self, factor: f64) -> Self {
        Self { min: self.min * factor, max: self.max * factor, sum: self.sum * factor, count: self.count }
    }
}

impl Value {
    /// Two of the same metric: what was counted and what stands is added up, what was measured is put together.
    #[must_use]
    pub(crate) fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Count(one), Self::Count(other)) => Self::Count(one + other),
            (Self::Level(one), Self::Level(other)) => Self::Level(one + other),
            (Self::Spread(one), Self::Spread(other)) => Self::Spread(one.with(other)),
            // A metric is of one kind.
            (one, _) => one,
        }
    }
}

impl Sample {
    /// The value of a label.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
