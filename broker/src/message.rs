//! The format of messages: JSON with a version number.
//!
//! ```json
//! {"version": 1, "ti_id": "0199f0c4-6a43-7c6e-9a57-0d8b9f6f3f0e"}
//! ```
//!
//! A version may gain keys, which older workers overlook. What changes the meaning of a key, or needs a new one, gets a new
//! version; a worker leaves versions it does not know to a newer worker, and in the end to the dead-letter queue.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version that is written.
pub const VERSION: u32 = 1;

/// A message: this task instance has been queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// `task_instance.id`.
    pub ti_id: Uuid,
}

/// Why a message is not understood.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not such a message at all.
    #[error("it is not a message of Tradewind: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A newer Tradewind has written it.
    #[error("it has version {0}, and this worker knows version {VERSION} only")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
struct Body {
    version: u32,
    ti_id: Uuid,
}

/// What every version has.
#[derive(Deserialize)]
struct Header {
    version: u32,
}

impl Message {
    /// What is sent.
    ///
    /// # Errors
    /// Never in practice; JSON writers may fail in general.
    pub fn write(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Body { version: VERSION, ti_id: self.ti_id })
    }

    /// Reads what was received.
    ///
    /// # Errors
    /// When it is something else, or of a version that is not known.
    pub fn read(body: &str) -> Result<Self, Unreadable> {
        let header: Header = serde_json::from_str(body)?;
        if header.version != VERSION {
            return Err(Unreadable::Version(header.version));
        }
        let body: Body = serde_json::from_str(body)?;
        Ok(Self { ti_id: body.ti_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let message = Message { ti_id: Uuid::now_v7() };
        let body = message.write().expect("a body");
        assert_eq!(Message::read(&body).expect("a message"), message);
    }

    #[test]
    fn keys_that_came_later_are_overlooked() {
        let body = r#"{"version": 1, "ti_id": "0199f0c4-6a43-7c6e-9a57-0d8b9f6f3f0e", "sent_by": "a newer one"}"#;
        assert!(Message::read(body).is_ok());
    }

    #[test]
    fn other_versions_and_other_texts_are_told_apart() {
        let newer = Message::read(r#"{"version": 2, "instances": []}"#).expect_err("a refusal");
        assert!(matches!(newer, Unreadable::Version(2)), "{newer}");
        for body in
            ["", "{", "[]", "null", r#"{"version": 1}"#, r#"{"version": 1, "ti_id": "first"}"#, r#"{"ti_id": ""}"#]
        {
            let refused = Message::read(body).expect_err("a refusal");
            assert!(matches!(refused, Unreadable::Syntax(_)), "{body}: {refused}");
        }
    }
}
