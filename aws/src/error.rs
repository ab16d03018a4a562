//! What a service's refusal means to a person.

use std::error::Error;
use std::fmt::Debug;

use aws_sdk_cloudwatchlogs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// What kind of failure it is, by which callers decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for is not there.
    Missing,
    /// Credentials are unknown, or do not allow it.
    Refused,
    /// Too much was asked at once.
    Throttled,
    /// The service does not answer, or is in trouble.
    Unreachable,
    /// The request will never be accepted as it is.
    Invalid,
    /// Anything else.
    Other,
}

/// Why a service did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{request}: {detail}\nhint: {hint}")]
pub struct AwsError {
    /// What kind of failure it is.
    pub kind: Kind,
    /// What was asked.
    pub request: String,
    /// What the service, or the SDK, says.
    pub detail: String,
    /// What to do.
    pub hint: String,
}

/// A request, in the words of an operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The service, as its owner calls it.
    pub(crate) service: &'static str,
    /// What IAM calls the action.
    pub(crate) action: &'static str,
    /// On what.
    pub(crate) on: &'a str,
    /// What to do where it is missing.
    pub(crate) if_missing: &'static str,
}

impl Asked<'_> {
    /// The error of a request that failed.
    pub(crate) fn failed<E, R>(self, error: &SdkError<E, R>) -> AwsError
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: Debug + 'static,
    {
        let (kind, detail) = match error {
            SdkError::ServiceError(answer) => {
                let code = answer.err().code().unwrap_or("no code");
                let message = answer.err().message().unwrap_or_default();
                let detail = if message.is_empty() { code.to_owned() } else { format!("{message} ({code})") };
                (kind(code), detail)
            }
            // No credentials, or no region.
            SdkError::ConstructionFailure(_) => (Kind::Refused, said(error)),
            SdkError::DispatchFailure(failure) if failure.is_other() => (Kind::Refused, said(error)),
            SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => (Kind::Unreachable, said(error)),
            _ => (Kind::Other, said(error)),
        };
        let Self { service, action, on, if_missing } = self;
        let hint = match kind {
            Kind::Missing => if_missing.to_owned(),
            Kind::Refused => format!(
                "allow {action} to the identity of this process, and its KMS key where there is one; check region and \
                 credentials (AWS_REGION, AWS_PROFILE, or the role of the container)"
            ),
            Kind::Throttled => "it is tried again; ask AWS for a higher quota if this goes on".to_owned(),
            Kind::Unreachable => {
                "check the network, the VPC endpoint of the service, AWS_REGION, and AWS_ENDPOINT_URL where it is set"
                    .to_owned()
            }
            Kind::Invalid | Kind::Other => "look at what the service says, and at AWS_REGION".to_owned(),
        };
        AwsError { kind, request: format!("{service}, {action} on {on}"), detail, hint }
    }
}

fn kind(code: &str) -> Kind {
    let code = code.rsplit(['#', '.']).next().unwrap_or(code);
    match code {
        "ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound" => Kind::Missing,
        "AccessDenied"
        | "AccessDeniedException"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "InvalidAccessKeyId" => Kind::Refused,
        "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException"
        | "LimitExceededException"
        | "OperationAbortedException" => Kind::Throttled,
        "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalServiceError"
        | "InternalServiceErrorException" => Kind::Unreachable,
        "InvalidParameterException"
        | "InvalidRequestException"
        | "ValidationException"
        | "DecryptionFailure"
        | "InvalidKeyId" => Kind::Invalid,
        _ => Kind::Other,
    }
}

/// An error with its causes.
fn said(error: &(impl Error + 'static)) -> String {
    DisplayErrorContext(error).to_string()
}

/// What an error says, with its reasons: errors of HTTP clients and of the SDK say little by themselves.
#[must_use]
pub fn reasons(error: &dyn Error) -> String {
    let mut reasons = vec![error.to_string()];
    let mut source = error.source();
    while let Some(reason) = source {
        reasons.push(reason.to_string());
        source = reason.source();
    }
    reasons.dedup();
    reasons.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_known_with_and_without_their_namespace() {
        for (code, expected) in [
            ("com.amazonaws.logs#ResourceNotFoundException", Kind::Missing),
            ("ParameterNotFound", Kind::Missing),
            ("AccessDeniedException", Kind::Refused),
            ("ThrottlingException", Kind::Throttled),
            ("InvalidParameterException", Kind::Invalid),
            ("SomethingNewException", Kind::Other),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
    }
}
