//! A log in S3: one object, to which each part of the attempt is added.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tradewind_aws::s3::{Bucket, S3Error};

/// Why a log was not uploaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotUploaded {
    /// S3 has not taken it.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// A file cannot be read or written.
    #[error("a log file cannot be read or copied: {0}")]
    File(#[from] io::Error),
}

/// Adds the content of a file to an object, as Airflow does (`S3RemoteLogIO.write`): the rest of an attempt that has paused
/// comes, perhaps from another machine, to what was uploaded before.
///
/// # Errors
/// It was not uploaded; the object is what it was.
pub(crate) async fn add(bucket: &Bucket, key: &str, part: &Path, encrypted: bool) -> Result<(), NotUploaded> {
    let whole = Whole::beside(part);
    let uploaded = whole.join_and_upload(bucket, key, part, encrypted).await;
    // There is none where the object was not there before.
    let _ = fs::remove_file(&whole.path).await;
    uploaded
}

/// What was there with what comes.
struct Whole {
    path: PathBuf,
}

impl Whole {
    /// A file that is not taken for a part of the log.
    fn beside(part: &Path) -> Self {
        let name = part.file_name().unwrap_or_default().to_string_lossy();
        Self { path: part.with_file_name(format!(".{name}")) }
    }

    async fn join_and_upload(
        &self,
        bucket: &Bucket,
        key: &str,
        part: &Path,
        encrypted: bool,
    ) -> Result<(), NotUploaded> {
        let mut whole = File::options().create(true).truncate(true).read(true).write(true).open(&self.path).await?;
        if !bucket.append_to(key, &mut whole).await? {
            return Ok(bucket.upload(key, part, encrypted).await?);
        }
        whole.flush().await?;
        if !ends_with_line_feed(&mut whole).await? {
            whole.write_all(b"\n").await?;
        }
        tokio::io::copy(&mut File::open(part).await?, &mut whole).await?;
        whole.flush().await?;
        Ok(bucket.upload(key, &self.path, encrypted).await?)
    }
}

/// Whether the file is empty or ends with a line feed; goes on at its end.
async fn ends_with_line_feed(file: &mut File) -> io::Result<bool> {
    if file.metadata().await?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1)).await?;
    Ok(file.read_u8().await? == b'\n')
}
