//! Dates written as Python's `datetime.strftime` and `isoformat` write them.

use std::fmt::Write;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, Timelike, Utc};

use crate::timetable::zone::Zone;

/// What a date says about where it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing.
    Naive,
    /// An offset and its name.
    Offset(FixedOffset, String),
}

impl Place {
    pub(super) fn of_offset(offset: Option<FixedOffset>) -> Self {
        offset.map_or(Self::Naive, |offset| {
            let name = if offset.local_minus_utc() == 0 { "UTC".to_owned() } else { format!("UTC{offset}") };
            Self::Offset(offset, name)
        })
    }

    pub(super) fn of_zone(zone: Zone, at: DateTime<Utc>) -> Self {
        let offset = *zone.local(at).offset();
        match zone {
            Zone::Region(region) => Self::Offset(offset, at.with_timezone(&region).format("%Z").to_string()),
            Zone::Fixed(_) => Self::Offset(offset, offset.to_string()),
        }
    }
}

/// `strftime` in the C locale. What is no directive stays as it is.
pub(super) fn strftime(at: NaiveDateTime, format: &str, place: &Place) -> String {
    let mut written = String::new();
    let mut rest = format;
    while let Some(position) = rest.find('%') {
        written.push_str(&rest[..position]);
        rest = &rest[position..];
        // A flag may stand between the sign and the letter.
        let mut letters = rest.char_indices().skip(1).skip_while(|(_, c)| matches!(c, '-' | '_' | '0' | '^' | '#'));
        let Some((start, letter)) = letters.next() else { break };
        let end = start + letter.len_utf8();
        directive(&mut written, at, &rest[..end], letter, place);
        rest = &rest[end..];
    }
    written.push_str(rest);
    written
}

fn directive(written: &mut String, at: NaiveDateTime, directive: &str, letter: char, place: &Place) {
    // Writing to a text cannot fail.
    let _ = match (letter, place) {
        // Neither is padded, other than in chrono.
        ('Y', _) => write!(written, "{}", at.year()),
        ('G', _) => write!(written, "{}", at.iso_week().year()),
        ('f', _) => write!(written, "{:06}", at.nanosecond() / 1000 % 1_000_000),
        ('z', Place::Offset(offset, _)) => write!(written, "{}", offset.to_string().replace(':', "")),
        ('Z', Place::Offset(_, name)) => write!(written, "{name}"),
        ('z' | 'Z', Place::Naive) => Ok(()),
        // Chrono's own.
        ('q' | '+' | 'v', _) => write!(written, "{directive}"),
        _ => {
            let items: Vec<Item<'_>> = StrftimeItems::new(directive).collect();
            if items.contains(&Item::Error) {
                write!(written, "{directive}")
            } else {
                write!(written, "{}", at.format_with_items(items.into_iter()))
            }
        }
    };
}

/// `datetime.isoformat`: microseconds and offset only where there are some.
pub(crate) fn isoformat(at: NaiveDateTime, offset: Option<FixedOffset>) -> String {
    let format = if at.nanosecond() == 0 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S%.6f" };
    let offset = offset.map_or_else(String::new, |offset| offset.to_string());
    format!("{}{offset}", at.format(format))
}
