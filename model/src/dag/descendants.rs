//! Which tasks can be reached from which.

use petgraph::graph::DiGraph;

use super::TaskIndex;

/// The transitive closure of a Dag: one bit per pair of tasks.
///
/// Held only while a Dag is made: `tasks² / 8` bytes (12 MB for ten thousand tasks).
pub(super) struct Descendants {
    words: usize,
    bits: Vec<u64>,
}

impl Descendants {
    /// `sorted` is a topological order of the graph.
    pub(super) fn of(graph: &DiGraph<(), (), u32>, sorted: &[TaskIndex]) -> Self {
        let words = graph.node_count().div_ceil(64);
        let mut bits = vec![0_u64; words * graph.node_count()];
        for &task in sorted.iter().rev() {
            for next in graph.neighbors(task) {
                let (row, next_row) = rows(&mut bits, words, task, next);
                for (word, next_word) in row.iter_mut().zip(next_row) {
                    *word |= *next_word;
                }
                row[next.index() / 64] |= 1 << (next.index() % 64);
            }
        }
        Self { words, bits }
    }

    /// Whether `to` is downstream of `from`, at any distance.
    pub(super) fn contains(&self, from: TaskIndex, to: TaskIndex) -> bool {
        self.row(from)[to.index() / 64] >> (to.index() % 64) & 1 == 1
    }

    /// Every task downstream, at any distance.
    pub(super) fn iter(&self, from: TaskIndex) -> impl Iterator<Item = TaskIndex> {
        self.row(from).iter().enumerate().flat_map(|(place, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(TaskIndex::new(place * 64 + bit))
            })
        })
    }

    fn row(&self, task: TaskIndex) -> &[u64] {
        &self.bits[task.index() * self.words..][..self.words]
    }
}

fn rows(bits: &mut [u64], words: usize, a: TaskIndex, b: TaskIndex) -> (&mut [u64], &[u64]) {
    let (a, b) = (a.index() * words, b.index() * words);
    if a < b {
        let (head, tail) = bits.split_at_mut(b);
        (&mut head[a..a + words], &tail[..words])
    } else {
        let (head, tail) = bits.split_at_mut(a);
        (&mut tail[..words], &head[b..b + words])
    }
}
