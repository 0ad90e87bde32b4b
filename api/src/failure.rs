//! Refusals as HTTP answers: one code, one status, one JSON shape.
//!
//! The body carries `code`, `message` and `retry_after_ms` like an `error` frame of the socket, and the same three
//! once more under `error`, so that a client can tell a refusal from an answer by one key.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::error::{ErrorCode, Refusal};
use serde_json::{Map, Value, json};

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    status: StatusCode,
    code: ErrorCode,
    message: Cow<'static, str>,
    retry_after_ms: Option<u32>,
}

const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest | ErrorCode::UnknownOp => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Failure {
    /// A refusal that no retry mends.
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: status(code), code, message: message.into(), retry_after_ms: None }
    }

    /// The request is malformed; the message names the field.
    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// A shard answered with something that is no answer to the question: our fault.
    pub(crate) fn unexpected() -> Self {
        Self::new(ErrorCode::Internal, "the server answered itself wrongly; the request may have been done")
    }

    /// Another status than the code's own, where HTTP has a finer one.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The sentence for a person.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What kind of refusal.
    pub(crate) const fn code(&self) -> ErrorCode {
        self.code
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("code".into(), self.code.name().into());
        fields.insert("message".into(), self.message.as_ref().into());
        if let Some(retry_after_ms) = self.retry_after_ms {
            fields.insert("retry_after_ms".into(), retry_after_ms.into());
        }
        fields
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { retry_after_ms: refusal.retry_after_ms, ..Self::new(refusal.code, refusal.message) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut body = self.fields();
        body.insert("error".into(), Value::Object(self.fields()));
        let mut response = (self.status, axum::Json(json!(body))).into_response();
        let headers = response.headers_mut();
        if let Some(retry_after_ms) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, retry_after_ms.div_ceil(1_000).max(1).into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_after_is_whole_seconds_and_never_too_early() {
        for (milliseconds, seconds) in [(1, "1"), (999, "1"), (1_000, "1"), (1_001, "2"), (0, "1")] {
            let failure = Failure::from(Refusal::retry(ErrorCode::RateLimited, "slowly", milliseconds));
            let response = failure.into_response();
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers()["retry-after"], seconds);
        }
    }
}
