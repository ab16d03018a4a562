//! Rows, as committed and as transactions that have not ended see them.

use std::collections::BTreeMap;

use super::TransactionId;

/// A table. What a transaction wrote is its own until it commits.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    committed: BTreeMap<K, V>,
    written: BTreeMap<TransactionId, BTreeMap<K, Option<V>>>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { committed: BTreeMap::new(), written: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    /// What everybody sees.
    pub(crate) fn committed(&self) -> &BTreeMap<K, V> {
        &self.committed
    }

    /// A row as a statement of the transaction sees it now.
    pub(crate) fn get(&self, transaction: TransactionId, key: &K) -> Option<&V> {
        match self.written.get(&transaction).and_then(|written| written.get(key)) {
            Some(written) => written.as_ref(),
            None => self.committed.get(key),
        }
    }

    /// Every row as a statement of the transaction sees it now, in the order of keys.
    pub(crate) fn rows(&self, transaction: TransactionId) -> Vec<(&K, &V)> {
        let Some(written) = self.written.get(&transaction) else { return self.committed.iter().collect() };
        let mut rows: BTreeMap<&K, &V> = self.committed.iter().collect();
        for (key, row) in written {
            match row {
                Some(row) => rows.insert(key, row),
                None => rows.remove(key),
            };
        }
        rows.into_iter().collect()
    }

    /// Writes or, with `None`, deletes a row.
    pub(crate) fn write(&mut self, transaction: TransactionId, key: K, row: Option<V>) {
        self.written.entry(transaction).or_default().insert(key, row);
    }

    /// Changes a row that exists.
    pub(crate) fn change(&mut self, transaction: TransactionId, key: &K, change: impl FnOnce(&mut V)) {
        if let Some(mut row) = self.get(transaction, key).cloned() {
            change(&mut row);
            self.write(transaction, key.clone(), Some(row));
        }
    }

    /// Makes what the transaction wrote everybody's. Returns each row that changed as it was and as it is.
    pub(super) fn commit(&mut self, transaction: TransactionId) -> Vec<(K, Option<V>, Option<V>)> {
        let written = self.written.remove(&transaction).unwrap_or_default();
        written
            .into_iter()
            .map(|(key, after)| {
                let before = match &after {
                    Some(row) => self.committed.insert(key.clone(), row.clone()),
                    None => self.committed.remove(&key),
                };
                (key, before, after)
            })
            .collect()
    }

    pub(super) fn roll_back(&mut self, transaction: TransactionId) {
        self.written.remove(&transaction);
    }
}
