//! What is remembered of what the mappers of plugins say of partitions that wait, and what there is to ask them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use tradewind_airflow::evaluation::{PartitionState, PartitionStateAnswer};

/// What is remembered at most. Further partitions are not asked about until others have got their runs.
const CAPACITY: usize = 10_000;

/// Partitions in one question.
const QUESTION: usize = 100;

/// How long a partition waits after nobody answered.
const PAUSE: Duration = Duration::from_secs(30);

/// How long the answer holds that a partition has not enough: a wait policy may go by the clock, and an error may pass.
const FRESH: Duration = Duration::from_secs(60);

/// How long a partition is remembered that nobody looks at any more.
const KEPT: Duration = Duration::from_secs(3600);

/// A Dag and the key of one of its partitions.
type Partition = (String, String);

/// A partition, with the mapper of one of its assets.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    partition: Partition,
    mapper: String,
}

/// What is known of one.
#[derive(Debug)]
enum State {
    /// To be asked.
    Wanted(PartitionState),
    /// The question is under way.
    Asked,
    /// The answer, good for what had been received, and when it came.
    Answered(BTreeSet<String>, PartitionStateAnswer, Instant),
    /// Nobody answered.
    NotBefore(Instant),
}

/// By mapper.
#[derive(Debug)]
struct OfPartition {
    states: HashMap<String, State>,
    looked_at: Instant,
}

/// What there is to ask about a Dag, in the order in which it was wanted.
#[derive(Debug, Default)]
struct Line {
    wanted: VecDeque<Subject>,
    /// Whether somebody asks, one question after the other.
    is_served: bool,
}

/// What is known of all partitions.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    partitions: HashMap<Partition, OfPartition>,
    /// How many states there are.
    count: usize,
    lines: HashMap<String, Line>,
}

impl Memory {
    /// What the mapper says, once it has been asked; else it is remembered that it has to be. In a sweep an answer that
    /// is not the last one is good for a while only.
    pub(crate) fn take(
        &mut self,
        dag_id: &str,
        asked: PartitionState,
        is_sweep: bool,
        now: Instant,
    ) -> Option<PartitionStateAnswer> {
        let partition = (dag_id.to_owned(), asked.partition_key.clone());
        let subject = Subject { partition, mapper: asked.mapper.to_string() };
        if let Some(state) = self.state(&subject, now) {
            match state {
                State::Wanted(wanted) => {
                    *wanted = asked;
                    return None;
                }
                State::Asked => return None,
                State::NotBefore(at) if now < *at => return None,
                State::Answered(received, answer, at) if *received == asked.received => {
                    let has_enough = answer.satisfied && answer.error.is_none();
                    if has_enough || !is_sweep || now < *at + FRESH {
                        return Some(answer.clone());
                    }
                }
                State::Answered(..) | State::NotBefore(_) => {}
            }
            *state = State::Wanted(asked);
        } else if !self.add(&subject, asked, now) {
            return None;
        }
        self.lines.entry(dag_id.to_owned()).or_default().wanted.push_back(subject);
        None
    }

    /// Forgets what was said of a partition.
    pub(crate) fn forget(&mut self, dag_id: &str, partition_key: &str) {
        if let Some(forgotten) = self.partitions.remove(&(dag_id.to_owned(), partition_key.to_owned())) {
            self.count -= forgotten.states.len();
        }
    }

    /// The Dags about which somebody has to begin to ask.
    pub(crate) fn begin(&mut self) -> Vec<String> {
        let idle = self.lines.iter_mut().filter(|(_, line)| !line.is_served);
        idle.map(|(dag_id, line)| {
            line.is_served = true;
            dag_id.clone()
        })
        .collect()
    }

    /// The next question about a Dag. With `None` there is none left, and whoever has asked is done.
    pub(crate) fn next(&mut self, dag_id: &str) -> Option<Vec<(Subject, PartitionState)>> {
        let Self { partitions, lines, .. } = self;
        let line = lines.get_mut(dag_id)?;
        let mut question = Vec::new();
        while question.len() < QUESTION
            && let Some(subject) = line.wanted.pop_front()
        {
            let known = partitions.get_mut(&subject.partition).and_then(|known| known.states.get_mut(&subject.mapper));
            // Others were forgotten meanwhile.
            let Some(state @ State::Wanted(_)) = known else { continue };
            if let State::Wanted(asked) = std::mem::replace(state, State::Asked) {
                question.push((subject, asked));
            }
        }
        if question.is_empty() {
            lines.remove(dag_id);
            return None;
        }
        Some(question)
    }

    /// Remembers an answer; none: nobody answered.
    pub(crate) fn learn(
        &mut self,
        subject: &Subject,
        asked: PartitionState,
        answer: Option<PartitionStateAnswer>,
        now: Instant,
    ) {
        let known = self.partitions.get_mut(&subject.partition).and_then(|known| known.states.get_mut(&subject.mapper));
        if let Some(state @ State::Asked) = known {
            *state = match answer {
                Some(answer) => State::Answered(asked.received, answer, now),
                None => State::NotBefore(now + PAUSE),
            };
        }
    }

    fn state(&mut self, subject: &Subject, now: Instant) -> Option<&mut State> {
        let known = self.partitions.get_mut(&subject.partition)?;
        known.looked_at = now;
        known.states.get_mut(&subject.mapper)
    }

    /// Whether there was room.
    fn add(&mut self, subject: &Subject, asked: PartitionState, now: Instant) -> bool {
        if self.count >= CAPACITY {
            self.purge(now);
        }
        if self.count >= CAPACITY {
            return false;
        }
        let known = self.partitions.entry(subject.partition.clone());
        let known = known.or_insert_with(|| OfPartition { states: HashMap::new(), looked_at: now });
        known.states.insert(subject.mapper.clone(), State::Wanted(asked));
        self.count += 1;
        true
    }

    /// Forgets partitions that nobody looks at any more: their Dags were changed or removed.
    fn purge(&mut self, now: Instant) {
        self.partitions.retain(|_, known| now < known.looked_at + KEPT);
        self.count = self.partitions.values().map(|known| known.states.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(key: &str) -> PartitionState {
        let mapper = json!({"__type": "my.plugin.Mapper"});
        PartitionState { mapper, partition_key: key.to_owned(), received: BTreeSet::from(["a".to_owned()]) }
    }

    fn answer(satisfied: bool, error: Value) -> PartitionStateAnswer {
        let answer = json!({"satisfied": satisfied, "unreachable": null, "error": error, "date": null,
            "date_error": null});
        serde_json::from_value(answer).unwrap()
    }

    /// The keys that are asked about next.
    fn question(memory: &mut Memory) -> Vec<String> {
        memory.next("d").unwrap_or_default().into_iter().map(|(_, asked)| asked.partition_key).collect()
    }

    fn answer_all(memory: &mut Memory, said: &PartitionStateAnswer, now: Instant) {
        while let Some(question) = memory.next("d") {
            for (subject, asked) in question {
                memory.learn(&subject, asked, Some(said.clone()), now);
            }
        }
    }

    #[test]
    fn that_a_partition_has_not_enough_is_asked_again_in_a_later_sweep() {
        for said in [answer(false, Value::Null), answer(false, json!({"message": "OSError: away"}))] {
            let (mut memory, now) = (Memory::default(), Instant::now());
            assert_eq!(memory.take("d", asked("p"), true, now), None);
            answer_all(&mut memory, &said, now);
            assert_eq!(memory.take("d", asked("p"), true, now), Some(said.clone()), "a sweep right after it");
            assert_eq!(memory.take("d", asked("p"), false, now + FRESH), Some(said), "no sweep");
            assert!(memory.begin().is_empty());
            assert_eq!(memory.take("d", asked("p"), true, now + FRESH), None);
            assert_eq!(memory.begin(), ["d"]);
            assert_eq!(question(&mut memory), ["p"]);
        }
    }

    #[test]
    fn that_a_partition_has_enough_is_known_until_more_arrives() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.take("d", asked("p"), true, now);
        answer_all(&mut memory, &answer(true, Value::Null), now);
        assert!(memory.take("d", asked("p"), true, now + FRESH * 2).is_some());
        let more = PartitionState { received: BTreeSet::from(["a".to_owned(), "b".to_owned()]), ..asked("p") };
        assert_eq!(memory.take("d", more, false, now), None);
        assert_eq!(question(&mut memory), ["p"]);
    }

    #[test]
    fn each_partition_is_in_one_question_and_questions_have_a_limit() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let keys: Vec<String> = (0..QUESTION + 1).map(|number| number.to_string()).collect();
        for key in keys.iter().chain(&keys) {
            assert_eq!(memory.take("d", asked(key), false, now), None);
        }
        assert_eq!(memory.begin(), ["d"]);
        assert!(memory.begin().is_empty(), "somebody asks already");
        assert_eq!(question(&mut memory), keys[..QUESTION]);
        assert_eq!(memory.take("d", asked("0"), true, now + FRESH), None, "the question is under way");
        assert_eq!(question(&mut memory), keys[QUESTION..]);
        assert!(memory.next("d").is_none());
        memory.take("d", asked("new"), false, now);
        assert_eq!(memory.begin(), ["d"], "who asked is done");
    }

    #[test]
    fn beyond_the_capacity_nothing_known_is_lost_and_nothing_asked_twice() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let keys: Vec<String> = (0..CAPACITY).map(|number| number.to_string()).collect();
        for key in &keys {
            memory.take("d", asked(key), false, now);
        }
        let said = answer(false, Value::Null);
        answer_all(&mut memory, &said, now);
        assert_eq!(memory.take("d", asked("beyond"), false, now), None);
        assert!(memory.begin().is_empty(), "it is not asked about");
        assert!(keys.iter().all(|key| memory.take("d", asked(key), false, now) == Some(said.clone())));
        memory.forget("d", "7");
        assert_eq!(memory.take("d", asked("beyond"), false, now), None);
        assert_eq!(question(&mut memory), ["beyond"]);
        memory.take("d", asked("last"), false, now + KEPT);
        assert_eq!(question(&mut memory), ["last"], "what nobody looks at any more makes room");
        assert_eq!(memory.count, 1);
    }
}
