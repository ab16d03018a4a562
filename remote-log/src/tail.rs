//! The end of a log file that CloudWatch does not have yet.

use std::io::{self, SeekFrom};
use std::path::PathBuf;

use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tradewind_aws::AwsError;

use crate::batch::{self, Lines};
use crate::delivery::Delivery;

/// How much is read at once, unless a line is longer: as a rule, what one request takes.
const CHUNK_BYTES: u64 = 512 * 1024;

/// A longer line is cut.
const LINE_BYTES: u64 = 8 * 1024 * 1024;

/// A log file that is being sent.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    stream: String,
    lines: Lines,
    /// All before this is there, or not to be sent.
    offset: u64,
    is_new: bool,
}

/// Why a part of a file was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSent {
    /// CloudWatch has not taken it.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The file cannot be read.
    #[error("a log file cannot be read: {0}")]
    File(#[from] io::Error),
}

impl Tail {
    /// What the file has from `offset` on, for a stream that is to be made when it `is_new`.
    pub(crate) fn new(path: PathBuf, stream: String, lines: Lines, offset: u64, is_new: bool) -> Self {
        Self { path, stream, lines, offset, is_new }
    }

    /// Sends the next part of the file: whole lines, unless it ends at `end`. Returns whether more of it is there.
    ///
    /// # Errors
    /// It was not sent, and is the next part still.
    pub(crate) async fn advance(&mut self, delivery: &Delivery, end: Option<u64>) -> Result<bool, NotSent> {
        let _room = delivery.room().await;
        let Some(chunk) = self.read(end).await? else { return Ok(false) };
        let now = batch::now();
        let text = String::from_utf8_lossy(&chunk);
        let events = text.lines().filter_map(|line| self.lines.event(line, now)).collect();
        for request in batch::requests(events) {
            delivery.put(&self.stream, &request, self.is_new).await?;
            self.is_new = false;
        }
        self.offset += chunk.len() as u64;
        Ok(true)
    }

    /// The next lines; none where no line is complete.
    async fn read(&self, end: Option<u64>) -> io::Result<Option<Vec<u8>>> {
        let mut file = match File::open(&self.path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let there = file.metadata().await?.len();
        let until = end.unwrap_or(there).min(there);
        let left = until.saturating_sub(self.offset);
        if left == 0 {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(self.offset)).await?;
        let mut chunk = Vec::new();
        for bytes in [CHUNK_BYTES, LINE_BYTES - CHUNK_BYTES] {
            let more = bytes.min(left - chunk.len() as u64);
            (&mut file).take(more).read_to_end(&mut chunk).await?;
            if chunk.len() as u64 == left && end.is_some() {
                return Ok(Some(chunk));
            }
            if let Some(last) = chunk.iter().rposition(|byte| *byte == b'\n') {
                chunk.truncate(last + 1);
                return Ok(Some(chunk));
            }
        }
        Ok((chunk.len() as u64 == LINE_BYTES).then_some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use tradewind_airflow::log_format::Level;

    use super::*;

    async fn read(text: &[u8], offset: u64, end: Option<u64>) -> Option<String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let tail = Tail::new(file.path().to_owned(), "s".to_owned(), Lines::Events(Level::Notset), offset, true);
        let chunk = tail.read(end).await.expect("readable");
        chunk.map(|chunk| String::from_utf8(chunk).expect("UTF-8"))
    }

    #[tokio::test]
    async fn a_line_that_is_being_written_waits_for_its_end() {
        assert_eq!(read(b"one\ntwo", 0, None).await.as_deref(), Some("one\n"));
        assert_eq!(read(b"one\ntwo", 4, None).await, None);
        assert_eq!(read(b"one\ntwo", 4, Some(7)).await.as_deref(), Some("two"));
        assert_eq!(read(b"one\ntwo\nthree\n", 0, Some(4)).await.as_deref(), Some("one\n"));
        assert_eq!(read(b"one\n", 9, Some(9)).await, None);
    }

    #[tokio::test]
    async fn a_long_line_is_read_whole() {
        let long = [vec![b'x'; 3 * 1024 * 1024], b"\nnext\n".to_vec()].concat();
        assert_eq!(read(&long, 0, None).await.map(|text| text.len()), Some(long.len()));
        let endless = vec![b'x'; 9 * 1024 * 1024];
        assert_eq!(read(&endless, 0, None).await.map(|text| text.len() as u64), Some(LINE_BYTES));
    }
}
