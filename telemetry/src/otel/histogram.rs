//! OpenTelemetry's exponential histogram: buckets whose width grows by a factor of 2^(2^-scale), as fine as 160 of them allow.
//!
//! Source: "Base2 Exponential Bucket Histogram Aggregation" in the specification of OpenTelemetry's metrics SDK; its defaults.

/// Buckets, at most.
const BUCKETS: i64 = 160;

/// The finest scale.
const FINEST: i32 = 20;

/// Values in short.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    /// How fine the buckets are.
    pub(super) scale: i32,
    /// How many values there were.
    pub(super) count: u64,
    /// All of them added up.
    pub(super) sum: f64,
    /// The smallest.
    pub(super) min: f64,
    /// The largest.
    pub(super) max: f64,
    /// How often nothing.
    pub(super) zeros: u64,
    /// The others.
    pub(super) positive: Buckets,
}

/// Buckets that follow one another.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Buckets {
    /// The index of the first.
    pub(super) offset: i64,
    /// How many values are in each.
    pub(super) counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            scale: FINEST,
            count: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            zeros: 0,
            positive: Buckets::default(),
        }
    }
}

impl Histogram {
    /// Adds a value, which must be finite and not below nothing.
    pub(super) fn record(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if value == 0.0 {
            self.zeros += 1;
            return;
        }
        let mut index = index(value, self.scale);
        let (mut first, mut last) = self.positive.range_with(index);
        let mut coarser = 0;
        while last - first >= BUCKETS {
            (first, last, coarser) = (first >> 1, last >> 1, coarser + 1);
        }
        if coarser > 0 {
            self.scale -= coarser;
            self.positive.make_coarser(coarser);
            index >>= coarser;
        }
        self.positive.count(index);
    }

    /// The scale that is told: nothing but zeros has the coarsest that they need.
    pub(super) fn told_scale(&self) -> i32 {
        if self.count == self.zeros { 0 } else { self.scale }
    }
}

impl Buckets {
    /// The first and the last index, if there were a value at one more.
    fn range_with(&self, index: i64) -> (i64, i64) {
        match i64::try_from(self.counts.len()) {
            Ok(length) if length > 0 => (self.offset.min(index), (self.offset + length - 1).max(index)),
            _ => (index, index),
        }
    }

    fn count(&mut self, index: i64) {
        let (first, last) = self.range_with(index);
        let was_empty = self.counts.is_empty();
        let missing = if was_empty { 0 } else { self.offset - first };
        // Both are within the number of buckets.
        let (missing, length, place) = (place(missing), place(last - first + 1), place(index - first));
        self.counts.splice(0..0, std::iter::repeat_n(0, missing));
        self.counts.resize(length, 0);
        self.offset = first;
        self.counts[place] += 1;
    }

    /// Makes each bucket as wide as 2^`steps` of them.
    fn make_coarser(&mut self, steps: i32) {
        let old = std::mem::take(self);
        for (index, count) in (old.offset..).zip(old.counts) {
            let index = index >> steps;
            if self.counts.is_empty() {
                self.offset = index;
            }
            let place = place(index - self.offset);
            if place >= self.counts.len() {
                self.counts.resize(place + 1, 0);
            }
            self.counts[place] += count;
        }
    }
}

fn place(distance: i64) -> usize {
    usize::try_from(distance).unwrap_or_default()
}

/// The index of the bucket of a value above nothing. A bucket has its upper bound, and not its lower one.
fn index(value: f64, scale: i32) -> i64 {
    let bits = value.max(f64::MIN_POSITIVE).to_bits();
    // A normal number: eleven bits of exponent, 52 of fraction.
    let exponent = i64::try_from(bits >> 52).unwrap_or_default() - 1023;
    let is_power_of_two = bits & ((1 << 52) - 1) == 0;
    if scale <= 0 {
        return (exponent - i64::from(is_power_of_two)) >> -scale;
    }
    if is_power_of_two {
        return (exponent << scale) - 1;
    }
    let factor = std::f64::consts::LN_2.recip() * f64::from(1_u32 << scale);
    #[expect(clippy::cast_possible_truncation, reason = "it is below 2^31")]
    let index = (value.ln() * factor).floor() as i64;
    index.min((1024 << scale) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    }

    /// The bound below a bucket.
    fn bound(index: i64, scale: i32) -> f64 {
        (index as f64 * (-f64::from(scale)).exp2()).exp2()
    }

    #[test]
    fn one_value_has_the_finest_bucket() {
        let one = of(&[250.0]);
        assert_eq!((one.scale, one.count, one.positive.counts.as_slice()), (20, 1, &[1][..]));
        assert_eq!((one.min, one.max, one.sum), (250.0, 250.0, 250.0));
    }

    #[test]
    fn powers_of_two_are_upper_bounds() {
        for scale in [-3, 0, 1, 5, 20] {
            assert!(bound(index(8.0, scale), scale) < 8.0 && index(8.0, scale) < index(8.0 + 1e-3, 20));
        }
        assert_eq!((index(1.0, 0), index(1.5, 0), index(2.0, 0), index(2.5, 0)), (-1, 0, 0, 1));
    }

    #[test]
    fn nothing_is_kept_apart() {
        let histogram = of(&[0.0, 0.0]);
        assert_eq!((histogram.zeros, histogram.told_scale()), (2, 0));
        let histogram = of(&[0.0, 5.0]);
        assert_eq!((histogram.count, histogram.positive.counts.len(), histogram.zeros, histogram.min), (2, 1, 1, 0.0));
    }

    proptest! {
        #[test]
        fn every_value_is_within_the_bounds_of_its_bucket(values in prop::collection::vec(1e-9_f64..1e9, 1..400)) {
            let histogram = of(&values);
            let Buckets { offset, counts } = &histogram.positive;
            prop_assert!(counts.len() <= 160);
            prop_assert_eq!(counts.iter().sum::<u64>(), values.len() as u64);
            for (number, count) in counts.iter().enumerate() {
                let index = offset + i64::try_from(number).expect("small");
                // The logarithm may be off by its last digit.
                let (low, high) = (bound(index, histogram.scale) * (1.0 - 1e-9), bound(index + 1, histogram.scale) * (1.0 + 1e-9));
                let certain = values.iter().filter(|value| **value > low / (1.0 - 2e-9) && **value < high / (1.0 + 2e-9)).count();
                let possible = values.iter().filter(|value| **value > low && **value <= high).count();
                prop_assert!((certain..=possible).contains(&usize::try_from(*count).expect("small")));
            }
        }

        #[test]
        fn buckets_are_as_fine_as_they_may_be(values in prop::collection::vec(1e-3_f64..1e6, 2..50)) {
            let histogram = of(&values);
            if histogram.scale < FINEST {
                let indexes = values.iter().map(|value| index(*value, histogram.scale + 1));
                let (first, last) = (indexes.clone().min().expect("some"), indexes.max().expect("some"));
                prop_assert!(last - first >= BUCKETS - 1);
            }
        }
    }
}
