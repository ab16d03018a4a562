//! One field of a cron expression, expanded to the values it names.
//!
//! The accepted grammar, with its oddities, is that of `croniter` 7 (`croniter.croniter._expand`), the
//! evaluator inside official Airflow: ranges may wrap (`22-2`, `FRI-MON`), an equal range (`5-5`) means the
//! whole cycle, a start with a step (`5/15`) runs to the end of the field.

use std::collections::{BTreeMap, BTreeSet};

/// The fields in `croniter`'s order: seconds and years come last and are optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldKind {
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
    Second,
    Year,
}

impl FieldKind {
    /// Every kind, in the order of an expression's columns.
    pub(super) const ALL: [Self; 7] =
        [Self::Minute, Self::Hour, Self::DayOfMonth, Self::Month, Self::DayOfWeek, Self::Second, Self::Year];

    /// The smallest and the largest value.
    fn bounds(self) -> (u32, u32) {
        match self {
            Self::Minute | Self::Second => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 6),
            Self::Year => (1970, 2099),
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
            Self::DayOfWeek => &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
            _ => &[],
        }
    }

    /// How many entries make a list equal to `*`.
    fn size(self) -> usize {
        let (low, high) = self.bounds();
        (high - low + 1) as usize
    }

    /// The value of a number or a name. Sunday may be written 7.
    fn value(self, token: &str) -> Option<u32> {
        if is_number(token) {
            let value = token.parse().ok()?;
            return Some(if self == Self::DayOfWeek && value == 7 { 0 } else { value });
        }
        let position = self.names().iter().position(|name| *name == token)?;
        Some(position as u32 + if self == Self::Month { 1 } else { 0 })
    }
}

/// Which occurrences of a weekday in its month match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Occurrence {
    /// The nth, 1 to 5 (`MON#2`).
    Nth(u8),
    /// The last (`L5`).
    Last,
}

/// The values one field names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Field {
    /// `*` is among the entries.
    pub(super) any: bool,
    /// `L` is among the entries: the last day of the month.
    pub(super) last_day: bool,
    /// The numbers among the entries.
    pub(super) values: BTreeSet<u32>,
    /// `15W`: the weekday nearest to a day of the month.
    pub(super) nearest_weekday: Option<u32>,
    /// `5#3`, `L5`: occurrences by weekday.
    pub(super) occurrences: BTreeMap<u32, BTreeSet<Occurrence>>,
}

impl Field {
    /// Expands the text of one field, already in lower case. The error says what is wrong with the entry.
    pub(super) fn parse(kind: FieldKind, text: &str) -> Result<Self, String> {
        let mut field = Self::default();
        if text.contains('?') {
            let day_field = matches!(kind, FieldKind::DayOfMonth | FieldKind::DayOfWeek);
            if text != "?" || !day_field {
                return Err("`?` stands alone, for the day of the month or of the week".to_owned());
            }
            field.any = true;
            return Ok(field);
        }
        let entries: Vec<&str> = text.split(',').collect();
        for entry in &entries {
            field.add_entry(kind, entry, entries.len() == 1)?;
        }
        Ok(field)
    }

    /// Whether the field is nothing but `*`.
    pub(super) fn is_wildcard(&self) -> bool {
        self.any && self.values.is_empty() && !self.last_day
    }

    /// Whether there are as many entries as possible values.
    pub(super) fn names_all(&self, kind: FieldKind) -> bool {
        self.values.len() + usize::from(self.any) + usize::from(self.last_day) == kind.size()
    }

    /// Turns a list of every possible value into `*`, as `croniter` does.
    pub(super) fn collapse(&mut self, kind: FieldKind) {
        if self.names_all(kind) {
            self.any = true;
            self.last_day = false;
            self.values.clear();
        }
    }

    fn add_entry(&mut self, kind: FieldKind, entry: &str, alone: bool) -> Result<(), String> {
        if kind == FieldKind::DayOfMonth
            && let Some(day) = nearest_weekday(entry)
        {
            if !alone {
                return Err("`W` is for a single day, not for a list or range".to_owned());
            }
            if !(1..=31).contains(&day) {
                return Err(format!("day {day} does not exist"));
            }
            self.values.insert(day);
            self.nearest_weekday = Some(day);
            return Ok(());
        }
        let (entry, occurrence) = match kind {
            FieldKind::DayOfWeek => split_occurrence(entry)?,
            _ => (entry, None),
        };
        match (kind, entry) {
            (_, "*") => self.any = true,
            (FieldKind::DayOfMonth, "l") => self.last_day = true,
            _ => {
                let values = expand(kind, entry)?;
                if let Some(occurrence) = occurrence {
                    for value in &values {
                        self.occurrences.entry(*value).or_default().insert(occurrence);
                    }
                }
                self.values.extend(values);
            }
        }
        Ok(())
    }
}

/// Whether a token is digits only, as `\d+`.
fn is_number(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit())
}

/// `15w` or `w15`.
fn nearest_weekday(entry: &str) -> Option<u32> {
    let digits = entry.strip_suffix('w').or_else(|| entry.strip_prefix('w'))?;
    is_number(digits).then(|| digits.parse().ok())?
}

/// Splits `5#3` and `l5` into the weekday and its occurrence.
fn split_occurrence(entry: &str) -> Result<(&str, Option<Occurrence>), String> {
    if let Some((days, nth)) = entry.split_once('#') {
        let nth = Some(nth).filter(|nth| is_number(nth)).and_then(|nth| nth.parse().ok());
        // Only a single day or a range of names takes an occurrence.
        let numbers = days.split_once('-').is_some_and(|(low, high)| is_number(low) || is_number(high));
        return match nth.filter(|nth| (1..=5).contains(nth)) {
            Some(nth) if days != "*" && !numbers => Ok((days, Some(Occurrence::Nth(nth)))),
            _ => Err(format!("{entry:?} names no day with an occurrence from 1 to 5")),
        };
    }
    match entry.strip_prefix('l') {
        Some(day) if is_number(day) => Ok((day, Some(Occurrence::Last))),
        _ => Ok((entry, None)),
    }
}

/// The values of a number, a name, a range or a stepped range.
fn expand(kind: FieldKind, entry: &str) -> Result<BTreeSet<u32>, String> {
    let (min, max) = kind.bounds();
    let unknown = || format!("{entry:?} is not a value, a name or a range");
    let (base, step) = match entry.split_once('/') {
        None => (entry, None),
        Some((base, step)) => {
            let step = is_number(step).then(|| step.parse().ok()).flatten();
            let step: usize = step.filter(|step| *step > 0).ok_or_else(unknown)?;
            (base, Some(step))
        }
    };
    let (low, high) = match (base.split_once('-'), step) {
        (Some((low, "l")), _) if kind == FieldKind::DayOfMonth => (kind.value(low), Some(max)),
        (Some((low, high)), _) => (kind.value(low), kind.value(high)),
        (None, Some(_)) if base == "*" => (Some(min), Some(max)),
        (None, Some(_)) => (kind.value(base), Some(max)),
        (None, None) => (kind.value(base), kind.value(base)),
    };
    let (low, high) = low.zip(high).ok_or_else(unknown)?;
    if !(min..=max).contains(&low) || !(min..=max).contains(&high) {
        return Err(format!("{entry:?} is out of the range {min} to {max}"));
    }
    let written_as_range = base.contains('-');
    let (low, high) = if low == high && written_as_range { (min, max) } else { (low, high) };
    let step = step.unwrap_or(1);
    if low <= high {
        return Ok((low..=high).step_by(step).collect());
    }
    Ok(wrap(low, high, step, min, max))
}

/// A range over the end of the field (`FRI-MON`), keeping the rhythm of the step where `croniter` keeps it.
fn wrap(low: u32, high: u32, step: usize, min: u32, max: u32) -> BTreeSet<u32> {
    let mut values: BTreeSet<u32> = (low..=max).step_by(step).collect();
    let last = values.last().copied().unwrap_or(low);
    let left_over = (max - last) as usize;
    let overflows = (last - min) as usize + step > (max - min + 1) as usize;
    let skip = if overflows && left_over < step { step - left_over } else { 0 };
    let resume = min + u32::try_from(skip).unwrap_or(max);
    values.extend((resume..=high).step_by(step));
    values
}
