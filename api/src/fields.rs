//! The body of a request: one JSON object, read field by field, so that a refusal names the field.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use protocol::error::ErrorCode;
use protocol::frame::is_json_object;
use protocol::id::InvalidId;
use protocol::limits::SEQ_MAX;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::context::Context;
use crate::failure::Failure;

/// Whether a request's body was read to its end, for whoever put this into its extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyRead(Arc<AtomicBool>);

impl BodyRead {
    /// True once it was.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The bytes of a body, whole: not over the limit, and in time.
pub(crate) struct Body(Bytes);

impl FromRequest<Arc<Context>> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, context: &Arc<Context>) -> Result<Self, Failure> {
        let settings = &context.settings;
        let whole = request.extensions().get::<BodyRead>().cloned().unwrap_or_default();
        let read = to_bytes(request.into_body(), settings.request_bytes_max);
        match timeout(settings.client_timeout, read).await {
            Ok(Ok(bytes)) => {
                whole.0.store(true, Ordering::Relaxed);
                Ok(Self(bytes))
            }
            Ok(Err(error)) => Err(unreadable(&error, settings.request_bytes_max)),
            Err(_) => {
                Err(Failure::bad_request("the body came too slowly").with_status(StatusCode::REQUEST_TIMEOUT))
            }
        }
    }
}

fn unreadable(error: &axum::Error, bytes_max: usize) -> Failure {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if cause.contains("length limit") {
        let message = format!("the body is over {bytes_max} bytes; nothing was done");
        return Failure::new(ErrorCode::TooLarge, message);
    }
    Failure::bad_request("the body ended too early")
}

impl Body {
    /// The fields of the object that the body is; none when there is no body.
    pub(crate) fn fields_if_any(&self) -> Result<Fields<'_>, Failure> {
        if self.0.is_empty() { Ok(Fields(HashMap::new())) } else { self.fields() }
    }

    /// The fields of the object that the body is.
    pub(crate) fn fields(&self) -> Result<Fields<'_>, Failure> {
        let fields = serde_json::from_slice(&self.0);
        fields
            .map(Fields)
            .map_err(|error| Failure::bad_request(format!("the body must be one JSON object: {error}")))
    }
}

/// The fields of one object. Unknown ones are ignored; of two with one name the last counts; `null` is as good as none.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Fields<'a>(#[serde(borrow)] HashMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// The fields of an object inside of a body.
    pub(crate) fn nested(raw: &'a RawValue) -> Option<Self> {
        serde_json::from_str(raw.get()).ok().map(Self)
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null")
    }

    fn value<T: Deserialize<'a>>(&self, name: &str, expected: &str) -> Result<Option<T>, Failure> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(raw)
            .map(Some)
            .map_err(|_| Failure::bad_request(format!("`{name}` must be {expected}")))
    }

    /// True when the field is there, `null` or not.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Failure> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        Ok(self.value::<Text<'a>>(name, "a string")?.map(|text| text.0))
    }

    pub(crate) fn id<T>(
        &self,
        name: &str,
        parse: impl Fn(&[u8]) -> Result<T, InvalidId>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        parse_id(name, &text, parse).map(Some)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Failure> {
        Ok(self.value(name, "true or false")?.unwrap_or(false))
    }

    /// A whole number, from 0 to this one.
    pub(crate) fn number(&self, name: &str, max: u64) -> Result<Option<u64>, Failure> {
        let number: Option<u64> = self.value(name, "a whole number")?;
        match number {
            Some(number) if number > max => {
                Err(Failure::bad_request(format!("`{name}` must be at most {max}")))
            }
            number => Ok(number),
        }
    }

    /// A seq, from 1.
    pub(crate) fn seq(&self, name: &str) -> Result<Option<u64>, Failure> {
        let seq: Option<u64> = self.value(name, "a seq: an integer from 1 to 2^53 - 1")?;
        match seq {
            Some(seq) if !(1..=SEQ_MAX).contains(&seq) => {
                Err(Failure::bad_request(format!("`{name}` must be a seq: an integer from 1 to 2^53 - 1")))
            }
            seq => Ok(seq),
        }
    }

    /// The text of a JSON object, as it was sent; nested no deeper than over the socket.
    pub(crate) fn object(&self, name: &str) -> Result<Option<&'a str>, Failure> {
        match self.raw(name) {
            Some(raw) if !is_json_object(raw) => {
                Err(Failure::bad_request(format!("`{name}` must be an object")))
            }
            raw => Ok(raw),
        }
    }

    pub(crate) fn list(&self, name: &str) -> Result<Option<Vec<&'a RawValue>>, Failure> {
        self.value(name, "a list")
    }
}

/// An id from outside, or a refusal that names its field.
pub(crate) fn parse_id<T>(
    name: &str,
    text: &str,
    parse: impl Fn(&[u8]) -> Result<T, InvalidId>,
) -> Result<T, Failure> {
    parse(text.as_bytes()).map_err(|invalid| Failure::bad_request(format!("`{name}`: {}", invalid.message())))
}

/// The refusal of a request that leaves out what it needs.
pub(crate) fn missing(name: &str) -> Failure {
    Failure::bad_request(format!("`{name}` is missing"))
}

#[cfg(test)]
mod tests {
    use protocol::id::ClientId;

    use super::*;

    fn parse(text: &str) -> Fields<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_refusal_names_the_field() {
        let fields = parse(r#"{"id":"no spaces","body":7,"reply_to":0,"meta":[],"ephemeral":"yes"}"#);
        let refusals = [
            fields.id("id", |text| ClientId::parse(text)).unwrap_err(),
            fields.text("body").unwrap_err(),
            fields.seq("reply_to").unwrap_err(),
            fields.object("meta").unwrap_err(),
            fields.flag("ephemeral").unwrap_err(),
        ];
        for (refusal, name) in refusals.iter().zip(["id", "body", "reply_to", "meta", "ephemeral"]) {
            assert!(refusal.message().contains(&format!("`{name}`")), "{}", refusal.message());
        }
    }

    #[test]
    fn text_is_unescaped_and_an_object_is_not() {
        let fields = parse(r#"{"body":"a\u00e9\n","meta":{"a":"\u00e9", "b" :1.50},"extra":[1]}"#);
        assert_eq!(fields.text("body").unwrap().unwrap(), "aé\n");
        assert_eq!(fields.object("meta").unwrap().unwrap(), r#"{"a":"\u00e9", "b" :1.50}"#);
    }

    #[test]
    fn seqs_end_at_their_bounds() {
        for (text, expected) in [("1", Some(1)), ("9007199254740991", Some(SEQ_MAX)), ("null", None)] {
            assert_eq!(parse(&format!("{{\"seq\":{text}}}")).seq("seq").unwrap(), expected);
        }
        for text in ["0", "-1", "9007199254740992", "1.5", "\"1\"", "true"] {
            parse(&format!("{{\"seq\":{text}}}")).seq("seq").unwrap_err();
        }
    }
}
