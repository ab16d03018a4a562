//! Values kept in memory up to a number and a weight.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;

/// Values by key, of which the ones not used for longest go when there are too many, or when they weigh too much together.
/// A single one that weighs more than all may is kept all the same.
pub struct WeightedLru<K: Hash + Eq, V> {
    kept: LruCache<K, (usize, V)>,
    weight: usize,
    most: usize,
}

impl<K: Hash + Eq, V> WeightedLru<K, V> {
    /// For `capacity` values that weigh `most` together.
    pub fn new(capacity: NonZeroUsize, most: usize) -> Self {
        Self { kept: LruCache::new(capacity), weight: 0, most }
    }

    /// The value of a key, which counts as used from now on.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        self.kept.get(key).map(|(_, value)| value)
    }

    /// Keeps a value, in the place of the one with the same key.
    pub fn put(&mut self, key: K, value: V, weight: usize) {
        self.weight += weight;
        // What is replaced, or is one too many.
        if let Some((_, (weight, _))) = self.kept.push(key, (weight, value)) {
            self.weight -= weight;
        }
        while self.weight > self.most && self.kept.len() > 1 {
            let Some((_, (weight, _))) = self.kept.pop_lru() else { return };
            self.weight -= weight;
        }
    }
}

impl<K: Hash + Eq, V> fmt::Debug for WeightedLru<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WeightedLru")
            .field("len", &self.kept.len())
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(kept: &WeightedLru<i32, &str>) -> Vec<i32> {
        kept.kept.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn what_is_kept_weighs_no_more_than_it_may() {
        let mut kept = WeightedLru::new(NonZeroUsize::new(3).expect("not zero"), 10);
        kept.put(1, "a", 3);
        kept.put(1, "b", 5);
        assert_eq!((kept.kept.len(), kept.weight), (1, 5), "what was replaced weighs nothing");
        kept.put(2, "c", 5);
        assert_eq!(kept.get(&1), Some(&"b"));
        kept.put(3, "d", 1);
        assert_eq!((keys(&kept), kept.weight), (vec![3, 1], 6), "the one not used for longest goes");
        kept.put(4, "e", 11);
        assert_eq!((keys(&kept), kept.weight), (vec![4], 11), "a single one is always kept");
        for key in 5..9 {
            kept.put(key, "f", 0);
        }
        assert_eq!(keys(&kept), [8, 7, 6], "no more than there is room for");
    }
}
