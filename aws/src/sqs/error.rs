//! What SQS's refusals mean to a person.

use std::error::Error;
use std::fmt::Display;

use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use tradewind_broker::{BrokerError, Kind};

/// What was asked of SQS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The permission that it needs.
    pub(super) action: &'static str,
    /// The queue's name: Airflow's, or that in SQS.
    pub(super) queue: &'a str,
    /// Whether the address of the queue is in the configuration.
    pub(super) configured: bool,
}

impl Asked<'_> {
    /// The error of a request that failed.
    pub(super) fn failed<E, R>(self, error: &SdkError<E, R>) -> BrokerError
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let answer = answer.err();
                let code = answer.code().unwrap_or("no code");
                self.refused(code, answer.message().unwrap_or_default())
            }
            SdkError::DispatchFailure(failure) if failure.is_other() => self.error(Kind::Refused, said(error)),
            SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => self.error(Kind::Unreachable, said(error)),
            _ => self.error(Kind::Other, said(error)),
        }
    }

    /// The error of a request, or of an entry of it, that SQS refuses with a code.
    pub(super) fn refused(self, code: &str, message: &str) -> BrokerError {
        let detail = if message.is_empty() { code.to_owned() } else { format!("{message} ({code})") };
        self.error(kind(code), detail)
    }

    /// The error of an answer that is not as it should be.
    pub(super) fn unexpected(self, detail: &str) -> BrokerError {
        self.error(Kind::Other, detail.to_owned())
    }

    fn error(self, kind: Kind, detail: String) -> BrokerError {
        let Self { action, queue, configured } = self;
        let hint = match kind {
            Kind::NoQueue if configured => {
                format!("make the queue, or correct the address of {queue:?} in [tradewind] sqs_queue_urls")
            }
            Kind::NoQueue => {
                "make the queue, or set [tradewind] sqs_create_queues to True; [tradewind] sqs_queue_prefix and \
                              sqs_queue_urls say which SQS queue stands for which queue"
                    .to_owned()
            }
            Kind::Refused => format!(
                "allow {action} on the queue to the identity of this process, and its KMS key where it has one; check region \
                 and credentials (AWS_REGION, AWS_PROFILE, or the role of the container)"
            ),
            Kind::Throttled => "it is tried again; ask AWS for a higher quota if this goes on".to_owned(),
            Kind::Unreachable => {
                "check the network, the VPC endpoint of SQS, and AWS_ENDPOINT_URL_SQS where it is set".to_owned()
            }
            Kind::Other => String::new(),
        };
        BrokerError { kind, request: format!("SQS, {action} on queue {queue:?}"), detail, hint }
    }
}

/// The kind that an error code stands for; both of SQS's protocols have codes of their own.
fn kind(code: &str) -> Kind {
    let code = code.rsplit(['#', '.']).next().unwrap_or(code);
    match code {
        "NonExistentQueue" | "QueueDoesNotExist" | "QueueDeletedRecently" => Kind::NoQueue,
        "AccessDenied"
        | "AccessDeniedException"
        | "KmsAccessDenied"
        | "KmsDisabled"
        | "KmsNotFound"
        | "InvalidSecurity"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "InvalidAccessKeyId" => Kind::Refused,
        "RequestThrottled"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "KmsThrottled"
        | "OverLimit"
        | "RequestLimitExceeded"
        | "SlowDown" => Kind::Throttled,
        "ServiceUnavailable" | "InternalFailure" | "InternalError" => Kind::Unreachable,
        _ => Kind::Other,
    }
}

/// An error with its causes.
fn said(error: &(impl Error + 'static)) -> String {
    DisplayErrorContext(error).to_string()
}

/// The error of a request that cannot be written.
pub(super) fn malformed(asked: Asked<'_>, error: &impl Display) -> BrokerError {
    asked.unexpected(&error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_protocols_are_known() {
        for (code, expected) in [
            ("AWS.SimpleQueueService.NonExistentQueue", Kind::NoQueue),
            ("com.amazonaws.sqs#QueueDoesNotExist", Kind::NoQueue),
            ("AccessDenied", Kind::Refused),
            ("KMS.AccessDeniedException", Kind::Refused),
            ("RequestThrottled", Kind::Throttled),
            ("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", Kind::Other),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
    }

    #[test]
    fn an_error_says_what_is_missing_and_what_to_do() {
        let asked = Asked { action: "sqs:SendMessage", queue: "default", configured: false };
        let text = asked.refused("AccessDenied", "Access to the resource is denied.").to_string();
        assert_eq!(
            text,
            "SQS, sqs:SendMessage on queue \"default\": Access to the resource is denied. (AccessDenied)\nhint: allow \
             sqs:SendMessage on the queue to the identity of this process, and its KMS key where it has one; check region and \
             credentials (AWS_REGION, AWS_PROFILE, or the role of the container)"
        );
    }
}
