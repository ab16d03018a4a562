//! Buckets of S3: listing them, fetching and uploading objects.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, EncodingType, ServerSideEncryption};
use percent_encoding::percent_decode_str;
use tokio::io::AsyncWriteExt as _;

use crate::{Account, reasons};

/// How long a request may take until its answer begins, with all its retries. What an object's body may take is limited by
/// the SDK, which gives up on one that does not come forward.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// A bucket. Clones share connections.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
    name: String,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// Changes with its content. Without the quotation marks that S3 puts around it.
    pub etag: String,
    /// Bytes.
    pub size: u64,
}

/// What S3 says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Changes with its content. Without the quotation marks that S3 puts around it.
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// Its version, where the bucket keeps versions.
    pub version_id: Option<String>,
}

/// The object that is to be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its key.
    pub key: &'a str,
    /// The tag it must have.
    pub etag: &'a str,
    /// The size it must have.
    pub size: u64,
    /// Its version, when the bucket keeps versions: it is found even when there is a newer one.
    pub version_id: Option<&'a str>,
}

/// Why a bucket cannot be read. The text names what an operator can do.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// There is no such bucket.
    #[error("bucket \"{bucket}\" does not exist\nhint: create it, or correct the name in the configuration")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// Credentials are unknown, or do not allow it.
    #[error(
        "{action} on bucket \"{bucket}\" was refused ({code}): {message}\nhint: allow {action} to the role or user of this \
         process, and look whether its credentials are valid"
    )]
    Refused {
        /// The bucket's name.
        bucket: String,
        /// What IAM calls the action.
        action: &'static str,
        /// S3's code.
        code: String,
        /// S3's explanation.
        message: String,
    },
    /// The object is no longer what it was.
    #[error("object \"{key}\" of bucket \"{bucket}\" was changed or deleted")]
    Changed {
        /// The bucket's name.
        bucket: String,
        /// The object's key.
        key: String,
    },
    /// An object came with less or more than was announced.
    #[error("object \"{key}\" came with {came} bytes instead of {announced}")]
    Incomplete {
        /// The object's key.
        key: String,
        /// Its size in the listing.
        announced: u64,
        /// What was read.
        came: u64,
    },
    /// The body of an object broke off.
    #[error("object \"{key}\" broke off while it was fetched: {detail}")]
    BrokeOff {
        /// The object's key.
        key: String,
        /// What the connection said.
        detail: String,
    },
    /// What was fetched cannot be stored.
    #[error("object \"{key}\" cannot be stored: {source}")]
    File {
        /// The object's key.
        key: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Anything else: no network, no region, a service in trouble.
    #[error(
        "{action} on bucket \"{bucket}\" failed: {detail}\nhint: look at AWS_REGION, AWS_ENDPOINT_URL and the network of this \
         process"
    )]
    Failed {
        /// The bucket's name.
        bucket: String,
        /// What IAM calls the action.
        action: &'static str,
        /// What the SDK says.
        detail: String,
    },
}

impl Bucket {
    /// The bucket of this name; nothing is asked of it yet.
    #[must_use]
    pub fn new(account: &Account, name: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(REQUEST_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        // At another address than AWS's own, a bucket has no host name of its own.
        let config = Builder::from(account.config())
            .timeout_config(timeouts)
            .force_path_style(account.has_own_endpoint("S3"))
            .build();
        Self { client: Client::from_conf(config), name: name.to_owned() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All objects whose keys start with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// The bucket cannot be listed.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ListedObject>, S3Error> {
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        // XML has no place for some characters that keys may have.
        let mut pages = request.encoding_type(EncodingType::Url).into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.error("s3:ListBucket", None, &error))?;
            let is_encoded = page.encoding_type == Some(EncodingType::Url);
            objects.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                Some(ListedObject {
                    key: if is_encoded { decoded(&object.key?) } else { object.key? },
                    etag: unquoted(&object.e_tag?).to_owned(),
                    size: u64::try_from(object.size?).ok()?,
                })
            }));
        }
        Ok(objects)
    }

    /// What an object is like: its newest version, or the one that is named.
    ///
    /// # Errors
    /// [`S3Error::Changed`] when there is no such object or version; else it cannot be asked.
    pub async fn describe(&self, key: &str, version_id: Option<&str>) -> Result<Described, S3Error> {
        let request =
            self.client.head_object().bucket(&self.name).key(key).set_version_id(version_id.map(str::to_owned));
        let answer = request.send().await.map_err(|error| {
            // The answer to this request has no body that would say more.
            let is_bad_version =
                version_id.is_some() && error.raw_response().is_some_and(|answer| answer.status().as_u16() == 400);
            if is_bad_version {
                return S3Error::Changed { bucket: self.name.clone(), key: key.to_owned() };
            }
            self.error("s3:GetObject", Some(key), &error)
        })?;
        let etag = answer.e_tag().map(|etag| unquoted(etag).to_owned()).unwrap_or_default();
        let size = answer.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        Ok(Described { etag, size, version_id: answer.version_id })
    }

    /// Whether the bucket keeps old versions of its objects.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn keeps_versions(&self) -> Result<bool, S3Error> {
        let answer = self.client.get_bucket_versioning().bucket(&self.name).send().await;
        let answer = answer.map_err(|error| self.error("s3:GetBucketVersioning", None, &error))?;
        Ok(answer.status == Some(BucketVersioningStatus::Enabled))
    }

    /// Writes an object to a new file and returns the version it has, if the bucket keeps versions.
    ///
    /// # Errors
    /// [`S3Error::Changed`] when there is no such object any more; else it cannot be fetched or stored.
    pub async fn fetch(&self, wanted: Wanted<'_>, file: &Path) -> Result<Option<String>, S3Error> {
        let request = self.client.get_object().bucket(&self.name).key(wanted.key).if_match(wanted.etag);
        let request = request.set_version_id(wanted.version_id.map(str::to_owned));
        self.store(request, wanted, file).await
    }

    async fn store(
        &self,
        request: GetObjectFluentBuilder,
        wanted: Wanted<'_>,
        file: &Path,
    ) -> Result<Option<String>, S3Error> {
        let Wanted { key, size: announced, .. } = wanted;
        let mut answer = request.send().await.map_err(|error| self.error("s3:GetObject", Some(key), &error))?;
        let not_stored = |source| S3Error::File { key: key.to_owned(), source };
        let mut file = tokio::fs::File::create_new(file).await.map_err(not_stored)?;
        let mut came = 0;
        while let Some(part) = answer.body.next().await {
            let broke_off =
                |error| S3Error::BrokeOff { key: key.to_owned(), detail: DisplayErrorContext(&error).to_string() };
            let part = part.map_err(broke_off)?;
            came += part.len() as u64;
            file.write_all(&part).await.map_err(not_stored)?;
        }
        if came != announced {
            return Err(S3Error::Incomplete { key: key.to_owned(), announced, came });
        }
        file.sync_all().await.map_err(not_stored)?;
        Ok(answer.version_id)
    }

    /// Appends the content of an object to a file; false where there is no such object.
    ///
    /// # Errors
    /// It cannot be fetched or stored.
    pub async fn append_to(&self, key: &str, file: &mut tokio::fs::File) -> Result<bool, S3Error> {
        let answer = self.client.get_object().bucket(&self.name).key(key).send().await;
        let mut answer = match answer.map_err(|error| self.error("s3:GetObject", Some(key), &error)) {
            Ok(answer) => answer,
            Err(S3Error::Changed { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        while let Some(part) = answer.body.next().await {
            let broke_off =
                |error| S3Error::BrokeOff { key: key.to_owned(), detail: DisplayErrorContext(&error).to_string() };
            let written = file.write_all(&part.map_err(broke_off)?).await;
            written.map_err(|source| S3Error::File { key: key.to_owned(), source })?;
        }
        Ok(true)
    }

    /// The content of an object, of which no more than `limit` bytes; `None` where there is no such object.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub async fn read(&self, key: &str, limit: usize) -> Result<Option<Vec<u8>>, S3Error> {
        let answer = self.client.get_object().bucket(&self.name).key(key).send().await;
        let mut answer = match answer.map_err(|error| self.error("s3:GetObject", Some(key), &error)) {
            Ok(answer) => answer,
            Err(S3Error::Changed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        while let Some(part) = answer.body.next().await {
            let broke_off =
                |error| S3Error::BrokeOff { key: key.to_owned(), detail: DisplayErrorContext(&error).to_string() };
            let part = part.map_err(broke_off)?;
            content.extend_from_slice(&part[..part.len().min(limit - content.len())]);
            if content.len() == limit {
                break;
            }
        }
        Ok(Some(content))
    }

    /// Uploads a file as an object, `encrypted` with a key of S3 (`AES256`) where the bucket does not say otherwise.
    ///
    /// # Errors
    /// It cannot be read or uploaded.
    pub async fn upload(&self, key: &str, file: &Path, encrypted: bool) -> Result<(), S3Error> {
        let body = ByteStream::from_path(file).await.map_err(|error| S3Error::File {
            key: key.to_owned(),
            source: std::io::Error::other(DisplayErrorContext(&error).to_string()),
        })?;
        let encryption = encrypted.then_some(ServerSideEncryption::Aes256);
        let request = self.client.put_object().bucket(&self.name).key(key).set_server_side_encryption(encryption);
        let answer = request.body(body).send().await;
        answer.map(|_| ()).map_err(|error| self.error("s3:PutObject", None, &error))
    }

    fn error<E>(&self, action: &'static str, key: Option<&str>, error: &SdkError<E>) -> S3Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let bucket = self.name.clone();
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let code = error.code().unwrap_or_default();
        match (code, status, key) {
            ("NoSuchBucket", ..) => S3Error::NoBucket { bucket },
            (_, 401 | 403, _) => S3Error::Refused {
                bucket,
                action,
                code: code.to_owned(),
                message: error.message().unwrap_or("no reason is given").to_owned(),
            },
            // The last is what S3 says of a version that it cannot have made.
            ("NoSuchKey" | "NoSuchVersion" | "PreconditionFailed" | "InvalidArgument", _, Some(key))
            | (_, 404 | 412, Some(key)) => S3Error::Changed { bucket, key: key.to_owned() },
            _ => S3Error::Failed { bucket, action, detail: detail(error) },
        }
    }
}

/// What S3 says, or else what the SDK says with all its reasons.
fn detail<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => reasons(error),
    }
}

/// A key as `encoding-type=url` shows it: a plus sign is a space.
fn decoded(key: &str) -> String {
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn unquoted(etag: &str) -> &str {
    etag.trim_matches('"')
}
