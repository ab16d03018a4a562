//! A bucket in the emulator, as its user fills it.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::types::{BucketVersioningStatus, ServerSideEncryption, VersioningConfiguration};

use crate::aws::AwsEmulator;

/// A bucket in the emulator.
pub struct TestBucket {
    client: Client,
    name: String,
}

impl TestBucket {
    /// Makes an empty bucket that keeps no versions.
    ///
    /// # Panics
    /// When the emulator refuses, as everywhere below.
    pub async fn create(emulator: &AwsEmulator, name: &str) -> Self {
        let account = emulator.account().await;
        let client = Client::from_conf(Builder::from(account.config()).force_path_style(true).build());
        client.create_bucket().bucket(name).send().await.expect("a bucket");
        Self { client, name: name.to_owned() }
    }

    /// Has it keep versions.
    pub async fn with_versions(self) -> Self {
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = self.client.put_bucket_versioning().bucket(&self.name).versioning_configuration(enabled);
        request.send().await.expect("a versioned bucket");
        self
    }

    /// Uploads an object and returns its version.
    pub async fn put(&self, key: &str, content: impl AsRef<[u8]>) -> Option<String> {
        let body = content.as_ref().to_vec().into();
        let put = self.client.put_object().bucket(&self.name).key(key).body(body).send().await;
        put.expect("an uploaded object").version_id
    }

    /// Deletes an object.
    pub async fn delete(&self, key: &str) {
        self.client.delete_object().bucket(&self.name).key(key).send().await.expect("a deleted object");
    }

    /// Begins an upload in parts that is never completed.
    pub async fn begin_upload(&self, key: &str, first_part: &str) {
        let begun = self.client.create_multipart_upload().bucket(&self.name).key(key).send().await;
        let upload = begun.expect("a begun upload").upload_id.expect("its id");
        let part = self.client.upload_part().bucket(&self.name).key(key).upload_id(upload).part_number(1);
        part.body(first_part.as_bytes().to_vec().into()).send().await.expect("an uploaded part");
    }

    /// Whether an object is encrypted with a key of S3 on somebody's demand.
    pub async fn is_encrypted(&self, key: &str) -> bool {
        let head = self.client.head_object().bucket(&self.name).key(key).send().await.expect("an object");
        head.server_side_encryption == Some(ServerSideEncryption::Aes256)
    }

    /// Deletes the bucket, which must be empty.
    pub async fn remove(&self) {
        self.client.delete_bucket().bucket(&self.name).send().await.expect("a deleted bucket");
    }
}
