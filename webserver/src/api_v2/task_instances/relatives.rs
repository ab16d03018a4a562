//! Which task instances have to do with others: where mapped groups are involved, only those of the same expansion.
//!
//! Source: `find_relevant_relatives` in `airflow/models/taskinstance.py`.

use super::selection::Tasks;
use crate::serialized_dag::{Direction, SerializedDag};
use indexmap::IndexSet;
use tradewind_metadata::output_length::OutputLengths;
use tradewind_model::dag::Dag;
use tradewind_model::mapping::{MappedCount, MappingRelation, RelevantIndexes, mapped_count};

/// A search for relatives in one run.
#[derive(Debug)]
pub(super) struct Search<'a> {
    /// The Dag as stored, which knows the setups and teardowns that come along.
    pub(super) dag: &'a SerializedDag,
    /// The same Dag as the scheduler sees it, which knows about mapping.
    pub(super) model: &'a Dag,
    /// How long the outputs of the run are.
    pub(super) lengths: &'a OutputLengths,
    pub(super) direction: Direction,
}

impl Search<'_> {
    /// The relatives of these tasks and mapped task instances.
    pub(super) fn relatives(&self, of: &Tasks) -> Tasks {
        let mut visited = Tasks::default();
        self.visit_tasks(&of.ids, &mut visited);
        self.visit_mapped(&of.mapped, &mut visited);
        visited
    }

    fn visit_tasks(&self, ids: &IndexSet<String>, visited: &mut Tasks) {
        let (upstream, downstream) = (self.direction == Direction::Upstream, self.direction == Direction::Downstream);
        visited.ids.extend(self.dag.related(ids, upstream, downstream, None));
    }

    fn visit_mapped(&self, instances: &[(String, i32)], visited: &mut Tasks) {
        for (task_id, map_index) in instances {
            let (Some(task), Some(index)) = (self.dag.tasks.get(task_id), self.model.index_of(task_id)) else {
                continue;
            };
            let count = mapped_count(self.model, index, self.lengths);
            if count == MappedCount::NotMapped {
                self.visit_tasks(&IndexSet::from([task_id.clone()]), visited);
                continue;
            }
            for relative in self.dag.flat_relatives(task, self.direction, None) {
                let Some(other) = self.model.index_of(&relative).filter(|_| !visited.ids.contains(&relative)) else {
                    continue;
                };
                let relation = MappingRelation::between(self.model, index, count, other, self.lengths);
                match relation.relevant_indexes(*map_index) {
                    RelevantIndexes::All => {
                        self.visit_tasks(&IndexSet::from([relative.clone()]), visited);
                        visited.ids.insert(relative);
                    }
                    RelevantIndexes::Range { start, count } => {
                        let indexes = (start..).take(usize::try_from(count).unwrap_or(usize::MAX));
                        let found = indexes.filter_map(|index| Some((relative.clone(), i32::try_from(index).ok()?)));
                        let new: Vec<_> = found.filter(|found| !visited.mapped.contains(found)).collect();
                        visited.mapped.extend(new.iter().cloned());
                        self.visit_mapped(&new, visited);
                    }
                }
            }
        }
    }
}
