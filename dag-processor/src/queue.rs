//! Which Dag file is parsed next. Pure: the time comes from outside.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::discovery::Stamp;

/// A Dag file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey {
    /// Its bundle.
    pub bundle: String,
    /// Its path relative to the bundle.
    pub path: PathBuf,
}

/// `[dag_processor] file_parsing_sort_mode`: the order of files that are due together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortMode {
    /// The newest first.
    ModifiedTime,
    /// By path.
    Alphabetical,
    /// Shuffled, in a way of its own on every host, so that several processors start with different files.
    RandomSeededByHost,
}

impl SortMode {
    /// The mode of this name; the configuration allows no other.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "alphabetical" => Self::Alphabetical,
            "random_seeded_by_host" => Self::RandomSeededByHost,
            _ => Self::ModifiedTime,
        }
    }
}

/// How often an unchanged file is parsed again. Parsing costs a child process, so a file that always gives the same is
/// parsed ever less often.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// `[dag_processor] min_file_process_interval`: after a parse that brought something new.
    pub usual: Duration,
    /// `[tradewind] idle_file_process_interval`: at most, however often nothing was new.
    pub idle: Duration,
}

/// What a parse tells about the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It gave the same as before, and depends on nothing but files of the bundle.
    Settled,
    /// It gave something new, or depends on the database, or failed.
    Unsettled,
    /// It has to be repeated after this time, because its result could not be stored yet.
    Again(Duration),
}

/// Numbers about the last parse of a file, for metrics and for finding Dags that it no longer holds.
#[derive(Debug, Clone)]
pub struct LastParse {
    /// When it ended.
    pub finished: DateTime<Utc>,
    /// How many Dags it gave.
    pub dags: usize,
    /// How many errors it gave.
    pub import_errors: usize,
}

#[derive(Debug)]
struct FileState {
    stamp: Stamp,
    interval: Duration,
    due: Instant,
    finished: Option<Instant>,
    /// When its rows were last written or refreshed.
    fresh: Option<Instant>,
    last: Option<LastParse>,
}

/// The known files, those that wait and those that are being parsed.
#[derive(Debug)]
pub struct FileQueue {
    mode: SortMode,
    pace: Pace,
    host: String,
    files: HashMap<FileKey, FileState>,
    /// Files that somebody waits for.
    front: VecDeque<FileKey>,
    /// Files whose time has come.
    back: VecDeque<FileKey>,
    parsing: HashSet<FileKey>,
}

impl FileQueue {
    /// An empty queue of the processor on `host`.
    #[must_use]
    pub fn new(mode: SortMode, pace: Pace, host: String) -> Self {
        Self {
            mode,
            pace,
            host,
            files: HashMap::new(),
            front: VecDeque::new(),
            back: VecDeque::new(),
            parsing: HashSet::new(),
        }
    }

    /// Takes over what a search of `bundle` found. New and changed files come to the front. Returns the files that are
    /// gone.
    pub fn set_files(&mut self, bundle: &str, found: &BTreeMap<PathBuf, Stamp>, now: Instant) -> Vec<FileKey> {
        let gone: Vec<FileKey> =
            self.files.keys().filter(|key| key.bundle == bundle && !found.contains_key(&key.path)).cloned().collect();
        for key in &gone {
            self.files.remove(key);
        }
        let mut urgent: Vec<(Stamp, FileKey)> = Vec::new();
        for (path, stamp) in found {
            let key = FileKey { bundle: bundle.to_owned(), path: path.clone() };
            match self.files.get_mut(&key) {
                Some(known) if known.stamp == *stamp => {}
                Some(known) => {
                    known.stamp = *stamp;
                    urgent.push((*stamp, key));
                }
                None => {
                    self.files.insert(key.clone(), FileState::new(*stamp, self.pace.usual, now));
                    urgent.push((*stamp, key));
                }
            }
        }
        self.sort(&mut urgent);
        for (_, key) in urgent.into_iter().rev() {
            self.push_front(key);
        }
        gone
    }

    /// Lets a file be parsed before all others. Files that are not known are left out.
    pub fn push_front(&mut self, key: FileKey) {
        if self.files.contains_key(&key) {
            self.front.retain(|other| *other != key);
            self.front.push_front(key);
        }
    }

    /// Something that the files of a bundle may read has changed: they are parsed at the usual pace again.
    pub fn hurry(&mut self, bundle: &str) {
        let usual = self.pace.usual;
        for (_, state) in self.files.iter_mut().filter(|(key, _)| key.bundle == bundle) {
            state.hurry(usual);
        }
    }

    /// The same at once, for a bundle whose Dags run with the version that they were last parsed in.
    pub fn parse_all(&mut self, bundle: &str, now: Instant) {
        let usual = self.pace.usual;
        for (_, state) in self.files.iter_mut().filter(|(key, _)| key.bundle == bundle) {
            state.interval = state.interval.min(usual);
            state.due = now;
        }
    }

    /// The file to parse now, if there is one; [`FileQueue::finish`] must follow.
    pub fn start_next(&mut self, now: Instant) -> Option<FileKey> {
        let (files, parsing) = (&self.files, &self.parsing);
        self.front.retain(|key| files.contains_key(key));
        if let Some(at) = self.front.iter().position(|key| !parsing.contains(key)) {
            let key = self.front.remove(at)?;
            self.back.retain(|other| *other != key);
            self.parsing.insert(key.clone());
            return Some(key);
        }
        if self.back.is_empty() {
            self.collect_due(now);
        }
        while let Some(key) = self.back.pop_front() {
            if self.files.contains_key(&key) && self.parsing.insert(key.clone()) {
                return Some(key);
            }
        }
        None
    }

    fn collect_due(&mut self, now: Instant) {
        let mut due: Vec<(Stamp, FileKey)> = self
            .files
            .iter()
            .filter(|(key, state)| state.due <= now && !self.parsing.contains(*key))
            .map(|(key, state)| (state.stamp, key.clone()))
            .collect();
        self.sort(&mut due);
        self.back.extend(due.into_iter().map(|(_, key)| key));
    }

    fn sort(&self, files: &mut [(Stamp, FileKey)]) {
        match self.mode {
            SortMode::ModifiedTime => files.sort_by(|(a, x), (b, y)| b.modified().cmp(&a.modified()).then(x.cmp(y))),
            SortMode::Alphabetical => files.sort_by(|(_, x), (_, y)| x.path.cmp(&y.path).then(x.cmp(y))),
            SortMode::RandomSeededByHost => files.sort_by_key(|(_, key)| {
                let mut hasher = DefaultHasher::new();
                (&self.host, key).hash(&mut hasher);
                hasher.finish()
            }),
        }
    }

    /// Takes over the end of a parse; `last` is `None` when it was given up.
    pub fn finish(&mut self, key: &FileKey, verdict: Verdict, last: Option<LastParse>, now: Instant) {
        self.parsing.remove(key);
        let Some(state) = self.files.get_mut(key) else { return };
        state.finished = Some(now);
        state.fresh = Some(now);
        state.interval = match verdict {
            Verdict::Settled => (state.interval * 2).clamp(self.pace.usual, self.pace.idle),
            Verdict::Unsettled => self.pace.usual,
            Verdict::Again(after) => after,
        };
        state.due = now + state.interval;
        if last.is_some() {
            state.last = last;
        }
    }

    /// Takes over that the callbacks of a file have run, which says nothing about parsing it.
    pub fn finish_callbacks(&mut self, key: &FileKey) {
        self.parsing.remove(key);
    }

    /// The files that would be due at the usual pace but are parsed less often. They count as fresh from now on.
    pub fn take_quiet(&mut self, now: Instant) -> Vec<FileKey> {
        let usual = self.pace.usual;
        let parsing = &self.parsing;
        let quiet = self.files.iter_mut().filter(|(key, state)| {
            state.interval > usual
                && !parsing.contains(*key)
                && state.fresh.is_some_and(|fresh| now.duration_since(fresh) >= usual)
        });
        quiet
            .map(|(key, state)| {
                state.fresh = Some(now);
                key.clone()
            })
            .collect()
    }

    /// How many files wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.front.len() + self.back.len()
    }

    /// Whether no file waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the file is known.
    #[must_use]
    pub fn knows(&self, key: &FileKey) -> bool {
        self.files.contains_key(key)
    }

    /// Files that were parsed, with the numbers of the last parse.
    pub fn parsed(&self) -> impl Iterator<Item = (&FileKey, &LastParse)> {
        self.files.iter().filter_map(|(key, state)| Some((key, state.last.as_ref()?)))
    }
}

impl FileState {
    fn new(stamp: Stamp, interval: Duration, due: Instant) -> Self {
        Self { stamp, interval, due, finished: None, fresh: None, last: None }
    }

    fn hurry(&mut self, usual: Duration) {
        if self.interval > usual {
            self.interval = usual;
            self.due = self.finished.map_or(self.due, |finished| finished + usual);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue(mode: SortMode) -> FileQueue {
        FileQueue::new(mode, Pace { usual: 30 * SECOND, idle: 300 * SECOND }, "host".to_owned())
    }

    fn key(path: &str) -> FileKey {
        FileKey { bundle: "b".to_owned(), path: path.into() }
    }

    /// Files of which the first is the oldest.
    fn files(paths: &[&str]) -> BTreeMap<PathBuf, Stamp> {
        paths.iter().zip(1..).map(|(path, seconds)| (path.into(), Stamp::at(seconds))).collect()
    }

    fn last() -> Option<LastParse> {
        Some(LastParse { finished: Utc::now(), dags: 1, import_errors: 0 })
    }

    fn drain(queue: &mut FileQueue, now: Instant) -> Vec<String> {
        let started = std::iter::from_fn(|| queue.start_next(now));
        started.map(|key| key.path.to_string_lossy().into_owned()).collect()
    }

    /// Parses all that is due.
    fn parse(queue: &mut FileQueue, now: Instant, verdict: Verdict) -> usize {
        let started = drain(queue, now);
        started.iter().for_each(|path| queue.finish(&key(path), verdict, last(), now));
        started.len()
    }

    #[test]
    fn files_come_in_the_configured_order() {
        let now = Instant::now();
        for (mode, expected) in [(SortMode::ModifiedTime, ["c", "a", "b"]), (SortMode::Alphabetical, ["a", "b", "c"])] {
            let mut queue = queue(mode);
            queue.set_files("b", &files(&["b", "a", "c"]), now);
            assert_eq!(drain(&mut queue, now), expected);
        }
        let shuffled = |host: &str| {
            let pace = Pace { usual: SECOND, idle: SECOND };
            let mut queue = FileQueue::new(SortMode::RandomSeededByHost, pace, host.to_owned());
            let names: Vec<String> = (0..50).map(|number| number.to_string()).collect();
            queue.set_files("b", &files(&names.iter().map(String::as_str).collect::<Vec<_>>()), now);
            drain(&mut queue, now)
        };
        assert_eq!(shuffled("one"), shuffled("one"));
        assert_ne!(shuffled("one"), shuffled("two"));
    }

    #[test]
    fn a_settled_file_is_parsed_ever_less_often() {
        let mut now = Instant::now();
        let mut queue = queue(SortMode::Alphabetical);
        queue.set_files("b", &files(&["a"]), now);
        let mut gaps = Vec::new();
        let mut parsed = now;
        while gaps.len() < 6 {
            if parse(&mut queue, now, Verdict::Settled) == 1 {
                gaps.push((now - parsed).as_secs());
                parsed = now;
            }
            now += SECOND;
        }
        assert_eq!(gaps, [0, 60, 120, 240, 300, 300]);
        // What it reads has changed, and then the file itself.
        queue.hurry("b");
        assert_eq!(parse(&mut queue, parsed + 29 * SECOND, Verdict::Settled), 0);
        assert_eq!(parse(&mut queue, parsed + 30 * SECOND, Verdict::Settled), 1);
        queue.set_files("b", &BTreeMap::from([("a".into(), Stamp::at(99))]), parsed + 31 * SECOND);
        assert_eq!(parse(&mut queue, parsed + 31 * SECOND, Verdict::Unsettled), 1);
        assert_eq!(parse(&mut queue, parsed + 61 * SECOND, Verdict::Again(5 * SECOND)), 1);
        assert_eq!(parse(&mut queue, parsed + 66 * SECOND, Verdict::Settled), 1);
    }

    #[test]
    fn all_files_of_a_bundle_can_be_parsed_at_once() {
        let now = Instant::now();
        let mut queue = queue(SortMode::Alphabetical);
        queue.set_files("b", &files(&["a", "c"]), now);
        assert_eq!(parse(&mut queue, now, Verdict::Settled), 2);
        queue.parse_all("other", now + SECOND);
        assert_eq!(parse(&mut queue, now + SECOND, Verdict::Settled), 0);
        queue.parse_all("b", now + SECOND);
        assert_eq!(parse(&mut queue, now + SECOND, Verdict::Settled), 2);
    }

    #[test]
    fn quiet_files_are_refreshed_at_the_usual_pace() {
        let now = Instant::now();
        let mut queue = queue(SortMode::Alphabetical);
        queue.set_files("b", &files(&["quiet", "lively"]), now);
        drain(&mut queue, now);
        queue.finish(&key("quiet"), Verdict::Settled, last(), now);
        queue.finish(&key("lively"), Verdict::Unsettled, last(), now);
        assert_eq!(queue.take_quiet(now + 29 * SECOND), []);
        assert_eq!(queue.take_quiet(now + 30 * SECOND), [key("quiet")]);
        assert_eq!(queue.take_quiet(now + 31 * SECOND), []);
        assert_eq!(queue.take_quiet(now + 60 * SECOND), [key("quiet")]);
    }

    #[test]
    fn a_file_is_never_parsed_twice_at_once() {
        let now = Instant::now();
        let mut queue = queue(SortMode::Alphabetical);
        queue.set_files("b", &files(&["a", "c"]), now);
        assert_eq!(drain(&mut queue, now), ["a", "c"]);
        // It changes while it is parsed: it comes again, but later.
        queue.set_files("b", &BTreeMap::from([("a".into(), Stamp::at(99)), ("c".into(), Stamp::at(2))]), now);
        assert_eq!(queue.start_next(now), None);
        queue.finish(&key("a"), Verdict::Settled, last(), now);
        assert_eq!(queue.start_next(now), Some(key("a")));
    }

    #[test]
    fn a_file_that_is_gone_is_forgotten() {
        let now = Instant::now();
        let mut queue = queue(SortMode::Alphabetical);
        queue.set_files("b", &files(&["a", "c"]), now);
        assert_eq!(queue.start_next(now), Some(key("a")));
        assert_eq!(queue.set_files("b", &files(&["d"]), now).len(), 2);
        queue.finish(&key("a"), Verdict::Unsettled, last(), now);
        assert_eq!(drain(&mut queue, now), ["d"]);
        assert_eq!(queue.parsed().count(), 0);
        queue.push_front(key("a"));
        assert!(queue.is_empty());
    }
}
